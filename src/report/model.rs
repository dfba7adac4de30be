//! A run as its events tell it: the steps as a tree, and the facts around them.
//!
//! Built event by event, from a live run or from a record. A record may stop
//! anywhere (its run died): steps then stay without an end, and
//! [`Model::end_of`] takes the last moment known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::peak::Peak;
use super::tested::Tested;
use crate::run::event::{CacheUse, CancelReason, Level, SourcePosition, StepKind, TimePart};
use crate::run::{Event, EventKind, Outcome, StepId};

/// Lines of output kept for each step.
const TAIL: usize = 20;

/// What is known about a run so far. Times are milliseconds since it began.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Name of the run.
    pub run_id: Arc<str>,
    /// Path of the recipe as given.
    pub recipe: Arc<str>,
    /// `local`, `kind` or `kube:CONTEXT`.
    pub target: Arc<str>,
    /// Whether branches ran one after the other.
    pub sequential: bool,
    /// Every step begun so far.
    pub steps: BTreeMap<StepId, Step>,
    /// The steps without a known parent, in order of start.
    pub roots: Vec<StepId>,
    /// Begins and ends of steps, in the order of the stream.
    pub turns: Vec<Turn>,
    /// What the recipe set with `output`, with secrets masked.
    pub outputs: serde_json::Map<String, Value>,
    /// What was said with `log` and by recipe itself.
    pub messages: Vec<Message>,
    /// What teardown would have to remove now, oldest first.
    pub resources: Vec<Resource>,
    /// The strongest reason given for a cancellation.
    pub cancelled: Option<CancelReason>,
    /// How and when the set-up ended.
    pub setup: Option<(Outcome, f64)>,
    /// The command that tested the environment.
    pub tested: Option<Tested>,
    /// The most that the machine was seen to do.
    pub peak: Option<Peak>,
    /// When teardown began.
    pub teardown_from_ms: Option<f64>,
    /// How the run ended; none while it runs, or when it died.
    pub finished: Option<Finished>,
    /// When the last event happened.
    pub last_ms: f64,
}

/// A step of a run.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its identity.
    pub id: StepId,
    /// The step it is part of.
    pub parent: Option<StepId>,
    /// The steps it is made of, in order of start.
    pub children: Vec<StepId>,
    /// Path of its branch; empty for the main script.
    pub branch: Arc<str>,
    /// Its role.
    pub kind: StepKind,
    /// The primitive as the script calls it.
    pub primitive: Arc<str>,
    /// What it works on.
    pub title: String,
    /// The call in the script.
    pub position: Option<SourcePosition>,
    /// The task that a join waits for.
    pub waits_for: Option<StepId>,
    /// When it began.
    pub start_ms: f64,
    /// When it ended; none while it runs.
    pub end_ms: Option<f64>,
    /// How it ended; none while it runs.
    pub outcome: Option<Outcome>,
    /// Cache use, where it has a cache.
    pub cache: Option<CacheUse>,
    /// A line saying what went wrong.
    pub error: Option<String>,
    /// What it waited for, in order; the last may be open.
    pub waits: Vec<Wait>,
    /// Where the time went of what it waited for.
    pub times: Vec<Times>,
    /// Its newest countable progress.
    pub progress: Option<Progress>,
    /// The last lines of output, oldest first.
    pub tail: VecDeque<String>,
    /// How many lines it has written in all.
    pub lines: u64,
}

/// The begin or the end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It began.
    Begin(StepId),
    /// It ended.
    End(StepId),
}

/// A time spent waiting for something.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    /// The condition, as in "waiting for {what}".
    pub what: String,
    /// When it began to wait.
    pub from_ms: f64,
    /// When it stopped; none while it waits.
    pub to_ms: Option<f64>,
}

/// Where the time went of something that a step waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// What took it, as in `pod web-1`.
    pub what: String,
    /// Its parts, in their order.
    pub parts: Vec<TimePart>,
}

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// How much there is, where known.
    pub total: Option<u64>,
    /// What is counted: `files`, `bytes`.
    pub unit: Arc<str>,
}

