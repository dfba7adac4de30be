//! What a cluster knows about a run that failed, written down before it is
//! taken away.
//!
//! ```text
//! INTO/
//!   events.txt                  what happened, oldest first
//!   pods/NAME.yaml              their descriptions
//!   pods/NAME/CONTAINER.log     what they wrote, and CONTAINER.previous.log
//!                               before their last start
//!   objects/KIND-NAME.yaml      workloads, services and what they use
//!   nodes/NAME.yaml             conditions, room and images of nodes
//!   nodes/NAME.usage.json       how full their disks and memory are
//!   missing.txt                 what could not be had, and why
//! ```
//!
//! Objects of the kind Secret are never read; known secrets are masked
//! wherever else they are.

mod bundle;
mod follow;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, Event, Node, PersistentVolumeClaim, Pod, ResourceQuota, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt};
use tokio::time::Instant;

pub use follow::Follower;

use self::bundle::Bundle;
use super::Space;
use crate::run::{Failure, Kind, Secrets};

/// Lines of a log that are kept, from its end.
const LINES: i64 = 20_000;

/// What [`collect`] has put into a folder.
#[derive(Debug)]
pub struct Collected {
    /// The folder.
    pub path: PathBuf,
    /// How many files are in it.
    pub files: usize,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// Writes down what the cluster knows about a space, for at most `deadline`.
/// It does not depend on the run: one that was cancelled or ran out of time can
/// still be looked into. What was had until the deadline is kept.
///
/// # Errors
/// When nothing can be written to `into`.
pub async fn collect(
    space: &Space,
    into: &Path,
    secrets: &Secrets,
    deadline: Duration,
) -> Result<Collected, Failure> {
    let bundle = Bundle::create(into, secrets.clone(), Instant::now() + deadline).map_err(|error| {
        let what = format!("the diagnostics cannot be written to {}", into.display());
        Failure::new(Kind::Io, what).cause(error)
    })?;
    let Space { client, namespace, .. } = space;
    tokio::join!(
        events(&bundle, space),
        pods(&bundle, space),
        nodes(&bundle, space),
        bundle.objects::<Deployment>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<StatefulSet>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<DaemonSet>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<ReplicaSet>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<Job>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<Service>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<EndpointSlice>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<ConfigMap>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<PersistentVolumeClaim>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<ResourceQuota>(Api::namespaced(client.clone(), namespace)),
        bundle.objects::<ServiceAccount>(Api::namespaced(client.clone(), namespace)),
    );
    Ok(bundle.close())
}

async fn events(bundle: &Bundle, space: &Space) {
    let api: Api<Event> = Api::namespaced(space.client.clone(), &space.namespace);
    let Some(mut events) = bundle.have("events", api.list(&ListParams::default())).await else { return };
    let time = |event: &Event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or_else(|| event.event_time.as_ref().map(|time| time.0))
    };
    events.items.sort_by_key(time);
    let text: String = events.items.iter().map(|event| line(event, time(event))).collect();
    bundle.write("events.txt", &text);
}

/// `2026-11-24T19:48:14Z Warning Pod/web-1 BackOff ×3: Back-off restarting ..`
fn line(event: &Event, time: Option<k8s_openapi::jiff::Timestamp>) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let times = event.series.as_ref().and_then(|series| series.count).or(event.count).unwrap_or(1);
    let times = if times > 1 { format!(" ×{times}") } else { String::new() };
    let (time, object) = (time.map(|time| time.to_string()).unwrap_or_default(), &event.involved_object);
    format!(
        "{time} {} {}/{} {}{times}: {}\n",
        text(&event.type_),
        text(&object.kind),
        text(&object.name),
        text(&event.reason),
        text(&event.message),
    )
}

async fn pods(bundle: &Bundle, space: &Space) {
    let api: Api<Pod> = Api::namespaced(space.client.clone(), &space.namespace);
    let Some(pods) = bundle.have("pods", api.list(&ListParams::default())).await else { return };
    let logs = FuturesUnordered::new();
    for pod in &pods.items {
        bundle.describe(&format!("pods/{}.yaml", pod.name_any()), pod);
        let status = pod.status.clone().unwrap_or_default();
        let containers =
            status.init_container_statuses.into_iter().chain(status.container_statuses).flatten();
        for container in containers {
            let has_previous = container.last_state.is_some_and(|state| state.terminated.is_some());
            let has_begun = container.state.is_some_and(|state| state.waiting.is_none());
            for (previous, is_there) in [(false, has_begun), (true, has_previous)] {
                if is_there {
                    logs.push(log(bundle, &api, pod.name_any(), container.name.clone(), previous));
                }
            }
        }
    }
    logs.collect::<()>().await;
}

async fn log(bundle: &Bundle, api: &Api<Pod>, pod: String, container: String, previous: bool) {
    let file = format!("pods/{pod}/{container}{}.log", if previous { ".previous" } else { "" });
    let params =
        LogParams { container: Some(container), previous, tail_lines: Some(LINES), ..LogParams::default() };
    if let Some(text) = bundle.have(&file, api.logs(&pod, &params)).await {
        bundle.write(&file, &text);
    }
}

async fn nodes(bundle: &Bundle, space: &Space) {
    let api: Api<Node> = Api::all(space.client.clone());
    let Some(nodes) = bundle.have("nodes", api.list(&ListParams::default())).await else { return };
    let usages = FuturesUnordered::new();
    for node in &nodes.items {
        bundle.describe(&format!("nodes/{}.yaml", node.name_any()), node);
        usages.push(usage(bundle, space, node.name_any()));
    }
    usages.collect::<()>().await;
}

/// What the kubelet measures; its API is reached through the cluster's.
async fn usage(bundle: &Bundle, space: &Space, node: String) {
    let file = format!("nodes/{node}.usage.json");
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    // A node's name is a DNS name, so that it fits into a path as it is.
    let Ok(request) = hyper::http::Request::get(path).body(Vec::new()) else { return };
    if let Some(text) = bundle.have(&file, space.client.request_text(request)).await {
        bundle.write(&file, &text);
    }
}
