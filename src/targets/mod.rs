//! Where a recipe sets things up.
//!
//! A target makes clusters, images, databases and services in its own way and
//! hands out the same [handles](handles). What it cannot do it refuses at once.

mod deployed;
pub mod handles;
pub mod http;
pub mod kept;
pub mod local;
pub mod planned;
mod probe;
mod redis_conf;
mod variables;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

pub use handles::{Cluster, Endpoint, Executed, Image, Postgres, Redis, Service, Workload};

use crate::run::{Failure, Step};

/// What `create_cluster` asks for.
pub struct ClusterRequest {
    /// Its name.
    pub name: String,
    /// The namespace that things go to; one called as the cluster when none.
    pub namespace: Option<String>,
    /// A configuration file of kind, instead of `nodes`, `ports`, `mounts` and
    /// `patches`.
    pub config: Option<PathBuf>,
    /// The image of the nodes.
    pub image: Option<String>,
    /// How many nodes; the first is the control plane.
    pub nodes: usize,
    /// Ports of the control plane node and the ports of this machine that lead
    /// there.
    pub ports: BTreeMap<u16, u16>,
    /// Paths in every node and what of this machine is found there.
    pub mounts: BTreeMap<String, String>,
    /// Patches of kubeadm's configuration, in YAML.
    pub patches: Vec<String>,
    /// Whether a cluster of this name that is there may serve, and stays.
    pub reuse: bool,
    /// How long it may take.
    pub timeout: Duration,
}

/// A manifest to be rendered: YAML with Jinja expressions.
pub struct Template {
    /// The file.
    pub path: PathBuf,
    /// What the recipe calls it.
    pub name: String,
    /// Variables in addition to those that recipe gives.
    pub vars: serde_json::Map<String, serde_json::Value>,
}

/// What `build_image` asks for.
pub struct ImageRequest {
    /// Its name.
    pub name: String,
    /// A command that builds it, run by `sh -c` in the workspace.
    pub build: Option<String>,
    /// The program that the image runs.
    pub binary: Option<PathBuf>,
    /// The image that `binary` is put on.
    pub base: Option<String>,
    /// A Dockerfile to build.
    pub dockerfile: Option<PathBuf>,
    /// What relative paths and the build command are relative to.
    pub workspace: PathBuf,
}

/// What `deploy_postgres` asks for.
pub struct PostgresRequest {
    /// Its name, unique in the environment.
    pub name: String,
    /// The container image, for targets that run containers.
    pub image: String,
    /// The database to create.
    pub database: String,
    /// The superuser.
    pub user: String,
    /// Its password; a random one when none.
    pub password: Option<String>,
    /// Server settings, such as `max_connections`.
    pub settings: BTreeMap<String, String>,
    /// The size of a volume that outlives the pod, such as `1Gi`, for targets
    /// with pods.
    pub storage: Option<String>,
    /// The user's own manifest, for targets with Kubernetes.
    pub manifest: Option<Template>,
    /// The port on this machine; any free one when none.
    pub host_port: Option<u16>,
    /// How long it may take until it answers.
    pub timeout: Duration,
}

/// What `deploy_redis` asks for.
pub struct RedisRequest {
    /// Its name, unique in the environment.
    pub name: String,
    /// The container image, for targets that run containers.
    pub image: String,
    /// Its password; a random one when none, no authentication when empty.
    pub password: Option<String>,
    /// Server settings, such as `maxmemory`.
    pub settings: BTreeMap<String, String>,
    /// The user's own manifest, for targets with Kubernetes.
    pub manifest: Option<Template>,
    /// The port on this machine; any free one when none.
    pub host_port: Option<u16>,
    /// How long it may take until it answers.
    pub timeout: Duration,
}

/// What `deploy_service` asks for.
pub struct ServiceRequest {
    /// Its name, unique in the environment.
    pub name: String,
    /// What it runs.
    pub image: Option<Image>,
    /// The whole command line instead of the image's own.
    pub command: Option<Vec<String>>,
    /// Arguments after the image's own command.
    pub args: Vec<String>,
    /// Environment variables; `$(NAME)` refers to another one.
    pub env: BTreeMap<String, String>,
    /// Files to put beside it: name and contents.
    pub files: BTreeMap<String, String>,
    /// The port it listens on where it has an address of its own.
    pub port: Option<u16>,
    /// More ports, by name.
    pub ports: BTreeMap<String, u16>,
    /// The port on this machine; any free one when none.
    pub host_port: Option<u16>,
    /// The path that answers 200 once it is ready.
    pub ready: Option<String>,
    /// How many of it.
    pub replicas: usize,
    /// The user's own manifest, for targets with Kubernetes.
    pub manifest: Option<Template>,
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
    async fn adopt(&self, kept: &kept::Kept) -> Result<std::sync::Arc<dyn Workload>, Failure> {
        let what = format!("`{}` cannot be opened again on the target `{}`", kept.name(), self.name());
        Err(Failure::new(crate::run::Kind::Unsupported, what)
            .hint("its outputs and logs are there: `recipe env`, `recipe logs`"))
    }

    /// Reserves a port on 127.0.0.1 for the rest of the run.
    async fn reserve_port(&self) -> Result<u16, Failure>;

    /// Whether there is anything to leave up.
    async fn has_something_up(&self) -> bool;

    /// Gathers what explains a failure before everything is taken down, and
    /// tells where; none where the logs of the run say all there is.
    async fn diagnose(&self) -> Option<PathBuf>;

    /// Takes everything of this run down.
    async fn teardown(&self) -> Result<(), Failure>;

    /// Lets everything of this run outlive this process.
    async fn detach(&self) -> Result<(), Failure>;
}
