//! Environments of earlier runs: how they stand, and taking them down.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clear::clear;
use crate::run::child::Guard;
use crate::run::duration::show;
use crate::run::folder::{Facts, STATE_VARIABLE, State, state_directory};
use crate::run::scratch::MARK_VARIABLE;
use crate::run::{Failure, Kind, RunFolder, journal};
use crate::supervise::{Lease, ProcessId, Successor, Supervisor, socket_path};
use crate::targets::kubernetes::clean_up;

/// What leads to clusters.
const PASSED_ON: [&str; 4] = ["HOME", "PATH", "KUBECONFIG", "DOCKER_HOST"];

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
        match self {
            Self::Died => true,
            Self::Is(state) => state.is_open(),
        }
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
            match shut {
                Ok(()) => cleared?,
                // It was killed, or had begun to end when it was asked.
                Err(_) => clear(folder, &facts).await?,
            }
        }
        Err(_) => clear(folder, &facts).await?,
    }
    conclude(folder, &facts)
}

/// Writes down that nothing is left of a run.
pub(super) fn conclude(folder: &RunFolder, facts: &Facts) -> Result<(), Failure> {
    folder.forget_secrets();
    let state = if facts.state == State::Failed { State::Failed } else { State::Down };
    let written = journal::close(&folder.path)
        .and_then(|()| folder.write_facts(&Facts { state, expires: None, ..facts.clone() }));
    written.map_err(|error| Failure::new(Kind::Io, "the run's records cannot be written").cause(error))
}

/// After `ttl` the supervisor stops everything, and becomes the `recipe down`
/// that does the rest: clusters, and the run's records.
pub(super) fn lease(folder: &RunFolder, ttl: Duration) -> Result<Lease, Failure> {
    let unknown = |error| Failure::new(Kind::Io, "the program of recipe cannot be found").cause(error);
    let program = std::env::current_exe().map_err(unknown)?;
    let state = std::path::absolute(state_directory()?).map_err(unknown)?;
    // It may wait for days: it shall not keep the secrets of a shell.
    let mut env: BTreeMap<String, String> =
        PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    env.insert(STATE_VARIABLE.to_owned(), state.display().to_string());
    let args = vec!["down".to_owned(), folder.id.clone()];
    Ok(Lease { ttl, successor: Some(Successor { program, args, env }) })
}

/// When the environment takes itself down, for lists.
pub(super) fn ends_in(facts: &Facts) -> Option<String> {
    time_left(facts).map(show)
}

/// How long the environment is left up yet, if that is limited.
pub(super) fn time_left(facts: &Facts) -> Option<Duration> {
    let left = Timestamp::now().duration_until(facts.expires?);
    Some(if left.is_negative() { Duration::ZERO } else { left.unsigned_abs() })
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
