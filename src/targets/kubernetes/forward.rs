//! Port-forwards: a process of the run's supervisor that listens on this
//! machine and leads each connection to a pod that is there at that moment, so
//! that it goes on when a pod is replaced and when recipe itself has left.
//!
//! Connections that come while no pod runs are closed at once, as they would
//! be by a server that is not up.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt, api::Portforwarder};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::space::Access;
use crate::fault;
use crate::run::{Failure, Kind, Secrets};
use crate::tell::tell;

/// The hidden subcommand that has to call [`run_forward`].
pub const SUBCOMMAND: &str = "__forward";

/// How long a connection waits for the first list of pods.
const FIRST_LIST: Duration = Duration::from_secs(10);

/// What is forwarded, as written into a file for the process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Forward {
    /// The cluster.
    pub access: Access,
    /// The namespace of the pods.
    pub namespace: String,
    /// The labels that select them.
    pub selector: String,
    /// Ports of this machine and of the pods.
    pub ports: BTreeMap<u16, u16>,
}

/// Forwards what the file at `path` says, for ever. Errors of single
/// connections go to standard error, which is the log of the process.
///
/// # Errors
/// When the file, a port or the kubeconfig cannot be used.
pub async fn run_forward(path: &Path) -> Result<Infallible, Failure> {
    let _faults = fault::during("port-forward");
    let unreadable = || Failure::new(Kind::Usage, format!("{} does not say what to forward", path.display()));
    let text = fs_err::read(path).map_err(|error| unreadable().cause(error))?;
    let forward: Forward = serde_json::from_slice(&text).map_err(|error| unreadable().cause(error))?;
    let mut listeners = Vec::new();
    for (listen, target) in &forward.ports {
        let listener = TcpListener::bind(("127.0.0.1", *listen)).await.map_err(|error| {
            Failure::new(Kind::PortTaken, format!("port {listen} cannot be listened on")).cause(error)
        })?;
        listeners.push((listener, *target));
    }
    let api: Api<Pod> =
        Api::namespaced(forward.access.connect(&Secrets::default()).await?, &forward.namespace);
    let (sender, pods) = watch::channel(None);
    let listen = listeners.into_iter().map(|(listener, target)| serve(listener, target, &api, &pods));
    tokio::join!(follow(&api, &forward.selector, &sender), join_all(listen));
    Err(Failure::new(Kind::Bug, "the port-forward came to an end"))
}

/// Names of the pods that run, those that are ready first; none until they
/// have been listed once.
type Pods = Option<Vec<Arc<str>>>;

/// Keeps `pods` true.
async fn follow(api: &Api<Pod>, selector: &str, pods: &watch::Sender<Pods>) {
    let mut known = BTreeMap::new();
    let mut events =
        watcher(api.clone(), watcher::Config::default().labels(selector)).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => known.clear(),
            Ok(watcher::Event::InitApply(pod)) => {
                known.insert(pod.name_any(), pod);
                // More are to come, and an incomplete list is none.
                continue;
            }
            Ok(watcher::Event::Apply(pod)) => {
                known.insert(pod.name_any(), pod);
            }
            Ok(watcher::Event::Delete(pod)) => {
                known.remove(&pod.name_any());
            }
            Ok(watcher::Event::InitDone) => {}
            Err(error) => {
                tell!("the pods cannot be watched: {error}");
                continue;
            }
        }
        let mut usable: Vec<_> = known.values().filter(|pod| is_running(pod)).collect();
        usable.sort_by_key(|pod| !is_ready(pod));
        pods.send_replace(Some(usable.iter().map(|pod| pod.name_any().into()).collect()));
    }
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

async fn serve(listener: TcpListener, target: u16, api: &Api<Pod>, pods: &watch::Receiver<Pods>) {
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                let (api, pods) = (api.clone(), pods.clone());
                tokio::spawn(async move {
                    if let Err(why) = lead(connection, target, &api, pods).await {
                        tell!("a connection to port {target}: {why}");
                    }
                });
            }
            // Such as too many open files: others may be closed meanwhile.
            Err(error) => {
                tell!("a connection to port {target} cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Leads one connection to a pod and back.
async fn lead(
    mut connection: TcpStream,
    target: u16,
    api: &Api<Pod>,
    mut pods: watch::Receiver<Pods>,
) -> Result<(), String> {
    // Small packets of a protocol must not wait for each other.
    connection.set_nodelay(true).map_err(|error| error.to_string())?;
    let listed = tokio::time::timeout(FIRST_LIST, pods.wait_for(Option::is_some)).await.map(drop);
    if listed.is_err() {
        return Err("the cluster does not say which pods there are".to_owned());
    }
    let names = pods.borrow().clone().unwrap_or_default();
    let mut last = "no pod runs".to_owned();
    // The first may be going at this moment.
    for name in names.iter().take(2) {
        match open(api, name, target).await {
            Ok((mut forwarder, mut stream)) => {
                // Either side may leave without a word; both are closed then.
                let _ = tokio::io::copy_bidirectional(&mut connection, &mut stream).await;
                drop(stream);
                let error = forwarder.take_error(target);
                forwarder.abort();
                return match error {
                    Some(error) => futures::FutureExt::now_or_never(error)
                        .flatten()
                        .map_or(Ok(()), |error| Err(error.trim().to_owned())),
                    None => Ok(()),
                };
            }
            Err(error) => last = format!("pod {name}: {error}"),
        }
    }
    Err(last)
}

async fn open(
    api: &Api<Pod>,
    name: &str,
    target: u16,
) -> Result<(Portforwarder, impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin), String> {
    let mut forwarder = api.portforward(name, &[target]).await.map_err(|error| error.to_string())?;
    let stream = forwarder.take_stream(target).ok_or("the stream is missing")?;
    Ok((forwarder, stream))
}
