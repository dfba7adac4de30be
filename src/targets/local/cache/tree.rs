//! Copies of data directories: by several threads, since it is the making of a
//! thousand files that takes the time, not their bytes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::AddAssign;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::supervise::User;

/// Threads that copy or read: more only wait for the directory's lock.
const MOST_THREADS: usize = 4;
/// How nice a thread is that waits for its turn: it gets a tenth of what others
/// get.
#[cfg(target_os = "linux")]
const LATER: i32 = 10;
/// Bytes that a thread reads at a time: most files have fewer.
const BUFFER: usize = 128 << 10;

/// Whose turn it is where processors are short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// As everybody else's.
    Fair,
    /// That of others first: of a server, say, that starts meanwhile.
    Later,
}

impl Turn {
    /// Makes it that of this thread, for as long as it lives.
    fn take(self) {
        // Elsewhere it would be that of the whole process.
        #[cfg(target_os = "linux")]
        if self == Self::Later {
            // It is only slower for others if that is refused.
            let _ = rustix::process::nice(LATER);
        }
    }
}

/// What a directory holds.
pub(super) struct Tree {
    root: PathBuf,
    /// Relative paths, parents first.
    folders: Vec<PathBuf>,
    /// Relative paths in order.
    files: Vec<PathBuf>,
}

/// The size of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// How many files.
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

impl Tree {
    /// Lists `root`. Anything but files and folders is an error: a tablespace,
    /// say, is a link to a place outside, which a copy would share.
    pub fn list(root: &Path) -> io::Result<Self> {
        Self::list_without(root, |_| false)
    }

    /// As [`Self::list`], without what has a name that is left out, wherever it
    /// is.
    pub fn list_without(root: &Path, is_left_out: impl Fn(&OsStr) -> bool) -> io::Result<Self> {
        let mut tree = Self { root: root.to_owned(), folders: Vec::new(), files: Vec::new() };
        let mut next = vec![PathBuf::new()];
        while let Some(folder) = next.pop() {
            for entry in fs_err::read_dir(root.join(&folder))? {
                let entry = entry?;
                let name = entry.file_name();
                if is_left_out(&name) {
                    continue;
                }
                let path = folder.join(name);
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    next.push(path.clone());
                    tree.folders.push(path);
                } else if kind.is_file() {
                    tree.files.push(path);
                } else {
                    let what = format!("{} is neither a file nor a folder", root.join(path).display());
                    return Err(io::Error::other(what));
                }
            }
        }
        tree.folders.sort();
        tree.files.sort();
        Ok(tree)
    }

    /// These files of `root` alone.
    pub fn of(root: &Path, mut files: Vec<PathBuf>) -> Self {
        files.sort();
        let folders: BTreeSet<_> = files.iter().flat_map(|file| file.ancestors().skip(1)).collect();
        let folders = folders.into_iter().map(Path::to_owned).collect();
        Self { root: root.to_owned(), folders, files }
    }

    /// The files, by their relative paths.
    pub fn into_files(self) -> Vec<PathBuf> {
        self.files
    }

    /// Asks for the size of each file.
    pub fn size(&self, turn: Turn) -> io::Result<Size> {
        let sizes = self.each(turn, |path, _| Ok(fs_err::metadata(self.root.join(path))?.len()))?;
        Ok(Size { files: sizes.len(), bytes: sizes.iter().sum() })
    }

    /// Copies everything to `to` for `owner`, where there must be nothing of it,
    /// and returns the size of what was there.
    pub fn copy(&self, to: &Path, owner: Option<User>) -> io::Result<Size> {
        self.copy_in_turn(Turn::Fair, to, owner)
    }

    /// As [`Self::copy`], when it is its turn.
    pub fn copy_in_turn(&self, turn: Turn, to: &Path, owner: Option<User>) -> io::Result<Size> {
        make(to, owner)?;
        self.folders.iter().try_for_each(|folder| make(&to.join(folder), owner))?;
        let may_share = std::fs::metadata(&self.root)?.dev() == std::fs::metadata(to)?.dev();
        let sizes = self.each(turn, |path, buffer| {
            let (from, to) = (self.root.join(path), to.join(path));
            if !may_share {
                return copy_bytes(&from, &to, owner, buffer);
            }
            // File systems that can share blocks do (`copy_file_range`, `fclonefileat`).
            let bytes = std::fs::copy(from, &to)?;
            give(&to, owner)?;
            Ok(bytes)
        })?;
        Ok(Size { files: sizes.len(), bytes: sizes.iter().sum() })
    }

    /// A digest of all names and contents.
    pub fn digest(&self) -> io::Result<String> {
        let contents = self.each(Turn::Fair, |path, _| {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(File::open(self.root.join(path))?)?;
            Ok((hasher.count(), hasher.finalize()))
        })?;
        let mut all = blake3::Hasher::new();
        for folder in &self.folders {
            all.update(folder.as_os_str().as_encoded_bytes()).update(b"/");
        }
        for (path, (bytes, contents)) in self.files.iter().zip(contents) {
            all.update(path.as_os_str().as_encoded_bytes()).update(b"\0");
            all.update(&bytes.to_le_bytes()).update(contents.as_bytes());
        }
        Ok(all.finalize().to_hex()[..32].to_owned())
    }

    /// Does `work` for each file, with a buffer of the thread's, and gives what it
    /// gave in the files' order.
    fn each<T: Send>(
        &self,
        turn: Turn,
        work: impl Fn(&Path, &mut [u8]) -> io::Result<T> + Sync,
    ) -> io::Result<Vec<T>> {
        let next = AtomicUsize::new(0);
        let part = || {
            turn.take();
            let mut buffer = vec![0; BUFFER];
            let mut done = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = self.files.get(number) else { return Ok(done) };
                let named = |error: io::Error| {
                    io::Error::new(error.kind(), format!("{}: {error}", self.root.join(path).display()))
                };
                match work(path, &mut buffer).map_err(named) {
                    Ok(value) => done.push((number, value)),
                    Err(error) => {
                        // The others need not go on.
                        next.store(self.files.len(), Ordering::Relaxed);
                        return Err(error);
                    }
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let mut done = std::thread::scope(|scope| {
            let parts: Vec<_> = (0..threads).map(|_| scope.spawn(part)).collect();
            let mut all = Vec::with_capacity(self.files.len());
            for part in parts {
                all.extend(part.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))?);
            }
            Ok::<_, io::Error>(all)
        })?;
        done.sort_unstable_by_key(|(number, _)| *number);
        Ok(done.into_iter().map(|(_, value)| value).collect())
    }
}

