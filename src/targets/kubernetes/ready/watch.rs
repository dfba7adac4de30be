//! Watches a workload, its pods, the events about them and, once a pod finds no
//! place, the nodes.

use std::fmt::Debug;
use std::future::pending;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::core::Selector;
use kube::runtime::reflector::{Lookup, Store, store};
use kube::runtime::watcher::{self, Config, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::crashes::Crashes;
use super::pauses::{Pauses, RENEWAL};
use super::rollout::{Workload, newest_set};
use super::times::Clocks;
use super::verdict::Seen;
use crate::run::{Failure, Kind};
use crate::targets::kubernetes::Space;

/// What came of watching.
pub(super) enum Change {
    /// Something is different.
    Seen,
    /// The API did not answer, or broke off; it is asked again.
    Lost(String),
}

/// What is watched of a workload.
pub(super) struct Watch<W: Workload> {
    space: Space,
    name: String,
    changes: SelectAll<BoxStream<'static, (&'static str, watcher::Result<()>)>>,
    workload: Store<W>,
    events: Store<Event>,
    /// Once it is known which are the workload's.
    pods: Option<Store<Pod>>,
    sets: Option<Store<ReplicaSet>>,
    /// Once a pod finds no place.
    nodes: Option<Store<Node>>,
    crashes: Crashes,
    /// When its pods came to be what they are.
    pub clocks: Clocks,
}

impl<W: Workload> Watch<W> {
    pub(super) fn new(space: &Space, name: &str) -> Self {
        let (space, name) = (space.clone(), name.to_owned());
        let mut changes = SelectAll::new();
        let api = Api::namespaced(space.client.clone(), &space.namespace);
        let (workload, stream) =
            mirror(api, W::KIND, Config::default().fields(&format!("metadata.name={name}")));
        changes.push(stream);
        let api = Api::namespaced(space.client.clone(), &space.namespace);
        let (events, stream) = mirror(api, EVENTS, Config::default());
        changes.push(stream);
        let (crashes, clocks) = (Crashes::default(), Clocks::default());
        Self { space, name, changes, workload, events, pods: None, sets: None, nodes: None, crashes, clocks }
    }

    /// Waits until something is different.
    ///
    /// # Errors
    /// When this user may not watch it.
    pub(super) async fn changed(&mut self) -> Result<Change, Failure> {
        loop {
            // A watch goes on for ever.
            let Some((what, result)) = self.changes.next().await else { return pending().await };
            let error = match result {
                Ok(()) => {
                    self.note();
                    return Ok(Change::Seen);
                }
                Err(error) => error,
            };
            tracing::debug!(what, %error, "watch");
            let (code, said) = told(error);
            let is_refused = matches!(code, 401 | 403);
            if is_refused && [EVENTS, NODES].contains(&what) {
                // It goes on without: what is only told in them takes until
                // the timeout to be known.
                continue;
            }
            if is_refused {
                let namespace = &self.space.namespace;
                let what = format!("{what}s of the namespace {namespace} may not be watched");
                return Err(Failure::new(Kind::TargetUnusable, what)
                    .hint("this user needs the verbs list and watch for pods, events and workloads")
                    .cause(std::io::Error::other(said)));
            }
            return Ok(Change::Lost(said));
        }
    }

    /// Remembers what the status of pods forgets, and watches what has turned
    /// out to be of interest.
    fn note(&mut self) {
        let workload = self.workload();
        if self.pods.is_none()
            && let Some(selector) = workload.as_deref().and_then(W::selector)
        {
            self.watch_pods(&selector.try_into().unwrap_or_default());
        }
        for pod in self.pods.iter().flat_map(Store::state) {
            self.crashes.note(&pod);
            self.clocks.note(&pod, &self.events.state());
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let mut reasons = conditions.filter_map(|condition| condition.reason.as_deref());
            if self.nodes.is_none() && reasons.any(|reason| reason == "Unschedulable") {
                let (nodes, stream) = mirror(Api::all(self.space.client.clone()), NODES, Config::default());
                self.nodes = Some(nodes);
                self.changes.push(stream);
            }
        }
        if self.pods.as_ref().is_some_and(is_listed) {
            self.clocks.listed();
        }
    }

