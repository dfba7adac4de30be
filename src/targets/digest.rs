//! The digest of a file, without reading it again while it has not changed.
//!
//! What a file is known by (size, times, inode) is remembered with its digest.
//! A file that was changed shortly before it was read could be changed again
//! within the same tick of the file system's clock, so it is not remembered,
//! as git does not trust such entries of its index either.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::caches;

/// Nanoseconds; coarser than the clock of any file system in use.
const TICK: i64 = 2_000_000_000;

/// What a file is known by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub size: u64,
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

    /// Whether a change from now on would show.
    pub fn is_settled(&self) -> bool {
        self.is_settled_at(Timestamp::now())
    }

    /// Whether a change after that would have shown.
    pub fn is_settled_at(&self, time: Timestamp) -> bool {
        i128::from(self.modified.max(self.changed) + TICK) < time.as_nanosecond()
    }
}

/// A digest, and what the file is known by that it is of.
pub(super) type Marked = (Mark, blake3::Hash);

/// Digests a file that was `known` before.
///
/// # Errors
/// When it cannot be read.
pub(super) fn again(path: &Path, known: Option<&Marked>) -> std::io::Result<Marked> {
    // Taken before it is read: a change meanwhile makes the mark old, never the digest.
    let mark = Mark::of(path)?;
    if let Some((_, digest)) = known.filter(|(before, _)| *before == mark) {
        return Ok((mark, *digest));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs_err::File::open(path)?)?;
    Ok((mark, hasher.finalize()))
}

/// Digests a file, and remembers that for later runs.
///
/// # Errors
/// When it cannot be read.
pub(super) fn remembered(path: &Path) -> std::io::Result<blake3::Hash> {
    let name = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
    let cache = caches::file("digests", &name[..32]);
    let known: Option<Marked> = cache.as_deref().map(caches::read).unwrap_or_default();
    let marked = again(path, known.as_ref())?;
    if known.as_ref() != Some(&marked)
        && marked.0.is_settled()
        && let Some(cache) = cache
        && let Err(error) = caches::save(&cache, &marked)
    {
        tracing::debug!(%error, "the digest of a file is not remembered");
    }
    Ok(marked.1)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use jiff::SignedDuration;

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
        assert_eq!(again(file.path(), Some(&known)).unwrap().1, then);
        for change in [
            |mark: &mut Mark| mark.size += 1,
            |mark: &mut Mark| mark.modified -= 1,
            |mark: &mut Mark| mark.changed -= 1,
            |mark: &mut Mark| mark.inode += 1,
        ] {
            let mut known = known.clone();
            change(&mut known.0);
            assert_eq!(again(file.path(), Some(&known)).unwrap().1, now);
        }
    }

    #[test]
    fn a_file_that_was_just_changed_is_not_trusted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!mark(file.path()).is_settled());
        assert!(mark(file.path()).is_settled_at(Timestamp::now() + SignedDuration::from_secs(4)));
        // Setting the time back does not make it older than it is.
        let long_ago = std::fs::FileTimes::new().set_modified(UNIX_EPOCH);
        file.as_file().set_times(long_ago).unwrap();
        assert_eq!(mark(file.path()).modified, 0);
        assert!(!mark(file.path()).is_settled());
    }
}
