//! What the set-up would have taken if some steps had been shorter.
//!
//! The run is replayed with other durations, by what its record says of who
//! waited for whom: a step begins after what was before it in its lane, a join
//! ends after its task, a group after its last branch; the script's own time in
//! between stays.

use std::collections::HashMap;

use super::line::{duration, label};
use super::model::{Model, Step, Turn};
use crate::run::event::StepKind;
use crate::run::{Outcome, StepId};

/// How many are told.
const MOST: usize = 3;

/// Gains below this share of the set-up are not worth a line.
const LEAST: f64 = 0.01;

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
    let cuts: Vec<Cut> =
        model.steps.values().filter(|step| step.is_leaf()).flat_map(|step| cuts(model, step)).collect();
    let mut found: Vec<WhatIf> = cuts.iter().map(|cut| cut.tried(model)).collect();
    let cached: Vec<&Cut> = cuts.iter().filter(|cut| cut.is_cache).collect();
    if cached.len() > 1 {
        let took = cached.iter().map(|cut| (cut.step, cut.took_ms)).collect();
        found.push(WhatIf {
            condition: "with all of its images and data cached".to_owned(),
            setup_ms: replayed(model, &took),
        });
    }
    found.retain(|what_if| what_if.setup_ms < (1.0 - LEAST) * model.setup_ms());
    found.sort_by(|a, b| a.setup_ms.total_cmp(&b.setup_ms));
    found.truncate(MOST);
    found
}

/// A step that could be shorter.
struct Cut {
    step: StepId,
    condition: String,
    took_ms: f64,
    is_cache: bool,
}

impl Cut {
    fn tried(&self, model: &Model) -> WhatIf {
        let setup_ms = replayed(model, &HashMap::from([(self.step, self.took_ms)]));
        WhatIf { condition: self.condition.clone(), setup_ms }
    }
}

fn cuts(model: &Model, step: &Step) -> Vec<Cut> {
    let cut = |condition, took_ms, is_cache| Cut { step: step.id, condition, took_ms, is_cache };
    let missed = step.cache.as_ref().map_or(CACHEABLE.contains(&&*step.primitive), |cache| !cache.hit);
    let mut cuts = Vec::new();
    if missed {
        cuts.push(cut(format!("with {} cached", label(step)), 0.0, true));
    }
    if &*step.primitive == "sleep" {
        cuts.push(cut(format!("without {}", label(step)), 0.0, false));
    }
    for wait in &step.waits {
        let waited = wait.to_ms.unwrap_or(model.end_of(step)) - wait.from_ms;
        let Some(delay) = wait.delay_ms.filter(|delay| *delay > SHORT_DELAY_MS) else { continue };
        let gain = (delay - SHORT_DELAY_MS).min(waited);
        let condition = format!("with {} at {}", wait.what, duration(SHORT_DELAY_MS));
        cuts.push(cut(condition, model.took(step) - gain, false));
    }
    cuts
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

/// The set-up, had the steps in `took` taken these milliseconds.
fn replayed(model: &Model, took: &HashMap<StepId, f64>) -> f64 {
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
                    _ if step.is_leaf() => match took.get(&id) {
                        Some(took_ms) => Moment { was: end_ms, is: begin.is + took_ms },
                        None => begin.on(end_ms),
                    },
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
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use crate::run::{Event, EventKind};
    use StepKind::{Branch, Group, Primitive, Task};

    fn with(events: &[Event], took: &[(u64, f64)]) -> f64 {
        let took = took.iter().map(|(step, ms)| (StepId(*step), *ms)).collect();
        (replayed(&Model::of(events), &took) * 10.0).round() / 10.0
    }

    #[test]
    fn nothing_changed_is_what_it_was() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
        let real = ["shop", "broken", "stopped"].map(|name| folder.join(format!("{name}.jsonl")));
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
        let what = "the first probe of shop".to_owned();
        run.push(4000.0, EventKind::StepWaiting { step: StepId(2), what, delay_ms: Some(30_000.0) });
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
                "with the first probe of shop at 1.00 s: 11.0 s",
                "without sleep 5s: 35.0 s",
                "with build_image shop cached: 36.0 s"
            ]
        );
        assert!(what_if(&Model::of(&sample::failure())).is_empty());
    }
}
