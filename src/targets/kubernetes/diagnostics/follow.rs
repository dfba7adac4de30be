//! Follows the logs of pods from their start, since a cluster forgets what a
//! pod wrote when the pod is gone.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::LogParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use crate::run::{RunFolder, Secrets};
use crate::targets::kubernetes::Space;
use crate::targets::kubernetes::ready::{Pauses, RENEWAL};

/// Follows the logs of all pods of a space, into one file for each server or
/// service; stops when dropped.
pub struct Follower {
    _task: AbortOnDropHandle<()>,
}

impl Follower {
    /// Begins, with what was written `since` then, or all of it. Must be called
    /// within a runtime.
    #[must_use]
    pub fn start(space: &Space, folder: &RunFolder, secrets: Secrets, since: Option<Timestamp>) -> Self {
        let logs = Logs { folder: folder.clone(), secrets, since, files: Arc::default() };
        Self { _task: AbortOnDropHandle::new(tokio::spawn(follow(space.clone(), logs))) }
    }
}

async fn follow(space: Space, logs: Logs) {
    let api: Api<Pod> = Api::namespaced(space.client, &space.namespace);
    let watcher = watcher(api.clone(), Config::default().timeout(RENEWAL)).backoff(Pauses::default());
    let mut pods = watcher.applied_objects().boxed();
    let mut known = HashSet::new();
    // One for each container of a pod, for what it wrote from start to start.
    let mut queues: HashMap<(String, String), UnboundedSender<Source>> = HashMap::new();
    // They are aborted with it.
    let mut following = JoinSet::new();
    loop {
        tokio::select! {
            Some(pod) = pods.next() => {
                let pod = match pod {
                    Ok(pod) => pod,
                    Err(error) => {
                        tracing::debug!(%error, "watching pods for their logs");
                        continue;
                    }
                };
                for (container, id) in started(&pod) {
                    if !known.insert(id.clone()) {
                        continue;
                    }
                    let queue = queues.entry((pod.uid().unwrap_or_default(), container.clone()));
                    let queue = queue.or_insert_with(|| {
                        let (queue, sources) = unbounded_channel();
                        following.spawn(copy_all(sources, api.clone(), logs.clone()));
                        queue
                    });
                    let _ = queue.send(Source::new(&space.namespace, &pod, container, id));
                }
            }
            Some(_) = following.join_next() => {}
        }
    }
}

/// Copies what a container wrote, one start after the other.
async fn copy_all(mut sources: UnboundedReceiver<Source>, api: Api<Pod>, logs: Logs) {
    while let Some(source) = sources.recv().await {
        source.copy(&api, &logs).await;
    }
}

/// Containers that have been started, with their identities, the earlier first.
fn started(pod: &Pod) -> Vec<(String, String)> {
    let all = statuses(pod).flat_map(|status| {
        let ids = [ended(status.last_state.as_ref()), running(status), ended(status.state.as_ref())];
        ids.into_iter().flatten().map(|id| (status.name.clone(), id.to_owned()))
    });
    all.collect()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        let apps = status.init_container_statuses.iter().chain(&status.container_statuses);
        apps.chain(&status.ephemeral_container_statuses).flatten()
    })
}

fn running(status: &ContainerStatus) -> Option<&str> {
    status.state.as_ref()?.running.as_ref()?;
    status.container_id.as_deref()
}

fn ended(state: Option<&ContainerState>) -> Option<&str> {
    state?.terminated.as_ref()?.container_id.as_deref().filter(|id| !id.is_empty())
}

/// How the API names a container of this identity, which it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Running,
    Ended { previous: bool },
    Gone,
}

fn place(pod: &Pod, source: &Source) -> Place {
    let of = |status: &&ContainerStatus| status.name == source.container;
    let Some(status) = statuses(pod).find(of) else { return Place::Gone };
    let is = |id: Option<&str>| id == Some(&source.id);
    if is(running(status)) {
        Place::Running
    } else if is(ended(status.state.as_ref())) {
        Place::Ended { previous: false }
    } else if is(ended(status.last_state.as_ref())) {
        Place::Ended { previous: true }
    } else {
        Place::Gone
    }
}

/// A container's log.
struct Source {
    /// The server or service it belongs to.
    name: String,
    namespace: Arc<str>,
    pod: String,
    container: String,
    id: String,
}

impl Source {
    fn new(namespace: &Arc<str>, pod: &Pod, container: String, id: String) -> Self {
        Self { name: name(pod), namespace: namespace.clone(), pod: pod.name_any(), container, id }
    }

