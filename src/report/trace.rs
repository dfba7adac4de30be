//! The trace of a run in Chrome's trace-event format, for ui.perfetto.dev and
//! other viewers.
//!
//! The run is a process, and a lane is a thread of it: the script's, and as
//! many as there were branches and tasks side by side. Viewers want what is in
//! one lane to nest, to the microsecond; hence times are whole microseconds.
//!
//! | event | what it shows |
//! |---|---|
//! | `X` complete | a step; within it, what it waited for; the tests; the teardown |
//! | `s`, `f` flow | from a task to the join that waited for it, and from each step of the critical path to the next |
//! | `i` instant | messages, a cancellation, the end of the set-up |
//! | `C` counter | how busy the machine was: processors, memory, disk |
//! | `M` metadata | names of the run and its lanes |

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::critical_path::CriticalPath;
use super::lanes::{Lanes, Span};
use super::line::{clean, clip, duration, label};
use super::model::{Model, Step};
use crate::run::event::{Level, StepKind, TimePart};
use crate::run::{Event, EventKind, StepId};

/// Columns of the name of a lane.
const LONGEST_LANE: usize = 60;

/// An event as the format wants it. Times are microseconds.
#[derive(Debug, Default, Serialize)]
struct TraceEvent {
    name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'static str,
    ph: &'static str,
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<u64>,
    pid: u32,
    tid: usize,
    /// Of a flow: the same at both ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    /// Of a flow: `e` binds its end to the slice around it, not to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    /// Of an instant: `p` concerns all lanes.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    args: Map<String, Value>,
}

impl TraceEvent {
    fn new(ph: &'static str, lane: usize, ts: u64, cat: &'static str, name: impl Into<String>) -> Self {
        Self { name: name.into(), cat, ph, ts, pid: 1, tid: lane + 1, ..Self::default() }
    }
}

/// A stretch of time in a lane.
struct Slice {
    span: Span,
    lane: usize,
    name: String,
    category: &'static str,
    args: Map<String, Value>,
}

/// An arrow from the end of a step to the beginning or the end of another.
struct Flow {
    from: StepId,
    to: StepId,
    to_end: bool,
    name: &'static str,
}

/// Writes the trace of a run, an event a line.
///
/// # Errors
/// When a value has no form in JSON, which would be a bug.
pub fn trace(events: &[Event]) -> serde_json::Result<String> {
    let model = Model::of(events);
    let path = CriticalPath::of(&model);
    let mut slices = slices(&model, events, &path.steps().collect());
    let lanes = place(&mut slices);

    let steps = slices.iter().enumerate().filter(|(_, slice)| slice.category != WAIT);
    let of_step = steps.filter_map(|(index, slice)| Some((slice.span.step?, index))).collect();
    let mut traced: Vec<_> = slices.iter().map(Slice::complete).enumerate().collect();
    traced.extend(
        flows(&model, &path).iter().enumerate().flat_map(|(id, flow)| arrow(id, flow, &slices, &of_step)),
    );
    traced.extend(events.iter().filter_map(instant).map(|event| (0, event)));
    traced.extend(events.iter().flat_map(counters).map(|event| (0, event)));
    // At the same time, the outer slice comes first, and its flows before what is in it.
    traced.sort_by_key(|(slice, event)| (event.ts, *slice));

    let about = json!({
        "run_id": model.run_id, "recipe": model.recipe, "target": model.target,
        "sequential": model.sequential, "outcome": model.outcome(),
        "started": events.first().map(|event| event.at),
    });
    let mut text = format!("{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[");
    let traced = traced.into_iter().map(|(_, event)| event);
    for (index, event) in names(&model, &lanes).into_iter().chain(traced).enumerate() {
        text += if index == 0 { "\n" } else { ",\n" };
        text += &serde_json::to_string(&event)?;
    }
    Ok(text + "\n]}\n")
}

