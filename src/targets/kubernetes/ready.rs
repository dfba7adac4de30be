//! Waits until what was applied does its work, told by the cluster as it
//! happens and never asked for.
//!
//! ```text
//!  workload ─┐                        ┌─> Ready: where the time of its pods went
//!  pods ─────┼─> Watch ─> verdict(..) ┼─> Waiting: in words, and on
//!  events ───┤                        └─> Doomed: fails at once, with evidence
//!  nodes ────┘
//! ```
//!
//! What passes by itself (an image being pulled, one crash, a node that is not
//! up yet) gets its time. What never will be right fails at once, or when
//! Kubernetes has itself tried it again to the same end: time alone says
//! nothing about a slow machine.

mod container;
mod crashes;
mod fits;
mod image;
mod pauses;
mod refused;
mod rollout;
mod times;
mod told;
mod verdict;
mod watch;

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, ResourceExt};

pub(super) use pauses::{Pauses, RENEWAL};
pub use times::{Length, PodTimes};

use self::rollout::Workload;
use self::told::Told;
use self::verdict::{Doom, Seen, Verdict, is_ready, verdict};
use self::watch::{Change, Watch};
use super::Space;
use crate::run::child::last_lines;
use crate::run::duration::show;
use crate::run::{Failure, Kind, Step};

/// Lines of a log that are shown as evidence.
const EVIDENCE: usize = 15;
/// How long evidence is looked for when all else is over.
const PATIENCE: Duration = Duration::from_secs(3);

/// The kinds of workload that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadKind {
    /// Until it is rolled out.
    Deployment,
    /// Until it is rolled out.
    StatefulSet,
    /// Until it is rolled out.
    DaemonSet,
    /// Until it is complete.
    Job,
}

/// Waits until the workload `name` is rolled out; a Job, until it is complete.
/// Returns where the time of its pods went.
///
/// # Errors
/// At once when it never will be, else when `timeout` has passed.
pub async fn rolled_out(
    step: &Step,
    space: &Space,
    kind: WorkloadKind,
    name: &str,
    timeout: Duration,
) -> Result<Vec<PodTimes>, Failure> {
    match kind {
        WorkloadKind::Deployment => wait::<Deployment>(step, space, name, timeout).await,
        WorkloadKind::StatefulSet => wait::<StatefulSet>(step, space, name, timeout).await,
        WorkloadKind::DaemonSet => wait::<DaemonSet>(step, space, name, timeout).await,
        WorkloadKind::Job => wait::<Job>(step, space, name, timeout).await,
    }
}

/// How watching ended.
enum End {
    Ready(Vec<PodTimes>),
    Doomed(Doom),
}

async fn wait<W: Workload>(
    step: &Step,
    space: &Space,
    name: &str,
    timeout: Duration,
) -> Result<Vec<PodTimes>, Failure> {
    let mut watch = Watch::<W>::new(space, name);
    let mut waiting = Waiting { step, what: String::new() };
    waiting.for_what("the cluster's API to answer");
    let end = crate::run::clock::timeout(timeout, end(&mut watch, &mut waiting)).await;
    let mut failure = match end {
        Ok(Ok(End::Ready(times))) => {
            for pod in &times {
                step.times(format!("pod {}", pod.pod), pod.event_parts());
            }
            return Ok(times);
        }
        Ok(Ok(End::Doomed(doom))) => doomed::<W>(space, name, doom).await,
        Ok(Err(failure)) => failure,
        Err(_) => late::<W>(space, name, timeout, &waiting.what, watch.seen()).await,
    };
    for line in &mut failure.evidence {
        step.events().secrets().mask(line);
    }
    Err(failure)
}

async fn end<W: Workload>(watch: &mut Watch<W>, waiting: &mut Waiting<'_>) -> Result<End, Failure> {
    loop {
        match watch.changed().await? {
            Change::Lost(why) => waiting.for_what(&format!("the cluster's API to answer; last: {why}")),
            Change::Seen => {
                let Some(seen) = watch.seen() else { continue };
                match verdict(&seen) {
                    Verdict::Ready => return Ok(End::Ready(watch.clocks.times(&seen.pods))),
                    Verdict::Waiting(what) => waiting.for_what(&what),
                    Verdict::Doomed(doom) => return Ok(End::Doomed(*doom)),
                }
            }
        }
    }
}

/// Says what it is waiting for when that is news.
struct Waiting<'a> {
    step: &'a Step,
    what: String,
}

impl Waiting<'_> {
    fn for_what(&mut self, what: &str) {
        if self.what != what {
            what.clone_into(&mut self.what);
            self.step.waiting(what);
        }
    }
}

async fn doomed<W: Workload>(space: &Space, name: &str, doom: Doom) -> Failure {
    let Doom { kind, what, hint, mut evidence, log_of } = doom;
    if let Some((pod, container)) = log_of {
        evidence.extend(log(space, &pod, &container).await);
    }
    let failure = Failure::new(kind, format!("{} `{name}` will never be {}: {what}", W::KIND, W::GOAL));
    let failure = failure.evidence(evidence);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

async fn late<W: Workload>(
    space: &Space,
    name: &str,
    timeout: Duration,
    what: &str,
    seen: Option<Seen>,
) -> Failure {
    let mut evidence = Vec::new();
    if let Some(seen) = &seen {
        // A pod that is not ready, and what was said about it and its makers.
        let pod = seen.pods.iter().find(|pod| !is_ready(pod)).or(seen.pods.first());
        let uids: Vec<_> = seen.makers.iter().cloned().chain(pod.and_then(|pod| pod.uid())).collect();
        let uids: Vec<_> = uids.iter().map(String::as_str).collect();
        evidence = Told::about(&seen.events, &uids).warnings(5);
        if let Some((pod, container)) =
            pod.and_then(|pod| Some((pod, pod.spec.as_ref()?.containers.first()?)))
        {
            evidence.extend(log(space, &pod.name_any(), &container.name).await);
        }
    }
    let state = format!("{} `{name}` was not {} within {}", W::KIND, W::GOAL, show(timeout));
    Failure::new(Kind::Timeout, format!("{state}: it was waiting for {what}"))
        .hint("the option `timeout` gives it more time")
        .evidence(evidence)
}

/// The last lines that a container wrote; those before its last start when
/// there are none since.
async fn log(space: &Space, pod: &str, container: &str) -> Vec<String> {
    let api: Api<Pod> = Api::namespaced(space.client.clone(), &space.namespace);
    let tail_lines = i64::try_from(EVIDENCE).ok();
    for previous in [false, true] {
        let params =
            LogParams { container: Some(container.to_owned()), previous, tail_lines, ..LogParams::default() };
        let text = tokio::time::timeout(PATIENCE, api.logs(pod, &params)).await;
        let lines = last_lines(&text.ok().and_then(Result::ok).unwrap_or_default(), EVIDENCE);
        if !lines.is_empty() {
            return lines;
        }
    }
    Vec::new()
}
