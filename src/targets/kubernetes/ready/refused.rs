//! Pods that the API does not let a controller make.

use k8s_openapi::jiff::Timestamp;

use super::told::Told;
use super::verdict::{Doom, Verdict};
use crate::run::Kind;

/// What is to become of a workload whose controller could not make a pod. The
/// controller tries again and again, ever less often.
pub(super) fn outlook(told: &Told, since: Option<Timestamp>) -> Option<Verdict> {
    let refused = told.of("FailedCreate", |_| true);
    if refused.last_time() < since {
        return None;
    }
    let last = refused.last()?;
    let cause = cause(last);
    // The name of the pod that was refused differs each time.
    let alike = refused.of("FailedCreate", |message| self::cause(message) == cause);
    let (times, seconds) = (alike.times(), alike.seconds());
    let waiting = || Verdict::Waiting(format!("its pods to be allowed; last: {cause}"));
    let Some(Refusal { kind, enough, what, hint }) = refusal(cause) else { return Some(waiting()) };
    let (least, at_least) = enough;
    if times < least || seconds < at_least {
        return Some(waiting());
    }
    Some(Verdict::Doomed(Box::new(Doom::new(kind, what).hint(hint).evidence(told.warnings(3)))))
}

struct Refusal {
    kind: Kind,
    /// How often, and over how many seconds, it is refused until it is final.
    enough: (i32, i64),
    what: String,
    hint: &'static str,
}

/// For what may still come into being beside the workload.
const SOON: (i32, i64) = (2, 2);
/// For what must be let go by something else.
const LATER: (i32, i64) = (2, 5);
/// For rules.
const NEVER: (i32, i64) = (2, 0);

/// The refusals that are final; none for one that passes, or is not known.
fn refusal(cause: &str) -> Option<Refusal> {
    let quoted = cause.split('"').nth(1).unwrap_or_default();
    let missing = |what: &str, hint| Refusal {
        kind: Kind::NotFound,
        enough: SOON,
        what: format!("{what} `{quoted}`, which its pods name, does not exist"),
        hint,
    };
    if cause.contains("serviceaccount \"default\" not found") || cause.contains("failed calling webhook") {
        // The controllers of a new namespace, or the webhook's server, are on
        // their way.
        return None;
    }
    if cause.contains("error looking up service account") {
        return Some(missing("the ServiceAccount", "apply the ServiceAccount before what uses it"));
    }
    if cause.contains("RuntimeClass") && cause.contains("not found") {
        return Some(missing("the RuntimeClass", "make it, or take runtimeClassName out of the manifest"));
    }
    if cause.contains("no PriorityClass with name") {
        let name = cause.split_whitespace().nth(4).unwrap_or_default();
        return Some(Refusal {
            what: format!("the PriorityClass `{name}`, which its pods name, does not exist"),
            ..missing("", "make it, or take priorityClassName out of the manifest")
        });
    }
    if cause.contains("being terminated") {
        return Some(Refusal {
            kind: Kind::Kubernetes,
            enough: (1, 0),
            what: "its namespace is being removed".to_owned(),
            hint: "run it again once the namespace is gone, or in another one",
        });
    }
    let rule = |enough, what: &str, hint| Refusal {
        kind: Kind::Kubernetes,
        enough,
        what: format!("{what}: {cause}"),
        hint,
    };
    if cause.starts_with("exceeded quota") {
        return Some(rule(
            LATER,
            "a quota of the namespace does not allow its pods",
            "raise the ResourceQuota, or ask for less in the manifest's `resources`",
        ));
    }
    let is_rule =
        ["violates PodSecurity", "failed quota", "per Container is", "per Pod is", "denied the request"];
    if is_rule.iter().any(|rule| cause.contains(rule)) || cause.starts_with("invalid: ") {
        return Some(rule(
            NEVER,
            "the cluster's rules do not allow its pods",
            "change the manifest as the message says, or the rules of the namespace",
        ));
    }
    None
}

/// `Error creating: pods "web-6d4b-x7k2p" is forbidden: CAUSE`, as controllers
/// tell it, without the part that differs each time.
fn cause(message: &str) -> &str {
    if let Some((_, cause)) = message.split_once(" is forbidden: ") {
        return cause;
    }
    if let Some(at) = message.find(" is invalid: ") {
        return &message[at + " is ".len()..];
    }
    let start = message.find("admission webhook ").or_else(|| message.find("Error creating: "));
    &message[start.unwrap_or(0)..]
}
