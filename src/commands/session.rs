//! One run from its first event to its last.
//!
//! ```text
//!  stage ──> script runs ──> tests ──> on_exit ──> children settle ──> detach or teardown
//!                 ^                                                        ^
//!   first signal, --timeout: cancel              second: kill   third: leave at once
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, Position};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::clear::clear;
use super::environment::conclude;
use super::gc::clear_dead;
use super::reuse::{self, Reuse};
use super::stage::{PATIENCE, Setting, Stage};
use super::stop::Stop;
use super::test;
use crate::cli::{Keep, RunArgs, TestArgs};
use crate::fault;
use crate::report::{Model, ProgressMode, Record, SharedModel, Stream, Verbosity, progress};
use crate::run::child::Children;
use crate::run::duration::show;
use crate::run::event::{CancelReason, EventKind, Level, SCHEMA};
use crate::run::folder::{Facts, State};
use crate::run::{Dispatcher, Events, Failure, Kind, Outcome, Reporter, RunFolder, Secrets, clock, machine};
use crate::script::{Diagnostic, Program};
use crate::targets::caches::Caches;

/// How long the end of a run waits until it has cleared what dead ones have left.
const CLEARING: Duration = Duration::from_secs(10);

/// What an environment is set up for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// To be used by others: it stays up.
    Use,
    /// To be taken down at once.
    Nothing,
    /// To be tested, and taken down.
    Test(&'a TestArgs),
}

/// A run that is about to begin.
pub(super) struct Session<'a> {
    pub args: &'a RunArgs,
    pub purpose: Purpose<'a>,
    pub began: Instant,
    /// A program that looks on.
    pub listener: Option<Stream>,
    pub workspace: PathBuf,
    pub target: String,
    pub registry: Option<String>,
    pub params: BTreeMap<String, Value>,
    pub caches: Caches,
    pub program: Arc<Program>,
    pub runtime: Handle,
    /// The environment to change instead of a new one, with `--reuse`.
    pub reuse: Option<Reuse>,
}

/// A run that is over.
pub(super) struct Ended {
    pub folder: RunFolder,
    pub model: Model,
    pub outputs: serde_json::Map<String, Value>,
    pub secrets: Secrets,
    /// Why it was cancelled.
    pub reason: Option<CancelReason>,
    /// What went wrong.
    pub error: Option<Diagnostic>,
    /// Where the state of the target was kept before it was taken down.
    pub diagnostics: Option<PathBuf>,
    /// The exit code of the test command, where it came to that.
    pub test_code: Option<i32>,
    /// What could not be taken down.
    pub left: Vec<Diagnostic>,
    /// Whether the environment is still up.
    pub up: bool,
    /// Whether it was up before.
    pub reused: bool,
    /// Whether it is up only for a look at what went wrong.
    pub kept: bool,
    /// Milliseconds of the set-up.
    wall_ms: f64,
    /// Milliseconds of the teardown.
    teardown_ms: f64,
}

