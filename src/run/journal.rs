//! The journal of a run: what it made, written down before it is made, so that
//! whatever dies, the next `down` knows what to look for.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::dispatcher::Events;
use super::event::EventKind;
use crate::fault::{self, Seam};

/// One line of `journal.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What was about to be made, or is gone.
    #[serde(flatten)]
    pub change: Change,
}

/// What an entry says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// About to be made.
    Creating {
        /// `process`, `directory`.
        kind: String,
        /// Its name within the run.
        name: String,
        /// Where or what it is.
        detail: String,
        /// How its target removes it, where that takes more than the name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        removal: Option<serde_json::Value>,
    },
    /// A process that exists now, by what identifies it for good.
    Running {
        /// Its name within the run.
        name: String,
        /// Its identity.
        process: crate::supervise::ProcessId,
    },
    /// Gone.
    Removed {
        /// As when it was made.
        kind: String,
        /// As when it was made.
        name: String,
    },
}

/// The journal being written. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    book: Arc<Mutex<Book>>,
    events: Events,
}

struct Book {
    file: File,
    /// Kind and name of what exists, in the order it was made.
    open: Vec<(String, String)>,
}

impl Journal {
    /// Begins or goes on with the journal of a run.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(folder: &Path, events: Events) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(folder.join("journal.jsonl"))?;
        let open = open(folder)?.into_iter().map(|open| (open.kind, open.name)).collect();
        Ok(Self { book: Arc::new(Mutex::new(Book { file, open })), events })
    }

    /// Something is about to be made.
    ///
    /// # Errors
    /// When that cannot be written down; it must not be made then.
    pub fn creating(&self, kind: &str, name: &str, detail: impl Into<String>) -> io::Result<()> {
        self.announce(kind, name, detail.into(), None)
    }

    /// As [`Self::creating`], with what its target needs to remove it.
    ///
    /// # Errors
    /// As [`Self::creating`].
    pub fn creating_with(
        &self,
        kind: &str,
        name: &str,
        detail: impl Into<String>,
        removal: &impl Serialize,
    ) -> io::Result<()> {
        self.announce(kind, name, detail.into(), Some(serde_json::to_value(removal)?))
    }

    fn announce(
        &self,
        kind: &str,
        name: &str,
        detail: String,
        removal: Option<serde_json::Value>,
    ) -> io::Result<()> {
        let (made, called) = (kind.to_owned(), name.to_owned());
        let masked = self.events.secrets().masked(&detail);
        self.write(Change::Creating { kind: made.clone(), name: called.clone(), detail: masked, removal })?;
        self.book().open.push((made, called));
        self.events.emit(EventKind::ResourceCreated { kind: kind.into(), name: name.to_owned(), detail });
        Ok(())
    }

    /// The process announced under `name` runs.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn running(&self, name: &str, process: crate::supervise::ProcessId) -> io::Result<()> {
        self.write(Change::Running { name: name.to_owned(), process })
    }

    /// Something is gone. Not being able to write it down only costs a later
    /// look at something that is not there.
    pub fn removed(&self, kind: &str, name: &str) {
        let _ = self.write(Change::Removed { kind: kind.to_owned(), name: name.to_owned() });
        self.book().open.retain(|(k, n)| (k.as_str(), n.as_str()) != (kind, name));
        self.events.emit(EventKind::ResourceRemoved { kind: kind.into(), name: name.to_owned() });
    }

    /// Everything is gone.
    pub fn close(&self) {
        let open = self.book().open.clone();
        open.iter().rev().for_each(|(kind, name)| self.removed(kind, name));
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: Change) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Entry { at: Timestamp::now(), change })?;
        line.push(b'\n');
        fault::blocking(Seam::Files)?;
        self.book().file.write_all(&line)
    }
}

/// What a journal tells of that nobody has removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// `process`, `directory`.
    pub kind: String,
    /// Its name within the run.
    pub name: String,
    /// Where or what it is.
    pub detail: String,
    /// How its target removes it, where that takes more than the name.
    pub removal: Option<serde_json::Value>,
    /// The process that it is.
    pub process: Option<crate::supervise::ProcessId>,
}

/// What the journal of a run tells of that nobody has removed, in the order it
/// was made.
///
/// # Errors
/// When the file cannot be read.
pub fn open(folder: &Path) -> io::Result<Vec<Open>> {
    let mut open: Vec<Open> = Vec::new();
    for entry in read(folder)? {
        match entry.change {
            Change::Creating { kind, name, detail, removal } => {
                // Tried again under the same name, it is still one thing.
                open.retain(|known| (&known.kind, &known.name) != (&kind, &name));
                open.push(Open { kind, name, detail, removal, process: None });
            }
            Change::Running { name, process } => {
                let known = open.iter_mut().rfind(|known| known.kind == "process" && known.name == name);
                if let Some(known) = known {
                    known.process = Some(process);
                }
            }
            Change::Removed { kind, name } => {
                open.retain(|known| (&known.kind, &known.name) != (&kind, &name));
            }
        }
    }
    Ok(open)
}

/// Writes down that everything is gone, for a run that cannot do so any more.
///
/// # Errors
/// When the file cannot be read or written.
pub fn close(folder: &Path) -> io::Result<()> {
    let open = open(folder)?;
    if open.is_empty() {
        return Ok(());
    }
    // The kill may have cut the last line off.
    let mut lines = vec![b'\n'];
    for Open { kind, name, .. } in open.into_iter().rev() {
        let entry = Entry { at: Timestamp::now(), change: Change::Removed { kind, name } };
        serde_json::to_writer(&mut lines, &entry)?;
        lines.push(b'\n');
    }
    let mut file = fs_err::OpenOptions::new().append(true).open(folder.join("journal.jsonl"))?;
    file.write_all(&lines)
}

/// Reads the journal of a run, which may have died before it had one; a last
/// line that was cut off by a kill is left out.
///
/// # Errors
/// When the file cannot be read.
pub fn read(folder: &Path) -> io::Result<Vec<Entry>> {
    let text = match fs_err::read_to_string(folder.join("journal.jsonl")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
