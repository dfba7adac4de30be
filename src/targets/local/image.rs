//! Images on this machine: a program that a command has built.

use std::path::Path;

use super::Local;
use crate::run::child::{Command, describe};
use crate::run::{Failure, Kind, Step};
use crate::targets::{Image, ImageRequest};

impl Local {
    pub(super) async fn build(&self, step: &Step, request: ImageRequest) -> Result<Image, Failure> {
        if let Some(dockerfile) = &request.dockerfile {
            let what =
                format!("the target `local` has no container engine to build {} with", dockerfile.display());
            return Err(Failure::new(Kind::Unsupported, what).hint(
                "say how the program is built on this machine, as in \
                 #{ build: \"cargo build --release\", binary: \"target/release/NAME\" }; \
                 targets with an engine put `binary` on the image `base`",
            ));
        }
        let Some(binary) = &request.binary else {
            return Err(Failure::new(Kind::Usage, "it is not said which program the image runs").hint(
                "give the option `binary`, the path of a program, and `build`, the command that builds it",
            ));
        };
        if let Some(build) = &request.build {
            step.waiting(build.as_str());
            let command = Command {
                program: "sh".into(),
                args: vec!["-c".into(), build.into()],
                cwd: Some(request.workspace.clone()),
                ..Command::default()
            };
            let built = self.run.children.run(&command, |stream, line| step.output(stream, line)).await;
            let built =
                built.map_err(|error| Failure::new(Kind::Io, "`sh` cannot be executed").cause(error))?;
            if !built.status.success() {
                let what = format!("the build command ended with {}: {build}", describe(built.status));
                return Err(Failure::new(Kind::Command, what).evidence(built.tail(20)));
            }
        }
        let binary = request.workspace.join(binary);
        let digest = digest(&binary).await.map_err(|error| {
            let failure = Failure::new(Kind::NotFound, format!("there is no program {}", binary.display()))
                .cause(error);
            let hint = if request.build.is_some() {
                "the build command ran, but made no such file"
            } else {
                "build it first, or give the option `build`"
            };
            failure.hint(hint)
        })?;
        Ok(Image { name: request.name.into(), binary: Some(binary), reference: None, digest: digest.into() })
    }
}

/// The BLAKE3 digest of a file's contents.
async fn digest(path: &Path) -> std::io::Result<String> {
    let path = path.to_owned();
    let digest = tokio::task::spawn_blocking(move || {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(fs_err::File::open(path)?)?;
        Ok(format!("blake3:{}", hasher.finalize().to_hex()))
    });
    digest.await.map_err(std::io::Error::other)?
}
