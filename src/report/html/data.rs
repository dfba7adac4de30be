//! What the page is told about a run. The scripts of the page read these names.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::report::critical_path::{CriticalPath, sequential_ms};
use crate::report::line::{clean, clip, label};
use crate::report::model::{Model, Progress, Step};
use crate::report::slack::slack_ms;
use crate::report::summary::rounded;
use crate::report::tested::Tested;
use crate::report::usage::used;
use crate::report::what_if::what_if;
use crate::run::event::{CacheUse, Level, SourcePosition, StepKind, TestResults, TimePart};
use crate::run::{Event, EventKind, Outcome, StepId};

/// Last lines of output of a step that failed. Others have the model's.
const LINES_OF_FAILED: usize = 200;

/// Columns of a line of output.
const LONGEST_LINE: usize = 1000;

/// A run. Times are milliseconds since it began, rounded to microseconds.
#[derive(Serialize)]
pub(super) struct Data<'m> {
    run_id: &'m str,
    recipe: &'m str,
    target: &'m str,
    sequential: bool,
    /// Wall clock of its begin.
    began: Option<Timestamp>,
    /// None for a run that died.
    outcome: Option<Outcome>,
    cancelled: Option<String>,
    error: Option<&'m str>,
    up: bool,
    setup_ms: f64,
    teardown_ms: f64,
    sequential_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tested: Option<TestData<'m>>,
    /// Conditions, and the set-up under each.
    what_if: Vec<(String, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<String>,
    /// Busy processors as a share, and bytes of memory in use, over time.
    machine: Vec<(f64, f64, u64)>,
    /// The critical path; a segment without a step is the script's own time.
    path: Vec<(Option<StepId>, f64, f64)>,
    steps: Vec<StepData<'m>>,
    outputs: &'m Map<String, Value>,
    messages: Vec<MessageData<'m>>,
    sources: &'m BTreeMap<Arc<str>, Arc<str>>,
}

#[derive(Serialize)]
struct StepData<'m> {
    id: StepId,
    parent: Option<StepId>,
    kind: StepKind,
    primitive: &'m str,
    /// The primitive with what it works on, or the name of a phase or branch.
    label: String,
    branch: &'m str,
    from: f64,
    /// None when the run died before.
    to: Option<f64>,
    outcome: Option<Outcome>,
    /// Leaves only.
    slack: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<&'m SourcePosition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<StepId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'m CacheUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<(u64, Option<u64>, &'m str)>,
    /// What was waited for, from when to when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits: Vec<(&'m str, f64, f64)>,
    /// Where the time went of what was waited for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    times: Vec<(&'m str, &'m [TimePart])>,
    /// The last lines of `lines`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    output: Vec<String>,
    lines: u64,
}

#[derive(Serialize)]
struct TestData<'m> {
    command: String,
    outcome: Option<Outcome>,
    /// `41 passed, 1 failed`.
    told: String,
    ms: Option<f64>,
    results: Option<&'m TestResults>,
}

#[derive(Serialize)]
struct MessageData<'m> {
    ms: f64,
    level: Level,
    branch: &'m str,
    text: String,
}

impl<'m> Data<'m> {
    pub(super) fn new(
        model: &'m Model,
        events: &'m [Event],
        sources: &'m BTreeMap<Arc<str>, Arc<str>>,
    ) -> Self {
        let path = CriticalPath::of(model);
        let slack = slack_ms(model, &path);
        let failed = output_of_failed(model, events);
        let step = |step: &'m Step| StepData::new(model, step, slack.get(&step.id), failed.get(&step.id));
        let message = |message: &'m crate::report::Message| MessageData {
            ms: rounded(message.ms),
            level: message.level,
            branch: &message.branch,
            text: message.text.lines().map(clean).collect::<Vec<_>>().join("\n"),
        };
        let finished = model.finished.as_ref();
        Self {
            run_id: &model.run_id,
            recipe: &model.recipe,
            target: &model.target,
            sequential: model.sequential,
            began: events.first().map(|event| event.at),
            outcome: model.setup_outcome(),
            cancelled: model.cancelled.map(|reason| reason.to_string()),
            error: finished.and_then(|finished| finished.error.as_deref()),
            up: finished.is_some_and(|finished| finished.up),
            setup_ms: rounded(model.setup_ms()),
            teardown_ms: rounded(finished.map_or(0.0, |finished| finished.teardown_ms)),
            sequential_ms: rounded(sequential_ms(model)),
            tested: model.tested.as_ref().map(TestData::new),
            what_if: what_if(model).into_iter().map(|it| (it.condition, rounded(it.setup_ms))).collect(),
            used: used(model),
            machine: events.iter().filter_map(sampled).collect(),
            path: path.segments.iter().map(|s| (s.step, rounded(s.from_ms), rounded(s.to_ms))).collect(),
            steps: model.steps.values().map(step).collect(),
            outputs: &model.outputs,
            messages: model.messages.iter().map(message).collect(),
            sources,
        }
    }
}

impl<'m> TestData<'m> {
    fn new(tested: &'m Tested) -> Self {
        Self {
            command: clean(&tested.command.join(" ")),
            outcome: tested.outcome(),
            told: tested.told(),
            ms: tested.took().map(rounded),
            results: tested.results.as_ref(),
        }
    }
}

fn sampled(event: &Event) -> Option<(f64, f64, u64)> {
    match event.kind {
        EventKind::MachineSampled { cpu, memory_bytes, .. } => Some((rounded(event.ms), cpu, memory_bytes)),
        _ => None,
    }
}

impl<'m> StepData<'m> {
    fn new(model: &Model, step: &'m Step, slack: Option<&f64>, output: Option<&VecDeque<&str>>) -> Self {
        let shown = |line: &str| clip(&clean(line), LONGEST_LINE);
        let waited_until = |to_ms: Option<f64>| rounded(to_ms.unwrap_or(model.end_of(step)));
        let progress = |p: &'m Progress| (p.done, p.total, &*p.unit);
        Self {
            id: step.id,
            parent: step.parent,
            kind: step.kind,
            primitive: &step.primitive,
            label: label(step),
            branch: &step.branch,
            from: rounded(step.start_ms),
            to: step.end_ms.map(rounded),
            outcome: step.outcome,
            slack: slack.copied().map(rounded),
            at: step.position.as_ref(),
            waits_for: step.waits_for,
            cache: step.cache.as_ref(),
            error: step.error.as_deref(),
            progress: step.progress.as_ref().map(progress),
            waits: step
                .waits
                .iter()
                .map(|wait| (&*wait.what, rounded(wait.from_ms), waited_until(wait.to_ms)))
                .collect(),
            times: step.times.iter().map(|times| (&*times.what, &*times.parts)).collect(),
            output: match output {
                Some(lines) => lines.iter().map(|line| shown(line)).collect(),
                None => step.tail.iter().map(|line| shown(line)).collect(),
            },
            lines: step.lines,
        }
    }
}

/// What the steps that failed wrote: more of it than of those that did not.
fn output_of_failed<'e>(model: &Model, events: &'e [Event]) -> HashMap<StepId, VecDeque<&'e str>> {
    let failed = model.steps.values().filter(|step| step.outcome == Some(Outcome::Failed));
    let mut output: HashMap<StepId, VecDeque<&str>> = failed.map(|step| (step.id, VecDeque::new())).collect();
    for event in events {
        if let EventKind::StepOutput { step, line, .. } = &event.kind
            && let Some(lines) = output.get_mut(step)
        {
            if lines.len() == LINES_OF_FAILED {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }
    output
}
