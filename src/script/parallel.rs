//! Groups of branches: one thread for each running branch, the first failure
//! cancels the siblings, nothing outlives the call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rhai::{Dynamic, EvalAltResult, FnPtr, NativeCallContext};
use tokio_util::sync::CancellationToken;

use super::branch::Branch;
use super::call::{Call, Started, bug, finish_step, is_cancelled};
use super::host::{Host, STACK};
use super::snapshot::snapshot;
use super::unknown::Unknown;
use crate::run::event::{EventKind, StepKind};
use crate::run::{Failure, Kind, Outcome, StepId};

/// Running branches of the whole process. Above the limit a group fails rather
/// than waits, since waiting for threads held by one's own parents never ends.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// One branch to run.
pub(crate) struct Work {
    /// Its name within the group.
    pub name: String,
    /// What it runs.
    pub closure: FnPtr,
    /// What the closure is called with.
    pub arguments: Vec<Dynamic>,
}

/// What became of the branches of a failed group, kept for the rendering of the error.
pub(crate) struct GroupFailure {
    /// `parallel` or `each`.
    pub primitive: &'static str,
    /// The path of the branch that failed first.
    pub first: String,
    /// Other branches that failed by themselves.
    pub others: Vec<(String, Box<EvalAltResult>)>,
    /// Branches that were stopped, or not begun, because of the first.
    pub cancelled: Vec<String>,
}

enum Slot {
    Open,
    Done(Dynamic),
    Failed { order: usize, error: Box<EvalAltResult> },
    Cancelled,
}

/// Runs `branches` side by side, at most `max` at a time, and returns their
/// values in order.
///
/// # Errors
/// The error of the branch that failed first, inside a call frame that refers
/// to a [`GroupFailure`]; or cancellation.
pub(crate) fn run_group(
    context: &NativeCallContext,
    call: Call,
    branches: Vec<Work>,
    max: Option<usize>,
) -> Result<Vec<Dynamic>, Box<EvalAltResult>> {
    let call = call.begin(StepKind::Group, format!("{} branches", branches.len()), None);
    let result = Group::new(&call, context, branches).run(max);
    call.end(&result);
    result
}

struct Group<'a> {
    call: &'a Call,
    context: &'a NativeCallContext<'a>,
    parent: Branch,
    token: CancellationToken,
    work: Vec<Work>,
    slots: Vec<Mutex<Slot>>,
    next: AtomicUsize,
    failures: AtomicUsize,
}

impl<'a> Group<'a> {
    fn new(call: &'a Call, context: &'a NativeCallContext<'a>, work: Vec<Work>) -> Self {
        let parent = call.step.id().map_or_else(|| call.branch.clone(), |step| call.branch.within(step));
        let token = parent.token.child_token();
        let slots = work.iter().map(|_| Mutex::new(Slot::Open)).collect();
        Self {
            call,
            context,
            parent,
            token,
            work,
            slots,
            next: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
        }
    }

    fn run(self, max: Option<usize>) -> Result<Vec<Dynamic>, Box<EvalAltResult>> {
        let most = if self.parent.host.sequential { 1 } else { max.unwrap_or(usize::MAX) };
        let mut refused = None;
        thread::scope(|scope| {
            for _ in 0..self.work.len().min(most) {
                // Threads pick branches up in order. Where branches are over
                // before all threads are made, the rest needs no thread.
                if self.next.load(Ordering::Relaxed) >= self.work.len() {
                    break;
                }
                let stack = thread::Builder::new().stack_size(STACK);
                let started = Place::take(&self.parent.host).and_then(|place| {
                    stack
                        .spawn_scoped(scope, || self.drain(place))
                        .map(drop)
                        .map_err(|error| error.to_string())
                });
                if let Err(why) = started {
                    refused = Some(why);
                    self.token.cancel();
                    break;
                }
            }
        });
        if let Some(why) = refused {
            let failure = Failure::new(Kind::Script, format!("too many branches at once: {why}"))
                .hint("limit how many run at a time with the option `max`, as in #{max: 100}");
            return Err(self.call.raise(failure));
        }
        self.collect()
    }

    fn drain(&self, _place: Place) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(work) = self.work.get(i) else { return };
            let path = self.parent.path_of(&work.name);
            let position = Some(self.call.position.clone());
            let started = Started {
                kind: StepKind::Branch,
                primitive: self.call.primitive,
                title: work.name.clone(),
                waits_for: None,
            };
            let step = started.emit_in(&self.parent, path, position);
            let slot = if self.token.is_cancelled() {
                let skipped =
                    EventKind::StepFinished { step, outcome: Outcome::Skipped, cache: None, error: None };
                self.parent.host.events.emit(skipped);
                Slot::Cancelled
            } else {
                self.run_one(work, step)
            };
            *self.slots[i].lock().unwrap_or_else(PoisonError::into_inner) = slot;
        }
    }

    fn run_one(&self, work: &Work, step: StepId) -> Slot {
        let branch = self.parent.fork(&work.name, step, self.token.child_token());
        let result = run_branch(&branch, self.call, || {
            snapshot(&work.closure).call_raw(self.context, None, work.arguments.clone())
        });
        finish_step(&branch.host, step, None, &result);
        match result {
            Ok(value) => Slot::Done(value.flatten()),
            Err(error) if is_cancelled(&error) => Slot::Cancelled,
            Err(error) => {
                let order = self.failures.fetch_add(1, Ordering::SeqCst);
                self.token.cancel();
                Slot::Failed { order, error }
            }
        }
    }

    fn collect(self) -> Result<Vec<Dynamic>, Box<EvalAltResult>> {
        let mut values = Vec::with_capacity(self.work.len());
        let mut failed = Vec::new();
        let mut cancelled = Vec::new();
        for (slot, work) in self.slots.into_iter().zip(&self.work) {
            match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
                Slot::Done(value) => values.push(value),
                Slot::Failed { order, error } => failed.push((order, work.name.clone(), error)),
                Slot::Cancelled | Slot::Open => cancelled.push(work.name.clone()),
            }
        }
        failed.sort_by_key(|(order, ..)| *order);
        let mut failed = failed.into_iter().map(|(_, name, error)| (name, error));
        match failed.next() {
            None if cancelled.is_empty() => Ok(values),
            None => Err(Branch::cancelled(self.call.at)),
            Some((first, error)) => {
                let primitive = self.call.primitive;
                let group = GroupFailure { primitive, first, others: failed.collect(), cancelled };
                Err(self.parent.host.frame_group(group, error, self.context))
            }
        }
    }
}

/// Runs script code as `branch` on this thread, to the end of its tasks.
pub(super) fn run_branch(
    branch: &Branch,
    call: &Call,
    body: impl FnOnce() -> Result<Dynamic, Box<EvalAltResult>>,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let _entered = branch.clone().enter();
    let result =
        catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(call.raise(bug(panic.as_ref()))));
    let result = match result {
        // What the branch returns is not known then, and its siblings go on.
        Err(error) if branch.host.ends_plan(&branch.path, &error) => {
            Ok(Dynamic::from(Unknown(branch.path.clone())))
        }
        result => result,
    };
    branch.finish_tasks(result)
}

/// A place among the branches that may run, given back when dropped.
pub(super) struct Place(());

impl Place {
    pub(super) fn take(host: &Host) -> Result<Self, String> {
        let most = host.environment.limits.branches;
        if RUNNING.fetch_add(1, Ordering::Relaxed) >= most {
            RUNNING.fetch_sub(1, Ordering::Relaxed);
            return Err(format!("{most} are running already"));
        }
        Ok(Self(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
    }
}