/// Makes a folder, unless there is one.
pub(super) fn make(folder: &Path, owner: Option<User>) -> io::Result<()> {
    // PostgreSQL refuses a directory that others may enter.
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
    give(folder, owner)
}

/// Copies a small file: with fewer calls than `std::fs::copy`, which also asks
/// for what a copy of a data directory has anyway.
fn copy_bytes(from: &Path, to: &Path, owner: Option<User>, buffer: &mut [u8]) -> io::Result<u64> {
    let mut from = File::open(from)?;
    let mut to = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    if let Some(owner) = owner {
        fchown(&to, Some(owner.uid), Some(owner.gid))?;
    }
    let mut copied = 0;
    loop {
        match from.read(buffer)? {
            0 => return Ok(copied),
            count => {
                to.write_all(&buffer[..count])?;
                copied += count as u64;
            }
        }
    }
}

/// Makes `owner` the owner.
fn give(path: &Path, owner: Option<User>) -> io::Result<()> {
    owner.map_or(Ok(()), |owner| chown(path, Some(owner.uid), Some(owner.gid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("from/base/1")).unwrap();
        for number in 0..50 {
            std::fs::write(folder.path().join(format!("from/base/1/{number}")), vec![7; number]).unwrap();
        }
        std::fs::write(folder.path().join("from/postmaster.opts"), "-p 1").unwrap();
        folder
    }

    #[test]
    fn a_copy_is_equal() {
        let folder = tree();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let tree = Tree::list_without(&from, |name| name == "postmaster.opts").unwrap();
        let size = Size { files: 50, bytes: 49 * 25 };
        assert_eq!(tree.copy(&to, None).unwrap(), size);
        let copy = Tree::list(&to).unwrap();
        assert_eq!(copy.size(Turn::Fair).unwrap(), size);
        assert_eq!(copy.digest().unwrap(), tree.digest().unwrap());
        std::fs::write(to.join("base/1/7"), vec![8; 7]).unwrap();
        assert_ne!(copy.digest().unwrap(), tree.digest().unwrap());
    }

    #[test]
    fn a_copy_by_bytes_is_equal_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let bytes = (0..=250).cycle().take(1000).collect::<Vec<u8>>();
        std::fs::write(&from, &bytes).unwrap();
        let copy = || copy_bytes(&from, &to, None, &mut [0; 64]);
        assert_eq!(copy().unwrap(), 1000);
        assert_eq!(std::fs::read(&to).unwrap(), bytes);
        assert_eq!(std::fs::metadata(&to).unwrap().mode() & 0o777, 0o600);
        assert_eq!(copy().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn links_are_refused_and_gaps_noticed() {
        let folder = tree();
        let from = folder.path().join("from");
        let tree = Tree::list(&from).unwrap();
        std::fs::remove_file(from.join("base/1/9")).unwrap();
        let error = tree.copy(&folder.path().join("to"), None).unwrap_err();
        assert!(error.to_string().contains("base/1/9"), "{error}");
        std::os::unix::fs::symlink("/", from.join("base/tablespace")).unwrap();
        assert!(Tree::list(&from).is_err());
    }
}
