//! `recipe gc`: clears what dead runs have left, and nothing else. The start of
//! every run does the same in passing.

use std::path::Path;

use super::clear::clear_machine;
use super::environment::{Standing, standing, take_down};
use super::{Done, terminal};
use crate::cli::GcArgs;
use crate::exit;
use crate::run::event::{EventKind, Level};
use crate::run::folder::{Facts, State};
use crate::run::journal::{self, Open};
use crate::run::{Events, Failure, Kind, RunFolder, scratch};
use crate::supervise::marked;
use crate::tell::tell;

/// Said of the folder of a run that was killed in its first moments.
const BLANK: &str = "its run had not made anything yet when it died";

pub(super) fn gc(args: &GcArgs) -> Done {
    let dead: Vec<Dead> = RunFolder::all()?.into_iter().filter_map(Dead::find).collect();
    let (orphans, blank) = (scratch::orphans(), RunFolder::blank());
    if dead.is_empty() && orphans.is_empty() && blank.is_empty() {
        tell!("dead runs have left nothing");
        return Ok(exit::DONE);
    }
    if args.dry_run {
        for dead in &dead {
            dead.describe();
        }
        for scratch in &orphans {
            describe_orphan(scratch);
        }
        for folder in &blank {
            tell!("{}: {BLANK}; would remove", folder.display());
        }
        tell!("nothing was removed: that takes `recipe gc` without --dry-run");
        return Ok(exit::DONE);
    }
    super::block_on(async {
        let mut failures = Vec::new();
        for dead in dead {
            failures.extend(dead.remove().await.err());
        }
        for scratch in orphans {
            failures.extend(remove_orphan(&scratch).await.err());
        }
        for folder in blank {
            failures.extend(remove_blank(&folder).err());
        }
        let code = if failures.is_empty() { exit::DONE } else { exit::FAILED };
        for failure in failures {
            terminal::show(&failure.into());
        }
        Ok(code)
    })
}

/// Clears what runs have left that were not taken down and that nobody looks
/// after any more, and says so. What cannot be cleared stays for `recipe gc`.
pub(super) async fn clear_dead(events: Events) {
    let found = tokio::task::spawn_blocking(RunFolder::unfinished).await.unwrap_or_default();
    for (folder, facts) in found {
        if standing(&facts) != Standing::Died {
            continue;
        }
        let Some(_lock) = folder.lock() else { continue };
        let (level, text) = match take_down(&folder, &facts).await {
            Ok(()) => (Level::Info, format!("cleared what {} had left, which has died", folder.id)),
            Err(failure) => (
                Level::Warning,
                format!(
                    "what {} has left, which has died, cannot be cleared: {failure}; `recipe gc` tries it again",
                    folder.id
                ),
            ),
        };
        events.emit(EventKind::Message { level, branch: "".into(), text });
    }
}

/// A run that is over and that has left something.
struct Dead {
    folder: RunFolder,
    facts: Facts,
    why: String,
    /// What its journal tells of.
    left: Vec<Open>,
}

impl Dead {
    fn find((folder, facts): (RunFolder, Facts)) -> Option<Self> {
        // A journal that cannot be read is told of when the run is cleared.
        let left = journal::open(&folder.path).unwrap_or_default();
        let why = match standing(&facts) {
            Standing::Died if facts.state == State::Running => {
                format!("recipe (pid {}) died while it set up", facts.owner.pid)
            }
            Standing::Died if facts.expires.is_some_and(|end| end <= jiff::Timestamp::now()) => {
                "its time is over".to_owned()
            }
            Standing::Died => "its supervisor has died".to_owned(),
            Standing::Is(State::Down | State::Failed) if !left.is_empty() => {
                "it could not remove all that it had made".to_owned()
            }
            Standing::Is(_) => return None,
        };
        Some(Self { folder, facts, why, left })
    }

    fn describe(&self) {
        tell!("{}: {}; would remove", self.folder.id, self.why);
        for Open { kind, name, detail, process, .. } in &self.left {
            match process {
                Some(process) if process.is_alive() => {
                    tell!("  {kind} {name}, which still runs (pid {})", process.pid);
                }
                Some(_) => tell!("  {kind} {name}, which has ended"),
                None => tell!("  {kind} {name}: {detail}"),
            }
        }
        let known: Vec<_> = self.left.iter().filter_map(|open| open.process).collect();
        for process in marked(&self.facts.scratch).into_iter().filter(|process| !known.contains(process)) {
            tell!("  a process that it has started (pid {})", process.pid);
        }
    }

    async fn remove(&self) -> Result<(), Failure> {
        let id = &self.folder.id;
        let Some(_lock) = self.folder.lock() else {
            tell!("{id}: {}; another recipe is clearing it", self.why);
            return Ok(());
        };
        take_down(&self.folder, &self.facts).await?;
        tell!("{id}: {}; cleared", self.why);
        Ok(())
    }
}

fn describe_orphan(scratch: &Path) {
    tell!("{}: the records of its run are gone, and who made it; would remove", scratch.display());
    tell!("  the directory");
    for process in marked(scratch) {
        tell!("  a process of it (pid {})", process.pid);
    }
}

async fn remove_orphan(scratch: &Path) -> Result<(), Failure> {
    clear_machine(Vec::new(), scratch).await?;
    tell!("{}: the records of its run are gone, and who made it; cleared", scratch.display());
    Ok(())
}

fn remove_blank(folder: &Path) -> Result<(), Failure> {
    fs_err::remove_dir_all(folder).map_err(|error| {
        Failure::new(Kind::Io, "the folder of a run that has died cannot be removed").cause(error)
    })?;
    tell!("{}: {BLANK}; removed", folder.display());
    Ok(())
}
