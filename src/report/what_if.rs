//! What the set-up would have taken if some steps had been shorter.
//!
//! The run is replayed with other durations, by what its record says of who
//! waited for whom: a step begins after what was before it in its lane, a join
//! ends after its task, a group after its last branch; the script's own time in
//! between stays.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::slice;

use super::critical_path::CriticalPath;
use super::line::{duration, label};
use super::model::{Model, Step, Turn};
use crate::run::event::StepKind;
use crate::run::{Outcome, StepId};

/// How many are told.
const MOST: usize = 3;

/// Gains below this share of the set-up are not worth a line.
const LEAST: f64 = 0.01;

/// Steps that are tried out: each costs a replay.
const MOST_TRIED: usize = 12;

/// What a delay could be cut down to, in milliseconds.
const SHORT_DELAY_MS: f64 = 1000.0;

/// Work whose results can be kept, whether or not this target does.
const CACHEABLE: [&str; 2] = ["build_image", "load_image"];

/// A condition, and the set-up under it.
#[derive(Debug, Clone, PartialEq)]
pub struct WhatIf {
    /// As in "with {step} cached".
    pub condition: String,
    /// Milliseconds.
    pub setup_ms: f64,
}

/// What would have made the set-up shorter, the greatest gain first. Empty for
/// one that did not get to its end.
#[must_use]
pub fn what_if(model: &Model) -> Vec<WhatIf> {
    if model.setup_outcome() != Some(Outcome::Succeeded) {
        return Vec::new();
    }
    let path: HashSet<StepId> = CriticalPath::of(model).steps().collect();
    let cuts = model.steps.values().filter(|step| step.is_leaf()).flat_map(|step| cuts(model, step));
    let (cached, mut alone): (Vec<Cut>, Vec<Cut>) = {
        let cuts: Vec<Cut> = cuts.collect();
        let cached = cuts.iter().filter(|cut| cut.is_cache).cloned().collect();
        // Of the others, none alone makes a difference.
        (cached, cuts.into_iter().filter(|cut| path.contains(&cut.step)).collect())
    };
    alone.sort_by(|a, b| b.gain_ms.total_cmp(&a.gain_ms));
    alone.truncate(MOST_TRIED);
    let replayed = |cuts: &[Cut]| {
        let gains = cuts.iter().map(|cut| (cut.step, cut.gain_ms)).collect();
        replayed(model, &gains)
    };
    let tried =
        |cut: &Cut| WhatIf { condition: cut.condition.clone(), setup_ms: replayed(slice::from_ref(cut)) };
    let mut found: Vec<WhatIf> = alone.iter().map(tried).collect();
    // Worth a line only where it is more than the best of them alone.
    let best = found.iter().map(|what_if| what_if.setup_ms).fold(model.setup_ms(), f64::min);
    let at_once = replayed(&cached);
    if cached.len() > 1 && at_once < (1.0 - LEAST) * best {
        let condition = "with all of its images and data cached".to_owned();
        found.push(WhatIf { condition, setup_ms: at_once });
    }
    found.retain(|what_if| what_if.setup_ms < (1.0 - LEAST) * model.setup_ms());
    found.sort_by(|a, b| a.setup_ms.total_cmp(&b.setup_ms));
    found.truncate(MOST);
    found
}

/// A step that could be shorter.
#[derive(Clone)]
struct Cut {
    step: StepId,
    condition: String,
    gain_ms: f64,
    is_cache: bool,
}

fn cuts(model: &Model, step: &Step) -> Vec<Cut> {
    let took_ms = model.took(step);
    let cut = |condition, gain_ms, is_cache| Cut { step: step.id, condition, gain_ms, is_cache };
    let missed = step.cache.as_ref().map_or(CACHEABLE.contains(&&*step.primitive), |cache| !cache.hit);
    let mut cuts = Vec::new();
    if missed {
        cuts.push(cut(format!("with {} cached", label(step)), took_ms, true));
    }
    if &*step.primitive == "sleep" {
        cuts.push(cut(format!("without {}", label(step)), took_ms, false));
    }
    for (setting, gain_ms) in shorter_settings(step) {
        let condition = format!("with {setting} at {} in {}", duration(SHORT_DELAY_MS), label(step));
        cuts.push(cut(condition, gain_ms.min(took_ms), false));
    }
    cuts
}

