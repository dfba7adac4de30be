//! A program on a base image, without a Dockerfile.
//!
//! The one layer that the base lacks is made here, so its bytes and digest are
//! known: the engine gets it without a build, and nodes get it without an
//! export of the whole image.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use bollard::models::ImageInspect;
use bollard::query_parameters::ImportImageOptions;
use futures::{TryFutureExt, TryStreamExt};
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::archive::{self, Body, Entry};
use super::build::{BuiltImage, Digest};
use super::builder::Plan;
use super::context::Context;
use super::failure::engine_failure;
use super::{Engine, digests, dockerfile, elf, panicked, reference};
use crate::run::child::Children;
use crate::run::event::Level;
use crate::run::{Failure, Kind, Step};
use crate::targets::{ImageRequest, program};

/// The folder of the image that the program is put into: none that a base
/// image has, so that no file of it is hidden.
const FOLDER: &str = "app";
/// With [`FOLDER`] it fits into one header of a tar archive.
const LONGEST_NAME: usize = 90;

/// An image that was made of a program: all that nodes may lack of it.
pub(super) struct ProgramImage {
    /// Its configuration, to the byte.
    pub config: Bytes,
    /// The digest of the layer's tar, with `sha256:`.
    pub layer: String,
    /// The layer's entries.
    pub entries: Vec<Entry>,
}

/// Where the program of the image called `name` is in it.
#[must_use]
pub fn program_path(name: &str) -> String {
    format!("/{FOLDER}/{}", name.rsplit('/').next().unwrap_or(name))
}

impl Engine {
    pub(super) async fn build_program(
        &self,
        step: &Step,
        children: &Children,
        request: &ImageRequest,
        labels: &BTreeMap<String, String>,
    ) -> Result<BuiltImage, Failure> {
        if let Some(unused) = unused(request) {
            let what = format!("`{unused}` is for Dockerfiles, and there is none");
            return Err(Failure::new(Kind::Usage, what).hint("leave it out, or give `dockerfile`"));
        }
        let Some(base) = &request.base else {
            return Err(Failure::new(Kind::Usage, "it is not said which image the program is put on").hint(
                "give the option `base`, as in \"debian:12-slim\", or \"scratch\" for a static program",
            ));
        };
        let path = program::build(step, children, request).await?;
        let entries = {
            let (path, name) = (path.clone(), request.name.clone());
            tokio::task::spawn_blocking(move || entries(&path, &name)).await.map_err(panicked)??
        };
        let base_image = if base == "scratch" {
            None
        } else {
            let id = self.have(step, children, base).await?;
            self.inspected(&id).await?
        };
        let base_id = base_image.as_ref().and_then(|image| image.id.as_deref()).unwrap_or(base);
        let Body::File { digest: Some(digest), .. } = &entries[1].body else {
            return Err(Failure::new(Kind::Bug, "a program has no digest"));
        };
        let mut parts = Digest::new("program");
        parts.add(entries[1].path.as_bytes());
        parts.add(base_id.as_bytes());
        parts.add(digest.as_bytes());
        let reference = reference::local(&request.name, &parts.tag())?;
        let built = self
            .once(step, request, &reference, || async {
                warn(step, &path, base);
                if self.0.classic_store {
                    self.put(step, &reference, base_image.as_ref(), &entries, labels).await
                } else {
                    let plan = (&reference, base.as_str(), path.as_path());
                    self.put_by_dockerfile(step, children, request, labels, plan, &entries).await
                }
            })
            .await?;
        self.note_program(&built, base_image.as_ref(), entries).await?;
        Ok(built)
    }

    /// Hands the layer alone to the engine, which has all others.
    async fn put(
        &self,
        step: &Step,
        reference: &str,
        base: Option<&ImageInspect>,
        entries: &[Entry],
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        step.waiting("the engine, which takes the program's layer");
        let hashing = entries.to_vec();
        let layer = tokio::task::spawn_blocking(move || digest_of(&hashing)).await.map_err(panicked)?;
        let layer =
            layer.map_err(|error| Failure::new(Kind::Io, "the program cannot be read").cause(error))?;
        let config = config(base, &self.0.architecture, &entries[1].path, &layer, labels)?;
        let id = hex(&Sha256::digest(&config));
        let layers = layers_of(base).into_iter().chain([layer.as_str()]);
        let paths: Vec<_> = layers.map(|layer| format!("{}.tar", &layer["sha256:".len()..])).collect();
        let manifest = json!([{ "Config": format!("{id}.json"), "RepoTags": [reference], "Layers": paths }]);
        let text = |path: String, text: Vec<u8>| Entry { path, mode: 0o644, body: Body::Text(text.into()) };
        let tar = Body::Archive { entries: entries.to_vec(), size: archive::size_of(entries) };
        let archive = archive::stream(vec![
            text(format!("{id}.json"), config),
            Entry { path: paths.last().cloned().unwrap_or_default(), mode: 0o644, body: tar },
            text("manifest.json".to_owned(), manifest.to_string().into_bytes()),
        ]);
        let options = ImportImageOptions::default();
        let loading = async { Ok(self.worked().await?.import_image_stream(options, archive, None)) };
        let loaded: Result<Vec<_>, _> = loading.try_flatten_stream().try_collect().await;
        loaded.map_err(|error| {
            engine_failure(&format!("the engine does not take the image {reference}"), error)
        })?;
        Ok(())
    }

