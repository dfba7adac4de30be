//! A session: the environment that entries act on, and its end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::attach;
use super::helper::Helper;
use super::input::{Heard, Input};
use super::run::{Place, Run};
use crate::commands::{Done, stop, terminal};
use crate::exit;
use crate::report::SharedModel;
use crate::run::child::last_lines;
use crate::run::event::{CancelReason, EventKind, Level};
use crate::run::folder::State;
use crate::run::signal::Signals;
use crate::run::{Failure, Kind};
use crate::script::interactive::{Refused, Variable};
use crate::script::{Interactive, suggest};
use crate::tell::tell;

/// Whether the session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    Here,
    Leave,
}

/// A session with an environment of its own, which is a run like any other.
pub(super) struct Room<'a> {
    pub(super) place: Place<'a>,
    pub(super) run: Run,
    pub(super) model: SharedModel,
    pub(super) script: Arc<Mutex<Interactive>>,
    input: Input,
    signals: Signals,
    /// The signal that ends the session.
    ended_by: Option<CancelReason>,
}

impl<'a> Room<'a> {
    pub(super) async fn open(place: Place<'a>) -> Result<Self, Failure> {
        let signals = Signals::listen()
            .map_err(|error| Failure::new(Kind::Io, "signals cannot be listened for").cause(error))?;
        let model = SharedModel::default();
        let run = match place.attach {
            Some(name) => Run::rejoin(place, name, &model).await?,
            None => Run::begin(place, &model).await?,
        };
        let script = Interactive::new(run.stage.host.clone(), place.workspace, run.token.clone());
        let script = Arc::new(Mutex::new(script));
        let colour = terminal::colour();
        let helper = Helper { script: script.clone(), colour, is_entry: true };
        let input = Input::start(helper, colour)?;
        let mut room = Self { place, run, model, script, input, signals, ended_by: None };
        if room.run.attached {
            room.bind_handles().await;
        }
        Ok(room)
    }

    /// Reads entries and runs them until the end.
    pub(super) async fn talk(mut self) -> Done {
        self.greet();
        let mut failed = false;
        while self.ended_by.is_none() {
            self.run.dispatcher.events().settle();
            let heard = tokio::select! {
                heard = self.input.entry("recipe> ") => heard,
                reason = self.signals.next() => {
                    self.input.restore();
                    self.ended_by = Some(reason);
                    Heard::End
                }
            };
            let told = match heard {
                Heard::Line(text) => self.hear(text.trim()).await,
                Heard::Interrupted => Ok(Stay::Here),
                Heard::End => Ok(Stay::Leave),
            };
            match told {
                Ok(Stay::Here) => {}
                Ok(Stay::Leave) => break,
                Err(mut told) => {
                    told.mask(self.run.dispatcher.events().secrets());
                    terminal::show(&told);
                    failed = true;
                }
            }
        }
        // Whoever pipes entries in wants to know; a person has seen it.
        failed &= !self.input.is_interactive;
        let signal = self.ended_by.and_then(CancelReason::signal);
        let is_clean = self.leave().await;
        Ok(match signal {
            Some(signal) => exit::SIGNAL + signal,
            None if failed || !is_clean => exit::FAILED,
            None => exit::DONE,
        })
    }

    fn greet(&self) {
        if self.input.is_interactive {
            let (version, target) = (env!("CARGO_PKG_VERSION"), self.target());
            tell!("recipe {version} on {target}; `:help` lists commands, Ctrl-D leaves");
        }
    }

    async fn hear(&mut self, text: &str) -> Result<Stay, Refused> {
        match text.strip_prefix(':') {
            _ if text.is_empty() => Ok(Stay::Here),
            Some(command) => self.command(command.trim()).await,
            // As a call it stands where the recipe would go on.
            None if self.run.attached && attach::resumes(text) => {
                self.resume().await?;
                if let Some(name) = attach::resumes_into(text) {
                    let outputs = self.run.stage.host.environment.outputs_value();
                    self.script().bind(name, outputs);
                }
                Ok(Stay::Here)
            }
            None => self.enter(text.to_owned(), None).await.map(|()| Stay::Here),
        }
    }

    /// Runs an entry and shows its value.
    pub(super) async fn enter(&mut self, text: String, file: Option<PathBuf>) -> Result<(), Refused> {
        let token = self.run.token.child_token();
        let (done, over) = oneshot::channel();
        let told = move |answer| drop(done.send(answer));
        Interactive::run(&self.script, text, file, token.clone(), told).map_err(unstartable)?;
        let answer = self.during(&token, over).await;
        let answer = answer.map_err(|_| Failure::new(Kind::Bug, "the script's thread has vanished"))?;
        match answer {
            Ok(mut answer) => {
                let secrets = self.run.dispatcher.events().secrets().clone();
                answer.warnings.iter_mut().for_each(|warning| warning.mask(&secrets));
                answer.warnings.iter().for_each(terminal::show);
                let value = answer.value.map(|value| value + "\n");
                Ok(terminal::print(&value.unwrap_or_default())?)
            }
            Err(_) if token.is_cancelled() => Err(Failure::new(Kind::Script, "stopped")
                .hint("variables are as they were at that moment")
                .into()),
            Err(refused) => Err(refused),
        }
    }

