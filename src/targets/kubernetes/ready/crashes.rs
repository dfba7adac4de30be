//! How containers ended, as far as it was seen: a pod's status remembers two
//! ends, and loses the first when a container waits to start again.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::ResourceExt;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crash {
    /// Which container it was: each start makes a new one.
    pub id: String,
    /// Its exit code, 128 + n when signal n ended it.
    pub code: i32,
    /// Why, in a word: `Error`, `OOMKilled`, `StartError`, `Completed`.
    pub reason: String,
    /// What else was said.
    pub message: String,
}

impl Crash {
    fn of(ended: &ContainerStateTerminated) -> Self {
        let at = || ended.finished_at.as_ref().map_or_else(String::new, |time| time.0.to_string());
        Self {
            id: ended.container_id.clone().filter(|id| !id.is_empty()).unwrap_or_else(at),
            code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
            message: ended.message.clone().unwrap_or_default(),
        }
    }

    /// `was killed for using more memory than its limit`, `ended with exit code 3`.
    pub(super) fn told(&self) -> String {
        match self.reason.as_str() {
            "OOMKilled" => "was killed for using more memory than its limit (OOMKilled)".to_owned(),
            "StartError" => format!("could not be started: {}", self.message),
            _ => format!("ended with exit code {}", self.code),
        }
    }
}

/// How containers ended, by pod and container.
#[derive(Debug, Clone, Default)]
pub(super) struct Crashes(HashMap<(String, String), Vec<Crash>>);

impl Crashes {
    /// Remembers what a pod tells.
    pub(super) fn note(&mut self, pod: &Pod) {
        let Some((uid, status)) = pod.uid().zip(pod.status.as_ref()) else { return };
        let init = status.init_container_statuses.iter().flatten();
        for container in init.chain(status.container_statuses.iter().flatten()) {
            for ended in ends(container) {
                let crash = Crash::of(ended);
                let known = self.0.entry((uid.clone(), container.name.clone())).or_default();
                if !known.iter().any(|known| known.id == crash.id) {
                    known.push(crash);
                }
            }
        }
    }

    /// How a container ended, oldest first.
    pub(super) fn of(&self, uid: &str, container: &str) -> &[Crash] {
        self.0.get(&(uid.to_owned(), container.to_owned())).map_or(&[], Vec::as_slice)
    }
}

/// The ends that a status tells of, the earlier first.
fn ends(status: &ContainerStatus) -> impl Iterator<Item = &ContainerStateTerminated> {
    let states = [status.last_state.as_ref(), status.state.as_ref()];
    states.into_iter().flatten().filter_map(|state| state.terminated.as_ref())
}