/// Steps, their waits and the teardown, in order of start and nesting, not yet
/// in lanes.
fn slices(model: &Model, events: &[Event], critical: &BTreeSet<StepId>) -> Vec<Slice> {
    let mut slices = Vec::new();
    for step in model.steps.values() {
        // Not the end of the set-up: steps of `on_exit` come after it.
        let end_ms = step.end_ms.unwrap_or(model.last_ms);
        let beside = matches!(step.kind, StepKind::Branch | StepKind::Task);
        slices.push(Slice {
            span: span(Some(step.id), step.parent, beside, (step.start_ms, end_ms)),
            lane: 0,
            name: label(step),
            category: category(step, critical.contains(&step.id)),
            args: args(step),
        });
        slices.extend(step.waits.iter().map(|wait| Slice {
            span: span(Some(step.id), Some(step.id), false, (wait.from_ms, wait.to_ms.unwrap_or(end_ms))),
            lane: 0,
            name: clean(&format!("waiting for {}", wait.what)),
            category: WAIT,
            args: Map::new(),
        }));
    }
    if let Some(tested) = &model.tested {
        let to_ms = tested.to_ms.unwrap_or(model.last_ms);
        let args = [("command", tested.command.join(" ")), ("outcome", tested.told())];
        slices.push(Slice {
            span: span(None, None, false, (tested.from_ms, to_ms)),
            lane: 0,
            name: "test".to_owned(),
            category: "test",
            args: args.into_iter().map(|(name, value)| (name.to_owned(), clean(&value).into())).collect(),
        });
    }
    if let Some(from_ms) = model.teardown_from_ms {
        let finished = events.iter().rfind(|event| matches!(event.kind, EventKind::TeardownFinished { .. }));
        let to_ms = finished.map_or(model.last_ms, |event| event.ms);
        let (span, name) = (span(None, None, false, (from_ms, to_ms)), "teardown".to_owned());
        slices.push(Slice { span, lane: 0, name, category: "teardown", args: Map::new() });
    }
    slices.sort_by_key(|slice| slice.span.from_us);
    slices
}