impl Session<'_> {
    pub(super) async fn run(mut self) -> Result<Ended, Failure> {
        let (folder, facts) = if let Some((folder, found)) = self.found() {
            (folder.clone(), reuse::begin(folder, found)?)
        } else {
            let folder = RunFolder::create(&self.args.recipe)?;
            let facts = self.setting().facts(&folder)?;
            (folder, facts)
        };
        let (secrets, model) = (self.setting().secrets(), SharedModel::default());
        let mut reporters = self.reporters(&folder, &model)?;
        reporters.extend(self.listener.take().map(|listener| Box::new(listener) as Box<dyn Reporter>));
        let dispatcher = Dispatcher::start(self.began, secrets.clone(), reporters);
        let events = dispatcher.events();
        events.emit(EventKind::RunStarted {
            schema: SCHEMA,
            run_id: folder.id.as_str().into(),
            recipe: self.args.recipe.to_string_lossy().into(),
            target: self.target.as_str().into(),
            sequential: self.args.sequential,
        });
        let mut stop = Stop::listen(events.clone(), Children::default())?;
        if let Some(reuse) = &self.reuse {
            let text = reuse.told.clone();
            events.emit(EventKind::Message { level: Level::Info, branch: "".into(), text });
        }
        let setting = self.setting();
        let stage = match self.found() {
            Some(_) => setting.take_over(&folder, &facts, &events, stop.children()).await,
            None => setting.stage(&folder, &facts, &events, stop.children()),
        };
        let mut clearing = self.runtime.spawn(clear_dead(events.clone()));
        let watching = self.runtime.spawn(machine::watch(events.clone(), facts.scratch.clone()));
        let mut ended = Ended {
            folder,
            model: Model::default(),
            outputs: serde_json::Map::new(),
            secrets,
            reason: None,
            error: None,
            diagnostics: None,
            test_code: None,
            left: Vec::new(),
            up: false,
            reused: self.found().is_some(),
            kept: false,
            wall_ms: 0.0,
            teardown_ms: 0.0,
        };
        match stage {
            Ok(stage) => self.play(&stage, &mut stop, &events, &mut ended).await,
            Err(failure) => {
                ended.wall_ms = events.emit(EventKind::SetupFinished { outcome: Outcome::Failed });
                ended.error = Some(failure.into());
                match self.found() {
                    // It is as it was found.
                    Some((_, found)) => drop(ended.folder.write_facts(found)),
                    None => abandon(&mut ended, &facts).await,
                }
            }
        }
        ended.reason = stop.reason();
        ended.error.iter_mut().chain(&mut ended.left).for_each(|told| told.mask(&ended.secrets));
        if stop.during(clock::timeout(CLEARING, &mut clearing)).await.is_err() {
            clearing.abort();
        }
        watching.abort();
        // Nothing follows the last event.
        let _ = watching.await;
        events.emit(EventKind::RunFinished {
            outcome: ended.outcome(),
            wall_ms: ended.wall_ms,
            teardown_ms: ended.teardown_ms,
            up: ended.up,
            error: ended.error.as_ref().map(|error| error.render(false, 100)),
        });
        let _ = dispatcher.finish();
        ended.model = model.take();
        Ok(ended)
    }

    /// The environment that is taken over, as it was found.
    fn found(&self) -> Option<&(RunFolder, Facts)> {
        self.reuse.as_ref().and_then(|reuse| reuse.found.as_ref())
    }

    pub(super) fn setting(&self) -> Setting<'_> {
        Setting {
            recipe: &self.args.recipe,
            target: &self.target,
            registry: self.registry.as_deref(),
            workspace: &self.workspace,
            params: &self.params,
            program: &self.program,
            runtime: &self.runtime,
            sequential: self.args.sequential,
            caches: self.caches.clone(),
            untrusted: self.args.untrusted,
        }
    }

    fn reporters(&self, folder: &RunFolder, model: &SharedModel) -> Result<Vec<Box<dyn Reporter>>, Failure> {
        let record = |path: &Path| {
            Record::create(path).map_err(|error| {
                let what = format!("the events of the run cannot be recorded in {}", path.display());
                Failure::new(Kind::Io, what).cause(error)
            })
        };
        let mut reporters: Vec<Box<dyn Reporter>> =
            vec![Box::new(record(&folder.events())?), Box::new(model.clone())];
        if let Some(path) = &self.args.record {
            reporters.push(Box::new(record(path)?));
        }
        let verbosity = match (self.args.quiet, self.args.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        reporters.push(progress(ProgressMode::detect(), verbosity, model));
        Ok(reporters)
    }

    async fn play(&self, stage: &Stage, stop: &mut Stop, events: &Events, ended: &mut Ended) {
        let result = self.run_script(stage, stop).await;
        // Before anything is taken down, so that the error can still be explained.
        ended.error = match (stop.reason(), result) {
            (None, Err(error)) => Some(stage.host.diagnose(&error)),
            (Some(CancelReason::Deadline), _) => Some(self.out_of_time()),
            (None, Ok(())) => reuse::remove_unasked(stage).await.err().map(Diagnostic::from),
            (Some(_), _) => None,
        };
        ended.reason = stop.reason();
        ended.wall_ms = events.emit(EventKind::SetupFinished { outcome: ended.outcome() });

        self.keep_for_later(stage, stop, events).await;
        if let (Purpose::Test(args), Outcome::Succeeded) = (self.purpose, ended.outcome()) {
            let tested = test::run(args, stage, stop, events, &mut ended.test_code).await;
            ended.error = tested.err().map(Diagnostic::from);
        }
        let token = CancellationToken::new();
        if ended.has_failed() || ended.outcome() != Outcome::Succeeded {
            // Before `on_exit` and teardown, which remove what explains it.
            let _faults = fault::during("diagnostics");
            let diagnose = token.run_until_cancelled(stage.host.environment.target.diagnose());
            ended.diagnostics = stop.last_words(&token, PATIENCE, diagnose).await.flatten().flatten();
        }
        let hooks = on_thread(|done| stage.host.run_exit_hooks(token.clone(), done));
        if let Some(Err(error)) = stop.last_words(&token, PATIENCE, hooks).await
            && ended.error.is_none()
        {
            ended.error = Some(stage.host.diagnose(&error));
        }
        stage.keep_sources(events.secrets());
        let children = stop.children().clone();
        let _ = stop.during(clock::timeout(PATIENCE, children.settle())).await;
        ended.outputs = stage.host.environment.outputs_json();
        ended.reason = stop.reason();

        ended.up = self.keeps(ended) && !stage.up().await.is_empty();
        if ended.up {
            ended.up = self.leave_up(stage, ended).await;
        }
        if !ended.up {
            stop.during(take_down(stage, events, ended)).await;
        }
    }

    /// Keeps what later runs need not make again. Whatever comes of it, this run
    /// is what it is.
    async fn keep_for_later(&self, stage: &Stage, stop: &mut Stop, events: &Events) {
        let token = stop.token().clone();
        let keep = token.run_until_cancelled(stage.host.environment.target.keep());
        let began = Instant::now();
        let message = |level, text| EventKind::Message { level, branch: "".into(), text };
        match stop.during(keep).await {
            Some(Ok(true)) => {
                let took = show(began.elapsed());
                events.emit(message(
                    Level::Info,
                    format!("databases are kept for later runs, which took {took}"),
                ));
            }
            Some(Err(failure)) => {
                let why = failure.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
                let text = format!("databases are not kept for later runs: {failure}{why}");
                events.emit(message(Level::Warning, text));
            }
            Some(Ok(false)) | None => {}
        }
    }

    async fn run_script(&self, stage: &Stage, stop: &mut Stop) -> Result<(), Box<EvalAltResult>> {
        let Some(takeover) = stage.host.takeover.clone() else {
            return self.pass(stage, stop, stop.token().clone()).await;
        };
        loop {
            let token = stop.token().child_token();
            takeover.begin(token.clone());
            let result = self.pass(stage, stop, token).await;
            if stop.reason().is_some() || !takeover.begins_again(result.is_ok()) {
                return result;
            }
            stage.host.begin_again();
        }
    }

    /// Runs the script once.
    async fn pass(
        &self,
        stage: &Stage,
        stop: &mut Stop,
        token: CancellationToken,
    ) -> Result<(), Box<EvalAltResult>> {
        let script = on_thread(|done| stage.host.run(&self.program, token, done));
        let deadline = self.args.timeout.map(|limit| self.began + limit);
        let lost = || Err(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE).into());
        stop.script(deadline, script).await.unwrap_or_else(lost)
    }

    fn out_of_time(&self) -> Diagnostic {
        let limit = self.args.timeout.map(show).unwrap_or_default();
        let failure = Failure::new(
            Kind::Timeout,
            format!("the set-up was not done within {limit}, the run's --timeout"),
        );
        failure.hint("the timeline above shows what was still going on, marked as cancelled").into()
    }

    fn keeps(&self, ended: &Ended) -> bool {
        match (ended.outcome(), self.args.keep) {
            // Whatever became of the run: it was not there for the run alone.
            _ if ended.reused => true,
            (_, Keep::Always) => true,
            (Outcome::Succeeded | Outcome::Failed, Keep::OnFailure) if ended.has_failed() => true,
            // Once it is set up it is for the next run, too, also where tests have failed.
            _ if self.reuse.is_some() => ended.error.is_none() && ended.reason.is_none(),
            (Outcome::Succeeded, _) => matches!(self.purpose, Purpose::Use),
            _ => false,
        }
    }

    async fn leave_up(&self, stage: &Stage, ended: &mut Ended) -> bool {
        // What is reused is whole when it is set up, however its tests have gone.
        ended.kept = match &self.reuse {
            Some(_) => ended.error.is_some() || ended.reason.is_some(),
            None => ended.has_failed(),
        };
        let state = if ended.kept { State::Kept } else { State::Up };
        let detached = stage.leave_up(state, self.args.ttl).await;
        detached.map_err(|failure| ended.error.get_or_insert_with(|| failure.into())).is_ok()
    }
}

