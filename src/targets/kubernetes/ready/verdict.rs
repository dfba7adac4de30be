//! What is to become of a workload, judged from what was seen of it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Node, Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::container::Contained;
use super::crashes::Crashes;
use super::rollout::Rollout;
use super::told::Told;
use super::{fits, refused};
use crate::run::Kind;

/// Tries of the kubelet to mount a volume until what is missing is missing for
/// good: 0.5, 1 and 2 seconds after the first.
const MOUNTS: i32 = 4;
/// Pods of a workload that may fail for the same reason until the next will too.
const FAILED_PODS: usize = 3;

/// What is to become of something.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It is as it should be.
    Ready,
    /// It may well be, later; "waiting for {this}".
    Waiting(String),
    /// It never will be.
    Doomed(Box<Doom>),
}

/// Why something never will be ready.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Doom {
    /// What sort of failure.
    pub kind: Kind,
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What the cluster said, a line each.
    pub evidence: Vec<String>,
    /// The pod and container whose log tells more.
    pub log_of: Option<(String, String)>,
}

impl Doom {
    pub(super) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), hint: None, evidence: Vec::new(), log_of: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }

    pub(super) fn log_of(mut self, pod: &str, container: &str) -> Self {
        self.log_of = Some((pod.to_owned(), container.to_owned()));
        self
    }
}

/// What was seen of a workload.
#[derive(Default)]
pub(super) struct Seen {
    /// Its kind, as in manifests.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// How far it is; none when it is not there.
    pub rollout: Option<Rollout>,
    /// The uids of what makes its pods: itself, and the ReplicaSet between.
    pub makers: Vec<String>,
    /// When it was applied last, by the cluster's clock.
    pub since: Option<Timestamp>,
    /// Its pods, made from what was applied last, in the order of their names.
    pub pods: Vec<Arc<Pod>>,
    /// The events of its namespace.
    pub events: Vec<Arc<Event>>,
    /// The nodes of the cluster; none when they are not known.
    pub nodes: Option<Vec<Arc<Node>>>,
    /// How its containers ended.
    pub crashes: Crashes,
}

/// What is to become of a workload.
pub(super) fn verdict(seen: &Seen) -> Verdict {
    let Some(rollout) = &seen.rollout else {
        return Verdict::Waiting(format!("the {} `{}` to be made", seen.kind, seen.name));
    };
    // Without a readiness probe a pod counts as available from its start to its
    // crash; its own status knows better.
    if rollout.is_complete
        && (rollout.retries || seen.pods.iter().all(|pod| is_ready(pod) || has_failed(pod)))
    {
        return Verdict::Ready;
    }
    if !rollout.is_observed {
        return Verdict::Waiting(format!("the {} controller to take up `{}`", seen.kind, seen.name));
    }
    let mut outlooks: Vec<Verdict> = seen.pods.iter().map(|pod| outlook(seen, rollout, pod)).collect();
    outlooks.extend(failing_pods(seen, rollout));
    if i32::try_from(seen.pods.len()).unwrap_or(i32::MAX) < rollout.wanted {
        let makers: Vec<&str> = seen.makers.iter().map(String::as_str).collect();
        outlooks.extend(refused::outlook(&Told::about(&seen.events, &makers), seen.since));
    }
    if let Some(doomed) = outlooks.iter().find(|outlook| matches!(outlook, Verdict::Doomed(_))) {
        return doomed.clone();
    }
    if let Some(why) = &rollout.given_up {
        return Verdict::Doomed(Box::new(given_up(seen, why)));
    }
    let waiting = outlooks.into_iter().find(|outlook| matches!(outlook, Verdict::Waiting(_)));
    waiting.unwrap_or_else(|| match rollout.missing.as_str() {
        "" => Verdict::Waiting("its pods to be ready".to_owned()),
        missing => Verdict::Waiting(missing.to_owned()),
    })
}

/// Whether a pod does its work.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether a pod is over and another one takes its place.
fn has_failed(pod: &Pod) -> bool {
    status(pod).phase.as_deref() == Some("Failed")
}

