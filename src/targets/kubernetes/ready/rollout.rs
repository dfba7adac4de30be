//! How far a workload is, as its own status tells.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// How far a workload is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rollout {
    /// Whether it does all that was asked of it.
    pub is_complete: bool,
    /// Whether its controller has seen what was applied last. Until then
    /// nothing else of its status, and none of its pods, is about that.
    pub is_observed: bool,
    /// What is still missing, as in "waiting for {missing}".
    pub missing: String,
    /// How many pods it is to have.
    pub wanted: i32,
    /// Why its controller has given up.
    pub given_up: Option<String>,
    /// Whether its controller replaces pods that failed, up to a limit: a
    /// Job's.
    pub retries: bool,
}

/// A kind of workload that makes pods.
pub(super) trait Workload:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Its kind, as manifests name it.
    const KIND: &'static str;
    /// What it is to be.
    const GOAL: &'static str = "ready";

    /// Selects its pods.
    fn selector(&self) -> Option<LabelSelector>;

    /// The label, and its value, of pods made from what was applied last; none
    /// where all are, or where it is not known yet.
    fn revision(&self, sets: &[Arc<ReplicaSet>]) -> Option<(&'static str, String)>;

    /// How far it is.
    fn rollout(&self) -> Rollout;
}

/// The ReplicaSet of what was applied last.
pub(super) fn newest_set<'a, W: Workload>(
    workload: &W,
    sets: &'a [Arc<ReplicaSet>],
) -> Option<&'a ReplicaSet> {
    const REVISION: &str = "deployment.kubernetes.io/revision";
    let uid = workload.uid()?;
    let revision = workload.annotations().get(REVISION)?;
    let newest = sets.iter().find(|set| {
        set.owner_references().iter().any(|owner| owner.uid == uid)
            && set.annotations().get(REVISION) == Some(revision)
    });
    newest.map(Arc::as_ref)
}

/// Whether the status is about what was applied last.
fn is_observed(workload: &impl Resource, observed: Option<i64>) -> bool {
    observed.unwrap_or(0) >= workload.meta().generation.unwrap_or(0)
}

fn pods(count: i32) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

/// What is missing of `wanted` pods that are to be available.
fn availability(wanted: i32, ready: i32, available: i32, min_ready_seconds: Option<i32>) -> Option<String> {
    if available >= wanted {
        return None;
    }
    Some(match min_ready_seconds {
        Some(seconds @ 1..) if ready >= wanted => {
            format!("its pods to stay ready for {seconds} s (minReadySeconds)")
        }
        _ => format!("{} to be ready, {available} of {wanted} are", pods(wanted - available)),
    })
}

impl Workload for Deployment {
    const KIND: &'static str = "Deployment";

    fn selector(&self) -> Option<LabelSelector> {
        Some(self.spec.as_ref()?.selector.clone())
    }

    fn revision(&self, sets: &[Arc<ReplicaSet>]) -> Option<(&'static str, String)> {
        const HASH: &str = "pod-template-hash";
        Some((HASH, newest_set(self, sets)?.labels().get(HASH)?.clone()))
    }

    fn rollout(&self) -> Rollout {
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        let wanted = spec.replicas.unwrap_or(1);
        let updated = status.updated_replicas.unwrap_or(0);
        let old = status.replicas.unwrap_or(0) - updated;
        let ready = status.ready_replicas.unwrap_or(0);
        let available = status.available_replicas.unwrap_or(0);
        let missing = if spec.paused == Some(true) && updated < wanted {
            Some("it to be resumed: it is paused".to_owned())
        } else if updated < wanted {
            Some(format!("{} to be made", pods(wanted - updated)))
        } else if old > 0 {
            Some(format!("{} of the rollout before to go", pods(old)))
        } else {
            availability(wanted, ready, available, spec.min_ready_seconds)
        };
        let conditions = status.conditions.unwrap_or_default();
        let late = conditions
            .iter()
            .find(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"));
        let is_observed = is_observed(self, status.observed_generation);
        Rollout {
            is_complete: is_observed && missing.is_none(),
            is_observed,
            missing: missing.unwrap_or_default(),
            wanted,
            given_up: late.map(|condition| condition.message.clone().unwrap_or_default()),
            retries: false,
        }
    }
}

impl Workload for StatefulSet {
    const KIND: &'static str = "StatefulSet";

    fn selector(&self) -> Option<LabelSelector> {
        Some(self.spec.as_ref()?.selector.clone())
    }

    fn revision(&self, _sets: &[Arc<ReplicaSet>]) -> Option<(&'static str, String)> {
        Some(("controller-revision-hash", self.status.as_ref()?.update_revision.clone()?))
    }

