//! Where a recipe sets things up.
//!
//! A target makes clusters, images, databases and services in its own way and
//! hands out the same [handles](handles). What it cannot do it refuses at once.

pub mod caches;
mod cargo;
mod deployed;
mod digest;
pub mod engine;
pub mod handles;
pub mod http;
pub mod kept;
mod known;
pub mod kubernetes;
pub mod local;
pub mod migrations;
pub mod planned;
mod probe;
mod process;
mod program;
mod redis_conf;
mod requests;
mod session;
mod variables;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use handles::{Cluster, Endpoint, Executed, Image, Postgres, Redis, Service, Workload};
pub use known::Known;
pub use requests::{ClusterRequest, ImageRequest, PostgresRequest, RedisRequest, ServiceRequest, Template};
pub use session::Session;

use crate::run::child::Children;
use crate::run::{Failure, Journal, Kind, RunFolder, Secrets, Step};
use crate::supervise::{Lease, Supervisor};

/// What a run has on its targets, whichever they are.
pub struct Belongings {
    /// Holds the port-forwards.
    pub supervisor: Supervisor,
    /// The run's scratch directory.
    pub scratch: PathBuf,
    /// The run's folder of records.
    pub folder: RunFolder,
    /// What the run makes.
    pub journal: Journal,
    /// Commands of the run itself.
    pub children: Children,
    /// What nothing must show.
    pub secrets: Secrets,
    /// What it may use of earlier runs.
    pub caches: caches::Caches,
}

impl Belongings {
    /// Writes into the journal what is about to be made, and how it is removed.
    fn announce(
        &self,
        kind: &str,
        name: &str,
        detail: impl Into<String>,
        removal: &impl serde::Serialize,
    ) -> Result<(), Failure> {
        self.journal.creating_with(kind, name, detail, removal).map_err(|error| self.no_journal(error))
    }

    /// Nothing is made that nobody could find again.
    fn no_journal(&self, error: std::io::Error) -> Failure {
        let what = format!("the run's journal cannot be written in {}", self.folder.path.display());
        Failure::new(Kind::Io, what)
            .hint("make room there, or set RECIPE_STATE_DIR to another directory")
            .cause(error)
    }

    /// A password nobody has seen, and that nothing will show.
    pub(crate) fn secret(&self, given: Option<String>) -> Result<String, Failure> {
        let secret = match given {
            Some(given) => given,
            None => crate::run::secrets::random(24)?,
        };
        self.secrets.add(&secret);
        Ok(secret)
    }
}

/// A place to set things up in.
#[async_trait]
pub trait Target: Send + Sync {
    /// `local`, `kind`, `kube:CONTEXT`.
    fn name(&self) -> &str;

    /// Makes a cluster.
    async fn create_cluster(&self, step: &Step, request: ClusterRequest) -> Result<Cluster, Failure>;

    /// The cluster, with another namespace to deploy to, made where there is none.
    async fn create_namespace(
        &self,
        step: &Step,
        cluster: &Cluster,
        name: String,
    ) -> Result<Cluster, Failure>;

    /// Takes down what was deployed to a cluster, and the cluster itself.
    async fn delete_cluster(&self, step: &Step, cluster: &Cluster) -> Result<(), Failure>;

    /// Makes an image on this machine.
    async fn build_image(&self, step: &Step, request: ImageRequest) -> Result<Image, Failure>;

    /// Brings an image to where the cluster runs it.
    async fn load_image(&self, step: &Step, cluster: &Cluster, image: &Image) -> Result<Image, Failure>;

    /// Starts PostgreSQL and waits until the database answers.
    async fn deploy_postgres(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: PostgresRequest,
    ) -> Result<Postgres, Failure>;

    /// Starts Redis and waits until it answers.
    async fn deploy_redis(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: RedisRequest,
    ) -> Result<Redis, Failure>;

    /// Starts a service without waiting for it.
    async fn deploy_service(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: ServiceRequest,
    ) -> Result<Service, Failure>;

    /// Applies a Kubernetes manifest.
    async fn apply_manifest(&self, step: &Step, cluster: &Cluster, manifest: Template)
    -> Result<(), Failure>;

    /// Opens what an earlier process of the same run has deployed. A target that
    /// does not say how cannot be attached to.
    async fn adopt(&self, kept: &kept::Kept) -> Result<Arc<dyn Workload>, Failure> {
        let what = format!("`{}` cannot be opened again on the target `{}`", kept.name(), self.name());
        Err(Failure::new(Kind::Unsupported, what)
            .hint("its outputs and logs are there: `recipe env`, `recipe logs`"))
    }

    /// Goes on with a place that an earlier process of the same run has made,
    /// once it has shown that it is there.
    async fn rejoin(&self, _cluster: &Cluster) -> Result<(), Failure> {
        Ok(())
    }

    /// Something that was ready before has to answer within this time.
    fn patience(&self) -> Duration {
        Duration::from_secs(3)
    }

    /// Takes down what is called `name`, also where it has ended or was only
    /// begun, so that it can be made anew. A target that does not say how
    /// cannot change an environment that is up.
    async fn remove(&self, name: &str) -> Result<(), Failure> {
        let what = format!("`{name}` cannot be made anew on the target `{}`", self.name());
        Err(Failure::new(Kind::Unsupported, what)
            .hint("`recipe down` takes the environment down, and `recipe run` sets it up again"))
    }

    /// Reserves a port on 127.0.0.1 for the rest of the run.
    async fn reserve_port(&self) -> Result<u16, Failure>;

    /// Names of what is up.
    async fn up(&self) -> Vec<String>;

    /// Gathers what explains a failure before everything is taken down, and
    /// tells where; none where the logs of the run say all there is.
    async fn diagnose(&self) -> Option<PathBuf>;

    /// Keeps for later runs what this one had to make, after its set-up. Returns
    /// whether there was anything.
    async fn keep(&self) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Takes everything of this run down.
    async fn teardown(&self) -> Result<(), Failure>;

    /// Lets everything of this run outlive this process, for the time of the
    /// lease if there is one.
    async fn detach(&self, lease: Option<Lease>) -> Result<(), Failure>;
}

/// The targets, as `--target` names them.
pub const TARGETS: [&str; 3] = ["local", "kind", "kube:CONTEXT"];

/// Whether there is a target of this name.
#[must_use]
pub fn is_target(name: &str) -> bool {
    name == "local" || name == "kind" || name.strip_prefix("kube:").is_some_and(|context| !context.is_empty())
}

/// The target of a run. Images for a cluster that is there are pushed to
/// `registry`. A name that [`is_target`] does not know means `local`.
#[must_use]
pub fn open(name: &str, registry: Option<&str>, belongings: Belongings) -> Arc<dyn Target> {
    match name.split_once(':') {
        Some(("kube", context)) => {
            Arc::new(kubernetes::Kubernetes::context(belongings, context, registry.map(str::to_owned)))
        }
        _ if name == "kind" => Arc::new(kubernetes::Kubernetes::kind(belongings)),
        _ => Arc::new(local::Local::new(belongings)),
    }
}