fn given_up(seen: &Seen, why: &str) -> Doom {
    // The newest of its pods that failed.
    let pod = seen.pods.iter().filter(|pod| has_failed(pod)).max_by_key(|pod| pod.creation_timestamp());
    let container = pod.and_then(|pod| {
        let PodStatus { init_container_statuses, container_statuses, .. } = status(pod);
        let mut all = init_container_statuses.into_iter().chain(container_statuses).flatten();
        let container = all.find(|container| {
            let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
            ended.is_some_and(|end| end.exit_code != 0)
        })?;
        Some((pod.name_any(), container.name))
    });
    let makers: Vec<&str> = seen.makers.iter().map(String::as_str).collect();
    let doom = Doom::new(Kind::Exited, format!("its controller has given up: {why}"))
        .hint("the log of its last pod says why; the manifest says how often and how long it is tried")
        .evidence(Told::about(&seen.events, &makers).warnings(3));
    match container {
        Some((pod, container)) => doom.log_of(&pod, &container),
        None => doom,
    }
}

fn status(pod: &Pod) -> PodStatus {
    pod.status.clone().unwrap_or_default()
}

/// What is to become of a pod.
fn outlook(seen: &Seen, rollout: &Rollout, pod: &Pod) -> Verdict {
    let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
    let told = Told::about(&seen.events, &[&uid]);
    let PodStatus { phase, conditions, init_container_statuses, container_statuses, .. } = status(pod);
    match phase.as_deref() {
        Some("Succeeded") => return Verdict::Ready,
        Some("Failed") => return Verdict::Waiting(failed(pod)),
        _ => {}
    }
    let conditions = conditions.unwrap_or_default();
    if let Some(unscheduled) = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False") {
        let said = unscheduled.message.as_deref().unwrap_or_default();
        return unschedulable(seen, pod, said);
    }
    let spec = pod.spec.clone().unwrap_or_default();
    let inits = spec.init_containers.unwrap_or_default();
    let is_alone = spec.containers.len() == 1;
    let init_statuses = init_container_statuses.unwrap_or_default();
    let statuses = container_statuses.unwrap_or_default();
    if statuses.is_empty() {
        return Verdict::Waiting(match spec.node_name {
            Some(node) => format!("pod {name} to be taken up by node {node}"),
            None => format!("pod {name} to get a node"),
        });
    }
    let init = init_statuses.iter().map(|status| (status, &inits, true));
    let all = init.chain(statuses.iter().map(|status| (status, &spec.containers, false)));
    let mut first = Verdict::Ready;
    for (status, specs, is_init) in all {
        let Some(spec) = specs.iter().find(|spec| spec.name == status.name) else { continue };
        let crashes = seen.crashes.of(&uid, &status.name);
        let is_retried = rollout.retries;
        let container =
            Contained { pod: &name, spec, status, is_init, is_alone, is_retried, told: &told, crashes };
        match container.outlook() {
            doomed @ Verdict::Doomed(_) => return doomed,
            waiting @ Verdict::Waiting(_) if first == Verdict::Ready => first = waiting,
            _ => {}
        }
    }
    let is_made = conditions.iter().any(|c| c.type_ == "PodReadyToStartContainers" && c.status == "True")
        || !statuses.iter().all(is_untouched);
    if !is_made && let Some(problem) = preparation(&name, &told) {
        return problem;
    }
    first
}

/// Whether the kubelet has not come to a container yet.
fn is_untouched(status: &ContainerStatus) -> bool {
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
    matches!(reason, Some("ContainerCreating" | "PodInitializing"))
}

/// What keeps a pod from its volumes and its sandbox.
fn preparation(name: &str, told: &Told) -> Option<Verdict> {
    let mounts = told.of("FailedMount", |_| true);
    let Some(said) = mounts.last() else {
        let sandbox = told.of("FailedCreatePodSandBox", |_| true).last()?;
        return Some(Verdict::Waiting(format!("pod {name}: its sandbox to be made; last: {sandbox}")));
    };
    let tries = mounts.of("FailedMount", |message| message == said).times();
    if !is_missing(said) || tries < MOUNTS {
        return Some(Verdict::Waiting(format!("pod {name}: its volumes to be mounted; last: {said}")));
    }
    let cause = said.split_once(" : ").map_or(said, |(_, cause)| cause);
    let volume = said.split('"').nth(1).unwrap_or_default();
    let what = format!("pod {name}: its volume `{volume}` cannot be mounted: {cause}");
    let doom = Doom::new(Kind::NotFound, what)
        .hint("apply it before what uses it, and under the name and key that are used")
        .evidence(told.warnings(3));
    Some(Verdict::Doomed(Box::new(doom)))
}

