//! A process of the run's supervisor, as targets see it.

use std::path::PathBuf;
use std::sync::Arc;

use super::Belongings;
use super::deployed::supervisor_failure;
use crate::run::child::last_lines;
use crate::run::scratch::MARK_VARIABLE;
use crate::run::{Failure, Kind};
use crate::supervise::{Exit, Process, Spawn};

/// Lines of a log that are shown when its process has died.
const EVIDENCE: usize = 15;

/// A running server or service. Cheap to clone.
#[derive(Clone)]
pub(super) struct SupervisedProcess {
    pub name: Arc<str>,
    pub log: Arc<PathBuf>,
    process: Arc<Process>,
}

impl Belongings {
    /// Starts a process and writes it into the journal, before and after. It
    /// gets the mark of this run into its environment.
    pub(super) async fn spawn(&self, mut spawn: Spawn) -> Result<SupervisedProcess, Failure> {
        let (name, log) = (spawn.name.clone(), spawn.log.clone());
        self.journal
            .creating("process", &name, spawn.program.display().to_string())
            .map_err(|error| self.no_journal(error))?;
        spawn.env.insert(MARK_VARIABLE.to_owned(), self.scratch.display().to_string());
        let process = self.supervisor.spawn(spawn).await.map_err(supervisor_failure)?;
        self.journal.running(&name, process.id()).map_err(|error| self.no_journal(error))?;
        Ok(SupervisedProcess { name: name.into(), log: Arc::new(log), process: Arc::new(process) })
    }
}

impl SupervisedProcess {
    /// A process that another client of the supervisor has started.
    pub(super) fn adopted(name: &str, log: PathBuf, process: Process) -> Self {
        Self { name: name.into(), log: Arc::new(log), process: Arc::new(process) }
    }

    /// Resolves with what to say when the process has ended.
    pub(super) async fn died(&self) -> Failure {
        self.ended(self.process.exited().await)
    }

    /// Fails when the process has ended.
    pub(super) fn running(&self) -> Result<(), Failure> {
        match self.process.exit() {
            None => Ok(()),
            Some(exit) => Err(self.ended(exit)),
        }
    }

    fn ended(&self, exit: Exit) -> Failure {
        Failure::new(Kind::Exited, format!("`{}` {exit}", self.name)).evidence(self.tail())
    }

    /// The last lines of its log.
    pub(super) fn tail(&self) -> Vec<String> {
        last_lines(&self.read_log(), EVIDENCE)
    }

    /// The last `count` lines of its log as one text.
    pub(super) fn last_lines(&self, count: usize) -> String {
        last_lines(&self.read_log(), count).join("\n")
    }

    /// The whole log; empty when it cannot be read.
    fn read_log(&self) -> String {
        std::fs::read(&*self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}
