//! A tar archive that is made while it is sent.
//!
//! The same entries give the same bytes: owners and times are left out, so
//! that neither a checkout nor a copy changes what an engine caches.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use futures::Stream;
use hyper::body::Bytes;
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

/// Bytes sent at once.
const CHUNK: usize = 256 * 1024;
/// Chunks that wait to be sent: enough to keep a disk and a socket busy.
const WAITING: usize = 8;
/// Bytes of a block: a header is one, and contents fill whole ones.
pub(super) const BLOCK: u64 = 512;
/// Seconds since 1970 that every entry bears, the start of 2000: formats such
/// as zip know nothing before 1980.
const TIME: u64 = 946_684_800;

/// One entry of an archive.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Relative, with `/` between its components.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub body: Body,
}

/// What an entry is.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// A folder.
    Folder,
    /// A symbolic link to a path.
    Link(PathBuf),
    /// A file of this machine of so many bytes; with the digest of its
    /// contents, if a change since then is an error.
    File { source: PathBuf, size: u64, digest: Option<blake3::Hash> },
    /// A file that exists nowhere.
    Text(Bytes),
    /// An archive of other entries, of so many bytes.
    Archive { entries: Vec<Entry>, size: u64 },
}

/// Writes entries as an archive.
pub(super) fn write(entries: &[Entry], output: &mut dyn Write) -> io::Result<()> {
    let mut archive = Builder::new(output);
    for entry in entries {
        append(&mut archive, entry)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", entry.path)))?;
    }
    archive.into_inner()?.flush()
}

fn append(archive: &mut Builder<&mut dyn Write>, entry: &Entry) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_mtime(TIME);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match &entry.body {
        Body::Folder => {
            header.set_entry_type(EntryType::Directory);
            archive.append_data(&mut header, format!("{}/", entry.path), io::empty())
        }
        Body::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            // To the letter, unless it is too long for a header.
            if header.set_link_name_literal(target.as_os_str().as_bytes()).is_ok() {
                return archive.append_data(&mut header, &entry.path, io::empty());
            }
            archive.append_link(&mut header, &entry.path, target)
        }
        Body::Text(bytes) => {
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, &entry.path, bytes.as_ref())
        }
        Body::Archive { entries, size } => {
            header.set_size(*size);
            header.set_path(&entry.path)?;
            header.set_cksum();
            let mut output = Counted { inner: archive.get_mut(), written: 0 };
            output.inner.write_all(header.as_bytes())?;
            // No padding: an archive is made of whole blocks itself.
            write(entries, &mut output)?;
            if output.written == *size { Ok(()) } else { Err(changed()) }
        }
        Body::File { source, size, digest } => {
            header.set_size(*size);
            let file = fs_err::File::open(source)?;
            let mut reader = Checked { inner: file.take(*size), hasher: blake3::Hasher::new(), read: 0 };
            archive.append_data(&mut header, &entry.path, &mut reader)?;
            let differs = digest.is_some_and(|digest| digest != reader.hasher.finalize());
            if differs || reader.read != *size { Err(changed()) } else { Ok(()) }
        }
    }
}

fn changed() -> io::Error {
    io::Error::other("it was changed while it was read")
}

/// Bytes of the archive of `entries`, whose paths are short enough for one
/// header each.
pub(super) fn size_of(entries: &[Entry]) -> u64 {
    let bodies = entries.iter().map(|entry| match &entry.body {
        Body::Folder | Body::Link(_) => 0,
        Body::File { size, .. } | Body::Archive { size, .. } => *size,
        Body::Text(text) => text.len() as u64,
    });
    bodies.map(|size| BLOCK + size.next_multiple_of(BLOCK)).sum::<u64>() + 2 * BLOCK
}

/// Counts what is written through it.
struct Counted<W> {
    inner: W,
    written: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Notes what is read through it.
struct Checked<R> {
    inner: R,
    hasher: blake3::Hasher,
    read: u64,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// The archive of `entries` as a stream that is made while it is read. Dropping
/// the stream ends the making.
pub(super) fn stream(entries: Vec<Entry>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut output = Sender { sender: sender.clone(), buffer: Vec::with_capacity(CHUNK) };
        if let Err(error) = write(&entries, &mut output) {
            // Whoever no longer listens has an error of their own.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

/// A writer whose bytes go to another task.
struct Sender {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Sender {
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
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(full.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(source: PathBuf, size: u64, digest: Option<blake3::Hash>) -> Vec<Entry> {
        let long = "long/".repeat(40) + "name";
        vec![
            Entry { path: "dir".into(), mode: 0o750, body: Body::Folder },
            Entry { path: "dir/file".into(), mode: 0o4755, body: Body::File { source, size, digest } },
            Entry { path: "dir/link".into(), mode: 0o777, body: Body::Link("../else where".into()) },
            Entry { path: long, mode: 0o644, body: Body::Text(Bytes::from_static(b"text")) },
        ]
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let mut archives = Vec::new();
        for name in ["a", "b"] {
            let path = folder.path().join(name);
            fs_err::write(&path, "contents").unwrap();
            let mut archive = Vec::new();
            write(&entries(path, 8, Some(blake3::hash(b"contents"))), &mut archive).unwrap();
            archives.push(archive);
        }
        assert_eq!(archives[0], archives[1]);
        let mut archive = tar::Archive::new(archives[0].as_slice());
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().to_string_lossy().into_owned();
                (path, entry.header().mode().unwrap(), entry.header().mtime().unwrap(), entry.size())
            })
            .collect();
        assert_eq!(found[0], ("dir/".to_owned(), 0o750, TIME, 0));
        assert_eq!(found[1], ("dir/file".to_owned(), 0o4755, TIME, 8));
        assert_eq!(found[3], ("long/".repeat(40) + "name", 0o644, TIME, 4));
    }

    #[test]
    fn a_file_that_has_changed_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs_err::write(&path, "contents").unwrap();
        let told = |size, digest| {
            write(&entries(path.clone(), size, digest), &mut io::sink()).unwrap_err().to_string()
        };
        assert!(told(8, Some(blake3::hash(b"other"))).contains("dir/file: it was changed"));
        assert!(told(9, None).contains("dir/file"));
    }

    #[tokio::test]
    async fn nothing_is_made_for_a_listener_that_left() {
        use futures::StreamExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        // Far more than the channel holds, and sparse.
        fs_err::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let mut stream = Box::pin(stream(entries(path, 1 << 40, None)));
        assert!(stream.next().await.unwrap().is_ok());
        drop(stream);
        // The runtime waits for its blocking tasks when it ends: a maker that
        // went on would hang this test.
    }
}
