//! The target `kube:CONTEXT`: a cluster that is there, in which a run has
//! namespaces of its own. Images go through a registry.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::access;
use super::kind::own_name;
use super::provider::{Made, Provider, build};
use super::space::Access;
use crate::run::{Failure, Kind, Step};
use crate::targets::engine::Engine;
use crate::targets::{Belongings, ClusterRequest, Image, ImageRequest};

/// A context of the user's kubeconfig.
pub(super) struct Context {
    run: Arc<Belongings>,
    name: String,
    registry: Option<String>,
    engine: OnceCell<Engine>,
}

impl Context {
    pub(super) fn new(run: Arc<Belongings>, context: String, registry: Option<String>) -> Self {
        Self { run, name: context, registry, engine: OnceCell::new() }
    }

    async fn connected(&self) -> Result<&Engine, Failure> {
        self.engine.get_or_try_init(Engine::connect).await
    }
}

#[async_trait]
impl Provider for Context {
    async fn create(&self, step: &Step, request: &ClusterRequest) -> Result<Made, Failure> {
        if request.reuse || request.config.is_some() || request.nodes > 1 || !request.ports.is_empty() {
            step.message(
                crate::run::event::Level::Info,
                format!(
                    "the cluster of `{}` is as it is: options of create_cluster for nodes mean nothing",
                    self.name
                ),
            );
        }
        let access = Access { context: Some(self.name.clone()), ..Access::default() };
        let name = request.namespace.as_deref().unwrap_or(&request.name);
        let namespace = own_name(name, &self.run.folder.id);
        step.waiting(format!("the cluster of `{}` to say what may be done", self.name));
        access::check(&access.connect(&self.run.secrets).await?, &namespace).await?;
        Ok(Made { access, namespace, nodes: Vec::new(), is_shared: true })
    }

    async fn delete(&self, _cluster: &str) -> Result<(), Failure> {
        // It was there before; its namespaces are removed one by one.
        Ok(())
    }

    async fn engine(&self) -> Option<Engine> {
        None
    }

    async fn build(&self, step: &Step, request: ImageRequest) -> Result<Image, Failure> {
        build(self.connected().await?, step, &self.run.children, request).await
    }

    async fn bring(&self, step: &Step, _made: &Made, image: &Image) -> Result<Image, Failure> {
        let reference = image.reference.as_deref().unwrap_or(&image.name);
        let Some(registry) = &self.registry else {
            return Err(Failure::new(
                Kind::Usage,
                format!(
                    "there is no registry to push {} to, from which `{}` could pull it",
                    image.name, self.name
                ),
            )
            .hint("name one by --registry HOST/PATH, or by `registry` in recipe.toml"));
        };
        // Under the name and tag it has here, which say what is in it.
        let name = reference.rsplit('/').next().unwrap_or(reference);
        let pushed = format!("{}/{name}", registry.trim_end_matches('/'));
        let pushed = self.connected().await?.push(step, &self.run.children, reference, &pushed).await?;
        Ok(Image { reference: Some(pushed.into()), ..image.clone() })
    }

    async fn spare_pull(&self, _step: &Step, _made: &Made, _reference: &str) -> Result<(), Failure> {
        Ok(())
    }
}
