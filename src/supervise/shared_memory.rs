//! The shared memory of PostgreSQL, which outlives a server that is killed: a
//! System V segment that guards the data directory, and files in `/dev/shm`.
//!
//! Only what is known to be the run's is freed, when its creator is dead: what
//! its processes had mapped, and the segment that a `postmaster.pid` in its
//! directories tells of. Whoever still has it keeps it. Known on Linux alone.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::identity::{ProcessId, group};
use super::unchecked::remove_segment;

/// The segments that the system has, a line each.
const SEGMENTS: &str = "/proc/sysvipc/shm";

/// Shared memory of a run.
#[derive(Debug, Default)]
pub struct SharedMemory {
    /// By their ids.
    segments: BTreeSet<i32>,
    files: BTreeSet<PathBuf>,
}

impl SharedMemory {
    /// What `processes` have mapped, and what servers that died have left word
    /// of in the directories of `scratch`.
    #[must_use]
    pub fn of(processes: impl IntoIterator<Item = ProcessId>, scratch: &Path) -> Self {
        let mut memory = Self::default();
        memory.add(processes);
        for home in std::fs::read_dir(scratch).into_iter().flatten().flatten() {
            memory.segments.extend(recorded(&home.path().join("data/postmaster.pid")));
        }
        memory
    }

    /// What the group of this leader has mapped: to be asked before it is killed.
    #[must_use]
    pub fn of_group(leader: i32) -> Self {
        let mut memory = Self::default();
        memory.add(group(leader));
        memory
    }

    /// Adds what `processes` have mapped.
    pub(super) fn add(&mut self, processes: impl IntoIterator<Item = ProcessId>) {
        for process in processes {
            let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.pid)).unwrap_or_default();
            maps.lines().for_each(|line| self.add_mapped(line));
        }
    }

    /// `ADDRESS MODE OFFSET DEVICE INODE NAME`; the inode of a segment is its id.
    fn add_mapped(&mut self, line: &str) {
        let mut fields = line.split_ascii_whitespace();
        let (Some(inode), Some(name)) = (fields.nth(4), fields.next()) else { return };
        if name.starts_with("/SYSV") {
            self.segments.extend(inode.parse::<i32>());
        } else if name.starts_with("/dev/shm/PostgreSQL.") {
            self.files.insert(name.into());
        }
    }

    /// Frees what is still there of servers that are dead.
    pub fn free(self) {
        if self.segments.is_empty() && self.files.is_empty() {
            return;
        }
        let listing = std::fs::read_to_string(SEGMENTS).unwrap_or_default();
        let segments: Vec<Segment> = listing.lines().filter_map(Segment::parse).collect();
        for id in self.segments {
            if segments.iter().any(|segment| segment.id == id && segment.is_abandoned()) {
                // Whoever may not do it did not make it.
                let _ = remove_segment(id);
            }
        }
        for file in self.files {
            // The server's own end has removed it as a rule.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A line of [`SEGMENTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    key: i64,
    id: i32,
    creator: i32,
    owner: u32,
}

impl Segment {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let field = |index: usize| fields.get(index).copied();
        Some(Self {
            key: field(0)?.parse().ok()?,
            id: field(1)?.parse().ok()?,
            creator: field(4)?.parse().ok()?,
            owner: field(7)?.parse().ok()?,
        })
    }

    fn is_abandoned(self) -> bool {
        !ProcessId::of(self.creator).is_some_and(ProcessId::is_alive)
    }
}

/// The segment of the server whose `postmaster.pid` this is: its seventh line
/// has the key and the id. It must be the segment of the file's owner, so that
/// nobody can have another's freed.
fn recorded(file: &Path) -> Option<i32> {
    let owner = std::fs::symlink_metadata(file).ok()?.uid();
    let text = std::fs::read_to_string(file).ok()?;
    let mut words = text.lines().nth(6)?.split_ascii_whitespace();
    let (key, id): (u32, i32) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let listing = std::fs::read_to_string(SEGMENTS).ok()?;
    let found = listing.lines().filter_map(Segment::parse).find(|segment| segment.id == id)?;
    // The file has the key unsigned, the listing signed.
    (found.key == i64::from(key.cast_signed()) && found.owner == owner).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_system_are_read() {
        let line =
            "   5432001         65  600                  56  4242  4243      0   108   115   108   115";
        let segment = Segment { key: 5_432_001, id: 65, creator: 4242, owner: 108 };
        assert_eq!(Segment::parse(line), Some(segment));
        assert_eq!(Segment::parse("       key      shmid perms  size  cpid  lpid nattch   uid"), None);
    }

    #[test]
    fn only_shared_memory_of_servers_counts_as_mapped() {
        let mut memory = SharedMemory::default();
        for line in [
            "7f00-7f01 rw-s 00000000 00:01 65                         /SYSV0052e2c1 (deleted)",
            "7f02-7f03 rw-s 00000000 00:1b 7                          /dev/shm/PostgreSQL.1804289383",
            "7f04-7f05 rw-s 00000000 00:1b 8                          /dev/shm/somebody-elses",
            "7f06-7f07 r-xp 00000000 08:01 9                          /usr/lib/postgresql/15/bin/postgres",
            "7f08-7f09 rw-p 00000000 00:00 0",
        ] {
            memory.add_mapped(line);
        }
        assert_eq!(memory.segments, BTreeSet::from([65]));
        assert_eq!(memory.files, BTreeSet::from([PathBuf::from("/dev/shm/PostgreSQL.1804289383")]));
    }
}