/// Removes what was made for a script that will not run.
async fn abandon(ended: &mut Ended, facts: &Facts) {
    let facts = Facts { state: State::Failed, ..facts.clone() };
    let cleared = clear(&ended.folder, &facts).await;
    match cleared.and_then(|()| conclude(&ended.folder, &facts)) {
        Ok(()) => {}
        Err(failure) => {
            ended.left.push(failure.into());
            // Its error is told already.
            let _ = ended.folder.write_facts(&facts);
        }
    }
}

/// Runs something that calls back from a thread of its own when it is over.
async fn on_thread<T: Send + 'static>(
    run: impl FnOnce(Box<dyn FnOnce(Result<T, Box<EvalAltResult>>) + Send>) -> std::io::Result<()>,
) -> Result<T, Box<EvalAltResult>> {
    let (done, over) = oneshot::channel();
    let told = Box::new(move |result| drop(done.send(result)));
    let started = run(told).map_err(|error| format!("no thread can be started for the script: {error}"));
    match started {
        Ok(()) => over.await.unwrap_or_else(|_| Err("the script's thread has vanished".into())),
        Err(why) => Err(why.into()),
    }
}

async fn take_down(stage: &Stage, events: &Events, ended: &mut Ended) {
    let (took_ms, result) = stage.take_down(events).await;
    ended.teardown_ms = took_ms;
    ended.left.extend(result.err().map(Diagnostic::from));
    stage.conclude(if ended.outcome() == Outcome::Succeeded { State::Down } else { State::Failed });
}

impl Ended {
    /// Whether the set-up failed, or the tests.
    pub(super) fn has_failed(&self) -> bool {
        self.error.is_some() || self.test_code.is_some_and(|code| code != 0)
    }

    pub(super) fn outcome(&self) -> Outcome {
        match (&self.error, self.reason) {
            (_, Some(reason)) if reason.is_signal() => Outcome::Cancelled,
            (Some(_), _) | (None, Some(_)) => Outcome::Failed,
            (None, None) => Outcome::Succeeded,
        }
    }
}
