//! What primitives ask of a target.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Image;

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
    /// Images that will be deployed, to be fetched while the cluster is made.
    pub images: Vec<String>,
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
    /// Whether it only says what is different from recipe's own.
    pub is_patch: bool,
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
    /// The folder whose files the Dockerfile can copy; the workspace when none.
    pub context: Option<PathBuf>,
    /// Build arguments of the Dockerfile.
    pub args: BTreeMap<String, String>,
    /// The stage of the Dockerfile to build; the last when none.
    pub target: Option<String>,
    /// The image's tag, or its whole reference when it has a `:` or `/`; one
    /// made of what it is built from when none.
    pub tag: Option<String>,
    /// Whether to build even if nothing has changed.
    pub no_cache: bool,
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
