//! The folder of a run, below the user's state directory: what it was, what it
//! did and what it made. It outlives the environment.
//!
//! ```text
//! runs/datastorage-k3f9x2/
//!   run.json        what it is and where its parts are
//!   events.jsonl    the stream of events; beside it that of the set-up before,
//!                   where this one has reused it
//!   journal.jsonl   what was made and removed
//!   outputs.json    outputs in full, mode 0600
//!   variables.json  variables of the script as it ended, mode 0600
//!   values.jsonl    what its steps returned, mode 0600
//!   secrets.jsonl   what must not be shown, while anything is up, mode 0600
//!   sources.json    the recipe and its modules, secrets covered
//!   report.html     the page about the run
//!   logs/NAME.log   output of servers and services
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Kind};

/// Names the directory that holds the folders of runs.
pub const STATE_VARIABLE: &str = "RECIPE_STATE_DIR";

/// Beside the folder of runs: an empty file for each run that has not been taken
/// down.
const OPEN: &str = "open";

/// Beside a record in a run's folder: the texts that its positions are in.
pub const SOURCES: &str = "sources.json";

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    /// The run's name.
    pub id: String,
    /// Its path.
    pub path: PathBuf,
}

/// What `run.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// The run's name.
    pub id: String,
    /// Path of the recipe as given.
    pub recipe: String,
    /// The target.
    pub target: String,
    /// When it began.
    pub started: Timestamp,
    /// The `recipe` process that ran it.
    pub owner: crate::supervise::ProcessId,
    /// The scratch directory, with the supervisor's socket in it.
    pub scratch: PathBuf,
    /// How it stands.
    pub state: State,
    /// What `--reuse` knows it by.
    #[serde(default)]
    pub identity: Identity,
    /// Whether the environment was up before its owner came, and stays up
    /// should the owner die.
    #[serde(default)]
    pub outlives: bool,
    /// When it takes itself down, if it was left up for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// What makes two set-ups the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The recipe, as an absolute path.
    pub recipe: PathBuf,
    /// The target.
    pub target: String,
    /// A digest of the parameters.
    pub params: String,
}

impl Identity {
    /// Whether they differ in parameters only.
    #[must_use]
    pub fn same_recipe(&self, other: &Self) -> bool {
        self.recipe == other.recipe && self.target == other.target
    }

    /// A name for files.
    #[must_use]
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&text).to_hex()[..16].to_owned()
    }
}

/// How a run stands, as far as it could write it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Being set up; if its owner is gone, it was killed.
    Running,
    /// The environment is up.
    Up,
    /// The set-up failed and what it made was kept.
    Kept,
    /// Everything was taken down.
    Down,
    /// The set-up failed, and everything was taken down.
    Failed,
}

impl State {
    /// Whether there may be something to take down.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Up | Self::Kept)
    }

    /// The word for lists.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Up => "up",
            Self::Kept => "kept",
            Self::Down => "down",
            Self::Failed => "failed",
        }
    }
}

/// Where all runs are kept.
///
/// # Errors
/// When the user has no home directory.
pub fn runs_directory() -> Result<PathBuf, Failure> {
    Ok(state_directory()?.join("runs"))
}

/// Where what every run took is kept, a line each.
///
/// # Errors
/// When the user has no home directory.
pub fn history() -> Result<PathBuf, Failure> {
    Ok(state_directory()?.join("history.jsonl"))
}

/// Where everything about runs is kept.
///
/// # Errors
/// When the user has no home directory.
pub fn state_directory() -> Result<PathBuf, Failure> {
    use etcetera::BaseStrategy;
    if let Some(path) = std::env::var_os(STATE_VARIABLE) {
        return Ok(PathBuf::from(path));
    }
    let home = etcetera::choose_base_strategy().map_err(|error| {
        Failure::new(Kind::TargetUnusable, "there is no home directory to keep the run's records in")
            .hint(format!("set {STATE_VARIABLE} to a directory"))
            .cause(error)
    })?;
    // macOS has no directory of its own for state.
    let state = home.state_dir().unwrap_or_else(|| home.data_dir());
    Ok(state.join("recipe"))
}

