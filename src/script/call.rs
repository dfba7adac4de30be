//! One call of a primitive: where it was made, whose step it is, and the way
//! from a blocking script into async work and back.

use std::any::Any;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rhai::{Dynamic, EvalAltResult, FnPtr, FuncArgs, NativeCallContext, Position};
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::branch::Branch;
use super::failure::{failure_of, raise};
use super::host::Host;
use super::limits;
use super::memory::Remembered;
use super::primitive::{Family, Primitive, Run};
use super::unknown::Unknown;
use crate::fault::{self, Seam};
use crate::run::event::{CacheUse, EventKind, Level, SourcePosition, StepKind};
use crate::run::{Failure, Kind, Outcome, Step, StepId};

/// The context of a running primitive. Cheap to clone.
#[derive(Clone)]
pub struct Call {
    /// The line of execution it was made in.
    pub branch: Branch,
    /// The primitive's name.
    pub primitive: &'static str,
    /// The call in the script.
    pub position: SourcePosition,
    /// What its work reports to.
    pub step: Step,
    pub(super) at: Position,
}

impl Call {
    pub(super) fn new(primitive: &'static str, branch: Branch, context: &NativeCallContext) -> Self {
        let at = context.call_position();
        let position = branch.host.sources.position(context.call_source().unwrap_or_default(), at);
        let step = Step::new(branch.host.events.clone(), None, branch.path.clone());
        Self { branch, primitive, position, step, at }
    }

