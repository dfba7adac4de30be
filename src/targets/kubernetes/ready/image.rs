//! Whether an image that could not be pulled ever will be.

use super::told::Told;
use super::verdict::{Doom, Verdict};
use crate::run::Kind;

/// Answers that name the reason and do not change by asking again. `count` is
/// how many of them it takes.
const FINAL: [(usize, &[&str]); 3] = [
    // A registry has looked and said no.
    (
        1,
        &[
            ": not found",
            "manifest unknown",
            "name unknown",
            "repository does not exist",
            "pull access denied",
            "insufficient_scope",
            "unauthorized",
            "authentication required",
            "authorization failed",
            "no basic auth credentials",
            "403 forbidden",
            "no match for platform",
            "no matching manifest",
            "invalid reference format",
        ],
    ),
    // Wrong names and certificates, or a resolver that is only just starting.
    (2, &["no such host", "x509:", "server gave http response to https client", "no space left on device"]),
    // Nobody there, or not yet.
    (3, &["connection refused", "network is unreachable", "no route to host"]),
];

/// What a registry under load says; it passes.
const BUSY: [&str; 3] = ["toomanyrequests", "429 too many requests", "rate limit"];

/// The part of FINAL that `message` belongs to.
fn class(message: &str) -> Option<usize> {
    let message = message.to_lowercase();
    if BUSY.iter().any(|busy| message.contains(busy)) {
        return None;
    }
    FINAL.iter().position(|(_, words)| words.iter().any(|word| message.contains(word)))
}

/// What is to become of a container whose image could not be pulled.
pub(super) fn outlook(whose: &str, image: &str, said: &str, told: &Told) -> Verdict {
    let pulls = format!("Failed to pull image \"{image}\": ");
    let failures = told.of("Failed", |message| message.starts_with(&pulls));
    // While the kubelet waits for its next try, older ones do not repeat why.
    let said = if class(said).is_some() { said } else { failures.last().unwrap_or(said) };
    let cause = reason(said);
    let Some(class) = class(said) else {
        return Verdict::Waiting(format!("{whose}: image `{image}` to be pulled; last: {cause}"));
    };
    let alike = failures.of("Failed", |message| self::class(message) == Some(class)).times();
    let (enough, _) = FINAL[class];
    if usize::try_from(alike).unwrap_or(0).max(1) < enough {
        return Verdict::Waiting(format!("{whose}: image `{image}` to be pulled; last: {cause}"));
    }
    let doom = Doom::new(Kind::NotFound, format!("{whose}: image `{image}` cannot be pulled: {cause}"))
        .hint("bring it there with load_image, or correct its name, or see that the nodes may pull it")
        .evidence(vec![said.to_owned()]);
    Verdict::Doomed(Box::new(doom))
}

/// The last part of a chain of causes such as `failed to pull: dial tcp: no such
/// host`, with as much before it as makes it understood.
fn reason(chain: &str) -> String {
    let parts: Vec<&str> = chain.split(": ").collect();
    let last = parts.last().copied().unwrap_or_default();
    match parts.len() {
        2.. if last == "not found" || last.starts_with("no such host") => {
            format!("{}: {last}", parts[parts.len() - 2])
        }
        _ => last.to_owned(),
    }
}
