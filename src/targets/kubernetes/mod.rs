//! Targets with Kubernetes: a kind cluster of the run's own, or a cluster that
//! is there.
//!
//! What they share is here: manifests are rendered and applied server-side,
//! readiness is watched, and what the test reaches from this machine goes
//! through port-forwards that the run's supervisor holds. What they do
//! differently, making clusters and bringing images into them, is a
//! [`Provider`]'s.

mod access;
mod adopt;
mod apply;
mod cleanup;
mod context;
mod database;
mod deploy;
pub mod diagnostics;
mod forward;
mod kind;
mod patch;
mod place;
mod pod;
mod postgres;
mod preview;
mod provider;
mod reach;
pub mod ready;
mod redis;
mod service;
mod space;
mod template;
mod withdraw;
mod workload;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;

pub use cleanup::clean_up;
pub use forward::{SUBCOMMAND as FORWARD_SUBCOMMAND, run_forward};
pub use preview::{Preview, Variables, preview};
pub use space::Space;
pub use template::SHIPPED;

use self::database::Database;
use self::kind::own_name;
use self::place::Site;
use self::provider::{Made, Provider};
use super::deployed::{Deployed, supervisor_failure};
use super::kept::Kept;
use super::{
    Belongings, Cluster, ClusterRequest, Image, ImageRequest, Postgres, PostgresRequest, Redis, RedisRequest,
    Service, ServiceRequest, Target, Template, Workload,
};
use crate::run::{Failure, Kind, Step};
use crate::supervise::Lease;

/// How long gathering diagnostics may take before everything is taken down.
const DIAGNOSTICS: Duration = Duration::from_secs(20);

/// A target with Kubernetes.
pub struct Kubernetes {
    name: String,
    provider: Box<dyn Provider>,
    run: Arc<Belongings>,
    deployed: Deployed,
    sites: Mutex<Vec<Arc<Site>>>,
    /// Those that may be kept for later runs.
    databases: Mutex<Vec<Database>>,
}

impl Kubernetes {
    /// Clusters that kind makes.
    #[must_use]
    pub fn kind(run: Belongings) -> Self {
        let run = Arc::new(run);
        Self::new("kind".to_owned(), Box::new(kind::Kind::new(run.clone())), run)
    }

    /// The cluster of a context of the user's kubeconfig. Images are pushed to
    /// `registry`.
    #[must_use]
    pub fn context(run: Belongings, context: &str, registry: Option<String>) -> Self {
        let run = Arc::new(run);
        let provider = context::Context::new(run.clone(), context.to_owned(), registry);
        Self::new(format!("kube:{context}"), Box::new(provider), run)
    }

    fn new(name: String, provider: Box<dyn Provider>, run: Arc<Belongings>) -> Self {
        let deployed = Deployed::new(run.supervisor.clone());
        Self { name, provider, run, deployed, sites: Mutex::default(), databases: Mutex::default() }
    }

    async fn site_of(&self, cluster: &Cluster) -> Result<Arc<Site>, Failure> {
        self.site(&cluster.name, cluster.namespace.as_deref()).await
    }
}

#[async_trait]
impl Target for Kubernetes {
    fn name(&self) -> &str {
        &self.name
    }

    async fn create_cluster(&self, step: &Step, request: ClusterRequest) -> Result<Cluster, Failure> {
        let name: Arc<str> = request.name.as_str().into();
        if self.sites().await.iter().any(|site| site.cluster == name) {
            let what = format!("there is a cluster `{name}` in this environment already");
            return Err(Failure::new(Kind::Usage, what)
                .hint("give one of them another name, or make a namespace with create_namespace"));
        }
        let work = async {
            let made = self.provider.create(step, &request).await?;
            self.settle(step, name, format!("cluster {}", request.name), made).await
        };
        crate::run::clock::timeout(request.timeout, work).await.unwrap_or_else(|_| {
            let limit = crate::run::duration::show(request.timeout);
            Err(Failure::new(Kind::Timeout, format!("the cluster was not there within {limit}"))
                .hint("the option `timeout` gives it more time"))
        })
    }

