//! Layers that the engine has exported, kept for the next cluster.
//!
//! An engine writes all layers of an image to its disk before it exports the
//! first byte, so a new cluster would wait for that again, for layers that have
//! not changed in months. They are kept by their digest, the least used go
//! first, and nothing is kept where the disk is nearly full.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::program::hex;
use crate::run::disk;
use crate::targets::caches;

/// Bytes of all layers kept.
const LIMIT: u64 = 4_000_000_000;
/// Bytes of the disk that are left alone.
const RESERVE: u64 = 5_000_000_000;

/// The layers kept on this machine.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    folder: Option<PathBuf>,
    limit: u64,
}

impl Default for Layers {
    fn default() -> Self {
        let folder = caches::file("layers", "").filter(|folder| fs_err::create_dir_all(folder).is_ok());
        Self { folder, limit: LIMIT }
    }
}

impl Layers {
    /// No layers: for a node that a kept one may have failed on.
    pub(super) fn none() -> Self {
        Self { folder: None, limit: 0 }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(digest.trim_start_matches("sha256:")))
    }

    /// The bytes of a layer, where it is kept.
    pub(super) fn size(&self, digest: &str) -> Option<u64> {
        fs_err::metadata(self.path(digest)?).ok().map(|metadata| metadata.len())
    }

    /// A layer that is kept.
    pub(super) fn open(&self, digest: &str) -> Option<fs_err::File> {
        let file = fs_err::File::open(self.path(digest)?).ok()?;
        // Used layers stay.
        let _ = file.file().set_modified(SystemTime::now());
        Some(file)
    }

    /// A place for a layer of `size` bytes. None where it cannot be kept.
    pub(super) fn keep(&self, size: u64) -> Option<Keeping<'_>> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let folder = self.folder.as_ref().filter(|_| size <= self.limit / 2)?;
        if disk::free(folder).ok()? < size + RESERVE {
            return None;
        }
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}-{serial}.new", std::process::id()));
        let file = File::create(&path).ok()?;
        Some(Keeping { layers: self, path, file: Some(file), hasher: Sha256::new() })
    }

    /// Makes room by removing those that were not used for the longest time.
    /// Returns how many and how many bytes that freed.
    fn prune(&self, folder: &Path) -> (usize, u64) {
        let (mut kept, mut freed) = (0, (0, 0));
        for layer in list(folder) {
            kept += layer.bytes;
            // Another run may have removed it already.
            if kept > self.limit && fs_err::remove_file(folder.join(&layer.digest)).is_ok() {
                freed = (freed.0 + 1, freed.1 + layer.bytes);
            }
        }
        freed
    }
}

/// A layer that is kept.
#[derive(Debug, Clone)]
pub struct KeptLayer {
    /// The digest of its contents, without the name of its kind.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

/// The layers that are kept, the last used first.
#[must_use]
pub fn kept() -> Vec<KeptLayer> {
    caches::file("layers", "").map(|folder| list(&folder)).unwrap_or_default()
}

/// Removes those that were not used for the longest time, or all. Returns how
/// many and how many bytes that freed.
#[must_use]
pub fn prune(all: bool) -> (usize, u64) {
    let limit = if all { 0 } else { LIMIT };
    let layers = Layers { folder: caches::file("layers", ""), limit };
    layers.folder.as_deref().map(|folder| layers.prune(folder)).unwrap_or_default()
}

fn list(folder: &Path) -> Vec<KeptLayer> {
    let layer = |entry: std::fs::DirEntry| {
        let metadata = entry.metadata().ok()?;
        let digest = entry.file_name().into_string().ok()?;
        Some(KeptLayer { digest, bytes: metadata.len(), used: metadata.modified().ok()? })
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut layers: Vec<_> = entries.filter_map(layer).collect();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.used));
    layers
}

/// A layer on its way to the disk. Writing never fails: what cannot be kept is
/// not kept.
pub(super) struct Keeping<'a> {
    layers: &'a Layers,
    path: PathBuf,
    file: Option<File>,
    hasher: Sha256,
}

impl Keeping<'_> {
    /// Keeps the layer by the digest of what was written. Returns the digest.
    pub(super) fn finish(mut self) -> String {
        let digest = format!("sha256:{}", hex(&std::mem::take(&mut self.hasher).finalize()));
        if self.file.take().is_some()
            && let Some(path) = self.layers.path(&digest)
            && std::fs::rename(&self.path, path).is_ok()
            && let Some(folder) = &self.layers.folder
        {
            self.layers.prune(folder);
        }
        digest
    }
}

impl Write for Keeping<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        if let Some(file) = &mut self.file
            && file.write_all(bytes).is_err()
        {
            self.file = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Keeping<'_> {
    fn drop(&mut self) {
        // There is none after a rename.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;

    fn layers(limit: u64) -> (tempfile::TempDir, Layers) {
        let folder = tempfile::tempdir().unwrap();
        let layers = Layers { folder: Some(folder.path().to_owned()), limit };
        (folder, layers)
    }

    fn keep(layers: &Layers, bytes: &[u8]) -> String {
        let mut keeping = layers.keep(bytes.len() as u64).unwrap();
        keeping.write_all(bytes).unwrap();
        keeping.finish()
    }

    #[test]
    fn layers_are_found_by_their_digest() {
        let (folder, layers) = layers(1000);
        let digest = keep(&layers, b"layer");
        assert_eq!(digest, super::super::layout::digest_of(b"layer"));
        assert_eq!(layers.size(&digest), Some(5));
        let mut text = String::new();
        layers.open(&digest).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "layer");
        // One that was given up leaves nothing.
        layers.keep(5).unwrap().write_all(b"la").unwrap();
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(Layers::none().size(&digest), None);
    }

    #[test]
    fn the_least_used_go_first() {
        let (folder, layers) = layers(100);
        let old = SystemTime::now() - Duration::from_mins(1);
        let digests: Vec<_> = (0..3_u8)
            .map(|i| {
                let digest = keep(&layers, &[i; 30]);
                let file = File::open(layers.path(&digest).unwrap()).unwrap();
                file.set_modified(old + Duration::from_secs(i.into())).unwrap();
                digest
            })
            .collect();
        layers.open(&digests[0]).unwrap();
        keep(&layers, &[9; 30]);
        let left: Vec<_> = digests.iter().map(|digest| layers.size(digest).is_some()).collect();
        assert_eq!(left, [true, false, true]);
        assert!(layers.keep(51).is_none(), "one layer must not push all others out");
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 3);
    }
}
