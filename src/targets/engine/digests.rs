//! Digests of files, without reading again those that have not changed.
//!
//! What a file is known by (size, times, inode) is remembered with its digest.
//! A file that was changed shortly before it was read could be changed again
//! within the same tick of the file system's clock, so it is not remembered,
//! as git does not trust such entries of its index either.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::archive::{Body, Entry};
use super::cache;
use crate::run::{Failure, Kind};

/// Nanoseconds; coarser than the clock of any file system in use.
const TICK: i64 = 2_000_000_000;

/// What a file is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    size: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    /// Of the inode: set by the kernel alone, so that no `touch` hides a change.
    changed: i64,
    inode: u64,
}

impl Mark {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = fs_err::metadata(path)?;
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Ok(Self {
            size: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        })
    }

    /// Whether a change after `now` would show.
    fn is_settled(&self, now: i64) -> bool {
        self.modified.max(self.changed) + TICK < now
    }
}

type Known = HashMap<String, (Mark, blake3::Hash)>;

/// Sets the digest of every file among `entries`, which are of one context.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn fill(entries: &mut [Entry], context: &Path) -> Result<(), Failure> {
    let name = blake3::hash(context.as_os_str().as_encoded_bytes()).to_hex();
    let cache = cache::file("contexts", &format!("{}.json", &name[..32]));
    let known: Known = cache.as_deref().map(cache::read).unwrap_or_default();
    let found = digests(entries, &known)?;
    let mut marked = Known::new();
    for (entry, (mark, digest)) in entries.iter_mut().filter(|entry| is_file(entry)).zip(found) {
        if let Body::File { size, digest: slot, .. } = &mut entry.body {
            (*size, *slot) = (mark.size, Some(digest));
        }
        if mark.is_settled(now()) {
            marked.insert(entry.path.clone(), (mark, digest));
        }
    }
    if marked != known
        && let Some(cache) = cache
        && let Err(error) = cache::write(&cache, &marked)
    {
        tracing::debug!(%error, "digests of files are not remembered");
    }
    Ok(())
}

fn is_file(entry: &Entry) -> bool {
    matches!(entry.body, Body::File { .. })
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Mark and digest of every file, in order, read by as many threads as there
/// are processors.
fn digests(entries: &[Entry], known: &Known) -> Result<Vec<(Mark, blake3::Hash)>, Failure> {
    let files: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.body {
            Body::File { source, .. } => Some((entry.path.as_str(), source.as_path())),
            _ => None,
        })
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < files.len()) {
            let (path, source) = files[i];
            done.push((i, digest(source, known.get(path))?));
        }
        Ok::<_, std::io::Error>(done)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(files.len().max(1));
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work()?;
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
    .map_err(|error: std::io::Error| {
        Failure::new(Kind::Io, "a file of the image cannot be read")
            .cause(error)
            .hint("make it readable, or leave it out by a line in .dockerignore")
    })?;
    all.sort_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, found)| found).collect())
}

fn digest(path: &Path, known: Option<&(Mark, blake3::Hash)>) -> std::io::Result<(Mark, blake3::Hash)> {
    // Taken before it is read: a change meanwhile makes the mark old, never the digest.
    let mark = Mark::of(path)?;
    if let Some((_, digest)) = known.filter(|(before, _)| *before == mark) {
        return Ok((mark, *digest));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs_err::File::open(path)?)?;
    Ok((mark, hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(path: &Path) -> Mark {
        Mark::of(path).unwrap()
    }

    #[test]
    fn a_known_file_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "now").unwrap();
        let (now, then) = (blake3::hash(b"now"), blake3::hash(b"then"));
        let known = (mark(file.path()), then);
        assert_eq!(digest(file.path(), Some(&known)).unwrap().1, then);
        for change in [
            |mark: &mut Mark| mark.size += 1,
            |mark: &mut Mark| mark.modified -= 1,
            |mark: &mut Mark| mark.changed -= 1,
            |mark: &mut Mark| mark.inode += 1,
        ] {
            let mut known = known.clone();
            change(&mut known.0);
            assert_eq!(digest(file.path(), Some(&known)).unwrap().1, now);
        }
    }

    #[test]
    fn a_file_that_was_just_changed_is_not_trusted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!mark(file.path()).is_settled(now()));
        assert!(mark(file.path()).is_settled(now() + 2 * TICK));
        // Setting the time back does not make it older than it is.
        let long_ago = std::fs::FileTimes::new().set_modified(UNIX_EPOCH);
        file.as_file().set_times(long_ago).unwrap();
        assert_eq!(mark(file.path()).modified, 0);
        assert!(!mark(file.path()).is_settled(now()));
    }
}
