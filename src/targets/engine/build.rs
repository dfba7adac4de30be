//! Building images, unless an equal one is there already.
//!
//! What is built from the same files, arguments and base images has the same
//! tag, so that a second build has only to find it. Nothing else is trusted:
//! not names, not times.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use bollard::query_parameters::TagImageOptions;

use super::archive::{Body, Entry};
use super::builder::Plan;
use super::context::{self, Context};
use super::failure::engine_failure;
use super::{Engine, ImageFacts, digests, dockerfile, panicked, reference};
use crate::run::child::Children;
use crate::run::event::Level;
use crate::run::{Failure, Kind, Step};
use crate::targets::{ImageRequest, program};

/// Characters of a digest that make a tag.
const TAG: usize = 12;

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// What to call it in the engine and on nodes.
    pub reference: String,
    /// What the engine knows of it.
    pub facts: ImageFacts,
}

impl Engine {
    /// Builds an image from a Dockerfile, or from a program and a base image.
    /// One that is built from the same things already is used again.
    ///
    /// # Errors
    /// When something it is built from is absent, or the build fails.
    pub async fn build(
        &self,
        step: &Step,
        children: &Children,
        request: &ImageRequest,
        labels: &BTreeMap<String, String>,
    ) -> Result<BuiltImage, Failure> {
        let wanted = request.tag.as_deref().map(|tag| reference::wanted(&request.name, tag)).transpose()?;
        let built = if request.dockerfile.is_some() || request.binary.is_none() {
            self.build_dockerfile(step, children, request, labels).await?
        } else {
            self.build_program(step, children, request, labels).await?
        };
        let Some(wanted) = wanted else { return Ok(built) };
        self.tag(&built.reference, &wanted).await?;
        Ok(BuiltImage { reference: wanted, ..built })
    }

    async fn build_dockerfile(
        &self,
        step: &Step,
        children: &Children,
        request: &ImageRequest,
        labels: &BTreeMap<String, String>,
    ) -> Result<BuiltImage, Failure> {
        refuse_both(request)?;
        program::run(step, children, request).await?;
        let folder = request.workspace.join(request.context.as_deref().unwrap_or(Path::new("")));
        let path = match &request.dockerfile {
            Some(path) => request.workspace.join(path),
            None => folder.join("Dockerfile"),
        };
        let text: Arc<str> = match fs_err::read_to_string(&path) {
            Ok(text) => text.into(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let what = format!("there is no Dockerfile {}", path.display());
                return Err(Failure::new(Kind::NotFound, what)
                    .hint("give `dockerfile`, its path in the workspace, or `binary`, a program"));
            }
            Err(error) => {
                return Err(Failure::new(Kind::Io, "the Dockerfile cannot be read").cause(error));
            }
        };
        step.waiting("the digest of the build's context");
        let finding = {
            let (folder, path, text) = (folder.clone(), path.clone(), text.clone());
            tokio::task::spawn_blocking(move || {
                let mut context = context::find(&folder, &path, &text)?;
                digests::fill(&mut context.entries, &folder)?;
                Ok::<_, Failure>(context)
            })
        };
        let context = finding.await.map_err(panicked)??;
        for remark in &context.remarks {
            step.message(Level::Warning, remark.clone());
        }
        let instructions = dockerfile::instructions(&text);
        let mut bases = BTreeMap::new();
        for base in dockerfile::bases(&instructions, &request.args) {
            let id = self.have(step, children, &base).await?;
            bases.insert(base, id);
        }
        let tag = dockerfile_tag(&context, request, &bases);
        let reference = reference::local(&request.name, &tag)?;
        let plan = Plan { reference: &reference, path: &path, text: &text, instructions: &instructions };
        self.once(step, request, &reference, || async {
            self.run_build(step, children, request, labels, context, &plan).await
        })
        .await
    }

