//! An entry of the store in use: whether it is whole, and copies of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::store::{Entry, is_at, require_room};
use super::tree::{Size, Tree, Turn, make};
use crate::supervise::{ProcessId, User};
use crate::targets::caches::write;

/// What is said of an entry that is not as it was written.
pub(super) const DAMAGED: &str = "what was kept of it was damaged";
/// Holds the files of databases, which a server opens when somebody connects.
const DATABASES: &str = "base";
/// The folder of the database `postgres`, to which the first connection goes:
/// its OID since PostgreSQL 15.
const POSTGRES: &str = "5";

/// Notes the files that a server writes to in a set-up.
const TOUCHED: &str = "touched";
/// Notes the boot of the machine in which its digest was right.
pub(super) const VERIFIED: &str = "verified";

/// An entry that cannot go while this is held.
pub(in crate::targets) struct Held {
    pub entry: Entry,
    path: PathBuf,
    _lock: File,
}

impl Held {
    /// Takes hold of the entry at `path`.
    pub fn of(path: &Path) -> Option<Self> {
        let lock = File::open(path).ok()?;
        lock.lock_shared().ok()?;
        // Whoever removed it meanwhile has taken it off its name first.
        if !is_at(&lock, path) {
            return None;
        }
        let entry = std::fs::read(path.join("entry.json")).ok()?;
        let entry = serde_json::from_slice(&entry).ok()?;
        Some(Self { entry, path: path.to_owned(), _lock: lock })
    }

    /// Whether its data is right: in this boot of the machine its digest was, when
    /// it was written or later. After a crash of the machine, files may have lost
    /// what the disk had not got yet. Its size is looked at by whoever uses it.
    pub fn check(&self) -> Result<(), String> {
        let data = self.data();
        if !was_stopped_cleanly(&data) {
            return Err(DAMAGED.to_owned());
        }
        if self.noted(VERIFIED).is_some_and(|verified| verified == boot()) {
            return Ok(());
        }
        let digest = Tree::list(&data).and_then(|tree| tree.digest());
        if digest.ok().as_ref() != Some(&self.entry.digest) {
            return Err(DAMAGED.to_owned());
        }
        self.note(VERIFIED, &boot());
        Ok(())
    }

    /// It was used now.
    pub fn touch(&self) {
        let file = File::options().write(true).open(self.path.join("entry.json"));
        // It is only removed sooner if that cannot be written.
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// The folders with the files of each call of `migrate`, and how they were
    /// applied.
    pub fn sources(&self) -> Vec<(PathBuf, String)> {
        let folder = |number: usize| self.path.join("sources").join(number.to_string());
        self.entry.manners.iter().enumerate().map(|(number, how)| (folder(number), how.clone())).collect()
    }

    /// On this there is a lock as long as it is held.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// What was noted of it under this name.
    pub fn noted(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path.join(name)).ok()
    }

    /// Notes what takes time to find out, for whoever holds it next.
    pub fn note(&self, name: &str, text: &str) {
        // It is only found out once more if that cannot be written.
        let _ = write(&self.path.join(name), text.as_bytes());
    }

    /// Fails where its data has not the size any more that it was written with.
    pub fn require_size(&self) -> io::Result<()> {
        self.is_whole(Tree::list(&self.data())?.size(Turn::Later)?)
    }

    fn is_whole(&self, size: Size) -> io::Result<()> {
        if size == self.entry.size { Ok(()) } else { Err(damaged()) }
    }

    /// Copies to `data` what a server that sees the rest there will write to: it
    /// opens its files for that, and until the kernel has made a copy it waits.
    pub fn copy_touched(&self, data: &Path, owner: Option<User>) -> io::Result<()> {
        let Some(touched) = self.noted(TOUCHED) else { return Ok(()) };
        let touched = Tree::of(&self.data(), touched.lines().map(PathBuf::from).collect());
        match touched.copy(data, owner) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(damaged()),
            copied => copied.map(drop),
        }
    }

    /// Notes what a server that sees the rest at `data` has written to.
    pub fn note_touched(&self, data: &Path) -> io::Result<()> {
        if self.noted(TOUCHED).is_none() {
            let files = Tree::list(&self.data())?.into_files();
            let touched = files.iter().filter(|file| data.join(file).is_file());
            let touched: Vec<_> = touched.map(|file| file.to_string_lossy()).collect();
            self.note(TOUCHED, &touched.join("\n"));
        }
        Ok(())
    }

    /// Copies its data to `data`, where there must be nothing, for `owner`.
    pub fn copy(&self, data: &Path, owner: Option<User>) -> io::Result<()> {
        let first = self.copy_to_start(data, owner)?;
        self.copy_databases(first, data, owner, || ())
    }

    /// Copies of its data what a server needs to start, and returns its size.
    pub fn copy_to_start(&self, data: &Path, owner: Option<User>) -> io::Result<Size> {
        require_room(data.parent().unwrap_or(data), self.entry.size.bytes)?;
        let size = Tree::list_without(&self.data(), |name| name == DATABASES)?.copy(data, owner)?;
        make(&data.join(DATABASES), owner)?;
        Ok(size)
    }

    /// Copies the rest, after what had the size `first`, and calls `may_connect`
    /// when the database `postgres` is there, where that has a folder that is
    /// known. Until all is there nobody must connect to another one.
    pub fn copy_databases(
        &self,
        first: Size,
        data: &Path,
        owner: Option<User>,
        may_connect: impl Fn(),
    ) -> io::Result<()> {
        let (from, to) = (self.data().join(DATABASES), data.join(DATABASES));
        let mut databases = Vec::new();
        for database in fs_err::read_dir(&from)? {
            databases.push(database?.file_name());
        }
        databases.sort_by_key(|name| name != POSTGRES);
        let mut copied = first;
        for name in databases {
            let database = Tree::list(&from.join(&name))?;
            copied += database.copy_in_turn(Turn::Later, &to.join(&name), owner)?;
            if name == POSTGRES {
                may_connect();
            }
        }
        self.is_whole(copied)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, DAMAGED)
}

/// Whether PostgreSQL has written down that it was shut down: the state in
/// `global/pg_control`, which has followed three numbers since version 8.
pub(super) fn was_stopped_cleanly(data: &Path) -> bool {
    const STATE: std::ops::Range<usize> = 16..20;
    const SHUT_DOWN: u32 = 1;
    let control = std::fs::read(data.join("global/pg_control")).unwrap_or_default();
    let state = control.get(STATE).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    state == Some(SHUT_DOWN) && !data.join("postmaster.pid").exists()
}

/// What tells this boot of the machine from others.
pub(super) fn boot() -> String {
    ProcessId::current().map_or_else(String::new, |process| format!("{:x}", process.boot))
}
