//! Where a recipe sets things up.
//!
//! A target makes clusters, images, databases and services in its own way and
//! hands out the same [handles](handles). What it cannot do it refuses at once.

pub mod handles;
pub mod http;
pub mod kubernetes;
pub mod local;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

pub use handles::{Cluster, Endpoint, Image, Postgres, Redis, Service, Workload};

use crate::run::{Failure, Step};

/// What `create_cluster` asks for.
pub struct ClusterRequest {
    /// Its name.
    pub name: String,
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
}

/// Output of a command that ran inside a service's environment.
pub struct Executed {
    /// Its exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A place to set things up in.
#[async_trait]
pub trait Target: Send + Sync {
    /// `local`, `kind`, `kube:CONTEXT`.
    fn name(&self) -> &str;

    /// Makes a cluster.
    async fn create_cluster(&self, step: &Step, request: ClusterRequest) -> Result<Cluster, Failure>;

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

    /// Applies Kubernetes manifests.
    async fn apply_manifest(&self, step: &Step, cluster: &Cluster, path: PathBuf) -> Result<(), Failure>;

    /// Runs a command in a service's environment.
    async fn exec(&self, step: &Step, service: &Service, command: Vec<String>) -> Result<Executed, Failure>;

    /// Reserves a port on 127.0.0.1 for the rest of the run.
    async fn reserve_port(&self) -> Result<u16, Failure>;

    /// Takes everything of this run down. The number is of what is left.
    async fn teardown(&self) -> Result<(), Failure>;

    /// Lets everything of this run outlive this process.
    async fn detach(&self) -> Result<(), Failure>;
}