impl RunFolder {
    /// Makes the folder of a new run of `recipe`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(recipe: &Path) -> Result<Self, Failure> {
        let runs = runs_directory()?;
        let unwritable = |error: io::Error| {
            Failure::new(
                Kind::TargetUnusable,
                format!("the run's records cannot be written below {}", runs.display()),
            )
            .hint(format!("make it writable, or set {STATE_VARIABLE} to another directory"))
            .cause(error)
        };
        let mut builder = std::fs::DirBuilder::new();
        builder.mode(0o700).recursive(true).create(&runs).map_err(unwritable)?;
        let id = new_id(recipe);
        let path = runs.join(&id);
        builder.recursive(false).create(&path).map_err(unwritable)?;
        builder.create(path.join("logs")).map_err(unwritable)?;
        Ok(Self { id, path })
    }

    /// The folder of an earlier run.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn open(id: &str) -> Result<Self, Failure> {
        let path = runs_directory()?.join(id);
        if id.contains('/') || !path.join("run.json").exists() {
            return Err(Failure::new(Kind::NotFound, format!("there is no run `{id}`"))
                .hint("`recipe ls` lists the runs"));
        }
        Ok(Self { id: id.to_owned(), path })
    }

    /// Those of the runs that have not been taken down, as far as they could
    /// write that down. However many runs there were, this takes no longer.
    #[must_use]
    pub fn unfinished() -> Vec<(Self, Facts)> {
        let Ok(runs) = runs_directory() else { return Vec::new() };
        let marks = std::fs::read_dir(runs.with_file_name(OPEN)).into_iter().flatten().flatten();
        let folder = |id: String| Self { path: runs.join(&id), id };
        let known = marks.filter_map(|mark| mark.file_name().into_string().ok()).map(folder);
        known.filter_map(|folder| folder.facts().ok().map(|facts| (folder, facts))).collect()
    }

    /// Has this process alone clear the run, until the lock is dropped; none
    /// while another one does.
    #[must_use]
    pub fn lock(&self) -> Option<Flock<File>> {
        let folder = File::open(&self.path).ok()?;
        Flock::lock(folder, FlockArg::LockExclusiveNonblock).ok()
    }

    /// All runs, the newest first. Folders without readable facts are left out.
    ///
    /// # Errors
    /// When the directory is there but cannot be read.
    pub fn all() -> Result<Vec<(Self, Facts)>, Failure> {
        let runs = runs_directory()?;
        let entries = match fs_err::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Failure::new(Kind::Io, "the runs cannot be listed").cause(error)),
        };
        let folder =
            |path: PathBuf| Self { id: path.file_name().unwrap_or_default().to_string_lossy().into(), path };
        let mut all: Vec<_> = entries
            .flatten()
            .map(|entry| folder(entry.path()))
            .filter_map(|folder| folder.facts().ok().map(|facts| (folder, facts)))
            .collect();
        all.sort_by_key(|(_, facts)| std::cmp::Reverse(facts.started));
        Ok(all)
    }

    /// Folders of runs that were killed before they could write down what they
    /// are; until then they make nothing else.
    #[must_use]
    pub fn blank() -> Vec<PathBuf> {
        // One that is younger may still be written.
        const YOUNG: Duration = Duration::from_mins(1);
        let is_old = |path: &Path| {
            let changed = std::fs::metadata(path).and_then(|found| found.modified());
            changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > YOUNG))
        };
        let runs = runs_directory().ok().and_then(|runs| std::fs::read_dir(runs).ok());
        let folders = runs.into_iter().flatten().flatten().map(|entry| entry.path());
        folders.filter(|path| path.is_dir() && !path.join("run.json").exists() && is_old(path)).collect()
    }

    /// What `run.json` says.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn facts(&self) -> Result<Facts, Failure> {
        let unreadable = || Failure::new(Kind::Io, format!("run `{}` has no readable run.json", self.id));
        let text = fs_err::read(self.path.join("run.json")).map_err(|error| unreadable().cause(error))?;
        serde_json::from_slice(&text).map_err(|error| unreadable().cause(error))
    }

    /// Writes `run.json`, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_facts(&self, facts: &Facts) -> io::Result<()> {
        let mark = self.path.parent().map(|runs| runs.with_file_name(OPEN).join(&self.id));
        let mark = mark.unwrap_or_default();
        // Before the mark, which alone would say nothing.
        self.write("run.json", &serde_json::to_vec_pretty(facts)?)?;
        if !facts.state.is_open() {
            // It only costs later runs a look.
            let _ = std::fs::remove_file(mark);
        } else if !mark.exists() {
            fs_err::create_dir_all(mark.parent().unwrap_or(&mark))?;
            File::create(&mark)?;
        }
        Ok(())
    }

    /// Writes `outputs.json`, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_outputs(&self, outputs: &serde_json::Value) -> io::Result<()> {
        self.write("outputs.json", &serde_json::to_vec_pretty(outputs)?)
    }

    /// Writes `variables.json`: those of the script as it ended, secrets in full.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_variables(&self, variables: &serde_json::Value) -> io::Result<()> {
        self.write("variables.json", &serde_json::to_vec_pretty(variables)?)
    }

    /// The variables of the script as it ended; none where nobody has kept them.
    #[must_use]
    pub fn variables(&self) -> serde_json::Map<String, serde_json::Value> {
        let text = std::fs::read(self.path.join("variables.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes `sources.json`: the texts of the recipe and its modules by their
    /// names, secrets covered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_sources(&self, sources: &BTreeMap<Arc<str>, Arc<str>>) -> io::Result<()> {
        self.write(SOURCES, &serde_json::to_vec(sources)?)
    }

    /// Where the page about the run is, once it is over.
    #[must_use]
    pub fn page(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The outputs of the run, in full.
    ///
    /// # Errors
    /// When it has none yet.
    pub fn outputs(&self) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
        let none = || Failure::new(Kind::NotFound, format!("run `{}` has no outputs", self.id));
        let text = fs_err::read(self.path.join("outputs.json")).map_err(|error| none().cause(error))?;
        serde_json::from_slice(&text).map_err(|error| none().cause(error))
    }

    /// Where the stream of events is kept.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// Where the output of a server or service is kept.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.path.join("logs").join(format!("{name}.log"))
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        use io::Write;
        let aside = self.path.join(format!(".{name}.new"));
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(contents)?;
        fs_err::rename(aside, self.path.join(name))
    }
}

/// The recipe's name and six random letters: unique, and easy to say.
fn new_id(recipe: &Path) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0_u8; 6];
    // Without randomness the name only repeats, and making the folder fails.
    let _ = getrandom::fill(&mut random);
    let suffix: String = random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let stem = recipe.file_stem().unwrap_or_default().to_string_lossy();
    let stem: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(24)
        .collect();
    format!("{}-{suffix}", if stem.is_empty() { "run" } else { &stem })
}
