//! Where clusters come from, and how images get into them: what the targets
//! with Kubernetes do differently.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::space::{Access, MANAGER, MANAGER_LABEL};
use crate::run::child::Children;
use crate::run::{Failure, Step};
use crate::targets::engine::{Engine, Node};
use crate::targets::{ClusterRequest, Image, ImageRequest};

/// A cluster that is there now.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Made {
    /// How it is reached.
    pub access: Access,
    /// The namespace to deploy to; made if there is none.
    pub namespace: String,
    /// The containers that are its nodes, where this machine runs them.
    pub nodes: Vec<Node>,
    /// Whether it outlives the run, which then owns its namespace alone.
    pub is_shared: bool,
}

/// One of the targets with Kubernetes.
#[async_trait]
pub(super) trait Provider: Send + Sync {
    /// Makes a cluster, or finds the one that is there.
    async fn create(&self, step: &Step, request: &ClusterRequest) -> Result<Made, Failure>;

    /// Takes down a cluster that [`Provider::create`] has made for this run
    /// alone, by the name that the recipe gave it.
    async fn delete(&self, cluster: &str) -> Result<(), Failure>;

    /// The engine whose images the nodes get; none where they pull them.
    async fn engine(&self) -> Option<Engine>;

    /// Makes an image on this machine.
    async fn build(&self, step: &Step, request: ImageRequest) -> Result<Image, Failure>;

    /// Brings an image to where the pods of a cluster find it, and returns how
    /// they have to call it.
    async fn bring(&self, step: &Step, made: &Made, image: &Image) -> Result<Image, Failure>;

    /// Brings along what the pods of a cluster would otherwise have to pull, if
    /// this machine has it.
    async fn spare_pull(&self, step: &Step, made: &Made, reference: &str) -> Result<(), Failure>;
}

/// Builds an image in the engine of this machine.
pub(super) async fn build(
    engine: &Engine,
    step: &Step,
    children: &Children,
    request: ImageRequest,
) -> Result<Image, Failure> {
    // A Dockerfile wins over a program that is built for it.
    let binary = request.binary.clone().filter(|_| request.dockerfile.is_none());
    let labels = [(MANAGER_LABEL.to_owned(), MANAGER.to_owned())].into();
    let built = engine.build(step, children, &request, &labels).await?;
    Ok(Image {
        name: request.name.into(),
        binary,
        digest: built.facts.id.into(),
        reference: Some(built.reference.into()),
    })
}