/// Settings that the step waited out, and what a short one gains: as much as
/// with the thing that gains least, for all of them were waited for.
fn shorter_settings(step: &Step) -> BTreeMap<&str, f64> {
    let mut gains = BTreeMap::<&str, f64>::new();
    for part in step.times.iter().flat_map(|times| &times.parts) {
        let Some(setting) = part.setting.as_ref().filter(|setting| setting.ms > SHORT_DELAY_MS) else {
            continue;
        };
        let gain_ms = (setting.ms - SHORT_DELAY_MS).min(part.ms);
        gains.entry(&setting.name).and_modify(|least| *least = least.min(gain_ms)).or_insert(gain_ms);
    }
    gains
}

/// A moment as it was, and as it would have been.
#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    was: f64,
    is: f64,
}

impl Moment {
    /// A later moment, as long after this one as it was.
    fn on(self, was: f64) -> Self {
        Self { was, is: self.is + (was - self.was) }
    }

    fn latest(self, other: Self) -> Self {
        Self { was: self.was.max(other.was), is: self.is.max(other.is) }
    }
}

/// The steps with one parent.
#[derive(Debug, Clone, Default)]
struct Lane {
    /// The end of what ended last; its begin before that.
    last: Moment,
    /// The end of whatever ends last in either time.
    latest: Moment,
    /// Tasks begun in it, which its end waits for.
    tasks: Vec<StepId>,
}

/// The set-up, had the steps in `gains` been shorter by these milliseconds.
fn replayed(model: &Model, gains: &HashMap<StepId, f64>) -> f64 {
    let mut lanes = HashMap::<Option<StepId>, Lane>::new();
    let mut begins = HashMap::<StepId, Moment>::new();
    let mut ends = HashMap::<StepId, Moment>::new();
    for turn in &model.turns {
        match *turn {
            Turn::Begin(id) => {
                let Some(step) = model.steps.get(&id) else { continue };
                let lane = lanes.entry(step.parent).or_default();
                let begin = lane.last.on(step.start_ms);
                if step.kind == StepKind::Task {
                    lane.tasks.push(id);
                }
                begins.insert(id, begin);
                lanes.insert(Some(id), Lane { last: begin, latest: begin, tasks: Vec::new() });
            }
            Turn::End(id) => {
                let Some((step, begin)) = model.steps.get(&id).zip(begins.get(&id).copied()) else {
                    continue;
                };
                let own = lanes.remove(&Some(id)).unwrap_or_default();
                let end_ms = model.end_of(step);
                let task = step.waits_for.and_then(|task| ends.get(&task).copied());
                let end = match (step.kind, task) {
                    (StepKind::Join, Some(task)) => begin.latest(task).on(end_ms),
                    _ if step.is_leaf() => {
                        let end = begin.on(end_ms);
                        Moment { is: end.is - gains.get(&id).copied().unwrap_or_default(), ..end }
                    }
                    _ => own.end(&ends, end_ms),
                };
                ends.insert(id, end);
                if step.kind != StepKind::Task {
                    let lane = lanes.entry(step.parent).or_default();
                    lane.last = end;
                    lane.latest = lane.latest.latest(end);
                }
            }
        }
    }
    let setup_ms = model.setup_ms();
    lanes.remove(&None).unwrap_or_default().end(&ends, setup_ms).is
}