    /// The host of the script.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.branch.host
    }

    /// Cancelled when this call should stop. Work is dropped at that moment
    /// anyway; only what needs an orderly end listens.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.branch.token
    }

    /// Begins a step for this call.
    pub(super) fn begin(mut self, kind: StepKind, title: String, waits_for: Option<StepId>) -> Self {
        let started = Started { kind, primitive: self.primitive, title, waits_for };
        let id = started.emit(&self.branch, Some(self.position.clone()));
        self.step = Step::new(self.host().events.clone(), Some(id), self.branch.path.clone());
        self
    }

    /// Ends the step that [`Call::begin`] began, as `result` says.
    pub(super) fn end<T>(&self, result: &Result<T, Box<EvalAltResult>>) {
        if let Some(step) = self.step.id() {
            finish_step(&self.branch.host, step, self.step.cache_use(), result);
        }
    }

    /// Names this call in a failure that does not say where it is from.
    #[must_use]
    pub fn locate(&self, mut failure: Failure) -> Failure {
        if failure.position.is_none() {
            failure.position = Some(self.position.clone());
            failure.primitive = self.primitive.into();
            failure.branch = self.branch.path.clone();
        }
        failure
    }

    /// As [`Call::locate`], at an argument or a part of it where the script
    /// spells that out: the key of a map, or the item of an array by its index.
    #[must_use]
    pub(crate) fn locate_argument(&self, failure: Failure, argument: usize, part: Option<&str>) -> Failure {
        let mut failure = self.locate(failure);
        let sources = &self.host().sources;
        let file = sources.key_of(&self.position);
        if let Some(at) = sources.argument_position(&file, self.at, argument, part) {
            failure.position = Some(sources.position(&file, at));
        }
        failure
    }

    pub(crate) fn raise(&self, failure: Failure) -> Box<EvalAltResult> {
        raise(self.locate(failure), self.at)
    }

    /// Runs async work to its end on this thread, or until the branch is cancelled.
    pub(super) fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Box<EvalAltResult>> {
        let work = AssertUnwindSafe(work).catch_unwind();
        // `biased` in run_until_cancelled: a cancelled branch begins nothing.
        match self.host().runtime.block_on(self.branch.token.run_until_cancelled(work)) {
            None => Err(Branch::cancelled(self.at)),
            Some(Ok(Ok(value))) => Ok(value),
            Some(Ok(Err(failure))) => Err(self.raise(failure)),
            Some(Err(panic)) => Err(self.raise(bug(panic.as_ref()))),
        }
    }

    /// Runs `work` as a step of the script's own work; calls it makes are part of it.
    pub(crate) fn run_as_step<T>(
        self,
        work: impl FnOnce(&Self) -> Result<T, Box<EvalAltResult>>,
    ) -> Result<T, Box<EvalAltResult>> {
        self.run_as(StepKind::Primitive, String::new(), work)
    }

    /// As [`Call::run_as_step`], with a role and a title.
    pub(crate) fn run_as<T>(
        self,
        kind: StepKind,
        title: String,
        work: impl FnOnce(&Self) -> Result<T, Box<EvalAltResult>>,
    ) -> Result<T, Box<EvalAltResult>> {
        let call = self.begin(kind, title, None);
        let result = work(&call);
        call.end(&result);
        result
    }

    /// The same call with a token of its own, which ends with this one's.
    pub(crate) fn with_child_token(&self) -> Self {
        let mut call = self.clone();
        call.branch.token = self.branch.token.child_token();
        call
    }

    /// The same call, whose closures look whether something is so: their steps
    /// are done each time.
    pub(crate) fn repeating(mut self) -> Self {
        self.branch.repeats = true;
        self
    }

    /// Calls a closure of the script on this thread, as part of this call's step.
    pub(crate) fn call_closure(
        &self,
        context: &NativeCallContext,
        closure: &FnPtr,
        arguments: impl FuncArgs,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let mut values = rhai::StaticVec::new();
        arguments.parse(&mut values);
        let branch = self.step.id().map_or_else(|| self.branch.clone(), |step| self.branch.within(step));
        let _entered = branch.enter();
        closure.call_raw(context, None, values).map(Dynamic::flatten)
    }

    /// Tells the person watching what the script says.
    pub(crate) fn say(&self, text: String) {
        self.step.message(Level::Info, limits::message(text, &self.host().environment.taken));
    }

    /// Waits on this thread, until the time is over or the branch is cancelled.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Box<EvalAltResult>> {
        self.block_on(async {
            if fault::at(Seam::Clock).await.is_ok() {
                tokio::time::sleep(time).await;
            }
            Ok(())
        })
    }

    /// Runs a primitive as a step.
    pub(super) fn step(
        self,
        primitive: &'static Primitive,
        mut arguments: Arguments,
        run: fn(Self, Arguments) -> BoxFuture<'static, Result<Dynamic, Failure>>,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        debug_assert_eq!(primitive.name, self.primitive);
        let title = self.title(&arguments);
        let call = self.clone().begin(StepKind::Primitive, title.clone(), None);
        let done = call.as_remembered(primitive, &arguments, title);
        // Made inside the future, so that a panic while making it is caught too.
        let result = match call.recalled(primitive, &done.arguments) {
            Some(known) => call.block_on(known).map(|known| (known, true)),
            None => call.block_on(async {
                if let Some(known) = call.spared(primitive, &mut arguments, &done).await? {
                    return Ok((known, false));
                }
                let not_spared = call.step.cache_use();
                let value = run(call.clone(), arguments).await;
                call.note(not_spared);
                Ok((value?, true))
            }),
        };
        if let Ok((value, _)) = &result {
            call.note_ports(primitive, value);
        }
        if let Ok((value, true)) = &result {
            call.remember(done, value);
        }
        let result = result.map(|(value, _)| value);
        if result.as_ref().is_err_and(|error| is_cancelled(error)) {
            call.host().runtime.block_on(call.host().environment.children.settle());
        }
        call.end(&result);
        result
    }
}

impl Call {
    /// What has an address of the environment may be reached by an untrusted
    /// recipe.
    fn note_ports(&self, primitive: &Primitive, value: &Dynamic) {
        let table = self.host().table;
        if (table.name_of)(value).is_some() || primitive.name == "random_port" {
            self.host().environment.opened((table.keep)(value), value);
        }
    }

    fn title(&self, arguments: &Arguments) -> String {
        arguments.title(self.host().table.name_of, self.host().events.secrets())
    }