/// A message to the person watching.
#[derive(Debug, Clone)]
pub struct Message {
    /// When.
    pub ms: f64,
    /// Its weight.
    pub level: Level,
    /// Branch it came from; empty for the main script.
    pub branch: Arc<str>,
    /// The text, possibly of several lines.
    pub text: String,
}

/// Something that teardown has to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `process`, `cluster`, `directory` and so on.
    pub kind: Arc<str>,
    /// Its name within the run.
    pub name: String,
    /// A pid, a path, an address.
    pub detail: String,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// Set-up only.
    pub wall_ms: f64,
    /// 0 when the environment stays up.
    pub teardown_ms: f64,
    /// Whether the environment is still up.
    pub up: bool,
    /// What went wrong, rendered, without colour.
    pub error: Option<String>,
}

impl Model {
    /// The model of a whole stream.
    pub fn of<'e>(events: impl IntoIterator<Item = &'e Event>) -> Self {
        let mut model = Self::default();
        events.into_iter().for_each(|event| model.apply(event));
        model
    }

    /// Takes in the next event. Events about unknown steps change nothing.
    pub fn apply(&mut self, event: &Event) {
        let ms = event.ms;
        self.last_ms = self.last_ms.max(ms);
        match &event.kind {
            EventKind::RunStarted { run_id, recipe, target, sequential, .. } => {
                self.run_id = run_id.clone();
                self.recipe = recipe.clone();
                self.target = target.clone();
                self.sequential = *sequential;
            }
            EventKind::StepStarted { .. } => self.begin_step(ms, &event.kind),
            EventKind::StepProgress { step, done, total, unit } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.progress = Some(Progress { done: *done, total: *total, unit: unit.clone() });
                }
            }
            EventKind::StepOutput { step, line, .. } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.write(line);
                }
            }
            EventKind::StepWaiting { step, what } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.wait(ms, what);
                }
            }
            EventKind::StepFinished { step, outcome, cache, error } => {
                self.turns.push(Turn::End(*step));
                if let Some(step) = self.steps.get_mut(step) {
                    step.end_wait(ms);
                    step.end_ms = Some(ms);
                    step.outcome = Some(*outcome);
                    step.cache.clone_from(cache);
                    step.error.clone_from(error);
                }
            }
            EventKind::ResourceCreated { kind, name, detail } => {
                let (kind, name, detail) = (kind.clone(), name.clone(), detail.clone());
                self.resources.push(Resource { kind, name, detail });
            }
            EventKind::ResourceRemoved { kind, name } => {
                let removed = self.resources.iter().rposition(|r| r.kind == *kind && r.name == *name);
                removed.map(|at| self.resources.remove(at));
            }
            EventKind::Message { level, branch, text } => {
                let (branch, text) = (branch.clone(), text.clone());
                self.messages.push(Message { ms, level: *level, branch, text });
            }
            EventKind::OutputSet { name, value } => {
                self.outputs.insert(name.clone(), value.clone());
            }
            EventKind::CancelBegan { reason } => self.cancelled = self.cancelled.max(Some(*reason)),
            EventKind::SetupFinished { outcome } => self.setup = Some((*outcome, ms)),
            EventKind::RunFinished { outcome, wall_ms, teardown_ms, up, error } => {
                let (outcome, wall_ms, teardown_ms, up) = (*outcome, *wall_ms, *teardown_ms, *up);
                self.finished = Some(Finished { outcome, wall_ms, teardown_ms, up, error: error.clone() });
            }
            EventKind::TestStarted { command } => self.tested = Some(Tested::begun(ms, command)),
            EventKind::TestFinished { code, results } => {
                if let Some(tested) = &mut self.tested {
                    tested.end(ms, *code, *results);
                }
            }
            EventKind::MachineSampled { cpu, memory_bytes, disk_bytes } => {
                self.peak.get_or_insert_default().raise(*cpu, *memory_bytes, *disk_bytes);
            }
            EventKind::TeardownStarted => self.teardown_from_ms = Some(ms),
            EventKind::StepTimes { step, what, parts } => {
                if let Some(step) = self.steps.get_mut(step) {
                    step.times.push(Times { what: what.clone(), parts: parts.clone() });
                }
            }
            EventKind::KillBegan | EventKind::TeardownFinished { .. } => {}
        }
    }

    fn begin_step(&mut self, ms: f64, kind: &EventKind) {
        let EventKind::StepStarted { step, parent, branch, kind, primitive, title, position, waits_for } =
            kind
        else {
            return;
        };
        let parent = parent.filter(|parent| self.steps.contains_key(parent));
        match parent.and_then(|parent| self.steps.get_mut(&parent)) {
            Some(parent) => parent.children.push(*step),
            None => self.roots.push(*step),
        }
        let begun = Step {
            id: *step,
            parent,
            children: Vec::new(),
            branch: branch.clone(),
            kind: *kind,
            primitive: primitive.clone(),
            title: title.clone(),
            position: position.clone(),
            waits_for: *waits_for,
            start_ms: ms,
            end_ms: None,
            outcome: None,
            cache: None,
            error: None,
            waits: Vec::new(),
            times: Vec::new(),
            progress: None,
            tail: VecDeque::new(),
            lines: 0,
        };
        self.steps.insert(*step, begun);
        self.turns.push(Turn::Begin(*step));
    }

    /// When `step` ended. If that is not known, the end of the set-up, or the
    /// last moment known.
    #[must_use]
    pub fn end_of(&self, step: &Step) -> f64 {
        step.end_ms.unwrap_or_else(|| self.setup_ms().max(step.start_ms))
    }

    /// How long `step` took, or has taken so far.
    #[must_use]
    pub fn took(&self, step: &Step) -> f64 {
        self.end_of(step) - step.start_ms
    }

    /// How long the set-up took, or has taken so far. Teardown is not in it.
    #[must_use]
    pub fn setup_ms(&self) -> f64 {
        let ended = self.setup.map(|(_, ms)| ms);
        ended.or(self.finished.as_ref().map(|f| f.wall_ms)).unwrap_or(self.last_ms)
    }

    /// How the run ended or, before its end, the set-up; none if it died.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.finished.as_ref().map(|f| f.outcome).or(self.setup.map(|(outcome, _)| outcome))
    }

    /// As [`Model::outcome`], but what became of tests aside.
    #[must_use]
    pub fn setup_outcome(&self) -> Option<Outcome> {
        let before_tests = self.setup.filter(|_| self.tested.is_some());
        before_tests.map_or_else(|| self.outcome(), |(outcome, _)| Some(outcome))
    }

    /// The step that `step` is part of.
    #[must_use]
    pub fn parent(&self, step: &Step) -> Option<&Step> {
        step.parent.and_then(|parent| self.steps.get(&parent))
    }

    /// The steps that a step, or at the top the run, is made of.
    pub fn children<'m>(&'m self, of: Option<&'m Step>) -> impl DoubleEndedIterator<Item = &'m Step> {
        let children = of.map_or(&self.roots, |step| &step.children);
        children.iter().filter_map(|child| self.steps.get(child))
    }
}

impl Step {
    /// Whether work is done in the step itself: a primitive without steps of
    /// its own. (`retry` and its like have some once their body calls one.)
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        self.kind == StepKind::Primitive && self.children.is_empty()
    }

    /// Whether earlier work spared it from doing its own.
    #[must_use]
    pub fn was_cached(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.hit)
    }

    /// What it is waiting for now.
    #[must_use]
    pub fn waiting(&self) -> Option<&Wait> {
        self.waits.last().filter(|wait| wait.to_ms.is_none())
    }

    fn wait(&mut self, ms: f64, what: &str) {
        if self.waiting().is_some_and(|wait| wait.what == what) {
            return;
        }
        self.end_wait(ms);
        self.waits.push(Wait { what: what.to_owned(), from_ms: ms, to_ms: None });
    }

    fn end_wait(&mut self, ms: f64) {
        if let Some(wait) = self.waits.last_mut() {
            wait.to_ms.get_or_insert(ms);
        }
    }

    fn write(&mut self, line: &str) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        self.lines += 1;
    }
}
