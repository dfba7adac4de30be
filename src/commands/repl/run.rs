//! The run that a session is, or that it looks into.

use std::path::Path;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{NAME, Params};
use crate::commands::stage::{PATIENCE, Setting, Stage};
use crate::commands::{environment, terminal};
use crate::report::{ProgressMode, Record, SharedModel, Verbosity, progress};
use crate::run::child::Children;
use crate::run::event::{EventKind, SCHEMA};
use crate::run::folder::{Facts, State};
use crate::run::{Dispatcher, Failure, Kind, Outcome, Reporter, RunFolder, Secrets};
use crate::script::Program;
use crate::targets::caches::Caches;

/// Where a session is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub workspace: &'a Path,
    pub target: &'a str,
    pub registry: Option<&'a str>,
    pub params: &'a Params,
    pub program: &'a Program,
    pub runtime: &'a Handle,
    /// The run to open, instead of one of its own.
    pub attach: Option<&'a str>,
}

/// The run that the session is.
pub(super) struct Run {
    pub(super) stage: Stage,
    pub(super) dispatcher: Dispatcher,
    pub(super) children: Children,
    /// Whether it is somebody else's, and stays as it is.
    pub(super) attached: bool,
    /// Ends all that entries have started.
    pub(super) token: CancellationToken,
}

impl Run {
    pub(super) async fn begin(place: Place<'_>, model: &SharedModel) -> Result<Self, Failure> {
        let folder = RunFolder::create(Path::new(NAME))?;
        let setting = place.setting(Path::new(NAME), place.target);
        let facts = setting.facts(&folder)?;
        let record = Record::create(&folder.events()).map_err(|error| {
            let what =
                format!("the events of the session cannot be recorded in {}", folder.events().display());
            Failure::new(Kind::Io, what).cause(error)
        })?;
        let dispatcher = dispatcher(model, Some(record));
        let events = dispatcher.events();
        events.emit(EventKind::RunStarted {
            schema: SCHEMA,
            run_id: folder.id.as_str().into(),
            recipe: NAME.into(),
            target: place.target.into(),
            sequential: false,
        });
        let children = Children::default();
        let stage = setting.stage(&folder, &facts, &events, &children);
        match stage {
            Ok(stage) => {
                Ok(Self { stage, dispatcher, children, attached: false, token: CancellationToken::new() })
            }
            Err(failure) => {
                // The reason why there is no stage is the one to tell.
                let _ = crate::commands::clear::clear(&folder, &facts).await;
                let _ = folder.write_facts(&Facts { state: State::Failed, ..facts });
                Err(failure)
            }
        }
    }

    pub(super) async fn rejoin(place: Place<'_>, name: &str, model: &SharedModel) -> Result<Self, Failure> {
        let (folder, facts) = environment::select(Some(name))?;
        let dispatcher = dispatcher(model, None);
        let children = Children::default();
        let setting = place.setting(Path::new(&facts.recipe), &facts.target);
        let stage = setting.rejoin(&folder, &facts, &dispatcher.events(), &children).await?;
        Ok(Self { stage, dispatcher, children, attached: true, token: CancellationToken::new() })
    }

    /// What runs, by name.
    pub(super) async fn up(&self) -> Vec<String> {
        self.stage.up().await
    }

    pub(super) async fn take_down(&mut self) -> Result<(), Failure> {
        let events = self.dispatcher.events();
        let wall_ms = events.emit(EventKind::SetupFinished { outcome: Outcome::Succeeded });
        let token = CancellationToken::new();
        let (done, over) = oneshot::channel();
        let hooks = self.stage.host.run_exit_hooks(token.clone(), move |result| drop(done.send(result)));
        if hooks.is_ok()
            && let Ok(Ok(Err(error))) = tokio::time::timeout(PATIENCE, over).await
        {
            terminal::show(&self.stage.host.diagnose(&error));
        }
        token.cancel();
        self.children.settle().await;
        self.stage.keep_sources(events.secrets());
        let (teardown_ms, gone) = self.stage.take_down(&events).await;
        self.stage.conclude(State::Down);
        events.emit(EventKind::RunFinished {
            outcome: Outcome::Succeeded,
            wall_ms,
            teardown_ms,
            up: false,
            error: gone.as_ref().err().map(ToString::to_string),
        });
        events.settle();
        gone
    }
}

impl<'a> Place<'a> {
    fn setting(&self, recipe: &'a Path, target: &'a str) -> Setting<'a> {
        Setting {
            recipe,
            target,
            registry: self.registry,
            workspace: self.workspace,
            params: self.params,
            program: self.program,
            runtime: self.runtime,
            sequential: false,
            // What is typed is never the same.
            caches: Caches::default(),
            untrusted: false,
        }
    }
}

fn dispatcher(model: &SharedModel, record: Option<Record>) -> Dispatcher {
    // A session after `:down` tells its own steps only.
    let _ = model.take();
    let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(model.clone())];
    reporters.extend(record.map(|record| Box::new(record) as Box<dyn Reporter>));
    reporters.push(progress(ProgressMode::detect(), Verbosity::Normal, model));
    let secrets = Secrets::default();
    secrets.add_environment();
    Dispatcher::start(Instant::now(), secrets, reporters)
}