    /// The value that this step had in the run that is resumed. What waits is
    /// waited for again.
    fn recalled(
        &self,
        primitive: &Primitive,
        digest: &str,
    ) -> Option<BoxFuture<'static, Result<Dynamic, Failure>>> {
        let known = self.host().memory.take(&self.branch.path, primitive.name, digest)?;
        if primitive.family == Family::Waiting {
            return None;
        }
        self.step.cache(true, "done in the run that is resumed");
        Some((self.host().table.open)(known, self.host().environment.clone()))
    }

    /// The value of a primitive that is no step, as it was in the run that is
    /// resumed.
    pub(super) fn remembered(
        &self,
        primitive: &Primitive,
        arguments: &Arguments,
        run: fn(&Self, &Arguments) -> Result<Dynamic, Failure>,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let done = self.as_remembered(primitive, arguments, self.title(arguments));
        if let Some(known) = self.value_as_it_was(primitive, &done) {
            let value = self.block_on(self.host().open(known))?;
            self.cover(primitive, &value);
            return Ok(value);
        }
        let value = match self.recalled(primitive, &done.arguments) {
            Some(known) => {
                let value = self.block_on(known)?;
                self.cover(primitive, &value);
                value
            }
            None => run(self, arguments).map_err(|failure| self.raise(failure))?,
        };
        self.remember(done, &value);
        Ok(value)
    }

    /// Tells the step, and gives what stands for its value.
    pub(super) fn plan(
        self,
        primitive: &Primitive,
        arguments: &Arguments,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        // As it is when it runs, so that its times can be found.
        let title = match (&primitive.run, arguments.duration_of_first()) {
            (Run::Control(_), time) => time.map(crate::run::duration::show).unwrap_or_default(),
            _ => self.title(arguments),
        };
        let call = self.begin(StepKind::Primitive, title.clone(), None);
        let value = if primitive.returns.is_empty() {
            Dynamic::UNIT
        } else {
            Dynamic::from(Unknown(format!("{} {title}", primitive.name).into()))
        };
        let result = Ok(value);
        call.end(&result);
        result
    }

    /// Remembers what was done, and that `value` came of it.
    fn remember(&self, mut done: Remembered, value: &Dynamic) {
        if self.branch.repeats {
            return;
        }
        if let Some(value) = (self.host().table.keep)(value) {
            done.value = value;
            self.host().memory.keep(&done);
            self.learn(done);
        }
    }
}

/// What a step that begins is.
pub(super) struct Started<'a> {
    pub kind: StepKind,
    pub primitive: &'a str,
    pub title: String,
    pub waits_for: Option<StepId>,
}

impl Started<'_> {
    /// Tells that the step began as part of `parent`.
    pub(super) fn emit(self, parent: &Branch, position: Option<SourcePosition>) -> StepId {
        self.emit_in(parent, parent.path.clone(), position)
    }

    /// The same, for a step that is a branch of its own.
    pub(super) fn emit_in(self, parent: &Branch, path: Arc<str>, position: Option<SourcePosition>) -> StepId {
        limits::begin_step();
        let step = parent.host.next_step();
        parent.host.events.emit(EventKind::StepStarted {
            step,
            parent: parent.step,
            branch: path,
            kind: self.kind,
            primitive: self.primitive.into(),
            title: self.title,
            position,
            waits_for: self.waits_for,
        });
        step
    }
}

/// Tells that `step` ended as `result` says.
pub(super) fn finish_step<T>(
    host: &Host,
    step: StepId,
    cache: Option<CacheUse>,
    result: &Result<T, Box<EvalAltResult>>,
) {
    let (outcome, error) = match result {
        Ok(_) => (Outcome::Succeeded, None),
        Err(error) if is_cancelled(error) => (Outcome::Cancelled, None),
        Err(error) => (Outcome::Failed, Some(one_line(error))),
    };
    host.events.emit(EventKind::StepFinished { step, outcome, cache, error });
}

/// Whether an error means "stopped because of something else".
pub(crate) fn is_cancelled(error: &EvalAltResult) -> bool {
    matches!(error.unwrap_inner(), EvalAltResult::ErrorTerminated(why, _) if !why.is::<Failure>())
}

/// An error in one line, for lists.
pub(crate) fn one_line(error: &EvalAltResult) -> String {
    match failure_of(error) {
        Some(failure) => failure.message.lines().next().unwrap_or_default().to_owned(),
        None => super::explain::message(error.unwrap_inner()),
    }
}

/// A panic as a failure: a bug in recipe, not in the recipe.
pub(super) fn bug(panic: &(dyn Any + Send)) -> Failure {
    let said =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    let place = PANIC_PLACE.take().map(|place| format!(" at {place}")).unwrap_or_default();
    Failure::new(Kind::Bug, format!("recipe itself went wrong{place}: {}", said.unwrap_or("no message")))
        .hint("this is a bug in recipe, not in your script; please report it together with the run's folder")
}

thread_local! {
    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics of primitives off the terminal, where they would tear the
/// progress display: the host reports them as failures with their place.
/// `RUST_BACKTRACE` brings the usual message back.
pub fn quieten_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANIC_PLACE.set(panic.location().map(ToString::to_string));
        if Branch::current().is_none() || std::env::var_os("RUST_BACKTRACE").is_some() {
            usual(panic);
        }
    }));
}
