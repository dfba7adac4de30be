//! What scripts act on, made before their first line and taken down after the
//! last: the run's folder, its supervisor, its target and the host.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::runtime::Handle;

use super::clear::clear;
use super::environment;
use crate::fault;
use crate::primitives::{TABLE, hide_params};
use crate::report::params_digest;
use crate::run::child::Children;
use crate::run::event::EventKind;
use crate::run::folder::{Facts, Identity, State};
use crate::run::{Events, Failure, Journal, Kind, RunFolder, Secrets, clock, scratch};
use crate::script::{Environment, Host, Memory, Program, Taken, Takeover, Trust};
use crate::settings;
use crate::supervise::{ProcessId, Supervisor};
use crate::targets::caches::Caches;
use crate::targets::{self, Belongings};

/// How long `on_exit`, stopping commands, and teardown may each take.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// What a stage is set for.
pub(super) struct Setting<'a> {
    /// The recipe, or what stands for it.
    pub recipe: &'a Path,
    pub target: &'a str,
    /// Where images for a cluster that is there are pushed to.
    pub registry: Option<&'a str>,
    pub workspace: &'a Path,
    pub params: &'a BTreeMap<String, Value>,
    pub program: &'a Program,
    pub runtime: &'a Handle,
    pub sequential: bool,
    pub caches: Caches,
    /// Whether the recipe has to stay in its environment.
    pub untrusted: bool,
}

/// What a script acts on.
pub(super) struct Stage {
    pub folder: RunFolder,
    pub facts: Facts,
    pub journal: Journal,
    pub host: Arc<Host>,
    supervisor: ProcessId,
}

impl Setting<'_> {
    /// What `--reuse` knows this set-up by.
    pub(super) fn identity(&self) -> Identity {
        Identity {
            recipe: std::path::absolute(self.recipe).unwrap_or_else(|_| self.recipe.to_owned()),
            target: self.target.to_owned(),
            params: params_digest(self.params),
        }
    }

    /// What must not be shown, as far as it is known before the script begins.
    pub(super) fn secrets(&self) -> Secrets {
        let secrets = Secrets::default();
        secrets.add_environment();
        hide_params(self.program, self.params, &secrets);
        secrets
    }

    /// Writes down what the run is, before there is anything to take down.
    pub(super) fn facts(&self, folder: &RunFolder) -> Result<Facts, Failure> {
        let owner = this_process()?;
        let facts = Facts {
            id: folder.id.clone(),
            recipe: self.recipe.display().to_string(),
            target: self.target.to_owned(),
            started: Timestamp::now(),
            owner,
            scratch: scratch::path(&folder.id),
            state: State::Running,
            identity: self.identity(),
            outlives: false,
            expires: None,
        };
        folder.write_facts(&facts).map_err(unwritable)?;
        Ok(facts)
    }

    /// Makes what a script needs before its first line.
    pub(super) fn stage(
        &self,
        folder: &RunFolder,
        facts: &Facts,
        events: &Events,
        children: &Children,
    ) -> Result<Stage, Failure> {
        events.secrets().keep_in(folder).map_err(unwritable)?;
        let journal = Journal::create(&folder.path, events.clone()).map_err(unwritable)?;
        let scratch = facts.scratch.clone();
        journal.creating("directory", "scratch", scratch.display().to_string()).map_err(unwritable)?;
        scratch::create(&scratch, &folder.path)?;
        let broken = |error: crate::supervise::SupervisorError| {
            Failure::new(Kind::TargetUnusable, "the supervisor of local processes cannot be started")
                .cause(error)
        };
        let exe = std::env::current_exe().map_err(unwritable)?;
        let supervisor = Supervisor::launch(&exe, &scratch).map_err(broken)?;
        let memory = Memory::open(&folder.path).map_err(unwritable)?;
        Ok(self.around(supervisor, journal, memory, folder, facts, events, children))
    }

    /// The stage of a run that is up already. What is done on it is not part of
    /// what the run remembers.
    pub(super) async fn rejoin(
        &self,
        folder: &RunFolder,
        facts: &Facts,
        events: &Events,
        children: &Children,
    ) -> Result<Stage, Failure> {
        let supervisor = Supervisor::connect(&facts.scratch).await.map_err(|error| {
            Failure::new(Kind::NotFound, format!("the environment of `{}` is not up", folder.id))
                .hint("`recipe ls` lists what is up")
                .cause(error)
        })?;
        events.secrets().keep_in(folder).map_err(unwritable)?;
        let journal = Journal::create(&folder.path, events.clone()).map_err(unwritable)?;
        Ok(self.around(supervisor, journal, Memory::default(), folder, facts, events, children))
    }

    /// The stage of a run that takes an environment over, and is remembered as
    /// part of it.
    pub(super) async fn take_over(
        &self,
        folder: &RunFolder,
        facts: &Facts,
        events: &Events,
        children: &Children,
    ) -> Result<Stage, Failure> {
        let stage = self.rejoin(folder, facts, events, children).await?;
        let unreadable = |error| Failure::new(Kind::Io, "the values of the run cannot be read").cause(error);
        let takeover = Takeover::new(TABLE.reusing, Memory::read(&folder.path).map_err(unreadable)?);
        Memory::rewrite(&folder.path, &takeover.known()).map_err(unwritable)?;
        let memory = Memory::open(&folder.path).map_err(unwritable)?;
        let host = stage.host.beside(self.program, memory);
        Ok(Stage { host: host.taking_over(takeover), ..stage })
    }

    #[expect(clippy::too_many_arguments, reason = "a stage has as many parts")]
    fn around(
        &self,
        supervisor: Supervisor,
        journal: Journal,
        memory: Memory,
        folder: &RunFolder,
        facts: &Facts,
        events: &Events,
        children: &Children,
    ) -> Stage {
        let process = supervisor.process();
        children.set_guard(environment::guard(&supervisor, &facts.scratch));
        let secrets = events.secrets().clone();
        let belongings = Belongings {
            supervisor,
            scratch: facts.scratch.clone(),
            folder: folder.clone(),
            journal: journal.clone(),
            children: children.clone(),
            secrets: secrets.clone(),
            caches: self.caches.clone(),
        };
        let environment = Arc::new(Environment {
            folder: folder.clone(),
            target: targets::open(self.target, self.registry, belongings),
            workspace: self.workspace.to_owned(),
            params: self.params.clone(),
            secrets,
            children: children.clone(),
            trust: Trust::new(self.untrusted),
            // What is wrong there was told before.
            limits: settings::limits(self.workspace).unwrap_or_default(),
            taken: Taken::default(),
            outputs: std::sync::Mutex::default(),
        });
        let (runtime, events) = (self.runtime.clone(), events.clone());
        let host = Host::new(self.program, runtime, events, environment, memory, self.sequential);
        Stage { folder: folder.clone(), facts: facts.clone(), journal, host, supervisor: process }
    }
}

