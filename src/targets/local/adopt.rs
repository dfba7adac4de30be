//! Servers and services of a run that another process has started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::postgres::PostgresProcess;
use super::redis::RedisProcess;
use super::service::ServiceProcess;
use super::{Local, supervisor_failure};
use crate::run::{Failure, Kind};
use crate::targets::kept::Kept;
use crate::targets::process::SupervisedProcess;
use crate::targets::session::Spare;
use crate::targets::{Workload, probe};

/// What a service is, beside its handle.
#[derive(Serialize, Deserialize)]
pub(super) struct ServiceOwn {
    /// The path that answers once it is ready.
    pub path: Option<String>,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Its directory.
    pub home: PathBuf,
}

impl Local {
    pub(super) async fn open(&self, kept: &Kept) -> Result<Arc<dyn Workload>, Failure> {
        let name = kept.name();
        let process = self.run.supervisor.adopt(name).await.map_err(supervisor_failure)?;
        let process = process.ok_or_else(|| {
            Failure::new(Kind::Exited, format!("`{name}` does not run any more"))
                .hint(format!("`recipe logs {} {name}` shows why", self.run.folder.id))
        })?;
        self.deployed.adopt(name, kept.ports());
        let process = SupervisedProcess::adopted(name, self.run.folder.log(name), process);
        Ok(match kept {
            Kept::Postgres { host, user, password, database, .. } => {
                let mut config = tokio_postgres::Config::new();
                config.host(&host.host).port(host.port).user(user).password(password).dbname(database);
                Arc::new(PostgresProcess { process, config, provenance: None, spare: Spare::default() })
            }
            Kept::Redis { host, password, .. } => {
                Arc::new(RedisProcess { process, client: probe::redis_client(host, password)? })
            }
            Kept::Service { host, own, .. } => {
                let own: ServiceOwn = serde_json::from_value(own.clone()).map_err(|error| {
                    Failure::new(Kind::Io, format!("the record of `{name}` cannot be read")).cause(error)
                })?;
                Arc::new(ServiceProcess {
                    process,
                    endpoint: host.clone(),
                    path: own.path,
                    env: own.env,
                    home: own.home,
                    children: self.run.children.clone(),
                })
            }
            Kept::Cluster { .. } | Kept::Image { .. } => {
                return Err(Failure::new(Kind::Bug, "a cluster or image has no process"));
            }
        })
    }
}