    /// Lets the engine build the same image, where it does not take layers.
    async fn put_by_dockerfile(
        &self,
        step: &Step,
        children: &Children,
        request: &ImageRequest,
        labels: &BTreeMap<String, String>,
        (reference, base, path): (&String, &str, &Path),
        entries: &[Entry],
    ) -> Result<(), Failure> {
        let program = &entries[1].path;
        let text = format!("FROM {base}\nCOPY {program} /{program}\nENTRYPOINT [\"/{program}\"]\n");
        let own =
            Entry { path: "Dockerfile".to_owned(), mode: 0o644, body: Body::Text(Bytes::from(text.clone())) };
        let entries = entries.iter().cloned().chain([own]).collect();
        let context = Context { entries, dockerfile: "Dockerfile".to_owned(), remarks: Vec::new() };
        let instructions = dockerfile::instructions(&text);
        let text = text.into();
        let plan = Plan { reference, path, text: &text, instructions: &instructions };
        self.run_build(step, children, request, labels, context, &plan).await
    }

    /// Remembers what the image is made of, if it is what would be made now.
    async fn note_program(
        &self,
        built: &BuiltImage,
        base: Option<&ImageInspect>,
        entries: Vec<Entry>,
    ) -> Result<(), Failure> {
        let Some(layer) = built.facts.diff_ids.last().cloned() else { return Ok(()) };
        let labels = self.inspected(&built.facts.id).await?.and_then(|image| image.config?.labels);
        let labels = labels.unwrap_or_default().into_iter().collect();
        let config = config(base, &self.0.architecture, &entries[1].path, &layer, &labels)?;
        if built.facts.id == format!("sha256:{}", hex(&Sha256::digest(&config))) {
            self.remember(&built.facts.id, ProgramImage { config: config.into(), layer, entries });
        }
        Ok(())
    }
}

/// An option that says something about a Dockerfile.
fn unused(request: &ImageRequest) -> Option<&'static str> {
    [
        ("context", request.context.is_some()),
        ("args", !request.args.is_empty()),
        ("target", request.target.is_some()),
    ]
    .into_iter()
    .find_map(|(option, given)| given.then_some(option))
}

/// The layer: a folder and the program in it.
fn entries(path: &Path, name: &str) -> Result<Vec<Entry>, Failure> {
    let name = name.rsplit('/').next().unwrap_or(name);
    if name.len() > LONGEST_NAME {
        return Err(Failure::new(Kind::Usage, format!("`{name}` is too long for the name of a program"))
            .hint(format!("at most {LONGEST_NAME} characters")));
    }
    let program = Body::File { source: path.to_owned(), size: 0, digest: None };
    let mut entries = vec![
        Entry { path: FOLDER.to_owned(), mode: 0o755, body: Body::Folder },
        Entry { path: format!("{FOLDER}/{name}"), mode: 0o755, body: program },
    ];
    digests::fill(&mut entries, path)?;
    Ok(entries)
}

fn warn(step: &Step, path: &Path, base: &str) {
    if base == "scratch"
        && let Some(loader) = elf::loader(path)
    {
        step.message(
            Level::Warning,
            format!(
                "{} is dynamically linked and will not start on `scratch`, which has no {loader}: \
                 link it statically or put it on a base with its libraries",
                path.display()
            ),
        );
    }
}

pub(super) fn layers_of(base: Option<&ImageInspect>) -> Vec<&str> {
    let root = base.and_then(|image| image.root_fs.as_ref());
    root.and_then(|root| root.layers.as_ref()).into_iter().flatten().map(String::as_str).collect()
}

/// The image's configuration: the base's, with the program as entry point. The
/// same parts give the same bytes.
pub(super) fn config(
    base: Option<&ImageInspect>,
    architecture: &str,
    program: &str,
    layer: &str,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Failure> {
    let config = base.and_then(|image| image.config.as_ref());
    let mut config = match config.map(serde_json::to_value).transpose() {
        Ok(Some(Value::Object(config))) => config,
        Ok(_) => Map::new(),
        Err(error) => return Err(Failure::new(Kind::Bug, "a base image has no configuration").cause(error)),
    };
    config.insert("Entrypoint".to_owned(), json!([format!("/{program}")]));
    config.remove("Cmd");
    let mut all = match config.remove("Labels") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    all.extend(labels.iter().map(|(key, value)| (key.clone(), json!(value))));
    config.insert("Labels".to_owned(), Value::Object(all));
    let mut layers = layers_of(base);
    layers.push(layer);
    let history: Vec<_> = (1..=layers.len())
        .map(|i| json!({ "created_by": if i == layers.len() { "recipe: the program" } else { "base" } }))
        .collect();
    let text = |part: Option<&String>, default: &str| part.map_or(default, String::as_str).to_owned();
    let mut whole = json!({
        "architecture": text(base.and_then(|image| image.architecture.as_ref()), architecture),
        "os": text(base.and_then(|image| image.os.as_ref()), "linux"),
        "created": text(base.and_then(|image| image.created.as_ref()), "2000-01-01T00:00:00Z"),
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": layers },
        "history": history,
    });
    if let Some(variant) = base.and_then(|image| image.variant.as_ref()).filter(|variant| !variant.is_empty())
    {
        whole["variant"] = json!(variant);
    }
    Ok(whole.to_string().into_bytes())
}

/// The digest of the archive of `entries`, with `sha256:`.
pub(super) fn digest_of(entries: &[Entry]) -> io::Result<String> {
    struct Sum(Sha256);
    impl Write for Sum {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut sum = Sum(Sha256::new());
    archive::write(entries, &mut sum)?;
    Ok(format!("sha256:{}", hex(&sum.0.finalize())))
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
