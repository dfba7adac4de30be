//! One run from its first event to its last.
//!
//! ```text
//!  prepare ──> script runs ──> on_exit ──> children settle ──> detach or teardown
//!                  ^                                              ^
//!    first signal, --timeout: cancel        second: kill   third: leave at once
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rhai::EvalAltResult;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::cli::{Keep, Output, RunArgs};
use crate::exit;
use crate::report::{Model, ProgressMode, Record, SharedModel, Verbosity, progress};
use crate::run::child::Children;
use crate::run::event::{CancelReason, EventKind, SCHEMA};
use crate::run::folder::{Facts, State};
use crate::run::signal::Signals;
use crate::run::{Dispatcher, Events, Failure, Journal, Kind, Outcome, Reporter, RunFolder, Secrets, scratch};
use crate::script::{Diagnostic, Environment, Host, Program};
use crate::supervise::{ProcessId, Supervisor};
use crate::targets::local::Local;

/// How long `on_exit` and teardown may take before they are given up.
const TEARDOWN: Duration = Duration::from_secs(60);

/// A run that is about to begin.
pub(super) struct Session<'a> {
    pub args: &'a RunArgs,
    pub began: Instant,
    pub workspace: PathBuf,
    pub target: String,
    pub params: BTreeMap<String, Value>,
    pub program: Arc<Program>,
    pub runtime: Handle,
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
    /// What could not be taken down.
    pub left: Vec<Diagnostic>,
    /// Whether the environment is still up.
    pub up: bool,
}

impl Session<'_> {
    pub(super) async fn run(self) -> Result<Ended, Failure> {
        let mut signals = Signals::listen()
            .map_err(|error| Failure::new(Kind::Io, "signals cannot be listened for").cause(error))?;
        let folder = RunFolder::create(&self.args.recipe)?;
        let secrets = Secrets::default();
        let model = SharedModel::default();
        let dispatcher = Dispatcher::start(self.began, secrets.clone(), self.reporters(&folder, &model)?);
        let events = dispatcher.events();
        events.emit(EventKind::RunStarted {
            schema: SCHEMA,
            run_id: folder.id.as_str().into(),
            recipe: self.args.recipe.to_string_lossy().into(),
            target: self.target.as_str().into(),
            sequential: self.args.sequential,
        });
        let result = self.run_in(&folder, &events, &mut signals).await;
        let _ = dispatcher.finish();
        let (reason, error, left, up, outputs) = result?;
        Ok(Ended { folder, model: model.take(), outputs, secrets, reason, error, left, up })
    }

    fn reporters(&self, folder: &RunFolder, model: &SharedModel) -> Result<Vec<Box<dyn Reporter>>, Failure> {
        let unwritable = |error| Failure::new(Kind::Io, "the events of the run cannot be recorded").cause(error);
        let record = Record::create(&folder.events()).map_err(unwritable)?;
        let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(record), Box::new(model.clone())];
        if let Some(path) = &self.args.record {
            reporters.push(Box::new(Record::create(path).map_err(unwritable)?));
        }
        let verbosity = match (self.args.quiet, self.args.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        reporters.push(progress(ProgressMode::detect(), verbosity));
        Ok(reporters)
    }
}
