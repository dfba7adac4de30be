//! The directory of what is kept: an entry is there, whole, or it is not.
//!
//! ```text
//! postgres/
//!   entries/KEY/          an entry, renamed here when it was complete
//!     entry.json          what it is; its time of change says when it was last used
//!     verified            the boot of the machine in which its digest was right
//!     data/               a data directory of a server that was stopped cleanly
//!     sources/N/          the files of call N of `migrate`, to make it anew
//!   entries/new-KEY-PID-N one that is being written, or removed
//!   steps/STEP.json       what a step of a recipe used last, see `recollection`
//! ```
//!
//! Every directory is locked (`flock`) by whoever works on it: shared to copy
//! from it, exclusively to write or to remove it. The kernel gives the locks of
//! a process that was killed back, so a `new-` directory that nobody has locked
//! is one that nobody will finish.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::held::{Held, VERIFIED, boot, was_stopped_cleanly};
use super::key::{MigratedFile, Part};
use super::tree::{Size, Tree, Turn};
use crate::run::disk;
use crate::supervise::User;
use crate::targets::caches::{self, write};

/// Bytes of the disk that are left alone.
const RESERVE: u64 = 200_000_000;
/// Begins the names of directories that are no entries.
const UNFINISHED: &str = "new-";
/// Written by a running server for others, and none of its data; the last are
/// removed when it starts.
const NOT_DATA: [&str; 3] = ["postmaster.pid", "postmaster.opts", "pg_internal.init"];

/// What is kept on this machine.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    limit: u64,
}

/// What `entry.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// What identifies it.
    pub key: String,
    /// When it was made.
    pub made: Timestamp,
    /// The version of its server, such as `15.18`.
    pub version: String,
    /// What its cluster was made from.
    pub parts: Vec<Part>,
    /// The folders of its server's extensions; none where they are not known, or
    /// not of this machine.
    pub folders: Vec<String>,
    /// Its superuser.
    pub user: String,
    /// The superuser's password inside, known to nobody else. Secret.
    pub password: String,
    /// The empty database in it, where there is one.
    pub database: Option<String>,
    /// Databases in it to which migrations were applied, the longest last.
    pub templates: Vec<Template>,
    /// How the migrations of each call were applied.
    pub manners: Vec<String>,
    /// The size of its data.
    pub size: Size,
    /// A digest of its data.
    pub digest: String,
}

/// A database that has seen migrations, and that nobody can connect to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Template {
    /// What identifies it; part of its name.
    pub key: String,
    /// The files that were applied, in order.
    pub files: Vec<MigratedFile>,
}

impl Template {
    /// The database's name.
    pub(super) fn database(&self) -> String {
        format!("recipe_{}", self.key)
    }
}

/// Names and texts of files.
pub(super) type Sources = Vec<(String, String)>;

/// What looking for an entry came to.
pub(super) enum Found {
    Held(Box<Held>),
    Absent,
    /// It was there and is not any more, for this reason.
    Discarded(String),
}

impl Store {
    /// The store of this user; none where there is no home. `limit` is in bytes.
    #[must_use]
    pub fn open(limit: u64) -> Option<Self> {
        Some(Self { folder: caches::folder("postgres")?, limit })
    }

    fn entries(&self) -> PathBuf {
        self.folder.join("entries")
    }

    /// Where what a step used last is written down.
    pub(super) fn step(&self, name: &str) -> PathBuf {
        self.folder.join("steps").join(format!("{name}.json"))
    }

