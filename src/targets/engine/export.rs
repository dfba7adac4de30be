//! Reading the engine's export of images, and passing on what nodes lack.
//!
//! Engines name the layers of an export in three ways: by their digest
//! (`blobs/sha256/..`, Docker from 25 on), by it and `.tar` (Podman), or by an
//! identity of their own (older Docker), where the order does not tell either
//! which layer comes next. Of the last, a large one is taken for a layer that a
//! node has if it has just its size, and hashed while it passes: if it turns
//! out to be another, it is passed on in a second export.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};

use hyper::body::Bytes;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};
use tokio::sync::mpsc;

use super::layers::{Keeping, Layers};
use super::layout::{Lane, Lanes, blob_name, digest_of};
use super::program::hex;

/// Entries up to this size are kept in memory: configurations, manifests, and
/// layers too small to be told apart by their size.
const SMALL: u64 = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// What an export held besides large layers.
#[derive(Default)]
pub(super) struct Exported {
    /// Small entries by their digest with `sha256:`.
    pub small: HashMap<String, Bytes>,
    /// The index of an archive in OCI layout.
    pub index: Option<Bytes>,
    /// Sizes of all layers that passed, sent or not.
    pub sizes: HashMap<String, u64>,
}

/// Passes the layers of an export on to the lanes that lack them. `layers` are
/// those that matter, each with the images that need it; those and the images'
/// configurations are kept for later. With `sure`, the size of a layer is not
/// trusted to tell which it is.
pub(super) fn pass_on(
    export: impl Read,
    lanes: &mut Lanes,
    layers: &HashMap<String, Vec<usize>>,
    kept: &Layers,
    sure: bool,
) -> io::Result<Exported> {
    let mut exported = Exported::default();
    let mut archive = Archive::new(export);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let (name, size) = (entry.path()?.to_string_lossy().into_owned(), entry.size());
        if size <= SMALL {
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
            entry.read_to_end(&mut bytes)?;
            if name == "index.json" {
                exported.index = Some(bytes.into());
            } else {
                let digest = digest_of(&bytes);
                if let Some(users) = layers.get(&digest) {
                    let to = lanes.lacking(&digest, |lane| needs(lane, users));
                    lanes.blob(to, &bytes)?;
                    exported.sizes.insert(digest.clone(), size);
                    keep_small(kept, &digest, &bytes);
                }
                exported.small.insert(digest, bytes.into());
            }
            continue;
        }
        let Some(digest) = named_digest(&name) else {
            let digest = pass_on_unknown(&mut entry, lanes, layers, kept, size, sure)?;
            exported.sizes.insert(digest, size);
            continue;
        };
        let to = match layers.get(&digest) {
            Some(users) => lanes.lacking(&digest, |lane| needs(lane, users)),
            // Not a layer's own tar, but whatever the archive's manifests name.
            None => lanes.lacking(&digest, |_| true),
        };
        let keep = layers.contains_key(&digest) && kept.size(&digest).is_none();
        let mut keeping = keep.then(|| kept.keep(size)).flatten();
        if !to.is_empty() {
            lanes.begin(to, &blob_name(&digest), size)?;
            copy(&mut entry, lanes, keeping.as_mut())?;
            lanes.end(size, Some(&digest))?;
        } else if keeping.is_some() {
            copy(&mut entry, &mut io::sink(), keeping.as_mut())?;
        }
        keeping.map(Keeping::finish);
        exported.sizes.insert(digest, size);
    }
    Ok(exported)
}

fn needs(lane: &Lane, images: &[usize]) -> bool {
    images.iter().any(|image| lane.images.contains(image))
}

/// Keeps what is at hand as a whole.
pub(super) fn keep_small(kept: &Layers, digest: &str, bytes: &[u8]) {
    if kept.size(digest).is_none()
        && let Some(mut keeping) = kept.keep(bytes.len() as u64)
        && keeping.write_all(bytes).is_ok()
    {
        keeping.finish();
    }
}

/// Passes on a layer whose digest is known only after its last byte.
fn pass_on_unknown(
    entry: &mut impl Read,
    lanes: &mut Lanes,
    layers: &HashMap<String, Vec<usize>>,
    kept: &Layers,
    size: u64,
    sure: bool,
) -> io::Result<String> {
    let is_in = |blobs: &HashMap<String, u64>| layers.keys().any(|digest| blobs.get(digest) == Some(&size));
    let may_have = |lane: &Lane| !sure && (is_in(&lane.has) || is_in(&lane.sent));
    let to: Vec<_> = (0..lanes.all.len()).filter(|i| !may_have(&lanes.all[*i])).collect();
    let is_kept = layers.keys().any(|digest| kept.size(digest) == Some(size));
    let keep = if is_kept && !sure { &Layers::none() } else { kept };
    let mut hasher = Hashing { hasher: Sha256::new(), keeping: keep.keep(size) };
    if to.is_empty() {
        copy(entry, &mut io::sink(), Some(&mut hasher))?;
        return Ok(hasher.finish());
    }
    // The receiver computes digests itself and does not look at the name.
    lanes.begin(to, "blobs/sha256/layer", size)?;
    copy(entry, lanes, Some(&mut hasher))?;
    let digest = hasher.finish();
    lanes.end(size, Some(&digest))?;
    Ok(digest)
}

/// Computes a digest, whether what it is of is kept or not.
struct Hashing<'a> {
    hasher: Sha256,
    keeping: Option<Keeping<'a>>,
}

impl Hashing<'_> {
    fn finish(self) -> String {
        match self.keeping {
            Some(keeping) => keeping.finish(),
            None => format!("sha256:{}", hex(&self.hasher.finalize())),
        }
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(keeping) = &mut self.keeping {
            return keeping.write(bytes);
        }
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write, mut and_to: Option<&mut impl Write>) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        if let Some(other) = &mut and_to {
            other.write_all(&buffer[..read])?;
        }
        to.write_all(&buffer[..read])?;
    }
}

/// The digest that the name of an entry holds, with `sha256:`.
fn named_digest(name: &str) -> Option<String> {
    let hex = match name.strip_prefix("blobs/sha256/") {
        Some(hex) => hex,
        None => name.strip_suffix(".tar")?,
    };
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then(|| format!("sha256:{hex}"))
}

/// The layers that lanes still lack though their images need them.
pub(super) fn owed(lanes: &Lanes, layers: &HashMap<String, Vec<usize>>) -> HashSet<String> {
    let owed =
        layers.iter().filter(|(digest, users)| !lanes.lacking(digest, |lane| needs(lane, users)).is_empty());
    owed.map(|(digest, _)| digest.clone()).collect()
}

/// Reads what another task puts into a channel.
pub(super) struct Chunks {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Chunks {
    pub(super) fn new(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { receiver, rest: Bytes::new() }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let taken = buffer.len().min(self.rest.len());
        buffer[..taken].copy_from_slice(&self.rest.split_to(taken));
        Ok(taken)
    }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