    fn rollout(&self) -> Rollout {
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        let wanted = spec.replicas.unwrap_or(1);
        let strategy = spec.update_strategy.unwrap_or_default();
        // Of pods below the partition, and with OnDelete of all, the old ones
        // are meant to stay.
        let to_update = if strategy.type_.as_deref() == Some("OnDelete") {
            0
        } else {
            wanted - strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0)
        };
        let updated = status.updated_replicas.unwrap_or(0);
        let ready = status.ready_replicas.unwrap_or(0);
        let available = status.available_replicas.unwrap_or(0);
        let missing = if status.replicas < wanted {
            Some(format!("{} to be made", pods(wanted - status.replicas)))
        } else if updated < to_update {
            Some(format!("{} to be replaced", pods(to_update - updated)))
        } else if status.replicas > wanted {
            Some(format!("{} to go", pods(status.replicas - wanted)))
        } else {
            availability(wanted, ready, available, spec.min_ready_seconds)
        };
        let is_observed = is_observed(self, status.observed_generation);
        Rollout {
            is_complete: is_observed && missing.is_none(),
            is_observed,
            missing: missing.unwrap_or_default(),
            // One after the other unless told otherwise, so that those behind a
            // pod that is not ready are not missed.
            wanted: if spec.pod_management_policy.as_deref() == Some("Parallel") {
                wanted
            } else {
                wanted.min(1)
            },
            ..Rollout::default()
        }
    }
}

impl Workload for DaemonSet {
    const KIND: &'static str = "DaemonSet";

    fn selector(&self) -> Option<LabelSelector> {
        Some(self.spec.as_ref()?.selector.clone())
    }

    fn revision(&self, _sets: &[Arc<ReplicaSet>]) -> Option<(&'static str, String)> {
        let generation = self.annotations().get("deprecated.daemonset.template.generation")?;
        Some(("pod-template-generation", generation.clone()))
    }

    fn rollout(&self) -> Rollout {
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        let wanted = status.desired_number_scheduled;
        let on_delete =
            spec.update_strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("OnDelete"));
        let updated = if on_delete { wanted } else { status.updated_number_scheduled.unwrap_or(0) };
        let available = status.number_available.unwrap_or(0);
        let missing = if status.current_number_scheduled < wanted {
            Some(format!("{} to be made", pods(wanted - status.current_number_scheduled)))
        } else if updated < wanted {
            Some(format!("{} to be replaced", pods(wanted - updated)))
        } else {
            availability(wanted, status.number_ready, available, spec.min_ready_seconds)
        };
        let is_observed = is_observed(self, status.observed_generation);
        Rollout {
            is_complete: is_observed && missing.is_none(),
            is_observed,
            missing: missing.unwrap_or_default(),
            wanted,
            ..Rollout::default()
        }
    }
}

impl Workload for Job {
    const KIND: &'static str = "Job";
    const GOAL: &'static str = "complete";

    fn selector(&self) -> Option<LabelSelector> {
        self.spec.as_ref()?.selector.clone()
    }

    fn revision(&self, _sets: &[Arc<ReplicaSet>]) -> Option<(&'static str, String)> {
        None
    }

    fn rollout(&self) -> Rollout {
        let spec = self.spec.clone().unwrap_or_default();
        let status = self.status.clone().unwrap_or_default();
        let wanted = spec.completions.unwrap_or(1);
        let (succeeded, failed) = (status.succeeded.unwrap_or(0), status.failed.unwrap_or(0));
        let conditions = status.conditions.unwrap_or_default();
        let is = |type_: &str| conditions.iter().find(|c| c.type_ == type_ && c.status == "True");
        let limit = spec.backoff_limit.unwrap_or(6);
        let missing = if spec.suspend == Some(true) {
            "it to be resumed: it is suspended".to_owned()
        } else if failed > 0 {
            format!("{succeeded} of {wanted} completions; {failed} of {limit} retries were needed")
        } else {
            format!("completion, {succeeded} of {wanted} pods have succeeded")
        };
        // FailureTarget comes first, while its last pods are still ending.
        let given_up = is("Failed").or_else(|| is("FailureTarget")).map(|condition| {
            let reason = condition.reason.clone().unwrap_or_default();
            format!("{reason}: {}", condition.message.clone().unwrap_or_default())
        });
        Rollout {
            is_complete: is("Complete").is_some(),
            is_observed: true,
            missing,
            wanted: spec.parallelism.unwrap_or(1).min((wanted - succeeded).max(0)).min(1),
            given_up,
            retries: true,
        }
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