    /// Copies it to its end, over broken connections.
    async fn copy(self, api: &Api<Pod>, logs: &Logs) {
        let mut reached = Reached { at: logs.since, ..Reached::default() };
        for pause in Pauses::default() {
            let place = match api.get(&self.pod).await {
                Ok(pod) => place(&pod, &self),
                Err(kube::Error::Api(status)) if status.code == 404 => Place::Gone,
                Err(error) => {
                    tracing::debug!(pod = self.pod, %error, "looking for a log");
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            let params = LogParams {
                container: Some(self.container.clone()),
                follow: place == Place::Running,
                previous: place == Place::Ended { previous: true },
                since_time: reached.second(),
                timestamps: true,
                ..LogParams::default()
            };
            if place == Place::Gone {
                return;
            }
            let copied = match api.log_stream(&self.pod, &params).await {
                Ok(stream) => self.copy_from(stream, &mut reached, logs).await,
                // A node does not keep the logs of all starts.
                Err(kube::Error::Api(status)) if place != Place::Running => {
                    tracing::debug!(pod = self.pod, status.message, "a log is gone");
                    return;
                }
                Err(error) => Err(std::io::Error::other(error)),
            };
            match copied {
                // A running one may have ended, or its connection has.
                Ok(()) if place != Place::Running => return,
                Ok(()) => {}
                Err(error) => tracing::debug!(pod = self.pod, %error, "copying a log"),
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn copy_from(
        &self,
        stream: impl AsyncBufRead,
        reached: &mut Reached,
        logs: &Logs,
    ) -> std::io::Result<()> {
        let mut stream = std::pin::pin!(stream);
        let mut rest = Vec::new();
        reached.begin();
        loop {
            // Whatever has come is written at once, whole lines only.
            let chunk = stream.fill_buf().await?;
            let is_end = chunk.is_empty();
            let length = chunk.len();
            rest.extend_from_slice(chunk);
            stream.consume_unpin(length);
            let whole = if is_end {
                rest.len()
            } else {
                rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
            };
            let lines: Vec<u8> = rest.drain(..whole).collect();
            let text = reached.news(&String::from_utf8_lossy(&lines));
            if !text.is_empty() {
                logs.write(self, text)?;
            }
            if is_end {
                return Ok(());
            }
        }
    }
}

/// The server or service that a pod belongs to: what its label says, else what
/// made it, else itself.
fn name(pod: &Pod) -> String {
    let label = |name: &str| pod.labels().get(name);
    if let Some(name) = label("app.kubernetes.io/name").or_else(|| label("app")) {
        return name.clone();
    }
    let maker = pod.owner_references().first().map_or_else(|| pod.name_any(), |owner| owner.name.clone());
    let hash = label("pod-template-hash").map(|hash| format!("-{hash}")).unwrap_or_default();
    maker.strip_suffix(&hash).unwrap_or(&maker).to_owned()
}

/// How far a log was copied. The API can begin again only at a whole second, so
/// that lines come twice; their times tell which.
#[derive(Debug, Default)]
struct Reached {
    at: Option<Timestamp>,
    /// Lines of exactly that time that were copied.
    lines: usize,
    /// Of those, how many have come again since the connection was made.
    repeated: usize,
}

impl Reached {
    fn second(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.at?.as_second()).ok()
    }

    fn begin(&mut self) {
        self.repeated = 0;
    }

    /// The lines that are new, without their times. What has none is not the
    /// container's, but the kubelet's excuse.
    fn news(&mut self, lines: &str) -> String {
        let mut news = String::new();
        for line in lines.lines() {
            // An empty line ends at the blank after its time, if not before.
            let (at, line) = line.split_once(' ').unwrap_or((line, ""));
            if at.parse().is_ok_and(|at| self.is_new(at)) {
                news.push_str(line);
                news.push('\n');
            }
        }
        news
    }

    fn is_new(&mut self, at: Timestamp) -> bool {
        match self.at {
            Some(reached) if at < reached => false,
            Some(reached) if at == reached => {
                self.repeated += 1;
                let is_new = self.repeated > self.lines;
                self.lines = self.lines.max(self.repeated);
                is_new
            }
            _ => {
                (self.at, self.lines, self.repeated) = (Some(at), 1, 1);
                true
            }
        }
    }
}

/// The files that logs are copied to. Cheap to clone.
#[derive(Clone)]
struct Logs {
    folder: RunFolder,
    secrets: Secrets,
    since: Option<Timestamp>,
    /// For each file, whose lines came last.
    files: Arc<Mutex<HashMap<PathBuf, String>>>,
}

impl Logs {
    /// Appends lines, after a heading where they are another container's than
    /// those before, as `tail -f` does it with several files.
    fn write(&self, source: &Source, mut text: String) -> std::io::Result<()> {
        self.secrets.mask(&mut text);
        let path = self.folder.log(&source.name);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.get(&path) != Some(&source.id) {
            let Source { namespace, pod, container, .. } = source;
            text.insert_str(0, &format!("==> {namespace}/{pod}/{container} <==\n"));
            files.insert(path.clone(), source.id.clone());
        }
        let mut file = fs_err::OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_come_again_are_left_out() {
        let mut reached = Reached::default();
        let first =
            "2026-11-24T10:00:00.1Z one\n2026-11-24T10:00:00.2Z two\n2026-11-24T10:00:00.2Z two again\n";
        assert_eq!(reached.news(first), "one\ntwo\ntwo again\n");
        assert_eq!(reached.second(), Some("2026-11-24T10:00:00Z".parse().unwrap()));
        reached.begin();
        let more = format!("{first}2026-11-24T10:00:00.2Z third of its time\n2026-11-24T10:00:01Z \n");
        assert_eq!(reached.news(&more), "third of its time\n\n");
        assert_eq!(reached.news("unable to retrieve container logs for containerd://a\n"), "");
    }

    #[test]
    fn pods_are_named_after_what_they_belong_to() {
        let pod = |labels: serde_json::Value, owners: serde_json::Value| -> String {
            let metadata =
                serde_json::json!({"name": "web-5d4-x2k", "labels": labels, "ownerReferences": owners});
            name(&serde_json::from_value(serde_json::json!({"metadata": metadata})).unwrap())
        };
        let set =
            |name: &str| serde_json::json!([{"apiVersion": "v1", "kind": "K", "name": name, "uid": "u"}]);
        assert_eq!(pod(serde_json::json!({"app.kubernetes.io/name": "shop"}), set("web-5d4")), "shop");
        assert_eq!(pod(serde_json::json!({"pod-template-hash": "5d4"}), set("web-5d4")), "web");
        assert_eq!(pod(serde_json::json!({}), set("db")), "db");
        assert_eq!(pod(serde_json::json!({}), serde_json::json!([])), "web-5d4-x2k");
    }
}
