//! Pushing images to a registry, for clusters that pull from it.

use bollard::query_parameters::PushImageOptions;
use futures::{TryFutureExt, TryStreamExt};

use super::docker_config::DockerConfig;
use super::failure::{engine_failure, told};
use super::{Engine, reference};
use crate::run::child::Children;
use crate::run::{Failure, Kind, Step};

impl Engine {
    /// Pushes an image of the engine under another name, with the credentials
    /// that `docker login` left. Returns the reference by digest that every
    /// node can pull.
    ///
    /// # Errors
    /// When the registry is not reached or refuses.
    pub async fn push(
        &self,
        step: &Step,
        children: &Children,
        image: &str,
        as_reference: &str,
    ) -> Result<String, Failure> {
        let (repository, tag) = reference::split(as_reference);
        let host = reference::registry(as_reference);
        step.waiting(format!("the registry {host}"));
        let credentials = DockerConfig::read()?.credentials(host, children, step.events().secrets()).await?;
        // A name that is there already is the user's, and stays.
        let is_new = self.inspect(as_reference).await?.is_none();
        self.tag(image, as_reference).await?;
        let options = PushImageOptions { tag: Some(tag.to_owned()), ..PushImageOptions::default() };
        let pushing = async { Ok(self.worked().await?.push_image(repository, Some(options), credentials)) };
        let mut pushing = Box::pin(pushing.try_flatten_stream());
        let mut digest = None;
        let (mut there, mut sent) = (0, 0);
        let outcome = loop {
            match pushing.try_next().await {
                Ok(Some(news)) => {
                    if let Some(detail) = news.progress_detail
                        && let (Some(done), Some(total)) = (detail.current, detail.total)
                    {
                        step.progress(done.unsigned_abs(), Some(total.unsigned_abs()), "bytes");
                    }
                    match news.status.as_deref() {
                        Some("Layer already exists") => there += 1,
                        Some("Pushed") => sent += 1,
                        Some(status) => digest = digest_in(status).or(digest),
                        None => {}
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(pushing);
        if is_new {
            self.remove_image(as_reference).await?;
        }
        outcome.map_err(|error| {
            let hint = hint(&told(&error), host);
            engine_failure(&format!("{image} cannot be pushed as {as_reference}"), error).hint(hint)
        })?;
        step.cache(there > 0, format!("{there} of {} layers were in {host}", there + sent));
        digest.map(|digest| format!("{repository}@{digest}")).ok_or_else(|| {
            Failure::new(Kind::Unreachable, format!("{host} took {as_reference}, but told no digest"))
        })
    }
}

/// The digest in a line such as `v1: digest: sha256:ab.. size: 1234`.
fn digest_in(status: &str) -> Option<String> {
    let (_, after) = status.split_once("digest: ")?;
    after.split_whitespace().next().map(str::to_owned)
}

fn hint(why: &str, host: &str) -> String {
    if why.contains("HTTP response to HTTPS") {
        format!("{host} speaks plain HTTP: name it in `insecure-registries` of the engine's configuration")
    } else if ["denied", "unauthorized", "authentication"].iter().any(|word| why.contains(word)) {
        format!("`docker login {host}` as someone who may push there")
    } else {
        format!("is {host} right, and reachable from the container engine?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_digest_and_what_to_do() {
        assert_eq!(digest_in("v1: digest: sha256:ab size: 12").as_deref(), Some("sha256:ab"));
        assert_eq!(digest_in("Pushed"), None);
        assert!(hint("server gave HTTP response to HTTPS client", "r").contains("insecure-registries"));
        assert!(hint("unauthorized: authentication required", "r").contains("docker login r"));
    }
}