    async fn create_namespace(
        &self,
        step: &Step,
        cluster: &Cluster,
        name: String,
    ) -> Result<Cluster, Failure> {
        let site = self.site_of(cluster).await?;
        let place = format!("namespace {name}");
        let namespace = if site.made.is_shared { own_name(&name, &self.run.folder.id) } else { name };
        let made = Made { namespace, ..site.made.clone() };
        self.settle(step, cluster.name.clone(), place, made).await
    }

    async fn delete_cluster(&self, _step: &Step, cluster: &Cluster) -> Result<(), Failure> {
        self.take_down(&cluster.name).await
    }

    async fn build_image(&self, step: &Step, mut request: ImageRequest) -> Result<Image, Failure> {
        request.no_cache |= !self.run.caches.images;
        self.provider.build(step, request).await
    }

    async fn load_image(&self, step: &Step, cluster: &Cluster, image: &Image) -> Result<Image, Failure> {
        self.provider.bring(step, &self.site_of(cluster).await?.made, image).await
    }

    async fn deploy_postgres(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: PostgresRequest,
    ) -> Result<Postgres, Failure> {
        let (site, name) = (self.site_of(cluster).await?, request.name.clone());
        self.deploy(cluster, &name, Box::pin(self.start_postgres(step, site, request))).await
    }

    async fn deploy_redis(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: RedisRequest,
    ) -> Result<Redis, Failure> {
        let (site, name) = (self.site_of(cluster).await?, request.name.clone());
        self.deploy(cluster, &name, self.start_redis(step, site, request)).await
    }

    async fn deploy_service(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: ServiceRequest,
    ) -> Result<Service, Failure> {
        let (site, name) = (self.site_of(cluster).await?, request.name.clone());
        self.deploy(cluster, &name, self.start_service(step, site, request)).await
    }

    async fn apply_manifest(
        &self,
        step: &Step,
        cluster: &Cluster,
        manifest: Template,
    ) -> Result<(), Failure> {
        let site = self.site_of(cluster).await?;
        let values = serde_json::json!({
            "namespace": site.space.namespace, "run": site.space.run, "cluster": site.cluster,
        });
        self.apply(step, &site, template::render_file(&manifest, &values)?).await
    }

    async fn reserve_port(&self) -> Result<u16, Failure> {
        self.deployed.reserve().await
    }

    async fn up(&self) -> Vec<String> {
        self.sites().await.iter().map(|site| format!("{}/{}", site.cluster, site.space.namespace)).collect()
    }

    async fn rejoin(&self, cluster: &Cluster) -> Result<(), Failure> {
        self.look_at(cluster).await
    }

    /// Answers come through the API of a cluster, which may have much to do; what
    /// never will answer is known sooner.
    fn patience(&self) -> Duration {
        Duration::from_mins(1)
    }

    async fn remove(&self, name: &str) -> Result<(), Failure> {
        self.withdraw(name).await
    }

    async fn adopt(&self, kept: &Kept) -> Result<Arc<dyn Workload>, Failure> {
        self.open(kept).await
    }

    async fn diagnose(&self) -> Option<PathBuf> {
        let into = self.run.folder.path.join("diagnostics");
        let sites = self.sites().await;
        let collect = sites.iter().map(|site| {
            let into = into.join(format!("{}.{}", site.cluster, site.space.namespace));
            let secrets = &self.run.secrets;
            async move { diagnostics::collect(&site.space, &into, secrets, DIAGNOSTICS).await }
        });
        let collected = join_all(collect).await;
        collected.iter().any(Result::is_ok).then_some(into)
    }

    async fn keep(&self) -> Result<bool, Failure> {
        self.keep_databases().await
    }

    async fn teardown(&self) -> Result<(), Failure> {
        let (removed, forwards) = tokio::join!(clean_up(&self.run.folder), self.run.supervisor.shutdown());
        removed?;
        forwards.map_err(supervisor_failure)
    }

    async fn detach(&self, lease: Option<Lease>) -> Result<(), Failure> {
        self.run.supervisor.detach(lease).await.map_err(supervisor_failure)
    }
}
