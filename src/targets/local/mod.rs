//! The local target: real servers as processes of this machine.
//!
//! A cluster is only a name here; everything is a process of the run's
//! supervisor, in a directory of its own below the run's scratch directory.

mod adopt;
pub mod cache;
mod home;
mod image;
mod origin;
mod postgres;
mod ready;
mod redis;
mod servers;
mod service;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::deployed::{Deployed, supervisor_failure};
use super::handles::Workload;
use super::kept::Kept;
use super::{
    Belongings, Cluster, ClusterRequest, Image, ImageRequest, Postgres, PostgresRequest, Redis, RedisRequest,
    Service, ServiceRequest, Target, Template,
};
use crate::run::{Failure, Kind, Step};
use crate::supervise::Lease;

/// Processes of this machine, owned by one supervisor.
pub struct Local {
    run: Belongings,
    deployed: Deployed,
    /// What is known of databases, and how their servers are reached.
    databases: Mutex<Vec<(Arc<cache::Provenance>, tokio_postgres::Config)>>,
}

impl Local {
    /// The local target of a run.
    #[must_use]
    pub fn new(run: Belongings) -> Self {
        let deployed = Deployed::new(run.supervisor.clone());
        Self { run, deployed, databases: Mutex::default() }
    }

    fn databases(&self) -> MutexGuard<'_, Vec<(Arc<cache::Provenance>, tokio_postgres::Config)>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server that the target would start as PostgreSQL.
///
/// # Errors
/// When it is not installed.
pub fn postgres_program() -> Result<PathBuf, Failure> {
    servers::find_postgres().map(|programs| programs.postgres)
}

/// The server that the target would start as Redis.
///
/// # Errors
/// When it is not installed.
pub fn redis_program() -> Result<PathBuf, Failure> {
    servers::find_redis()
}

#[async_trait]
impl Target for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn create_cluster(&self, _step: &Step, request: ClusterRequest) -> Result<Cluster, Failure> {
        Ok(Cluster { name: request.name.into(), namespace: None, kubeconfig: None })
    }

    async fn create_namespace(
        &self,
        _step: &Step,
        cluster: &Cluster,
        name: String,
    ) -> Result<Cluster, Failure> {
        Ok(Cluster { namespace: Some(name.into()), ..cluster.clone() })
    }

    async fn delete_cluster(&self, _step: &Step, cluster: &Cluster) -> Result<(), Failure> {
        // In reverse order, so that services go before what they use.
        for name in self.deployed.of(cluster).iter().rev() {
            self.withdraw(name).await?;
        }
        Ok(())
    }

    async fn build_image(&self, step: &Step, request: ImageRequest) -> Result<Image, Failure> {
        self.build(step, request).await
    }

    async fn load_image(&self, step: &Step, _cluster: &Cluster, image: &Image) -> Result<Image, Failure> {
        step.cache(true, "local runs the program from where it was built");
        Ok(image.clone())
    }

    async fn deploy_postgres(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: PostgresRequest,
    ) -> Result<Postgres, Failure> {
        no_manifest(request.manifest.as_ref())?;
        let name = request.name.clone();
        self.deploy(cluster, &name, Box::pin(self.start_postgres(step, request))).await
    }

    async fn deploy_redis(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: RedisRequest,
    ) -> Result<Redis, Failure> {
        no_manifest(request.manifest.as_ref())?;
        let name = request.name.clone();
        self.deploy(cluster, &name, self.start_redis(step, request)).await
    }

    async fn deploy_service(
        &self,
        _step: &Step,
        cluster: &Cluster,
        request: ServiceRequest,
    ) -> Result<Service, Failure> {
        no_manifest(request.manifest.as_ref())?;
        let name = request.name.clone();
        self.deploy(cluster, &name, self.start_service(request)).await
    }

    async fn apply_manifest(
        &self,
        _step: &Step,
        _cluster: &Cluster,
        manifest: Template,
    ) -> Result<(), Failure> {
        Err(no_kubernetes(&manifest))
    }

    async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.withdraw(name).await
    }

    async fn reserve_port(&self) -> Result<u16, Failure> {
        self.deployed.reserve().await
    }

    async fn up(&self) -> Vec<String> {
        let status = self.run.supervisor.status().await;
        let processes = status.map(|status| status.processes).unwrap_or_default();
        let running = processes.into_iter().filter(|process| process.ended.is_none());
        running.map(|process| process.name).collect()
    }

    async fn diagnose(&self) -> Option<PathBuf> {
        None
    }

    async fn adopt(&self, kept: &Kept) -> Result<Arc<dyn Workload>, Failure> {
        self.open(kept).await
    }

    async fn keep(&self) -> Result<bool, Failure> {
        self.keep_databases().await
    }

    async fn teardown(&self) -> Result<(), Failure> {
        self.run.supervisor.shutdown().await.map_err(supervisor_failure)
    }

    async fn detach(&self, lease: Option<Lease>) -> Result<(), Failure> {
        self.run.supervisor.detach(lease).await.map_err(supervisor_failure)
    }
}

/// Refuses a manifest for something that is a process here.
fn no_manifest(manifest: Option<&Template>) -> Result<(), Failure> {
    manifest.map_or(Ok(()), |manifest| Err(no_kubernetes(manifest)))
}

fn no_kubernetes(manifest: &Template) -> Failure {
    let what = format!("the target `local` has no Kubernetes to apply {} to", manifest.name);
    Failure::new(Kind::Unsupported, what)
        .hint("use deploy_postgres, deploy_redis or deploy_service, which every target can do")
}
