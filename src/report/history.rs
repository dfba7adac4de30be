//! The history: what every run of this user took, a line each.
//!
//! Runs side by side append to it at once, hence the lock. It keeps within a
//! size: past that, the older half goes.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::{File, OpenOptions};
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::totals::Totals;
use crate::run::Outcome;

/// Bytes that it has at most: some hundreds of runs.
const LARGEST: u64 = 2 << 20;

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When it ended.
    pub at: Timestamp,
    /// Its name.
    pub run_id: Arc<str>,
    /// The recipe's path, absolute.
    pub recipe: PathBuf,
    /// Where it was set up.
    pub target: Arc<str>,
    /// What its parameters were, as [`params_digest`] tells them apart.
    #[serde(default)]
    pub params: String,
    /// Whether branches ran one after the other.
    pub sequential: bool,
    /// Whether no results of earlier runs were used.
    pub fresh: bool,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What it took.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Tells runs with different parameters apart without keeping values, some of
/// which may be secrets.
#[must_use]
pub fn params_digest(params: &BTreeMap<String, Value>) -> String {
    let text = serde_json::to_vec(params).unwrap_or_default();
    blake3::hash(&text).to_hex()[..16].to_owned()
}

/// The file.
#[derive(Debug, Clone)]
pub struct History(PathBuf);

impl History {
    /// The history at `path`, which need not exist yet.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Adds a run.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        // A file of its own is locked, for the other one may be replaced.
        let lock = OpenOptions::new().create(true).append(true).open(self.0.with_extension("lock"))?;
        let lock = Flock::lock(lock.into_parts().0, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0)?;
        file.write_all(&line)?;
        if file.metadata()?.len() > LARGEST {
            halve(&self.0)?;
        }
        drop(lock);
        Ok(())
    }

    /// The runs, the oldest first. Lines that are no entries are left out: they
    /// were cut when a process died, or are of another version.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let text = fs_err::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

fn halve(path: &Path) -> io::Result<()> {
    let text = fs_err::read(path)?;
    let middle = text.len() / 2;
    let from = text[middle..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| middle + at + 1);
    let aside = path.with_extension("new");
    File::create(&aside)?.write_all(&text[from..])?;
    fs_err::rename(aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Model, sample};

    fn entry(run_id: &str) -> Entry {
        let totals = Totals::of(&Model::of(&sample::environment()));
        Entry {
            at: Timestamp::UNIX_EPOCH,
            run_id: run_id.into(),
            recipe: "/shop.rhai".into(),
            target: "local".into(),
            params: params_digest(&BTreeMap::new()),
            sequential: false,
            fresh: false,
            outcome: Some(Outcome::Succeeded),
            totals,
        }
    }

    #[test]
    fn writers_side_by_side_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::at(folder.path().join("history.jsonl"));
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let history = &history;
                scope.spawn(move || {
                    (0..20).for_each(|n| history.append(&entry(&format!("{writer}-{n}"))).unwrap());
                });
            }
        });
        let entries = history.entries();
        let names: std::collections::BTreeSet<_> = entries.iter().map(|entry| &entry.run_id).collect();
        assert_eq!(names.len(), 160);
        assert_eq!(entries[0].totals, entry("x").totals);
    }

    #[test]
    fn it_keeps_within_its_size_and_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let line = serde_json::to_string(&entry("old")).unwrap() + "\n";
        fs_err::write(&path, line.repeat(usize::try_from(LARGEST).unwrap() / line.len())).unwrap();
        let history = History::at(path.clone());
        (0..3).for_each(|n| history.append(&entry(&format!("new-{n}"))).unwrap());
        assert!(path.metadata().unwrap().len() < LARGEST * 2 / 3);
        let entries = history.entries();
        assert_eq!(&*entries.last().unwrap().run_id, "new-2");
        fs_err::write(&path, format!("{{\"of\":\"another\"}}\n{line}{}", &line[..50])).unwrap();
        assert_eq!(history.entries().len(), 1);
    }
}
