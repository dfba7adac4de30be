//! The container engine of this machine, Docker or Podman, through its HTTP
//! API: builds images, brings them into the nodes of a cluster, pushes them.
//!
//! ```text
//! connect      which engine: DOCKER_HOST, contexts, sockets
//! build        a Dockerfile and its context   <- context, ignore, digests, archive
//! program      a program on a base image, one layer that is made here
//! load         what the nodes lack            <- node, export, layers, layout
//! addition     a folder on top of an image, for nodes alone
//! push         to a registry                  <- docker_config for credentials
//! server       a container that serves for a while
//! ```

mod addition;
mod archive;
mod build;
mod builder;
mod connect;
mod context;
mod digests;
mod docker_config;
mod dockerfile;
mod elf;
mod export;
mod failure;
#[cfg(test)]
mod fuzz_tests;
mod ignore;
mod layers;
mod layout;
mod load;
mod node;
mod prepare;
mod program;
mod pull;
mod push;
mod reference;
mod server;
mod wanted;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::RemoveImageOptions;

use self::failure::{engine_failure, is_absent};
use self::program::ProgramImage;
use crate::fault::{self, Seam};
use crate::run::{Failure, Kind};

pub use self::addition::Addition;
pub use self::build::BuiltImage;
pub use self::connect::Provider;
pub use self::layers::{KeptLayer, kept as kept_layers, prune as prune_layers};
pub use self::load::{Loaded, NodeLoad};
pub use self::node::Node;
pub use self::program::program_path;
pub use self::server::ServerRequest;

/// A connection to a container engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    docker: Docker,
    /// The same, for questions that it answers at once or never.
    asked: Docker,
    provider: Provider,
    /// For the CLIs `kind`, `docker` and `podman`.
    environment: BTreeMap<String, String>,
    /// Whether layers are kept unpacked and known by the digest of their tar,
    /// as all engines but those on containerd's store do.
    classic_store: bool,
    /// The architecture of images that have no base to take it from.
    architecture: String,
    /// Builds under way, by the reference of what they make.
    builds: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Images that are being prepared for a load, by their references.
    loads: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Images that a program was put into here, by their id.
    programs: Mutex<HashMap<String, Arc<ProgramImage>>>,
}

/// What the engine knows of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// The digest of its configuration, with `sha256:`.
    pub id: String,
    /// The digests of its layers' tars, the lowest first, with `sha256:`.
    pub diff_ids: Vec<String>,
    /// Bytes of its layers, unpacked.
    pub size: u64,
}

impl Engine {
    /// Which kind of engine answers.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.0.provider
    }

    /// Variables by which the CLIs `kind`, `docker` and `podman` speak to the
    /// same engine.
    #[must_use]
    pub fn cli_environment(&self) -> BTreeMap<String, String> {
        self.0.environment.clone()
    }

    /// What the engine knows of an image; none when it has no such image.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn inspect(&self, reference: &str) -> Result<Option<ImageFacts>, Failure> {
        Ok(self.inspected(reference).await?.map(ImageFacts::from))
    }

    async fn inspected(&self, reference: &str) -> Result<Option<ImageInspect>, Failure> {
        match async { self.asked().await?.inspect_image(reference).await }.await {
            Ok(image) => Ok(Some(image)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(engine_failure(&format!("the image {reference} cannot be looked up"), error)),
        }
    }

    /// Takes a reference from an image, and removes the image with its last.
    ///
    /// # Errors
    /// When a container still uses it. That it is gone already is none.
    pub async fn remove_image(&self, reference: &str) -> Result<(), Failure> {
        let options = None::<RemoveImageOptions>;
        let removed = async { self.asked().await?.remove_image(reference, options, None).await }.await;
        match removed {
            Err(error) if !is_absent(&error) => {
                Err(engine_failure(&format!("the image {reference} cannot be removed"), error))
            }
            _ => Ok(()),
        }
    }

    /// For what it answers at once.
    async fn asked(&self) -> Result<&Docker, Error> {
        fault::at(Seam::Docker).await?;
        Ok(&self.0.asked)
    }

    /// For what it works on before it answers, so that only those who wait know
    /// how long is too long.
    async fn worked(&self) -> Result<&Docker, Error> {
        fault::at(Seam::Docker).await?;
        Ok(&self.0.docker)
    }

    fn remember(&self, id: &str, image: ProgramImage) {
        let mut programs = self.0.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.insert(id.to_owned(), Arc::new(image));
    }

    fn remembered(&self, id: &str) -> Option<Arc<ProgramImage>> {
        self.0.programs.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

impl From<ImageInspect> for ImageFacts {
    fn from(image: ImageInspect) -> Self {
        Self {
            id: image.id.unwrap_or_default(),
            diff_ids: image.root_fs.and_then(|root| root.layers).unwrap_or_default(),
            size: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        }
    }
}

/// The failure of a task that panicked, which is a bug.
fn panicked(error: tokio::task::JoinError) -> Failure {
    Failure::new(Kind::Bug, "work on an image ended unexpectedly").cause(error)
}
