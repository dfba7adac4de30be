//! Environments of earlier runs: how they stand, and taking them down.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clear::clear;
use crate::run::child::Guard;
use crate::run::folder::{Facts, State};
use crate::run::scratch::MARK_VARIABLE;
use crate::run::{Failure, Kind, RunFolder};
use crate::supervise::{ProcessId, Supervisor, socket_path};
use crate::targets::kubernetes::clean_up;

/// How a run stands in truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// As it has written down.
    Is(State),
    /// It was killed, or its environment was.
    Died,
}

impl Standing {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Is(state) => state.name(),
            Self::Died => "died",
        }
    }

    /// Whether there is, or may be, something to take down.
    pub(super) fn is_up(self) -> bool {
        matches!(self, Self::Died | Self::Is(State::Running | State::Up | State::Kept))
    }
}

/// How the run stands: what it wrote, checked against what lives.
pub(super) fn standing(facts: &Facts) -> Standing {
    match facts.state {
        State::Running if !facts.owner.is_alive() => {
            // Whoever was about to change it is gone; it is not.
            if facts.outlives && has_supervisor(facts) { Standing::Is(State::Kept) } else { Standing::Died }
        }
        State::Up | State::Kept if !has_supervisor(facts) => Standing::Died,
        state => Standing::Is(state),
    }
}

/// Whether somebody listens; a supervisor that was killed leaves its socket.
fn has_supervisor(facts: &Facts) -> bool {
    UnixStream::connect(socket_path(&facts.scratch)).is_ok()
}

/// The run of this name; without one the newest that is up.
pub(super) fn select(name: Option<&str>) -> Result<(RunFolder, Facts), Failure> {
    if let Some(name) = name {
        let folder = RunFolder::open(name)?;
        let facts = folder.facts()?;
        return Ok((folder, facts));
    }
    let up = RunFolder::all()?
        .into_iter()
        .find(|(_, facts)| matches!(standing(facts), Standing::Is(State::Up | State::Kept)));
    up.ok_or_else(|| {
        Failure::new(Kind::NotFound, "no environment is up")
            .hint("`recipe run RECIPE` sets one up; `recipe ls --all` lists runs that are over")
    })
}

/// Takes the environment of a run down.
pub(super) async fn take_down(folder: &RunFolder, facts: &Facts) -> Result<(), Failure> {
    let mut facts = facts.clone();
    if facts.state == State::Running && facts.owner.is_alive() {
        // Its own process takes it down and reports it.
        let _ = kill(Pid::from_raw(facts.owner.pid), Signal::SIGTERM);
        while facts.owner.is_alive() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Unless it was about to leave the environment up.
        facts = folder.facts()?;
        if !standing(&facts).is_up() {
            return Ok(());
        }
    }
    match Supervisor::connect(&facts.scratch).await {
        Ok(supervisor) => {
            let (shut, cleared) = tokio::join!(supervisor.shutdown(), clean_up(folder));
            shut.map_err(|error| {
                Failure::new(Kind::Io, format!("run `{}` cannot be taken down", folder.id)).cause(error)
            })?;
            cleared?;
        }
        Err(_) => clear(folder, &facts).await?,
    }
    folder.forget_values();
    let written = folder.write_facts(&Facts { state: State::Down, ..facts });
    written.map_err(|error| Failure::new(Kind::Io, "the run's records cannot be written").cause(error))
}

/// Lets the supervisor end the commands of this process, should it die.
pub(super) fn guard(supervisor: &Supervisor, scratch: &Path) -> Box<dyn Guard> {
    struct Supervised {
        supervisor: Supervisor,
        scratch: String,
    }
    #[async_trait]
    impl Guard for Supervised {
        fn mark(&self) -> (&str, &str) {
            (MARK_VARIABLE, &self.scratch)
        }
        async fn guard(&self, leader: ProcessId, ends_its_children: bool) {
            // Without a supervisor there is nobody left to tell.
            let _ = self.supervisor.guard(leader, ends_its_children).await;
        }
        fn unguard(&self, leader: ProcessId) {
            let supervisor = self.supervisor.clone();
            tokio::spawn(async move { supervisor.unguard(leader).await });
        }
    }
    Box::new(Supervised { supervisor: supervisor.clone(), scratch: scratch.display().to_string() })
}
