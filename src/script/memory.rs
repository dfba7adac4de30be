//! What the steps of a run have returned, written down as they return it, so
//! that a later process can open the handles, and go on where a run has failed.
//!
//! A step is known again by its branch, its primitive and its arguments, not by
//! its place: the recipe may be corrected before it is resumed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rhai::Dynamic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arguments::Arguments;

/// A value that a step has returned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Remembered {
    /// The branch it ran in.
    pub branch: String,
    /// What was called.
    pub primitive: String,
    /// A digest of its arguments.
    pub arguments: String,
    /// What its step is called in reports: the name of a thing that it makes.
    #[serde(default)]
    pub title: String,
    /// Digests of the parts of its arguments.
    #[serde(default)]
    pub parts: BTreeMap<String, String>,
    /// The server that it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// What it returned, handles in the form of [`crate::targets::Kept`].
    pub value: Value,
    /// It was undone, and what was done to it is lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undone: bool,
}

type Key = (String, String, String);

/// The values of a run: written by the steps, and read by those that are
/// repeated.
#[derive(Default)]
pub struct Memory {
    file: Option<Mutex<File>>,
    known: Mutex<HashMap<Key, VecDeque<Value>>>,
}

impl Memory {
    /// Begins or goes on with the memory of the run in `folder`. It holds
    /// passwords, and only its owner can read it.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path(folder))?;
        Ok(Self { file: Some(Mutex::new(file)), known: Mutex::default() })
    }

    /// Begins the memory of the run in `folder` anew, with what it still has.
    ///
    /// # Errors
    /// When the file cannot be written; it is as it was then.
    pub fn rewrite(folder: &Path, remembered: &[Remembered]) -> io::Result<()> {
        let aside = path(folder).with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        let mut lines = Vec::new();
        for each in remembered {
            serde_json::to_writer(&mut lines, each)?;
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        std::fs::rename(aside, path(folder))
    }

    /// What the run in `folder` remembers; a last line that was cut off by a
    /// kill is left out.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub fn read(folder: &Path) -> io::Result<Vec<Remembered>> {
        match std::fs::read_to_string(path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
            Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        }
    }

    /// Steps that are repeated take these values, in this order.
    pub fn recall(&self, mut remembered: Vec<Remembered>) {
        while let Some(at) = remembered.iter().position(|each| each.undone) {
            let undone = remembered.remove(at);
            let rest = remembered.split_off(at);
            remembered.retain(|each| !each.goes_with(&undone));
            remembered.extend(rest);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for Remembered { branch, primitive, arguments, value, .. } in remembered {
            known.entry((branch, primitive, arguments)).or_default().push_back(value);
        }
    }

    /// The value of a step that is repeated; once.
    pub(super) fn take(&self, branch: &str, primitive: &str, arguments: &str) -> Option<Value> {
        let key = (branch.to_owned(), primitive.to_owned(), arguments.to_owned());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&key)?.pop_front()
    }

    /// Writes down what a step has returned.
    pub(super) fn keep(&self, remembered: &Remembered) {
        let Some(file) = &self.file else { return };
        // What cannot be remembered is done anew.
        if let Ok(mut line) = serde_json::to_vec(remembered) {
            line.push(b'\n');
            let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
        }
    }
}

impl Remembered {
    /// Whether it is lost when a thing is undone: the thing, or done to it.
    pub(super) fn goes_with(&self, thing: &Self) -> bool {
        (&self.primitive, &self.title) == (&thing.primitive, &thing.title)
            || self.on.as_ref() == Some(&thing.title)
    }
}

impl Arguments {
    /// What tells this call from others of the same primitive.
    pub(super) fn digest(&self, keep: fn(&Dynamic) -> Option<Value>) -> String {
        let positional = self.positional.iter().map(keep);
        let options = self.options.iter().map(|(key, value)| (key.to_string(), keep(value)));
        let all = (positional.collect::<Vec<_>>(), options.collect::<BTreeMap<_, _>>());
        let text = serde_json::to_vec(&all).unwrap_or_default();
        blake3::hash(&text).to_hex()[..16].to_owned()
    }
}

fn path(folder: &Path) -> std::path::PathBuf {
    folder.join("values.jsonl")
}