    /// Waits for `work`, which ends with `token`, while signals are heard.
    pub(super) async fn during<T>(&mut self, token: &CancellationToken, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut count = 0;
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                reason = self.signals.next() => {
                    count += 1;
                    self.stop(reason, count, token);
                }
            }
        };
        if token.is_cancelled() {
            self.run.children.settle().await;
        }
        self.run.dispatcher.events().settle();
        result
    }

    fn stop(&mut self, reason: CancelReason, count: usize, token: &CancellationToken) {
        token.cancel();
        match count {
            1 => {
                let text = "stopping; once more to kill what still runs".to_owned();
                let told = EventKind::Message { level: Level::Warning, branch: "".into(), text };
                self.run.dispatcher.events().emit(told);
            }
            2 => self.run.children.kill(),
            _ => {
                self.input.restore();
                stop::leave(reason);
            }
        }
        // Ctrl-C is for the entry, everything else for the session.
        if reason != CancelReason::Interrupt {
            self.ended_by = Some(reason);
        }
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Interactive> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn target(&self) -> String {
        self.run.stage.host.environment.target.name().to_owned()
    }

    fn masked(&self, text: &str) -> String {
        self.run.dispatcher.events().secrets().masked(text)
    }

    /// Variables and functions, a line each.
    pub(super) fn variables(&self) -> String {
        let script = self.script();
        let variables = script.variables();
        let width = variables.iter().map(|variable| variable.name.len()).max().unwrap_or_default();
        let types = variables.iter().map(|variable| variable.ty.len()).max().unwrap_or_default();
        let mut text = String::new();
        for Variable { name, ty, value } in variables {
            text.push_str(&format!("  {name:width$}  {ty:types$}  {value}\n"));
        }
        for function in script.functions() {
            text.push_str(&format!("  fn {function}\n"));
        }
        if text.is_empty() { "  nothing yet\n".to_owned() } else { text }
    }

    pub(super) async fn load(&mut self, path: &Path) -> Result<(), Refused> {
        let text = fs_err::read_to_string(path)
            .map_err(|error| Failure::new(Kind::NotFound, "the recipe cannot be read").cause(error))?;
        self.enter(text, Some(path.to_owned())).await
    }

    /// Writes what worked, but over nothing else than an earlier save.
    pub(super) fn save(&self, path: &Path) -> Result<(), Refused> {
        const MARK: &str = "// Written by `recipe repl`.\n";
        let path = if path.extension().is_some() { path.to_owned() } else { path.with_extension("rhai") };
        if fs_err::read_to_string(&path).is_ok_and(|text| !text.starts_with(MARK)) {
            let what = format!("{} is there already, and not by this command", path.display());
            return Err(Failure::new(Kind::Usage, what).hint("name another file").into());
        }
        let recipe = self.script().recipe();
        let lines = recipe.lines().count();
        fs_err::write(&path, format!("{MARK}{recipe}"))
            .map_err(|error| Failure::new(Kind::Io, "the recipe cannot be written").cause(error))?;
        tell!("  {lines} lines in {0}; `recipe check {0}`, `recipe run {0}`", path.display());
        Ok(())
    }

    pub(super) fn logs(&self, name: &str) -> Result<String, Refused> {
        let log = self.run.stage.folder.log(name);
        let text = std::fs::read(&log).map_err(|_| {
            let names = crate::commands::logs::logged(&self.run.stage.folder);
            let mut failure = Failure::new(Kind::NotFound, format!("nothing called `{name}` has a log here"));
            failure.hint = suggest::hint(name, names.iter().map(String::as_str), "there are");
            failure
        })?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(self.masked(&(last_lines(&text, LOG_LINES).join("\n") + "\n")))
    }

    /// Takes everything down and begins anew.
    pub(super) async fn down(&mut self) -> Result<(), Refused> {
        if self.run.attached {
            let what = "this session only looks into a run";
            let hint = format!("`recipe down {}` takes it down", self.run.stage.folder.id);
            return Err(Failure::new(Kind::Usage, what).hint(hint).into());
        }
        self.script().end();
        self.run.take_down().await?;
        let run = Run::begin(self.place, &self.model).await?;
        let mut fresh = Interactive::new(run.stage.host.clone(), self.place.workspace, run.token.clone());
        {
            let mut old = self.script();
            fresh.take_over(&old);
            *old = fresh;
        }
        let old = std::mem::replace(&mut self.run, run);
        let _ = old.dispatcher.finish();
        Ok(())
    }

    /// Ends the session: asks about what is still up, where somebody can answer.
    /// Returns whether everything is as it was meant.
    async fn leave(&mut self) -> bool {
        self.script().end();
        if self.run.attached {
            return true;
        }
        let up = self.run.up().await;
        if !up.is_empty()
            && self.ended_by.is_none()
            && self.input.is_interactive
            && self.wants_to_keep(&up).await
        {
            let id = self.run.stage.folder.id.clone();
            self.run.stage.host.set_variables(self.script().values());
            match self.run.stage.leave_up(State::Up, None).await {
                Ok(()) => {
                    tell!("  {id} is up; take it down: recipe down {id}");
                    return true;
                }
                Err(failure) => terminal::show(&failure.into()),
            }
        } else if !up.is_empty() && !self.input.is_interactive {
            tell!("  taking down: {}", up.join(", "));
        }
        let gone = self.run.take_down().await;
        if let Err(failure) = &gone {
            terminal::show(&failure.clone().into());
        }
        gone.is_ok()
    }

    async fn wants_to_keep(&self, up: &[String]) -> bool {
        let (names, verb) = (up.join(", "), if up.len() == 1 { "is" } else { "are" });
        let prompt = format!("{names} {verb} still up. Take down? [Y/n] ");
        match self.input.question(&prompt).await {
            Heard::Line(answer) => matches!(answer.trim(), "n" | "N" | "no"),
            Heard::Interrupted | Heard::End => false,
        }
    }
}

/// Lines of a log that `:logs` shows.
const LOG_LINES: usize = 40;

fn unstartable(error: std::io::Error) -> Failure {
    Failure::new(Kind::Io, "no thread can be started for the script").cause(error)
}