    fn watch_pods(&mut self, selector: &Selector) {
        let config = || Config::default().labels_from(selector);
        let api = Api::namespaced(self.space.client.clone(), &self.space.namespace);
        let (pods, stream) = mirror(api, "Pod", config());
        self.pods = Some(pods);
        self.changes.push(stream);
        if W::KIND == Deployment::KIND {
            let api = Api::namespaced(self.space.client.clone(), &self.space.namespace);
            let (sets, stream) = mirror(api, "ReplicaSet", config());
            self.sets = Some(sets);
            self.changes.push(stream);
        }
    }

    fn workload(&self) -> Option<Arc<W>> {
        self.workload.state().into_iter().next()
    }

    /// What is known; none until the API has answered for the first time.
    pub(super) fn seen(&self) -> Option<Seen> {
        let is_known = is_listed(&self.workload)
            && self.pods.as_ref().is_none_or(is_listed)
            && self.sets.as_ref().is_none_or(is_listed);
        if !is_known {
            return None;
        }
        let workload = self.workload();
        let sets = self.sets.as_ref().map(Store::state).unwrap_or_default();
        let revision = workload.as_deref().and_then(|workload| workload.revision(&sets));
        let mut pods = self.pods.as_ref().map(Store::state).unwrap_or_default();
        pods.retain(|pod| {
            let is_newest =
                revision.as_ref().is_none_or(|(label, value)| pod.labels().get(*label) == Some(value));
            is_newest && pod.metadata.deletion_timestamp.is_none()
        });
        pods.sort_by_key(|pod| pod.name_any());
        let set =
            workload.as_deref().and_then(|workload| newest_set(workload, &sets)).and_then(ResourceExt::uid);
        Some(Seen {
            kind: W::KIND,
            name: self.name.clone(),
            rollout: workload.as_deref().map(W::rollout),
            makers: workload.as_deref().and_then(ResourceExt::uid).into_iter().chain(set).collect(),
            since: workload.as_deref().and_then(applied),
            pods,
            events: self.events.state(),
            nodes: self.nodes.as_ref().filter(|nodes| is_listed(nodes)).map(Store::state),
            crashes: self.crashes.clone(),
        })
    }
}

const EVENTS: &str = "Event";
const NODES: &str = "Node";

/// A copy of what the API has, kept up to date by polling the stream.
fn mirror<K>(
    api: Api<K>,
    what: &'static str,
    config: Config,
) -> (Store<K>, BoxStream<'static, (&'static str, watcher::Result<()>)>)
where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (reader, writer) = store();
    let stream = watcher(api, config.timeout(RENEWAL)).backoff(Pauses::default());
    let stream = reflector(writer, stream).map(move |result| (what, result.map(|_| ())));
    (reader, stream.boxed())
}

fn is_listed<K: Lookup<DynamicType = ()> + Clone + 'static>(store: &Store<K>) -> bool {
    store.wait_until_ready().now_or_never().is_some()
}

/// When an object was applied last; its status is written by others.
fn applied(object: &impl Resource) -> Option<k8s_openapi::jiff::Timestamp> {
    let fields = object.meta().managed_fields.iter().flatten();
    let spec = fields.filter(|fields| fields.subresource.is_none());
    spec.filter_map(|fields| fields.time.as_ref()).map(|time| time.0).max()
}

/// The HTTP status and the innermost cause of a watch that broke.
fn told(error: watcher::Error) -> (u16, String) {
    let error = match error {
        watcher::Error::WatchError(status) => return (status.code, status.message),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::NoResourceVersion => return (0, error.to_string()),
    };
    if let kube::Error::Api(status) = error {
        return (status.code, status.message);
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    (0, cause.to_string())
}
