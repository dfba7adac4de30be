//! Where in the run a thread is: its branch.
//!
//! Each thread that executes script code carries one [`Branch`]; primitives
//! read it to know whose step they are, and the interpreter to know when to
//! stop. It lives in a thread-local rather than in Rhai's call tag, because the
//! top-level code of an imported module runs with a fresh tag.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, EvalAltResult, Position};
use tokio_util::sync::CancellationToken;

use super::environment::Environment;
use super::host::Host;
use super::limits;
use super::task::Task;
use crate::run::StepId;

/// One line of execution: the main script, a branch, or a task.
#[derive(Clone)]
pub struct Branch {
    /// What it belongs to.
    pub host: Arc<Host>,
    /// `image`, `env/postgres`; empty for the main script.
    pub path: Arc<str>,
    /// Stops this branch and all it started.
    pub token: CancellationToken,
    /// The step that new steps are part of.
    pub step: Option<StepId>,
    /// Its steps are done each time, whatever earlier runs have done: it looks
    /// whether something is so, or cleans up.
    pub(super) repeats: bool,
    /// Tasks started here; none outlives the branch.
    pub(super) tasks: Arc<Mutex<Vec<Task>>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Branch>> = const { RefCell::new(None) };
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Restores the thread's previous branch when dropped.
pub(super) struct Entered(Option<Branch>);

impl Drop for Entered {
    fn drop(&mut self) {
        let previous = self.0.take();
        CURRENT.with(|current| *current.borrow_mut() = previous);
    }
}

impl Branch {
    /// The main line of a script.
    pub(super) fn main(host: Arc<Host>, token: CancellationToken) -> Self {
        Self { host, path: "".into(), token, step: None, repeats: false, tasks: Arc::default() }
    }

    /// A line of execution forked off this one.
    pub(super) fn fork(&self, name: &str, step: StepId, token: CancellationToken) -> Self {
        Self {
            host: self.host.clone(),
            path: self.path_of(name),
            token,
            step: Some(step),
            repeats: self.repeats,
            tasks: Arc::default(),
        }
    }

    /// The path of a branch called `name` that is forked off this one.
    pub(super) fn path_of(&self, name: &str) -> Arc<str> {
        if self.path.is_empty() { name.into() } else { format!("{}/{name}", self.path).into() }
    }

    /// The same line, inside `step`.
    pub(super) fn within(&self, step: StepId) -> Self {
        Self { step: Some(step), ..self.clone() }
    }

    /// Makes this the thread's branch until the guard is dropped.
    pub(super) fn enter(self) -> Entered {
        Entered(CURRENT.with(|current| current.borrow_mut().replace(self)))
    }

    /// The branch of this thread; none where no script runs.
    pub(super) fn current() -> Option<Self> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// The error that ends a cancelled branch. Scripts cannot catch it.
    pub(super) fn cancelled(at: Position) -> Box<EvalAltResult> {
        EvalAltResult::ErrorTerminated(Dynamic::from("cancelled"), at).into()
    }

    /// Waits for the tasks that nobody joined. When the branch has failed they
    /// are cancelled first; otherwise the first that fails is its failure.
    pub(super) fn finish_tasks(
        &self,
        result: Result<Dynamic, Box<EvalAltResult>>,
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        if result.is_err() {
            self.token.cancel();
        }
        let mut result = result;
        loop {
            // A task may start another one here while we wait.
            let Some(task) = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
                return result;
            };
            let unjoined = task.finish();
            if let (Ok(_), Some(error)) = (&result, unjoined) {
                self.token.cancel();
                result = Err(error);
            }
        }
    }
}

/// So many operations are done between two looks.
const EVERY: u64 = 64;

/// Called by the interpreter before every operation; ends the script once its
/// branch is cancelled, or takes too much.
pub(super) fn on_progress(_operations: u64) -> Option<Dynamic> {
    // Counted here because the interpreter's own count starts anew in each
    // closure call, and sparsely because asking the token takes a lock.
    let count = OPERATIONS.get() + 1;
    OPERATIONS.set(count % EVERY);
    if count < EVERY {
        return None;
    }
    CURRENT.with_borrow(|current| {
        let branch = current.as_ref()?;
        if branch.token.is_cancelled() {
            return Some(Dynamic::from("cancelled"));
        }
        let Environment { limits, taken, .. } = &*branch.host.environment;
        limits::exceeded(limits, taken, EVERY).map(Dynamic::from)
    })
}
