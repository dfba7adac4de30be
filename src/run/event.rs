//! The one stream of events that tells what a run does.
//!
//! Every reader of a run (progress display, stored record, timeline, JSON
//! summary) sees these events, in this order, and nothing else. The types are
//! the schema of `events.jsonl` in a run's folder: one object a line, tagged by
//! `event`. Times are milliseconds since the run began.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the schema, written into [`EventKind::RunStarted`].
pub const SCHEMA: u32 = 1;

/// One thing that happened, stamped by the dispatcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the stream, from 0, without gaps.
    pub seq: u64,
    /// Wall clock, for people and for joining with other logs.
    pub at: Timestamp,
    /// Milliseconds since the run began, on a monotonic clock.
    pub ms: f64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Identity of a step within its run, from 1, in order of start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(pub u64);

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a recipe or module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// Path as the user named it, or absolute for a module.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// What role a step plays in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A call of a primitive: the leaves, where work is done.
    Primitive,
    /// `step("title", ..)`: a named phase of the recipe.
    Phase,
    /// `parallel` or `each`: lasts as long as its branches.
    Group,
    /// One branch of a group, on a thread of its own.
    Branch,
    /// `start(..)`: a branch that its parent does not wait for until `join`.
    Task,
    /// `join`: nothing but waiting for a task, named by `waits_for`.
    Join,
}

/// How a step or a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Succeeded,
    /// It failed by itself.
    Failed,
    /// It was stopped because of something else: a sibling, a deadline, a signal.
    Cancelled,
    /// It was not begun at all. Steps only.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        })
    }
}

/// Where a line of output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The child's standard output.
    Stdout,
    /// The child's standard error.
    Stderr,
}

/// Weight of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Said by the recipe (`log`, `print`) or by recipe about its choices.
    Info,
    /// Worth a look; the run goes on.
    Warning,
}

/// Why a run was cancelled, weakest first: only a stronger reason is announced
/// over one already given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// The recipe failed.
    Failure,
    /// `--timeout` ran out.
    Deadline,
    /// SIGHUP: the terminal went away.
    Hangup,
    /// SIGTERM.
    Terminate,
    /// SIGINT, Ctrl-C.
    Interrupt,
}

impl CancelReason {
    /// Whether a signal asked for it, so that a second one means more.
    #[must_use]
    pub fn is_signal(self) -> bool {
        matches!(self, Self::Hangup | Self::Terminate | Self::Interrupt)
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Failure => "the recipe failed",
            Self::Deadline => "the run's --timeout ran out",
            Self::Hangup => "SIGHUP",
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "Ctrl-C",
        })
    }
}

/// Whether a step was spared by earlier work, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheUse {
    /// True when the work was not done again.
    pub hit: bool,
    /// The reason in words.
    pub why: String,
}

/// What a test command wrote into its JUnit files, as numbers of cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestResults {
    /// Cases that did what they should.
    pub passed: u64,
    /// Cases that found something wrong.
    pub failed: u64,
    /// Cases that could not come to a result.
    pub errors: u64,
    /// Cases that were left out.
    pub skipped: u64,
    /// Cases that are yet to be written, as Ginkgo and others tell them.
    pub pending: u64,
}

/// A part of the time that something took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimePart {
    /// What it went to: `scheduling`, `pulling images`.
    pub name: Arc<str>,
    /// How long, milliseconds.
    pub ms: f64,
    /// Whether it was measured to the millisecond; else it is known to a second.
    pub exact: bool,
    /// The setting that decides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<Setting>,
}

/// A setting that makes things take their time, however quick they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// As people write it: `initialDelaySeconds`.
    pub name: Arc<str>,
    /// Its value, milliseconds.
    pub ms: f64,
}