impl Lane {
    fn end(&self, ends: &HashMap<StepId, Moment>, was: f64) -> Moment {
        let tasks = self.tasks.iter().filter_map(|task| ends.get(task)).filter(|task| task.was <= was);
        tasks.fold(self.latest, |latest, task| latest.latest(*task)).on(was)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "rounded to a tenth")]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use crate::run::event::{Setting, TimePart};
    use crate::run::{Event, EventKind};
    use StepKind::{Branch, Group, Primitive, Task};

    /// The set-up, had steps taken other times.
    fn with(events: &[Event], took: &[(u64, f64)]) -> f64 {
        let model = Model::of(events);
        let gain = |(step, ms): &(u64, f64)| (StepId(*step), model.took(&model.steps[&StepId(*step)]) - ms);
        let gains = took.iter().map(gain).collect();
        (replayed(&model, &gains) * 10.0).round() / 10.0
    }

    #[test]
    fn nothing_changed_is_what_it_was() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
        let real =
            ["shop", "broken", "stopped", "datastorage"].map(|name| folder.join(format!("{name}.jsonl")));
        let real = real.iter().map(|path| crate::report::read(path).unwrap());
        for events in real.chain([sample::environment(), sample::failure()]) {
            let model = Model::of(&events);
            assert!((replayed(&model, &HashMap::new()) - model.setup_ms()).abs() < 1e-6);
        }
    }

    #[test]
    fn the_next_longest_branch_takes_over() {
        let events = sample::environment();
        assert_eq!(with(&events, &[(8, 20.0)]), 1047.0, "until the image: 322.1 in place of 515.1");
        assert_eq!(with(&events, &[(8, 20.0), (2, 0.0)]), 840.5);
        assert_eq!(with(&events, &[(10, 0.0)]), 1240.0, "it had slack");
        assert_eq!(with(&events, &[(10, 1000.0)]), 1740.6, "and would have none");
        assert_eq!(with(&events, &[(15, 95.0)]), 640.2);
    }

    #[test]
    fn a_slot_is_free_sooner() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Group, "each");
        run.start(0.0, 2, 1, "0", Branch, "each 0");
        run.start(0.0, 3, 2, "0", Primitive, "sh");
        run.end(10.0, 3);
        run.end(10.0, 2);
        run.start(11.0, 4, 1, "1", Branch, "each 1");
        run.start(11.0, 5, 4, "1", Primitive, "sh");
        run.end(25.0, 5);
        run.end(25.0, 4);
        run.end(26.0, 1);
        run.finish(26.0, Outcome::Succeeded);
        assert_eq!(with(&run.events, &[(3, 4.0)]), 20.0);
    }

    #[test]
    fn a_task_is_waited_for_where_it_is_joined_and_at_the_end() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "t", Task, "start t");
        run.start(0.0, 2, 1, "t", Primitive, "sh");
        run.start(1.0, 3, 0, "", Primitive, "sh");
        run.end(21.0, 3);
        run.end(50.0, 2);
        run.end(50.0, 1);
        run.finish(52.0, Outcome::Succeeded);
        assert_eq!(with(&run.events, &[(2, 30.0)]), 32.0);
        assert_eq!(with(&run.events, &[(2, 0.0)]), 23.0, "the script is not over before");
    }

    #[test]
    fn what_is_worth_it_is_told() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Primitive, "build_image shop");
        run.end(4000.0, 1);
        run.start(4000.0, 2, 0, "", Primitive, "wait_ready shop");
        for (pod, ms) in [("pod shop-1", 30_500.0), ("pod shop-2", 24_000.0)] {
            let setting = Some(Setting { name: "initialDelaySeconds".into(), ms: 30_000.0 });
            let part = TimePart { name: "until the next probe".into(), ms, exact: true, setting };
            let times = EventKind::StepTimes { step: StepId(2), what: pod.to_owned(), parts: vec![part] };
            run.push(35_000.0, times);
        }
        run.end(35_000.0, 2);
        run.start(35_000.0, 3, 0, "", Primitive, "sleep 5s");
        run.end(40_000.0, 3);
        run.start(40_000.0, 4, 0, "", Primitive, "sleep 1ms");
        run.end(40_001.0, 4);
        run.finish(40_001.0, Outcome::Succeeded);
        let found = what_if(&Model::of(&run.events));
        let told: Vec<_> =
            found.iter().map(|it| format!("{}: {}", it.condition, duration(it.setup_ms))).collect();
        assert_eq!(
            told,
            [
                "with initialDelaySeconds at 1.00 s in wait_ready shop: 16.0 s",
                "without sleep 5s: 35.0 s",
                "with build_image shop cached: 36.0 s"
            ]
        );
        assert!(what_if(&Model::of(&sample::failure())).is_empty());
    }
}
