//! Tasks: branches that their parent goes on beside, until `join`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext, Position};
use tokio::sync::watch;

use super::call::{Call, Started, finish_step, is_cancelled, one_line};
use super::host::STACK;
use super::parallel::{Place, run_branch};
use super::snapshot::snapshot;
use crate::run::event::StepKind;
use crate::run::{Failure, Kind, StepId};

/// What `start` returns. Cheap to clone.
#[derive(Clone)]
pub struct Task(Arc<Inner>);

struct Inner {
    name: String,
    /// The path of its branch.
    path: Arc<str>,
    step: StepId,
    done: watch::Receiver<bool>,
    end: Mutex<End>,
    joined: AtomicBool,
    /// The call of `start`: file key and position.
    source: String,
    at: Position,
}

/// What became of a task.
enum End {
    Running,
    Value(Dynamic),
    Failed(Box<EvalAltResult>),
    /// Its failure was handed over; this is what it said.
    Told(String),
}

impl Task {
    /// Its name, as given to `start`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Begins `closure` on a thread of its own. With `--sequential` it is run
    /// to its end first.
    pub(crate) fn start(
        context: &NativeCallContext,
        call: &Call,
        name: String,
        closure: &FnPtr,
    ) -> Result<Self, Box<EvalAltResult>> {
        // Before anything is told, so that a refused task was never begun.
        let place = Place::take(call.host()).map_err(|why| refused(call, &why))?;
        let parent = &call.branch;
        let path = parent.path_of(&name);
        let started =
            Started { kind: StepKind::Task, primitive: call.primitive, title: name.clone(), waits_for: None };
        let step = started.emit_in(parent, path.clone(), Some(call.position.clone()));
        let branch = parent.fork(&name, step, parent.token.child_token());
        let (finished, done) = watch::channel(false);
        let source = context.call_source().unwrap_or_default().to_owned();
        let (end, joined) = (Mutex::new(End::Running), AtomicBool::new(false));
        let task = Self(Arc::new(Inner { name, path, step, done, end, joined, source, at: call.at }));

        let closure = snapshot(closure);
        #[expect(
            deprecated,
            reason = "Rhai marks what it calls volatile as deprecated; the version is pinned"
        )]
        let stored = context.store_data();
        let (call, this) = (call.clone(), task.clone());
        let sequential = parent.host.sequential;
        let parent_tasks = parent.tasks.clone();
        let refusing = call.clone();
        let thread = thread::Builder::new().stack_size(STACK).spawn(move || {
            let _place = place;
            let engine = branch.host.engine.clone();
            #[expect(deprecated, reason = "as above")]
            let context = stored.create_context(&engine);
            let result = run_branch(&branch, &call, || closure.call_raw(&context, None, []));
            finish_step(&branch.host, step, None, &result);
            *this.0.end.lock().unwrap_or_else(PoisonError::into_inner) =
                result.map_or_else(End::Failed, |value| End::Value(value.flatten()));
            let _ = finished.send(true);
        });
        let thread = thread.map_err(|error| refused(&refusing, &error.to_string()))?;
        if sequential {
            let _ = thread.join();
        }
        parent_tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task.clone());
        Ok(task)
    }

    /// Waits for the value. A failure is handed to the first who joins; those
    /// who join later are told that it was.
    pub(crate) fn join(&self, call: Call) -> Result<Dynamic, Box<EvalAltResult>> {
        let call = call.begin(StepKind::Join, self.0.name.clone(), Some(self.0.step));
        let mut done = self.0.done.clone();
        let ended = call.block_on(async {
            // An error means that the task's thread is gone, which ends it too.
            let _ = done.wait_for(|done| *done).await;
            Ok(())
        });
        let result = ended.and_then(|()| {
            self.0.joined.store(true, Ordering::SeqCst);
            self.take(&call)
        });
        call.end(&result);
        result
    }

    fn take(&self, call: &Call) -> Result<Dynamic, Box<EvalAltResult>> {
        let told =
            |what: &str| call.raise(Failure::new(Kind::Script, format!("task `{}` {what}", self.0.name)));
        let mut end = self.0.end.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *end, End::Running) {
            End::Running => Err(told("ended without a result")),
            End::Value(value) => {
                *end = End::Value(value.clone());
                Ok(value)
            }
            // The joiner goes on, so that this must be an error it can see.
            End::Failed(error) if is_cancelled(&error) => {
                *end = End::Failed(error);
                Err(told("was cancelled together with what started it"))
            }
            End::Failed(error) => {
                *end = End::Told(one_line(&error));
                Err(self.frame(error, "join", call.at))
            }
            End::Told(what) => {
                let error = told(&format!("failed, as an earlier `join` was told: {what}"));
                *end = End::Told(what);
                Err(error)
            }
        }
    }

    /// Adds "in task" to the error's trace.
    fn frame(&self, error: Box<EvalAltResult>, primitive: &str, at: Position) -> Box<EvalAltResult> {
        let name = Frame { primitive, path: &self.0.path }.to_string();
        EvalAltResult::ErrorInFunctionCall(name, self.0.source.clone(), error, at).into()
    }

    /// Waits for the end, for a task nobody joined; its error, if nobody was told.
    pub(super) fn finish(&self) -> Option<Box<EvalAltResult>> {
        let mut done = self.0.done.clone();
        let _ = futures::executor::block_on(done.wait_for(|done| *done));
        if self.0.joined.load(Ordering::SeqCst) {
            return None;
        }
        let mut end = self.0.end.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *end, End::Running) {
            End::Failed(error) if !is_cancelled(&error) => {
                *end = End::Told(one_line(&error));
                Some(self.frame(error, "start", self.0.at))
            }
            other => {
                *end = other;
                None
            }
        }
    }
}

/// The name of the call frame between a task's error and who is told of it.
pub(super) struct Frame<'a> {
    /// `join`, or `start` where nobody joined.
    pub primitive: &'a str,
    /// The path of the task's branch.
    pub path: &'a str,
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, task `{}`", self.primitive, self.path)
    }
}

impl<'a> Frame<'a> {
    /// Reads a name back; none where the frame is of another kind.
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (primitive, rest) = name.split_once(", task `")?;
        Some(Self { primitive, path: rest.strip_suffix('`')? })
    }
}

fn refused(call: &Call, why: &str) -> Box<EvalAltResult> {
    call.raise(Failure::new(Kind::Script, format!("the task cannot be started: {why}")))
}

pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Task>("Task")
        .register_get("name", |task: &mut Task| task.0.name.clone())
        .register_fn("to_string", |task: &mut Task| format!("Task({})", task.0.name))
        .register_fn("to_debug", |task: &mut Task| format!("Task({})", task.0.name));
}
