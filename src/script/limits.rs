//! How much a script may take before it is stopped with an error of its own,
//! rather than by the machine's.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rhai::Engine;

use crate::run::{Failure, Kind, machine};

/// Bytes of a text, and of all texts in an array or map.
pub(super) const TEXT: usize = 64 << 20;
/// Items of an array or map, and of all in it.
pub(super) const ITEMS: usize = 10_000_000;
/// What a message costs beside its bytes.
const MESSAGE: u64 = 100;
/// Bytes of one message; the rest is left out.
const LONGEST_MESSAGE: usize = 1 << 20;
/// Between two looks at the memory in use.
const PAUSE: Duration = Duration::from_millis(10);

/// What `recipe.toml` can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that recipe itself takes.
    pub memory: u64,
    /// Operations of a script between two steps.
    pub operations: u64,
    /// Bytes of all messages of a script.
    pub messages: u64,
    /// Branches and tasks that run at a time. The default keeps clear of the
    /// kernel's own for threads, 32,768.
    pub branches: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 2 << 30, operations: 1_000_000_000, messages: 64 << 20, branches: 20_000 }
    }
}

/// What a run has taken so far.
#[derive(Default)]
pub struct Taken {
    messages: AtomicU64,
}

thread_local! {
    /// Operations since the last step.
    static OPERATIONS: Cell<u64> = const { Cell::new(0) };
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Limits what the interpreter itself can see. It looks through an array with
/// each change of it, so that a long one takes its time.
pub(super) fn limit(engine: &mut Engine) {
    engine.set_max_string_size(TEXT).set_max_array_size(ITEMS).set_max_map_size(ITEMS);
}

/// A step begins: the script does something.
pub(super) fn begin_step() {
    OPERATIONS.set(0);
}

/// A message as it is shown.
pub(super) fn message(mut text: String, taken: &Taken) -> String {
    taken.messages.fetch_add(text.len() as u64 + MESSAGE, Ordering::Relaxed);
    if text.len() > LONGEST_MESSAGE {
        text.truncate(text.floor_char_boundary(LONGEST_MESSAGE));
        text.push_str("\n[recipe does not show the rest of so long a message]");
    }
    text
}

/// What is too much, after `operations` more of them on this thread.
pub(super) fn exceeded(limits: &Limits, taken: &Taken, operations: u64) -> Option<Failure> {
    let failure = |what: String, hint: &str| Some(Failure::new(Kind::Limit, what).hint(hint));
    let count = OPERATIONS.get() + operations;
    OPERATIONS.set(count);
    if count > limits.operations {
        let what = format!(
            "the script has done {} operations without a step: it seems to go on for ever",
            limits.operations
        );
        return failure(
            what,
            "end the loop, or wait in it by wait_for; `operations` in the table `limits` of recipe.toml allows more",
        );
    }
    if taken.messages.load(Ordering::Relaxed) > limits.messages {
        let what = format!("the script has printed more than {}", megabytes(limits.messages));
        return failure(what, "print less; `messages_mb` in the table `limits` of recipe.toml allows more");
    }
    let now = Instant::now();
    if LOOKED.get().is_none_or(|looked| now.duration_since(looked) >= PAUSE) {
        LOOKED.set(Some(now));
        if machine::own_memory().is_some_and(|bytes| bytes > limits.memory) {
            let what = format!("the script takes more than {} of memory", megabytes(limits.memory));
            return failure(
                what,
                "keep less in variables; `memory_mb` in the table `limits` of recipe.toml allows more",
            );
        }
    }
    None
}

pub(super) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes >> 20)
}
