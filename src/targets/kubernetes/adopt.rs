//! Servers and services of a run that another process has deployed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::provider::Made;
use super::workload::{Deployment, Probe};
use super::{Kubernetes, Site, Space};
use crate::run::{Failure, Kind};
use crate::targets::kept::Kept;
use crate::targets::process::SupervisedProcess;
use crate::targets::{Endpoint, Workload, probe};

/// What a workload is, beside its handle.
#[derive(Serialize, Deserialize)]
pub(super) struct Own {
    pub cluster: Arc<str>,
    pub made: Made,
    /// The path that answers once it is ready, where it is a service.
    pub path: Option<String>,
}

impl Kubernetes {
    pub(super) async fn open(&self, kept: &Kept) -> Result<Arc<dyn Workload>, Failure> {
        let (own, probe) = match kept {
            Kept::Postgres { host, user, password, database, own, .. } => {
                let mut config = tokio_postgres::Config::new();
                config.host(&host.host).port(host.port).user(user).password(password).dbname(database);
                (own, Probe::Postgres(Box::new(config)))
            }
            Kept::Redis { host, password, own, .. } => {
                (own, Probe::Redis(probe::redis_client(host, password)?))
            }
            Kept::Service { host, own, .. } => (own, Probe::of_service(host.as_ref(), own["path"].as_str())),
            Kept::Cluster { .. } | Kept::Image { .. } => {
                return Err(Failure::new(Kind::Bug, "a cluster or image is no workload"));
            }
        };
        let name = kept.name();
        let own: Own = serde_json::from_value(own.clone()).map_err(|error| {
            Failure::new(Kind::Io, format!("the record of `{name}` cannot be read")).cause(error)
        })?;
        let forward = self.adopted_forward(name).await?;
        let site = self.rejoin(own).await?;
        Ok(Arc::new(Deployment { site, name: name.to_owned(), probe, forward }))
    }

    /// The site of a workload, opened once for all of them.
    async fn rejoin(&self, own: Own) -> Result<Arc<Site>, Failure> {
        let known =
            |site: &&Arc<Site>| site.cluster == own.cluster && *site.space.namespace == *own.made.namespace;
        if let Some(site) = self.sites().iter().find(known) {
            return Ok(site.clone());
        }
        let space = Space {
            client: own.made.access.connect(&self.run.secrets).await?,
            namespace: own.made.namespace.as_str().into(),
            run: self.run.folder.id.as_str().into(),
        };
        let site = Arc::new(Site { cluster: own.cluster, made: own.made, space, _follower: None });
        self.add(site.clone());
        Ok(site)
    }

    async fn adopted_forward(&self, name: &str) -> Result<Option<SupervisedProcess>, Failure> {
        let process = super::reach::process_of(name);
        let adopted = self.run.supervisor.adopt(&process).await;
        let adopted = adopted.map_err(super::supervisor_failure)?;
        Ok(adopted
            .map(|running| SupervisedProcess::adopted(&process, self.run.folder.log(&process), running)))
    }
}

impl Probe {
    /// How a service is asked that listens at `host`, if anywhere.
    pub(super) fn of_service(host: Option<&Endpoint>, path: Option<&str>) -> Self {
        match (host, path) {
            (Some(host), Some(path)) => Self::Http(host.clone(), path.to_owned()),
            (Some(_), None) => Self::Tcp,
            (None, _) => Self::None,
        }
    }
}
