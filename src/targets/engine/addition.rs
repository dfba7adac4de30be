//! An image with a folder of this machine on top, for nodes alone: they get the
//! layer from its files, and the engine never has it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::future::try_join_all;
use sha2::{Digest as _, Sha256};

use super::archive::{Body, Entry};
use super::program::{ProgramImage, config, digest_of, hex, layers_of};
use super::wanted::Wanted;
use super::{Engine, ImageFacts, Node, reference};
use crate::run::{Failure, Kind, Step};

/// What is put on an image.
pub struct Addition {
    entries: Vec<Entry>,
    layer: String,
}

impl Addition {
    /// A layer with the program `script` and the contents of `folder`, which it
    /// finds beside itself as `data`; both are below `/at`. `layer` is its digest,
    /// where that is known. Reads all of the folder else.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn new(
        at: &str,
        (name, script): (&str, &str),
        folder: &Path,
        layer: Option<String>,
    ) -> io::Result<Self> {
        let text = Body::Text(script.to_owned().into());
        let mut entries = vec![
            Entry { path: at.to_owned(), mode: 0o755, body: Body::Folder },
            Entry { path: format!("{at}/{name}"), mode: 0o755, body: text },
        ];
        add(&mut entries, format!("{at}/data"), folder)?;
        let layer = match layer {
            Some(layer) => layer,
            None => digest_of(&entries)?,
        };
        Ok(Self { entries, layer })
    }

    /// The digest of the layer.
    #[must_use]
    pub fn layer(&self) -> &str {
        &self.layer
    }
}

/// Adds a folder and what is in it.
fn add(entries: &mut Vec<Entry>, path: String, folder: &Path) -> io::Result<()> {
    let mut found: Vec<_> = fs_err::read_dir(folder)?.collect::<Result<_, _>>()?;
    // The same files give the same layer.
    found.sort_by_key(fs_err::DirEntry::file_name);
    entries.push(Entry { path: path.clone(), mode: 0o700, body: Body::Folder });
    for entry in found {
        let (source, metadata) = (entry.path(), entry.metadata()?);
        let path = format!("{path}/{}", entry.file_name().to_string_lossy());
        if metadata.is_dir() {
            add(entries, path, &source)?;
        } else {
            let body = Body::File { source, size: metadata.len(), digest: None };
            entries.push(Entry { path, mode: 0o600, body });
        }
    }
    Ok(())
}

impl Engine {
    /// The digest of the image called `reference`, and the words by which it
    /// starts; none when the engine has no such image.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn entrypoint(&self, reference: &str) -> Result<Option<(String, Vec<String>)>, Failure> {
        let image = self.inspected(reference).await?;
        Ok(image.map(|mut image| {
            let words = image.config.take().and_then(|config| config.entrypoint).unwrap_or_default();
            (ImageFacts::from(image).id, words)
        }))
    }

    /// Brings `base` with an addition on top into nodes, where it is called `name`.
    ///
    /// # Errors
    /// When the engine has no such base, or a node does not take it.
    pub async fn load_added(
        &self,
        step: &Step,
        nodes: &[Node],
        (base, name): (&str, &str),
        addition: Addition,
    ) -> Result<(), Failure> {
        let image = self
            .inspected(base)
            .await?
            .ok_or_else(|| Failure::new(Kind::NotFound, format!("the engine has no image {base}")))?;
        let Addition { entries, layer } = addition;
        let labels = std::collections::BTreeMap::new();
        let config = config(Some(&image), &self.0.architecture, &entries[1].path, &layer, &labels)?;
        let layers = layers_of(Some(&image)).into_iter().map(str::to_owned);
        let facts = ImageFacts {
            id: format!("sha256:{}", hex(&Sha256::digest(&config))),
            diff_ids: layers.chain([layer.clone()]).collect(),
            size: 0,
        };
        let program = Arc::new(ProgramImage { config: config.into(), layer, entries });
        let config = Some(program.config.clone());
        let name = reference::normalised(name);
        let wanted = Wanted { name, facts, program: Some(program), config };
        step.waiting("what the nodes have already");
        let names = [wanted.name.clone(), wanted.facts.id.clone()];
        let contents = try_join_all(nodes.iter().map(|node| self.look_into(node, &names))).await?;
        if !contents.iter().all(|node| wanted.is_in(node)) {
            // What the base has is exported where nodes lack it, which an image
            // that the engine does not have cannot be.
            self.load(step, nodes, &[base.to_owned()]).await?;
            self.load_wanted(step, nodes, vec![wanted]).await?;
        }
        Ok(())
    }
}