    /// Builds what no other branch builds at this moment, and is not there yet.
    pub(super) async fn once<F: Future<Output = Result<(), Failure>>>(
        &self,
        step: &Step,
        request: &ImageRequest,
        reference: &str,
        build: impl FnOnce() -> F,
    ) -> Result<BuiltImage, Failure> {
        let turn = {
            let mut builds = self.0.builds.lock().unwrap_or_else(PoisonError::into_inner);
            builds.entry(reference.to_owned()).or_default().clone()
        };
        let waited = turn.try_lock().is_err();
        if waited {
            step.waiting("another branch, which builds the same image");
        }
        let _turn = turn.lock().await;
        if !request.no_cache || waited {
            if let Some(facts) = self.inspect(reference).await? {
                let why = if waited {
                    format!("another branch has just built {reference}")
                } else {
                    format!("nothing that {reference} is built from has changed")
                };
                step.cache(true, why);
                return Ok(BuiltImage { reference: reference.to_owned(), facts });
            }
            step.cache(false, format!("the engine has no {reference}"));
        } else {
            step.cache(false, "no_cache asks for a new build");
        }
        build().await?;
        let facts = self.inspect(reference).await?.ok_or_else(|| {
            Failure::new(Kind::Bug, format!("the build succeeded, but the engine has no {reference}"))
        })?;
        Ok(BuiltImage { reference: reference.to_owned(), facts })
    }

    /// Gives an image another name.
    pub(super) async fn tag(&self, image: &str, name: &str) -> Result<(), Failure> {
        let (repository, tag) = reference::split(name);
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
        let tagged = async { self.asked().await?.tag_image(image, Some(options)).await }.await;
        tagged.map_err(|error| engine_failure(&format!("{image} cannot be called {name}"), error))
    }
}

fn refuse_both(request: &ImageRequest) -> Result<(), Failure> {
    let given = [
        ("binary", request.dockerfile.is_some() && request.binary.is_some()),
        ("base", request.base.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => {
            let what = format!("`{option}` and a Dockerfile exclude each other");
            Err(Failure::new(Kind::Usage, what)
                .hint("give either `dockerfile`, or `binary` and the `base` to put it on"))
        }
    }
}

fn dockerfile_tag(context: &Context, request: &ImageRequest, bases: &BTreeMap<String, String>) -> String {
    let mut digest = Digest::new("dockerfile");
    digest.add(context.dockerfile.as_bytes());
    digest.add(request.target.as_deref().unwrap_or_default().as_bytes());
    digest.map(&request.args);
    digest.map(bases);
    for entry in &context.entries {
        digest.entry(entry);
    }
    digest.tag()
}

/// A digest of parts, each with its length, so that no two lists of parts are
/// the same bytes.
pub(super) struct Digest(blake3::Hasher);

impl Digest {
    pub(super) fn new(what: &str) -> Self {
        let mut digest = Self(blake3::Hasher::new());
        // Changes when this code makes something else of the same parts.
        digest.add(b"1");
        digest.add(what.as_bytes());
        digest
    }

    pub(super) fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes()).update(part);
    }

    fn map(&mut self, map: &BTreeMap<String, String>) {
        self.add(&(map.len() as u64).to_le_bytes());
        for (key, value) in map {
            self.add(key.as_bytes());
            self.add(value.as_bytes());
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.add(entry.path.as_bytes());
        self.add(&entry.mode.to_le_bytes());
        match &entry.body {
            Body::Folder => self.add(b"folder"),
            Body::Link(target) => {
                self.add(b"link");
                self.add(target.as_os_str().as_encoded_bytes());
            }
            Body::File { digest, .. } => {
                self.add(b"file");
                self.add(digest.as_ref().map_or(&[][..], |digest| digest.as_bytes()));
            }
            Body::Text(text) => {
                self.add(b"file");
                self.add(blake3::hash(text).as_bytes());
            }
            Body::Archive { entries, .. } => {
                self.add(b"archive");
                for entry in entries {
                    self.entry(entry);
                }
            }
        }
    }

    pub(super) fn tag(&self) -> String {
        self.0.finalize().to_hex()[..TAG].to_owned()
    }
}