fn span(step: Option<StepId>, below: Option<StepId>, beside: bool, (from_ms, to_ms): (f64, f64)) -> Span {
    Span { step, below, beside, from_us: us(from_ms), to_us: us(to_ms.max(from_ms)) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and years fit")]
fn us(ms: f64) -> u64 {
    (ms.max(0.0) * 1000.0).round() as u64
}

/// What a step waited for, within its slice.
const WAIT: &str = "wait";

fn category(step: &Step, critical: bool) -> &'static str {
    match step.kind {
        StepKind::Primitive if critical => "primitive,critical",
        StepKind::Primitive => "primitive",
        StepKind::Phase => "phase",
        StepKind::Group => "group",
        StepKind::Branch => "branch",
        StepKind::Task => "task",
        StepKind::Join => "join",
    }
}

fn args(step: &Step) -> Map<String, Value> {
    let cache = step.cache.as_ref().map(|cache| {
        let hit = if cache.hit { "hit" } else { "miss" };
        format!("{hit}: {}", cache.why)
    });
    let told = [
        ("step", Some(step.id.to_string())),
        ("primitive", Some(step.primitive.to_string())),
        ("title", Some(step.title.clone())),
        ("branch", Some(step.branch.to_string())),
        ("position", step.position.as_ref().map(ToString::to_string)),
        ("outcome", Some(step.outcome.map_or("unfinished".to_owned(), |outcome| outcome.to_string()))),
        ("cache", cache),
        ("error", step.error.clone()),
        ("last_output", step.tail.back().map(|line| clean(line))),
    ];
    let told = told.into_iter().filter_map(|(name, value)| Some((name, value.filter(|v| !v.is_empty())?)));
    let told = told.map(|(name, value)| (name.to_owned(), value.into()));
    let times = step.times.iter().map(|times| {
        let part = |part: &TimePart| format!("{} {}", part.name, duration(part.ms));
        let parts: Vec<_> = times.parts.iter().map(part).collect();
        (clean(&times.what), parts.join(", ").into())
    });
    told.chain(times).collect()
}

/// Gives the slices their lanes, and names for these: the script's, and of the
/// others what ran there.
fn place(slices: &mut [Slice]) -> Vec<String> {
    let (mut lanes, mut branches) = (Lanes::new(), vec![BTreeSet::new()]);
    for slice in slices {
        slice.lane = lanes.place(slice.span);
        branches.resize_with(lanes.count(), BTreeSet::new);
        if slice.span.beside {
            branches[slice.lane].insert(slice.name.clone());
        }
    }
    let name = |branches: BTreeSet<String>| Vec::from_iter(branches).join(", ");
    let mut names: Vec<_> =
        branches.into_iter().map(|branches| clip(&name(branches), LONGEST_LANE)).collect();
    "script".clone_into(&mut names[0]);
    names
}

impl Slice {
    fn complete(&self) -> TraceEvent {
        let Span { from_us, to_us, .. } = self.span;
        let event = TraceEvent::new("X", self.lane, from_us, self.category, self.name.as_str());
        TraceEvent { dur: Some(to_us - from_us), args: self.args.clone(), ..event }
    }
}

/// From tasks to the joins that waited for them, and along the critical path.
fn flows(model: &Model, path: &CriticalPath) -> Vec<Flow> {
    let waited = |join: &Step| {
        let task = model.steps.get(&join.waits_for?)?;
        let ended = task.end_ms.filter(|ended| join.start_ms < *ended && *ended <= model.end_of(join))?;
        (ended >= task.start_ms).then_some(Flow { from: task.id, to: join.id, to_end: true, name: "join" })
    };
    let mut flows: Vec<_> = model.steps.values().filter_map(waited).collect();
    let path: Vec<StepId> = path.steps().collect();
    let next = path.windows(2).filter(|pair| pair[0] != pair[1]);
    flows.extend(next.map(|pair| Flow { from: pair[0], to: pair[1], to_end: false, name: "critical path" }));
    flows
}

/// Both ends of a flow, each with the place of its slice.
fn arrow(
    id: usize,
    flow: &Flow,
    slices: &[Slice],
    of_step: &HashMap<StepId, usize>,
) -> [(usize, TraceEvent); 2] {
    let end = |ph, bp, index: usize, at_end| {
        let Slice { span: Span { from_us, to_us, .. }, lane, .. } = slices[index];
        // Just inside: at its very end, the slice is over.
        let ts = if at_end { to_us.saturating_sub(1).max(from_us) } else { from_us };
        let event = TraceEvent::new(ph, lane, ts, "flow", flow.name);
        (index, TraceEvent { id: Some(id + 1), bp, ..event })
    };
    [end("s", None, of_step[&flow.from], true), end("f", Some("e"), of_step[&flow.to], flow.to_end)]
}

/// What happened at one moment and concerns the whole run.
fn instant(event: &Event) -> Option<TraceEvent> {
    let mut args = Map::new();
    let (cat, name) = match &event.kind {
        EventKind::Message { level, branch, text } => {
            if !branch.is_empty() {
                args.insert("branch".to_owned(), (**branch).into());
            }
            (if *level == Level::Warning { "message,warning" } else { "message" }, clean(text))
        }
        EventKind::CancelBegan { reason } => ("cancel", format!("cancelling: {reason}")),
        EventKind::KillBegan => ("cancel", "killing what still runs".to_owned()),
        EventKind::SetupFinished { outcome } => ("run", format!("set-up {outcome}")),
        _ => return None,
    };
    Some(TraceEvent { s: Some("p"), args, ..TraceEvent::new("i", 0, us(event.ms), cat, name) })
}

/// A counter has a track of its own, whose unit is in its name.
fn counters(event: &Event) -> Vec<TraceEvent> {
    let EventKind::MachineSampled { cpu, memory_bytes, disk_bytes } = event.kind else { return Vec::new() };
    #[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
    let megabytes = |bytes: u64| (bytes as f64 / 1e5).round() / 10.0;
    let counter = |name: &str, value: f64| TraceEvent {
        args: Map::from_iter([("value".to_owned(), value.into())]),
        ..TraceEvent::new("C", 0, us(event.ms), "machine", name)
    };
    vec![
        counter("processors busy (%)", (1000.0 * cpu).round() / 10.0),
        counter("memory in use (MB)", megabytes(memory_bytes)),
        counter("disk in use (MB)", megabytes(disk_bytes)),
    ]
}

/// The names of the run and its lanes, and the order of the lanes.
fn names(model: &Model, lanes: &[String]) -> Vec<TraceEvent> {
    let about = |name: &str, lane: usize, key: &str, value: Value| TraceEvent {
        args: Map::from_iter([(key.to_owned(), value)]),
        ..TraceEvent::new("M", lane, 0, "", name)
    };
    let run = clean(&format!("recipe {}", model.run_id));
    let place = clean(&format!("{} on {}", model.recipe, model.target));
    let mut names = vec![
        about("process_name", 0, "name", run.into()),
        about("process_labels", 0, "labels", place.into()),
    ];
    for (lane, name) in lanes.iter().enumerate() {
        names.push(about("thread_name", lane, "name", name.as_str().into()));
        names.push(about("thread_sort_index", lane, "sort_index", lane.into()));
    }
    names
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
