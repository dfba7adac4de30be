//! A server or service in a cluster, as something to wait for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::adopt::Own;
use super::place::Site;
use super::pod;
use super::reach::process_of;
use super::ready::{WorkloadKind, rolled_out};
use crate::run::event::Level;
use crate::run::{Failure, Step};
use crate::targets::handles::empty_command;
use crate::targets::local::cache::Provenance;
use crate::targets::migrations::{Migrations, Recalled};
use crate::targets::process::SupervisedProcess;
use crate::targets::{Endpoint, Executed, Workload, probe};

/// A Deployment, and how it is asked whether it does its work.
pub(super) struct Deployment {
    pub site: Arc<Site>,
    pub name: String,
    pub probe: Probe,
    /// The process that leads there from this machine.
    pub forward: Option<SupervisedProcess>,
    /// What is known of its database, where it is one that may be kept.
    pub provenance: Option<Arc<Provenance>>,
    /// Whether an earlier process has deployed it.
    pub adopted: bool,
}

/// How something is asked from this machine.
pub(super) enum Probe {
    /// `SELECT 1`.
    Postgres(Box<tokio_postgres::Config>),
    /// `PING`.
    Redis(redis::Client),
    /// GET a path.
    Http(Endpoint, String),
    /// By a connection to a port.
    Tcp,
    /// Not at all.
    None,
}

#[async_trait]
impl Workload for Deployment {
    /// Rolled out, and answering through the port-forward. The pods are watched
    /// and the answer is asked for at the same time: a doomed pod ends both.
    async fn ready(&self, step: &Step, timeout: Duration) -> Result<(), Failure> {
        let rollout = rolled_out(step, &self.site.space, WorkloadKind::Deployment, &self.name, timeout);
        let work = async { tokio::try_join!(rollout, self.answer(timeout)) };
        let (times, ()) = tokio::select! {
            ready = work => ready?,
            failure = self.unreachable() => return Err(failure),
        };
        // Where the time of others went was told before.
        for pod in times.iter().filter(|_| !self.adopted) {
            step.message(Level::Info, pod.to_string());
        }
        Ok(())
    }

    fn remains(&self) -> serde_json::Value {
        let path = match &self.probe {
            Probe::Http(_, path) => Some(path.clone()),
            _ => None,
        };
        let (cluster, namespace) = (self.site.cluster.clone(), self.site.space.namespace.clone());
        let own = Own { cluster, namespace, path };
        serde_json::to_value(own).unwrap_or_default()
    }

    async fn recall(&self, migrations: &Arc<dyn Migrations>) -> Recalled {
        match (&self.provenance, &self.probe) {
            (Some(provenance), Probe::Postgres(config)) => provenance.recall(config, migrations).await,
            _ => Recalled::default(),
        }
    }

    async fn migrated(&self) {
        if let Some(provenance) = &self.provenance {
            provenance.migrated().await;
        }
    }

    async fn logs(&self, lines: usize) -> Result<String, Failure> {
        pod::logs(&self.site.space, &self.name, lines).await
    }

    async fn exec(&self, step: &Step, command: &[String]) -> Result<Executed, Failure> {
        if command.is_empty() {
            return Err(empty_command());
        }
        pod::exec(step, &self.site.space, &self.name, command).await
    }
}

impl Deployment {
    /// Resolves when nothing leads there any more.
    async fn unreachable(&self) -> Failure {
        match &self.forward {
            Some(process) => process.died().await.hint(format!(
                "it led to `{}` from this machine; `recipe logs RUN {}` shows its log",
                self.name,
                process_of(&self.name)
            )),
            None => std::future::pending().await,
        }
    }

    async fn answer(&self, timeout: Duration) -> Result<(), Failure> {
        let name = &self.name;
        match &self.probe {
            Probe::Postgres(config) => {
                let probe = || probe::select_one(config);
                probe::answer(name, "PostgreSQL to answer SELECT 1", timeout, probe).await.map(drop)
            }
            Probe::Redis(client) => {
                probe::answer(name, "Redis to answer PING", timeout, || probe::ping(client)).await
            }
            Probe::Http(endpoint, path) => {
                let url = probe::url(endpoint, path);
                let probe = || crate::targets::http::probe(&url, 200..=299);
                probe::answer(name, &format!("GET {url} to answer 200"), timeout, probe).await
            }
            // The port-forward accepts what the pod may refuse, so that only
            // the rollout tells.
            Probe::Tcp | Probe::None => Ok(()),
        }
    }
}
