//! The target `kind`: clusters of the run's own, made by the program `kind` in
//! the container engine of this machine.
//!
//! A cluster's name has the end of the run's name added, so that runs live side
//! by side and what a run has left can be removed by name. One that may be
//! reused is called just as the recipe says, and stays.

pub(super) mod cli;
mod config;
mod shared;

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use self::cli::Cli;
pub use self::cli::Cluster;
use super::cleanup::Removal;
use super::provider::{Made, Provider, build};
use super::space::Access;
use crate::run::event::Level;
use crate::run::{Failure, Kind as FailureKind, Step};
use crate::targets::engine::Engine;
use crate::targets::{Belongings, ClusterRequest, Image, ImageRequest};

/// The image of nodes, when the recipe names none.
const NODE_IMAGE_VARIABLE: &str = "RECIPE_KIND_NODE_IMAGE";

/// Longer names make host names of nodes that Linux does not take.
const LONGEST_NAME: usize = 45;

/// Makes clusters with kind.
pub(super) struct Kind {
    run: Arc<Belongings>,
    tools: OnceCell<(Engine, Cli)>,
}

/// `name` made the run's own by the end of the run's name.
pub(super) fn own_name(name: &str, run: &str) -> String {
    format!("{name}-{}", run.rsplit('-').next().unwrap_or(run))
}

impl Kind {
    pub(super) fn new(run: Arc<Belongings>) -> Self {
        Self { run, tools: OnceCell::new() }
    }

    async fn tools(&self) -> Result<&(Engine, Cli), Failure> {
        let find = || async {
            let engine = Engine::connect().await?;
            let cli = Cli::find(engine.cli_environment())?;
            Ok((engine, cli))
        };
        self.tools.get_or_try_init(find).await
    }

    /// A cluster that goes with the run.
    async fn create_own(&self, step: &Step, cli: &Cli, request: &ClusterRequest) -> Result<Made, Failure> {
        let name = own_name(&request.name, &self.run.folder.id);
        let kubeconfig = self.kubeconfig_file(&name);
        self.make(step, cli, &name, request, &kubeconfig).await?;
        Ok(Made {
            access: Self::access(cli, &name, &kubeconfig),
            namespace: request.namespace.clone().unwrap_or_else(|| request.name.clone()),
            nodes: cli.nodes(&self.run.children, &name).await?,
            is_shared: false,
        })
    }

    /// Makes a cluster, which goes with the run.
    async fn make(
        &self,
        step: &Step,
        cli: &Cli,
        name: &str,
        request: &ClusterRequest,
        kubeconfig: &Path,
    ) -> Result<(), Failure> {
        let config = config_text(request)?;
        let image = node_image(request);
        let removal = Removal::KindCluster(Cluster { name: name.to_owned(), cli: cli.clone() });
        self.run.announce("cluster", name, "made by kind", &removal)?;
        let made = cli.create(step, &self.run.children, name, config, image.as_deref(), kubeconfig).await;
        if made.as_ref().is_err_and(|failure| failure.kind == FailureKind::Usage) {
            // There is one of that name, which is somebody else's.
            self.run.journal.removed("cluster", name);
        }
        made
    }

    fn access(cli: &Cli, name: &str, kubeconfig: &Path) -> Access {
        let cluster = Cluster { name: name.to_owned(), cli: cli.clone() };
        Access { kubeconfig: Some(kubeconfig.to_owned()), context: None, made_by: Some(cluster) }
    }

    /// Goes with the environment, as what it gives access to does.
    fn kubeconfig_file(&self, cluster: &str) -> PathBuf {
        self.run.scratch.join(format!("{cluster}.kubeconfig"))
    }
}

fn node_image(request: &ClusterRequest) -> Option<String> {
    request
        .image
        .clone()
        .or_else(|| std::env::var(NODE_IMAGE_VARIABLE).ok().filter(|image| !image.is_empty()))
}

fn config_text(request: &ClusterRequest) -> Result<String, Failure> {
    let Some(path) = &request.config else { return Ok(config::config(request)) };
    fs_err::read_to_string(path).map_err(|error| {
        Failure::new(FailureKind::NotFound, "the configuration of the cluster cannot be read").cause(error)
    })
}

/// Writes a kubeconfig, which only its owner may read.
fn write_kubeconfig(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|error| Failure::new(FailureKind::Io, "the kubeconfig cannot be written").cause(error))
}

#[async_trait]
impl Provider for Kind {
    async fn create(&self, step: &Step, request: &ClusterRequest) -> Result<Made, Failure> {
        if request.name.len() > LONGEST_NAME {
            let what = format!("`{}` is too long a name for a cluster", request.name);
            return Err(Failure::new(FailureKind::Usage, what).hint(format!(
                "use at most {LONGEST_NAME} characters: the names of nodes are made from it"
            )));
        }
        let (engine, cli) = self.tools().await?;
        for image in &request.images {
            // Goes on by itself; who loads the image waits for it.
            engine.prepare(step, image);
        }
        if request.reuse {
            self.create_shared(step, cli, request).await
        } else {
            self.create_own(step, cli, request).await
        }
    }

    async fn delete(&self, cluster: &str) -> Result<(), Failure> {
        let (_, cli) = self.tools().await?;
        let name = own_name(cluster, &self.run.folder.id);
        cli.delete(&name).await?;
        self.run.journal.removed("cluster", &name);
        Ok(())
    }

    async fn engine(&self) -> Option<Engine> {
        self.tools().await.ok().map(|(engine, _)| engine.clone())
    }

    async fn build(&self, step: &Step, request: ImageRequest) -> Result<Image, Failure> {
        let (engine, _) = self.tools().await?;
        let image = build(engine, step, &self.run.children, request).await?;
        if let Some(reference) = &image.reference {
            // While a cluster comes up, perhaps; who loads the image waits for it.
            engine.prepare(step, reference);
        }
        Ok(image)
    }

    async fn bring(&self, step: &Step, made: &Made, image: &Image) -> Result<Image, Failure> {
        let (engine, _) = self.tools().await?;
        let reference = image.reference.as_deref().unwrap_or(&image.name);
        engine.load(step, &made.nodes, &[reference.to_owned()]).await?;
        Ok(image.clone())
    }

    async fn spare_pull(&self, step: &Step, made: &Made, reference: &str) -> Result<(), Failure> {
        let (engine, _) = self.tools().await?;
        if engine.inspect(reference).await?.is_some() {
            // A part of the step: the node has the image, and the server is new.
            let part = step.part();
            engine.load(&part, &made.nodes, &[reference.to_owned()]).await?;
            if let Some(found) = part.cache_use() {
                step.message(Level::Info, format!("{reference}: {}", found.why));
            }
        }
        Ok(())
    }
}