/// Whether what is to be mounted is not there at all.
fn is_missing(said: &str) -> bool {
    // Comes into every new namespace by itself.
    let comes_late = said.contains("\"kube-root-ca.crt\"");
    let is_object = said.contains("configmap \"") || said.contains("secret \"");
    let is_key = said.contains("references non-existent config key")
        || said.contains("references non-existent secret key");
    !comes_late
        && (is_key
            || (is_object && said.ends_with("not found"))
            || said.contains("hostPath type check failed"))
}

fn failed(pod: &Pod) -> String {
    let status = status(pod);
    let reason = status.reason.unwrap_or_else(|| "failed".to_owned());
    let message = status.message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("another pod in place of {} ({reason}{message})", pod.name_any())
}

/// Pods that the kubelet refused or evicted, each replaced by the next.
fn failing_pods(seen: &Seen, rollout: &Rollout) -> Option<Verdict> {
    if rollout.retries {
        return None;
    }
    let failed: Vec<_> =
        seen.pods.iter().map(|pod| status(pod)).filter(|s| s.phase.as_deref() == Some("Failed")).collect();
    let last = failed.last()?;
    let alike = failed.iter().filter(|status| status.reason == last.reason).count();
    if alike < FAILED_PODS {
        return None;
    }
    let reason = last.reason.clone().unwrap_or_default();
    let what = format!("{alike} of its pods failed for the same reason: {reason}");
    let doom = Doom::new(Kind::Kubernetes, what)
        .hint("the nodes lack what the pods need: memory, disk or a place")
        .evidence(last.message.clone().into_iter().collect());
    Some(Verdict::Doomed(Box::new(doom)))
}

fn unschedulable(seen: &Seen, pod: &Pod, said: &str) -> Verdict {
    let name = pod.name_any();
    let doomed = |what: String, hint: &str, evidence| {
        Verdict::Doomed(Box::new(Doom::new(Kind::Kubernetes, what).hint(hint).evidence(evidence)))
    };
    // The scheduler tries again as soon as the claim is there, and has nothing
    // to say until then.
    if let Some((_, rest)) = said.split_once("persistentvolumeclaim \"")
        && let Some((claim, rest)) = rest.split_once('"')
        && rest.starts_with(" not found")
    {
        let what =
            format!("pod {name}: the PersistentVolumeClaim `{claim}`, which it mounts, does not exist");
        return doomed(what, "apply the claim before what mounts it", vec![said.to_owned()]);
    }
    if let Some(misfits) = seen.nodes.as_ref().and_then(|nodes| fits::misfits(pod, nodes)) {
        let what = format!("pod {name} fits on no node of this cluster: {}", misfits[0]);
        let hint = "ask for less, or for a node that is there, in the manifest, or make the cluster with such a node";
        let evidence = misfits.into_iter().chain([said.to_owned()]).collect();
        return doomed(what, hint, evidence);
    }
    let claims = claims(seen, pod);
    if let Some(problem) = claims.last() {
        return Verdict::Waiting(format!(
            "pod {name}: its PersistentVolumeClaims to be bound; last: {problem}"
        ));
    }
    let said = said.split(". ").next().unwrap_or(said);
    Verdict::Waiting(format!("pod {name}: a node with room for it; {said}"))
}

/// What went wrong with the claims that a pod mounts.
fn claims(seen: &Seen, pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let names: Vec<_> =
        volumes.filter_map(|v| Some(v.persistent_volume_claim.as_ref()?.claim_name.as_str())).collect();
    let about = |event: &&Arc<Event>| {
        let object = &event.involved_object;
        object.kind.as_deref() == Some("PersistentVolumeClaim")
            && object.name.as_deref().is_some_and(|name| names.contains(&name))
            && event.reason.as_deref() == Some("ProvisioningFailed")
    };
    seen.events.iter().filter(about).filter_map(|event| event.message.clone()).collect()
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
