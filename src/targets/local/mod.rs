//! The local target: real servers as processes of this machine.
//!
//! A cluster is only a name here; everything is a process of the run's
//! supervisor, in a directory of its own below the run's scratch directory.

mod home;
mod image;
mod postgres;
mod process;
mod ready;
mod redis;
mod servers;
mod service;

use std::path::PathBuf;

use async_trait::async_trait;

use super::deployed::{Deployed, supervisor_failure};
use super::handles::escape;
use super::{
    Cluster, ClusterRequest, Image, ImageRequest, Postgres, PostgresRequest, Redis, RedisRequest, Service,
    ServiceRequest, Target,
};
use crate::run::child::Children;
use crate::run::{Failure, Journal, Kind, RunFolder, Secrets, Step};
use crate::supervise::Supervisor;

/// Processes of this machine, owned by one supervisor.
pub struct Local {
    supervisor: Supervisor,
    /// The run's scratch directory.
    scratch: PathBuf,
    folder: RunFolder,
    journal: Journal,
    children: Children,
    secrets: Secrets,
    deployed: Deployed,
}

impl Local {
    /// The local target of the run that `supervisor` belongs to.
    #[must_use]
    pub fn new(
        supervisor: Supervisor,
        scratch: PathBuf,
        folder: RunFolder,
        journal: Journal,
        children: Children,
        secrets: Secrets,
    ) -> Self {
        let deployed = Deployed::new(supervisor.clone());
        Self { supervisor, scratch, folder, journal, children, secrets, deployed }
    }

    /// A password nobody has seen, and that nothing will show.
    fn secret(&self, given: Option<String>) -> Result<String, Failure> {
        let secret = match given {
            Some(given) => given,
            None => crate::run::secrets::random(24)?,
        };
        self.secrets.add(&secret);
        self.secrets.add(&escape(&secret));
        Ok(secret)
    }
}

#[async_trait]
impl Target for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn create_cluster(&self, _step: &Step, request: ClusterRequest) -> Result<Cluster, Failure> {
        Ok(Cluster { name: request.name.into(), namespace: None, kubeconfig: None })
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
        let name = request.name.clone();
        self.deploy(cluster, &name, self.start_postgres(step, request)).await
    }

    async fn deploy_redis(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: RedisRequest,
    ) -> Result<Redis, Failure> {
        let name = request.name.clone();
        self.deploy(cluster, &name, self.start_redis(step, request)).await
    }

    async fn deploy_service(
        &self,
        _step: &Step,
        cluster: &Cluster,
        request: ServiceRequest,
    ) -> Result<Service, Failure> {
        let name = request.name.clone();
        self.deploy(cluster, &name, self.start_service(request)).await
    }

    async fn apply_manifest(&self, _step: &Step, _cluster: &Cluster, path: PathBuf) -> Result<(), Failure> {
        let what = format!("the target `local` has no Kubernetes to apply {} to", path.display());
        Err(Failure::new(Kind::Unsupported, what)
            .hint("use deploy_postgres, deploy_redis or deploy_service, which every target can do"))
    }

    async fn reserve_port(&self) -> Result<u16, Failure> {
        self.deployed.reserve().await
    }

    async fn teardown(&self) -> Result<(), Failure> {
        self.supervisor.shutdown().await.map_err(supervisor_failure)
    }

    async fn detach(&self) -> Result<(), Failure> {
        self.supervisor.detach(None).await.map_err(supervisor_failure)
    }
}
