//! Images on this machine: a program that a command has built.

use std::path::Path;

use super::Local;
use crate::run::{Failure, Kind, Step};
use crate::targets::{Image, ImageRequest, digest, program};

impl Local {
    pub(super) async fn build(&self, step: &Step, mut request: ImageRequest) -> Result<Image, Failure> {
        request.no_cache |= !self.run.caches.images;
        if let Some(dockerfile) = &request.dockerfile {
            let what =
                format!("the target `local` has no container engine to build {} with", dockerfile.display());
            return Err(Failure::new(Kind::Unsupported, what).hint(
                "say how the program is built on this machine, as in \
                 #{ build: \"cargo build --release\", binary: \"target/release/NAME\" }; \
                 targets with an engine put `binary` on the image `base`",
            ));
        }
        let binary = program::build(step, &self.run.children, &request).await?;
        let digest = digest_of(&binary).await.map_err(|error| {
            Failure::new(Kind::Io, format!("the program {} cannot be read", binary.display())).cause(error)
        })?;
        Ok(Image { name: request.name.into(), binary: Some(binary), reference: None, digest: digest.into() })
    }
}

/// The BLAKE3 digest of a file's contents.
async fn digest_of(path: &Path) -> std::io::Result<String> {
    let path = path.to_owned();
    let digest = tokio::task::spawn_blocking(move || digest::remembered(&path));
    Ok(format!("blake3:{}", digest.await.map_err(std::io::Error::other)??.to_hex()))
}
