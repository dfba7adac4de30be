//! An image that is to be loaded: what a node has of it, and what is at hand.

use std::io;
use std::sync::Arc;

use hyper::body::Bytes;

use super::layers::Layers;
use super::node::Contents;
use super::program::ProgramImage;
use super::{ImageFacts, archive, layout};

/// An image to load.
pub(super) struct Wanted {
    /// What nodes know it by.
    pub name: String,
    pub facts: ImageFacts,
    pub program: Option<Arc<ProgramImage>>,
    /// Its configuration, where it is known without an export.
    pub config: Option<Bytes>,
}

impl Wanted {
    /// The manifest that is sent with it. None when a size is unknown.
    pub fn manifest(&self, config: u64, size: impl Fn(&str) -> Option<u64>) -> Option<Vec<u8>> {
        layout::manifest((&self.facts.id, config), &self.facts.diff_ids, size)
    }

    /// Whether a node has the very image under its name.
    pub fn is_in(&self, node: &Contents) -> bool {
        let Some(named) = node.images.get(&self.name) else { return false };
        // The kubelet's part of containerd names every image by its id too.
        if node.images.get(&self.facts.id) == Some(named) {
            return true;
        }
        let size = |digest: &str| node.blobs.get(digest).copied();
        let sent = size(&self.facts.id).and_then(|config| self.manifest(config, size));
        sent.is_some_and(|manifest| layout::digest_of(&manifest) == *named)
    }

    /// Whether nothing that `node` lacks needs an export.
    pub fn is_at_hand(&self, node: &Contents, kept: &Layers) -> bool {
        self.config.is_some()
            && self.facts.diff_ids.iter().all(|layer| {
                self.own_size(layer).is_some() || node.blobs.contains_key(layer) || kept.size(layer).is_some()
            })
    }

    /// The size of a layer that is made here.
    pub fn own_size(&self, layer: &str) -> Option<u64> {
        let program = self.program.as_ref().filter(|program| program.layer == layer)?;
        Some(archive::size_of(&program.entries))
    }
}

/// The configuration of an image of an earlier export.
pub(super) fn kept_config(id: &str) -> Option<Bytes> {
    let mut config = Vec::new();
    io::Read::read_to_end(&mut Layers::default().open(id)?, &mut config).ok()?;
    (layout::digest_of(&config) == id).then(|| config.into())
}
