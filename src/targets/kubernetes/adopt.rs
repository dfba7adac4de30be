//! Servers and services of a run that another process has deployed.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde::{Deserialize, Serialize};

use super::Kubernetes;
use super::space::api_failure;
use super::workload::{Deployment as Deployed, Probe};
use crate::run::{Failure, Kind};
use crate::targets::kept::Kept;
use crate::targets::process::SupervisedProcess;
use crate::targets::{Endpoint, Workload, probe};

/// What a workload is, beside its handle.
#[derive(Serialize, Deserialize)]
pub(super) struct Own {
    /// The cluster and the namespace that it is in.
    pub cluster: Arc<str>,
    pub namespace: Arc<str>,
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
        let site = self.site(&own.cluster, Some(&own.namespace)).await?;
        let deployments: Api<Deployment> = Api::namespaced(site.space.client.clone(), &own.namespace);
        let there = deployments.get_metadata_opt(name).await;
        if there.map_err(|error| api_failure(&format!("`{name}`"), error))?.is_none() {
            return Err(Failure::new(Kind::NotFound, format!("`{name}` is not in the cluster any more")));
        }
        let forward = self.adopted_forward(name).await?;
        self.deployed.adopt(name, kept.ports());
        Ok(Arc::new(Deployed {
            site,
            name: name.to_owned(),
            probe,
            forward,
            provenance: None,
            adopted: true,
        }))
    }

    /// The process that leads there; another one where that has ended.
    async fn adopted_forward(&self, name: &str) -> Result<Option<SupervisedProcess>, Failure> {
        let process = super::reach::process_of(name);
        let adopted = self.run.supervisor.adopt(&process).await;
        let adopted = adopted.map_err(super::supervisor_failure)?;
        match adopted {
            Some(running) => {
                let log = self.run.folder.log(&process);
                Ok(Some(SupervisedProcess::adopted(&process, log, running)))
            }
            None => self.forward_again(name).await,
        }
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