impl Stage {
    /// Lets everything outlive this process, as `state` says, until `ttl` is over
    /// if it is given.
    pub(super) async fn leave_up(&self, state: State, ttl: Option<Duration>) -> Result<(), Failure> {
        let lease = ttl.map(|ttl| environment::lease(&self.folder, ttl)).transpose()?;
        let expires = ttl.and_then(|ttl| Timestamp::now().checked_add(ttl).ok());
        self.keep_variables();
        // Written first: once it is detached, only this says where it is.
        self.folder.write_facts(&Facts { state, expires, ..self.facts.clone() }).map_err(unwritable)?;
        self.host.environment.target.detach(lease).await
    }

    /// Keeps the handles under the names that the recipe gave them, for
    /// `recipe repl --attach`.
    fn keep_variables(&self) {
        let kept: serde_json::Map<_, _> = self.host.kept_variables().into_iter().collect();
        // Without it they have the names that they were deployed under.
        let _ = self.folder.write_variables(&Value::Object(kept));
    }

    /// Keeps the texts that positions of the record are in.
    pub(super) fn keep_sources(&self, secrets: &Secrets) {
        // Only reports miss it, and they say so.
        let _ = self.folder.write_sources(&covered(self.host.sources.texts(), secrets));
    }

    /// Names of what is up; a recipe that started nothing leaves nothing up.
    pub(super) async fn up(&self) -> Vec<String> {
        self.host.environment.target.up().await
    }

    /// Takes everything down. Returns milliseconds, and what was not possible.
    pub(super) async fn take_down(&self, events: &Events) -> (f64, Result<(), Failure>) {
        let _faults = fault::during("teardown");
        let began = events.emit(EventKind::TeardownStarted);
        let gone = clock::timeout(PATIENCE, self.host.environment.target.teardown()).await;
        let result = match gone {
            Ok(Ok(())) => Ok(()),
            // The supervisor has died or hangs, or something elsewhere does: the
            // journal knows what to look for.
            gone => {
                if gone.is_err() && self.supervisor.is_alive() {
                    let _ = kill(Pid::from_raw(self.supervisor.pid), Signal::SIGKILL);
                }
                clear(&self.folder, &self.facts).await
            }
        };
        if result.is_ok() {
            self.folder.forget_secrets();
            self.journal.close();
        }
        let left = usize::from(result.is_err());
        (events.emit(EventKind::TeardownFinished { left }) - began, result)
    }

    /// Writes down how the run ended. What is down is down, also where that
    /// cannot be written.
    pub(super) fn conclude(&self, state: State) {
        let _ = self.folder.write_facts(&Facts { state, ..self.facts.clone() });
    }
}

/// This process, by what identifies it for good.
pub(super) fn this_process() -> Result<ProcessId, Failure> {
    ProcessId::current().ok_or_else(|| {
        Failure::new(Kind::TargetUnusable, "this process cannot be found among the running ones")
    })
}

/// Recipes may hold secrets, too.
fn covered(mut texts: BTreeMap<Arc<str>, Arc<str>>, secrets: &Secrets) -> BTreeMap<Arc<str>, Arc<str>> {
    for text in texts.values_mut() {
        *text = secrets.covered(text).into();
    }
    texts
}

fn unwritable(error: std::io::Error) -> Failure {
    Failure::new(Kind::Io, "the run's records cannot be written")
        .hint("make room where they are kept, or set RECIPE_STATE_DIR to another directory")
        .cause(error)
}
