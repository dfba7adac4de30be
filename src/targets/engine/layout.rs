//! An archive in OCI layout, sent to several nodes at once while it is made.
//!
//! Every layer is sent as the plain tar that its digest is of, so that a blob
//! on a node has the digest by which an image names the layer, and a later load
//! finds it there. A node gets only the blobs that it lacks.

use std::collections::HashMap;
use std::io::{self, Write};

use hyper::body::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::Header;
use tokio::sync::mpsc;

use super::archive::BLOCK;
use super::program::hex;
use crate::run::Step;

/// Bytes sent at once.
const CHUNK: usize = 256 * 1024;
/// Bytes between two reports of progress.
const REPORT: u64 = 4 * 1024 * 1024;

/// The way to one node.
pub(super) struct Lane {
    /// Sizes of blobs that the node has, by digest with `sha256:`.
    pub has: HashMap<String, u64>,
    /// The images that it gets.
    pub images: Vec<usize>,
    /// Chunks of its archive.
    pub sender: mpsc::Sender<Bytes>,
    /// Sizes of blobs sent, likewise.
    pub sent: HashMap<String, u64>,
    /// Bytes of them.
    pub sent_bytes: u64,
}

/// The ways to all nodes. What is written goes to those of the current entry.
pub(super) struct Lanes {
    /// All of them.
    pub all: Vec<Lane>,
    /// Those that the current entry goes to.
    current: Vec<usize>,
    buffer: Vec<u8>,
    step: Step,
    reported: u64,
}

impl Lanes {
    pub(super) fn new(all: Vec<Lane>, step: Step) -> Self {
        Self { all, current: Vec::new(), buffer: Vec::with_capacity(CHUNK), step, reported: 0 }
    }

    /// The lanes that lack a blob.
    pub(super) fn lacking(&self, digest: &str, needed_by: impl Fn(&Lane) -> bool) -> Vec<usize> {
        let lacks = |lane: &Lane| {
            needed_by(lane) && !lane.has.contains_key(digest) && !lane.sent.contains_key(digest)
        };
        (0..self.all.len()).filter(|i| lacks(&self.all[*i])).collect()
    }

    /// Begins a blob of `size` bytes for some lanes. Those bytes are written
    /// next, then [`Lanes::end`] is called with the blob's digest.
    pub(super) fn begin(&mut self, lanes: Vec<usize>, name: &str, size: u64) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_path(name)?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        self.current = lanes;
        self.write_all(header.as_bytes())
    }

    /// Ends an entry of `size` bytes; a blob has a digest.
    pub(super) fn end(&mut self, size: u64, digest: Option<&str>) -> io::Result<()> {
        let padding = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or_default();
        self.write_all(&[0; 512][..padding])?;
        self.flush()?;
        for i in std::mem::take(&mut self.current) {
            let lane = &mut self.all[i];
            if let Some(digest) = digest {
                lane.sent.insert(digest.to_owned(), size);
                lane.sent_bytes += size;
            }
        }
        let sent = self.all.iter().map(|lane| lane.sent_bytes).sum();
        if sent >= self.reported + REPORT {
            self.reported = sent;
            self.step.progress(sent, None, "bytes");
        }
        Ok(())
    }

    /// Sends a blob whose bytes are at hand to the lanes.
    pub(super) fn blob(&mut self, lanes: Vec<usize>, bytes: &[u8]) -> io::Result<String> {
        let digest = digest_of(bytes);
        if !lanes.is_empty() {
            self.begin(lanes, &blob_name(&digest), bytes.len() as u64)?;
            self.write_all(bytes)?;
            self.end(bytes.len() as u64, Some(&digest))?;
        }
        Ok(digest)
    }

    /// Sends a file that is no blob to one lane.
    pub(super) fn file(&mut self, lane: usize, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(vec![lane], name, bytes.len() as u64)?;
        self.write_all(bytes)?;
        self.end(bytes.len() as u64, None)
    }

    /// Ends a lane's archive.
    pub(super) fn close(&mut self, lane: usize, index: &[u8]) -> io::Result<()> {
        self.file(lane, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.file(lane, "index.json", index)?;
        self.current = vec![lane];
        self.write_all(&[0; 1024])?;
        self.flush()
    }
}

impl Write for Lanes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk: Bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)).into();
        // A node that takes no more says why itself; the others go on.
        self.current.retain(|i| self.all[*i].sender.blocking_send(chunk.clone()).is_ok());
        if self.current.is_empty()
            && !self.all.is_empty()
            && self.all.iter().all(|lane| lane.sender.is_closed())
        {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

/// The digest of a blob, with `sha256:`.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// The name of a blob in the archive.
pub(super) fn blob_name(digest: &str) -> String {
    format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"))
}

/// The manifest of an image whose layers are plain tars; `size` tells their
/// bytes. None when one is unknown.
pub(super) fn manifest(
    config: (&str, u64),
    layers: &[String],
    size: impl Fn(&str) -> Option<u64>,
) -> Option<Vec<u8>> {
    let layers = layers.iter().map(|digest| {
        Some(json!({
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
            "size": size(digest)?,
            "digest": digest,
        }))
    });
    let layers: Vec<Value> = layers.collect::<Option<_>>()?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.1,
            "digest": config.0,
        },
        "layers": layers,
    });
    Some(manifest.to_string().into_bytes())
}

/// The index of an archive: names of images with digest and size of their
/// manifests.
pub(super) fn index(images: &[(String, String, u64)]) -> Vec<u8> {
    let manifests: Vec<_> = images
        .iter()
        .map(|(name, digest, size)| {
            json!({
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "digest": digest,
                "size": size,
                "annotations": {
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": super::reference::split(name).1,
                },
            })
        })
        .collect();
    json!({ "schemaVersion": 2, "manifests": manifests }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_needs_all_sizes() {
        let layers = ["sha256:aa".to_owned(), "sha256:bb".to_owned()];
        let size = |digest: &str| (digest != "sha256:bb").then_some(7);
        assert_eq!(manifest(("sha256:cc", 3), &layers, size), None);
        let manifest = manifest(("sha256:cc", 3), &layers[..1], size).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["config"]["digest"], "sha256:cc");
        assert_eq!(
            (&manifest["layers"][0]["digest"], &manifest["layers"][0]["size"]),
            (&json!("sha256:aa"), &json!(7))
        );
    }

    #[test]
    fn the_index_names_images() {
        let index = index(&[("docker.io/library/a:v1".to_owned(), "sha256:aa".to_owned(), 5)]);
        let index: Value = serde_json::from_slice(&index).unwrap();
        let annotations = &index["manifests"][0]["annotations"];
        assert_eq!(annotations["io.containerd.image.name"], "docker.io/library/a:v1");
        assert_eq!(annotations["org.opencontainers.image.ref.name"], "v1");
    }
}
