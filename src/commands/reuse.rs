//! `recipe run --reuse`: finding the environment to take over, and one run at a
//! time on it.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::environment::{Standing, standing};
use super::stage::Stage;
use crate::run::event::{EventKind, Level};
use crate::run::folder::{Facts, Identity, State, state_directory};
use crate::run::{Failure, Kind, RunFolder};
use crate::script::Memory;
use crate::tell::tell;

/// What a run with `--reuse` has found.
pub(super) struct Reuse {
    /// The environment, and how it stood.
    pub(super) found: Option<(RunFolder, Facts)>,
    /// Why there is none, or which one it is.
    pub(super) told: String,
    /// Others wait until the kernel drops it with this process.
    _lock: File,
}

/// Finds the newest environment of this recipe, target and parameters. Waits
/// while another run with `--reuse` is at work on it.
///
/// # Errors
/// When the runs of before cannot be read, or the lock cannot be taken.
pub(super) fn find(identity: &Identity) -> Result<Reuse, Failure> {
    let lock = lock(identity)?;
    let up = RunFolder::all()?.into_iter();
    let up: Vec<_> = up.filter(|(_, facts)| can_be_taken_over(facts)).collect();
    let found = up.iter().find(|(_, facts)| facts.identity == *identity).cloned();
    let told = match &found {
        Some((folder, facts)) => {
            let age = jiff::Timestamp::now().duration_since(facts.started).unsigned_abs();
            format!("reusing {}, set up {} ago", folder.id, crate::run::duration::show(age))
        }
        None => match up.iter().find(|(_, facts)| facts.identity.same_recipe(identity)) {
            Some((folder, _)) => {
                format!(
                    "nothing to reuse: {} is up with other parameters; setting up a new environment",
                    folder.id
                )
            }
            None => {
                "nothing to reuse: no environment of this recipe and target is up; setting one up".to_owned()
            }
        },
    };
    Ok(Reuse { found, told, _lock: lock })
}

fn can_be_taken_over(facts: &Facts) -> bool {
    matches!(standing(facts), Standing::Is(State::Up | State::Kept))
}

/// Locks out other runs with `--reuse` of the same recipe, target and
/// parameters.
fn lock(identity: &Identity) -> Result<File, Failure> {
    let path = state_directory()?.join("reuse").join(identity.digest());
    let failed = |error: std::io::Error| {
        Failure::new(Kind::Io, format!("the lock {} cannot be taken", path.display())).cause(error)
    };
    let file = open(&path).map_err(failed)?;
    if file.try_lock().is_err() {
        tell!("another run with --reuse is at work on this environment; waiting until it is done");
        file.lock().map_err(failed)?;
    }
    Ok(file)
}

/// Files of locks stay: somebody could hold the lock of one without a name.
fn open(path: &Path) -> std::io::Result<File> {
    path.parent().map_or(Ok(()), fs_err::create_dir_all)?;
    File::options().write(true).create(true).truncate(false).open(path)
}

/// Where the record of the set-up before is kept.
fn earlier(folder: &RunFolder) -> PathBuf {
    folder.path.join("events.before.jsonl")
}

/// Writes down that this process works on the environment. What there was of
/// its record stays beside the new one.
pub(super) fn begin(folder: &RunFolder, found: &Facts) -> Result<Facts, Failure> {
    let owner = super::stage::this_process()?;
    let facts = Facts { owner, state: State::Running, outlives: true, ..found.clone() };
    let unwritable = |error| Failure::new(Kind::Io, "the run's records cannot be written").cause(error);
    folder.write_facts(&facts).map_err(unwritable)?;
    // A record that is missing is missed by reports only.
    let _ = std::fs::rename(folder.events(), earlier(folder));
    Ok(facts)
}

/// Takes down what was there and is not in the recipe now.
pub(super) async fn remove_unasked(stage: &Stage) -> Result<(), Failure> {
    let Some(takeover) = &stage.host.takeover else { return Ok(()) };
    let unasked = takeover.unasked();
    for name in &unasked {
        stage.host.environment.target.remove(name).await?;
        takeover.forget(name);
        let text = format!("`{name}` is not in the recipe now, and was taken down");
        stage.host.events.emit(EventKind::Message { level: Level::Info, branch: "".into(), text });
    }
    if unasked.is_empty() {
        return Ok(());
    }
    let rewritten = Memory::rewrite(&stage.folder.path, &takeover.known());
    rewritten.map_err(|error| Failure::new(Kind::Io, "the values of the run cannot be written").cause(error))
}