/// The kinds of event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// Always first.
    RunStarted {
        /// [`SCHEMA`].
        schema: u32,
        /// Name of the run and of its folder.
        run_id: Arc<str>,
        /// Path of the recipe as given.
        recipe: Arc<str>,
        /// `local`, `kind` or `kube:CONTEXT`.
        target: Arc<str>,
        /// Whether branches run one after the other (`--sequential`).
        sequential: bool,
    },
    /// A step began. Its parent is running.
    StepStarted {
        /// Its identity.
        step: StepId,
        /// The step it is part of; none at the top.
        parent: Option<StepId>,
        /// Branch path such as `postgres` or `env/postgres`; empty for the main script.
        branch: Arc<str>,
        /// Its role.
        kind: StepKind,
        /// The primitive's name as the script calls it: `migrate`, `parallel`, `step`.
        primitive: Arc<str>,
        /// What it works on, for people: `datastorage`, `migrations`.
        title: String,
        /// The call in the script.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<SourcePosition>,
        /// The task that a [`StepKind::Join`] waits for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits_for: Option<StepId>,
    },
    /// Countable progress of a running step.
    StepProgress {
        /// The step.
        step: StepId,
        /// How much is done.
        done: u64,
        /// How much there is, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// What is counted: `files`, `bytes`.
        unit: Arc<str>,
    },
    /// A line that a step's child process wrote.
    StepOutput {
        /// The step.
        step: StepId,
        /// Which stream.
        stream: Stream,
        /// The line without its end.
        line: String,
    },
    /// What a running step is waiting for from now on.
    StepWaiting {
        /// The step.
        step: StepId,
        /// The condition, as in "waiting for {what}".
        what: String,
    },
    /// Where the time went of something that a step waited for.
    StepTimes {
        /// The step.
        step: StepId,
        /// What took it: `pod datastorage-7d4b9-x2`.
        what: String,
        /// Its parts, in their order.
        parts: Vec<TimePart>,
    },
    /// A step ended.
    StepFinished {
        /// The step.
        step: StepId,
        /// How.
        outcome: Outcome,
        /// Cache use, where the step has a cache.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cache: Option<CacheUse>,
        /// A line saying what went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// Something exists now that teardown has to remove.
    ResourceCreated {
        /// `process`, `cluster`, `directory` and so on.
        kind: Arc<str>,
        /// Its name within the run.
        name: String,
        /// Where or what it is: a pid, a path, an address.
        detail: String,
    },
    /// It is gone.
    ResourceRemoved {
        /// As in [`EventKind::ResourceCreated`].
        kind: Arc<str>,
        /// As in [`EventKind::ResourceCreated`].
        name: String,
    },
    /// A message to the person watching.
    Message {
        /// Its weight.
        level: Level,
        /// Branch it came from; empty for the main script.
        branch: Arc<str>,
        /// The text, possibly of several lines.
        text: String,
    },
    /// `output(..)` set a value. Secrets are masked here.
    OutputSet {
        /// Its name.
        name: String,
        /// Its value, with secrets masked.
        value: serde_json::Value,
    },
    /// Running work is being stopped.
    CancelBegan {
        /// Why.
        reason: CancelReason,
    },
    /// A second signal: no more grace.
    KillBegan,
    /// The script is over, one way or another, and so is the set-up time.
    SetupFinished {
        /// How.
        outcome: Outcome,
    },
    /// The environment is up, and a command tests it from now on.
    TestStarted {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// The command has ended.
    TestFinished {
        /// Its exit code as a shell gives it: 128 + n when signal n ended it.
        code: i32,
        /// What it wrote into the files named by `--results`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        results: Option<TestResults>,
    },
    /// How busy the whole machine is, now and then.
    MachineSampled {
        /// Share of all its processors that was busy since the last sample, 0 to 1.
        cpu: f64,
        /// Bytes of memory in use.
        memory_bytes: u64,
        /// Bytes in use where the run keeps its data.
        disk_bytes: u64,
    },
    /// Resources are being removed.
    TeardownStarted,
    /// They are gone.
    TeardownFinished {
        /// How many could not be removed.
        left: usize,
    },
    /// Always last.
    RunFinished {
        /// How the run ended.
        outcome: Outcome,
        /// Set-up only, milliseconds.
        wall_ms: f64,
        /// Milliseconds; 0 when the environment stays up.
        teardown_ms: f64,
        /// Whether the environment is still up.
        up: bool,
        /// What went wrong, rendered, without colour.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
}