    /// Makes the directories.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).recursive(true);
        builder.create(self.entries())?;
        builder.create(self.folder.join("steps"))
    }

    /// Looks for an entry, and discards it if it is damaged.
    pub(super) fn find(&self, key: &str) -> Found {
        let path = self.entries().join(key);
        let Some(held) = Held::of(&path) else { return Found::Absent };
        match held.check() {
            Ok(()) => {
                held.touch();
                Found::Held(Box::new(held))
            }
            Err(why) => {
                drop(held);
                self.discard(&path);
                Found::Discarded(why)
            }
        }
    }

    /// Keeps the data directory at `data`, of which no server must run, as what
    /// `entry` says; its size and digest are found here. One that there is
    /// already stays. It will be `owner`'s, whose servers may read it in place.
    pub(super) fn put(
        &self,
        mut entry: Entry,
        (data, owner): (&Path, Option<User>),
        sources: &[Sources],
    ) -> io::Result<()> {
        let path = self.entries().join(&entry.key);
        if path.exists() {
            return Ok(());
        }
        if !was_stopped_cleanly(data) {
            return Err(io::Error::other("its server was not stopped cleanly"));
        }
        self.prepare()?;
        let tree = Tree::list_without(data, is_no_data)?;
        entry.size = tree.size(Turn::Fair)?;
        require_room(&self.folder, entry.size.bytes + RESERVE)?;
        let unfinished = Unfinished::create(&self.entries(), &entry.key)?;
        tree.copy(&unfinished.path.join("data"), owner)?;
        for (number, files) in sources.iter().enumerate() {
            let folder = unfinished.path.join("sources").join(number.to_string());
            std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
            files.iter().try_for_each(|(name, text)| fs_err::write(folder.join(name), text))?;
        }
        // Of the copy, so that what a broken disk has made of it is not believed.
        entry.digest = Tree::list(&unfinished.path.join("data"))?.digest()?;
        write(&unfinished.path.join("entry.json"), &serde_json::to_vec_pretty(&entry)?)?;
        write(&unfinished.path.join(VERIFIED), boot().as_bytes())?;
        // Fails where another run was faster: then there is one already.
        let _ = fs_err::rename(&unfinished.path, path);
        drop(unfinished);
        self.prune(self.limit);
        Ok(())
    }

    /// Looks for an entry, and at all of its contents.
    pub(super) fn find_again(&self, key: &str) -> Found {
        let _ = std::fs::remove_file(self.entries().join(key).join(VERIFIED));
        self.find(key)
    }

    pub(super) fn remove(&self, key: &str) {
        self.discard(&self.entries().join(key));
    }

    /// All entries, the last used first. Those that others are writing or
    /// removing are left out.
    #[must_use]
    pub fn list(&self) -> Vec<(Entry, SystemTime)> {
        let directories = std::fs::read_dir(self.entries()).into_iter().flatten().flatten();
        let mut all: Vec<_> = directories
            .filter(|directory| !directory.file_name().to_string_lossy().starts_with(UNFINISHED))
            .filter_map(|directory| {
                let path = directory.path();
                let held = Held::of(&path)?;
                let used = std::fs::metadata(path.join("entry.json")).ok()?.modified().ok()?;
                Some((held.entry.clone(), used))
            })
            .collect();
        all.sort_by_key(|(_, used)| std::cmp::Reverse(*used));
        all
    }

    /// Removes the least used entries until what is left is within `limit`
    /// bytes, and what killed processes have left. Returns how many entries and
    /// bytes that freed.
    pub fn prune(&self, limit: u64) -> (usize, u64) {
        let directories = std::fs::read_dir(self.entries()).into_iter().flatten().flatten();
        for directory in directories {
            if directory.file_name().to_string_lossy().starts_with(UNFINISHED) {
                remove_unlocked(&directory.path());
            }
        }
        let (mut kept, mut freed) = (0, (0, 0));
        for (entry, _) in self.list() {
            kept += entry.size.bytes;
            if kept > limit && self.discard(&self.entries().join(&entry.key)) {
                freed = (freed.0 + 1, freed.1 + entry.size.bytes);
            }
        }
        freed
    }

    /// As [`Self::prune`], to the limit of this store.
    #[must_use]
    pub fn prune_to_limit(&self) -> (usize, u64) {
        self.prune(self.limit)
    }

    /// Removes an entry, unless somebody copies from it.
    fn discard(&self, path: &Path) -> bool {
        let Ok(lock) = File::open(path) else { return false };
        if lock.try_lock().is_err() || !is_at(&lock, path) {
            return false;
        }
        let aside = self.entries().join(new_name("gone"));
        fs_err::rename(path, &aside).and_then(|()| fs_err::remove_dir_all(aside)).is_ok()
    }
}

/// A directory that is being written; removed when dropped before it got its
/// name.
struct Unfinished {
    path: PathBuf,
    _lock: File,
}

impl Unfinished {
    fn create(entries: &Path, key: &str) -> io::Result<Self> {
        loop {
            let path = entries.join(new_name(key));
            std::fs::DirBuilder::new().mode(0o700).create(&path)?;
            let lock = File::open(&path);
            // Between these two, somebody who tidies up may have had it.
            if let Ok(lock) = lock
                && lock.try_lock().is_ok()
                && is_at(&lock, &path)
            {
                return Ok(Self { path, _lock: lock });
            }
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // There is none after a rename.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn new_name(of: &str) -> String {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    format!("{UNFINISHED}{of}-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed))
}

fn remove_unlocked(path: &Path) {
    if let Ok(lock) = File::open(path)
        && lock.try_lock().is_ok()
    {
        let _ = std::fs::remove_dir_all(path);
    }
}

/// Fails where the disk of `folder` has not this many bytes left.
pub(super) fn require_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let free = disk::free(folder)?;
    if free < bytes {
        let what = format!("{} has only {} MB left", folder.display(), free / 1_000_000);
        return Err(io::Error::new(io::ErrorKind::StorageFull, what));
    }
    Ok(())
}

/// Whether a file of a data directory is of no use to the next server.
fn is_no_data(name: &OsStr) -> bool {
    NOT_DATA.iter().any(|other| name == *other) || is_map_of_catalog(name)
}

/// Maps of the free space and of what all can see in PostgreSQL's catalogs: one
/// file in four. They are hints, which it does without, and makes anew where it
/// writes. Those of the tables of users stay: their plans may rest on them.
fn is_map_of_catalog(name: &OsStr) -> bool {
    /// `FirstNormalObjectId` in its sources.
    const FIRST_OF_USERS: u32 = 16384;
    let name = name.to_str().unwrap_or_default();
    let number = name.strip_suffix("_fsm").or_else(|| name.strip_suffix("_vm"));
    number.and_then(|number| number.parse().ok()).is_some_and(|number: u32| number < FIRST_OF_USERS)
}

/// Whether this open directory still has this name.
pub(super) fn is_at(directory: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(named)) = (directory.metadata(), std::fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (named.dev(), named.ino())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
