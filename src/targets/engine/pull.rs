//! Images from registries.

use std::collections::BTreeMap;
use std::pin::pin;

use bollard::query_parameters::CreateImageOptions;
use futures::{TryFutureExt, TryStreamExt};

use super::docker_config::DockerConfig;
use super::failure::engine_failure;
use super::{Engine, reference};
use crate::run::child::Children;
use crate::run::{Failure, Step};

impl Engine {
    /// The id of an image, pulled when it is not on this machine yet.
    pub(super) async fn have(
        &self,
        step: &Step,
        children: &Children,
        image: &str,
    ) -> Result<String, Failure> {
        if let Some(facts) = self.inspect(image).await? {
            return Ok(facts.id);
        }
        step.waiting(format!("the pull of {image}"));
        let host = reference::registry(image);
        let credentials = DockerConfig::read()?.credentials(host, children, step.events().secrets()).await?;
        let (repository, tag) = reference::split(image);
        let options = CreateImageOptions {
            from_image: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            ..CreateImageOptions::default()
        };
        let pulling = async { Ok(self.worked().await?.create_image(Some(options), None, credentials)) };
        let mut pulling = pin!(pulling.try_flatten_stream());
        let mut layers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let failed = |error| {
            engine_failure(&format!("the image {image} is not on this machine and cannot be pulled"), error)
                .hint("check its name, `docker login`, and that this machine reaches the registry")
        };
        while let Some(news) = pulling.try_next().await.map_err(failed)? {
            let (Some(layer), Some(detail)) = (news.id, news.progress_detail) else { continue };
            let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
            if news.status.as_deref() == Some("Downloading")
                && let (Some(done), Some(total)) = (bytes(detail.current), bytes(detail.total))
            {
                layers.insert(layer, (done, total));
                let sum = |part: fn(&(u64, u64)) -> u64| layers.values().map(part).sum();
                step.progress(sum(|layer| layer.0), Some(sum(|layer| layer.1)), "bytes");
            }
        }
        let absent =
            || Failure::new(crate::run::Kind::NotFound, format!("the image {image} is still absent"));
        Ok(self.inspect(image).await?.ok_or_else(absent)?.id)
    }
}
