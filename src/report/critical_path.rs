//! Which steps determined how long the set-up took.
//!
//! Found by walking back from the end of the set-up: whatever ended last
//! before a moment is what that moment waited for.
//!
//! ```text
//!  main  ─A─┬──────group──────┬─join─┬─C─│ end        path: A, p, q, T's last, C
//!  p.q      └──p──╴╴──q───────┘      │                (r and s had slack)
//!  r        └──r──┘                  │
//!  task T   ──s────────────T's last──┘
//! ```
//!
//! Time between steps is the script's own.

use std::collections::{HashMap, HashSet};

use super::model::{Model, Step};
use crate::run::event::StepKind;
use crate::run::{Outcome, StepId};

/// The chain of steps that no time could be taken from without a shorter
/// set-up, in order of time and without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct CriticalPath {
    /// Its parts. The first begins at 0, the last ends with the set-up.
    pub segments: Vec<Segment>,
}

/// A part of the critical path.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The leaf step that was at work; none for the script itself.
    pub step: Option<StepId>,
    /// Milliseconds since the run began.
    pub from_ms: f64,
    /// Milliseconds since the run began.
    pub to_ms: f64,
}

impl CriticalPath {
    /// Finds the path. Of a run that died, the path to its last event.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let mut walk = Walk { model, lanes: lanes(model), point: model.setup_ms(), segments: Vec::new() };
        walk.back_to_start();
        walk.segments.reverse();
        Self { segments: walk.segments }
    }

    /// The steps on the path, in order of time.
    pub fn steps(&self) -> impl Iterator<Item = StepId> {
        self.segments.iter().filter_map(|segment| segment.step)
    }

    /// Length of the path in milliseconds. Equal to the time of the set-up.
    #[must_use]
    pub fn total_ms(&self) -> f64 {
        self.segments.last().map_or(0.0, |last| last.to_ms)
    }

    /// How much of the path was spent between steps, in milliseconds.
    #[must_use]
    pub fn script_ms(&self) -> f64 {
        self.segments.iter().filter(|segment| segment.step.is_none()).map(Segment::took).sum()
    }
}

impl Segment {
    /// Its length in milliseconds.
    #[must_use]
    pub fn took(&self) -> f64 {
        self.to_ms - self.from_ms
    }
}

/// What the set-up would have taken one step after the other: the work of all
/// primitives, in milliseconds. Waiting for branches and tasks is no work, and
/// a primitive that has steps of its own counts only through them.
#[must_use]
pub fn sequential_ms(model: &Model) -> f64 {
    let end = model.setup_ms();
    let leaves = model.steps.values().filter(|step| step.is_leaf() && step.start_ms <= end);
    leaves.map(|step| model.took(step)).sum()
}

/// The steps of each lane, the last to end at the back. A lane is what the
/// steps with one parent make; tasks are in none, for nobody waits for them
/// there.
type Lanes<'m> = HashMap<Option<StepId>, Vec<&'m Step>>;

fn lanes(model: &Model) -> Lanes<'_> {
    let mut lanes = Lanes::new();
    for step in model.steps.values().filter(|step| step.kind != StepKind::Task) {
        lanes.entry(step.parent).or_default().push(step);
    }
    for lane in lanes.values_mut() {
        lane.sort_by(|a, b| model.end_of(a).total_cmp(&model.end_of(b)).then(a.id.cmp(&b.id)));
    }
    lanes
}

struct Walk<'m> {
    model: &'m Model,
    lanes: Lanes<'m>,
    /// Everything after this moment is explained. It only ever moves back.
    point: f64,
    segments: Vec<Segment>,
}

impl<'m> Walk<'m> {
    fn back_to_start(&mut self) {
        let model = self.model;
        let mut lane = self.task_joined_by_the_end();
        loop {
            match self.last_ended(lane) {
                Some(step) if step.is_leaf() => {
                    self.explain(None, model.end_of(step));
                    self.explain(Some(step.id), step.start_ms);
                }
                Some(join) if join.kind == StepKind::Join => {
                    let task = join.waits_for.and_then(|task| model.steps.get(&task));
                    if let Some(task) = task.filter(|task| model.end_of(task) > join.start_ms) {
                        self.explain(None, model.end_of(join).min(model.end_of(task)));
                        lane = Some(task);
                    }
                }
                Some(container) => {
                    self.explain(None, self.decided_at(container));
                    lane = Some(container);
                }
                // The lane is exhausted: what did its begin wait for?
                None => match lane {
                    Some(container) => {
                        self.explain(None, container.start_ms);
                        lane = model.parent(container);
                    }
                    None => break,
                },
            }
        }
        self.explain(None, 0.0);
    }

    /// The step of `lane` that ended last before the point. Each is given once.
    fn last_ended(&mut self, lane: Option<&Step>) -> Option<&'m Step> {
        let steps = self.lanes.get_mut(&lane.map(|step| step.id))?;
        while let Some(step) = steps.pop() {
            // A step that was still running at the point was not waited for,
            // and will not be, since the point only moves back.
            if self.model.end_of(step) <= self.point {
                return Some(step);
            }
        }
        None
    }

    /// A task that nobody joined is joined by the end of the run. It matters
    /// only if it ended after the script.
    fn task_joined_by_the_end(&mut self) -> Option<&'m Step> {
        let model = self.model;
        let joined: HashSet<StepId> = model.steps.values().filter_map(|step| step.waits_for).collect();
        let script_end = model.children(None).filter(|step| step.kind != StepKind::Task);
        let script_end = script_end.map(|step| model.end_of(step)).fold(0.0, f64::max);
        let tasks = model.steps.values().filter(|step| step.kind == StepKind::Task);
        let task = tasks
            .filter(|task| !joined.contains(&task.id) && task.outcome != Some(Outcome::Cancelled))
            .filter(|task| (script_end..=self.point).contains(&model.end_of(task)))
            .max_by(|a, b| model.end_of(a).total_cmp(&model.end_of(b)))?;
        self.explain(None, model.end_of(task));
        Some(task)
    }

    /// When it was settled how long `container` takes. A group is settled when
    /// its first branch fails: after that, its siblings are only being stopped.
    fn decided_at(&self, container: &Step) -> f64 {
        let end = self.model.end_of(container);
        if container.kind != StepKind::Group {
            return end;
        }
        let branches = self.model.children(Some(container));
        let failed = branches.filter(|branch| branch.outcome == Some(Outcome::Failed));
        failed.map(|branch| self.model.end_of(branch)).fold(end, f64::min)
    }

    /// Moves the point back to `ms`: the time from there was spent on `step`.
    fn explain(&mut self, step: Option<StepId>, ms: f64) {
        let (from_ms, to_ms) = (ms.min(self.point), self.point);
        self.point = from_ms;
        match self.segments.last_mut() {
            Some(later) if step.is_none() && later.step.is_none() => later.from_ms = from_ms,
            _ if step.is_none() && from_ms >= to_ms => {}
            _ => self.segments.push(Segment { step, from_ms, to_ms }),
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of small integers are exact")]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use StepKind::{Branch, Group, Phase, Primitive, Task};

    /// `step from-to` for each segment; `-` is the script.
    fn path(sample: &Sample) -> String {
        let model = Model::of(&sample.events);
        let path = CriticalPath::of(&model);
        let sum: f64 = path.segments.iter().map(Segment::took).sum();
        assert!((sum - model.setup_ms()).abs() < 1e-9, "the path is as long as the set-up");
        assert!(path.segments.windows(2).all(|pair| pair[0].to_ms == pair[1].from_ms), "no gaps");
        let name = |step: Option<StepId>| step.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let segment = |s: &Segment| format!("{} {}-{}", name(s.step), s.from_ms, s.to_ms);
        path.segments.iter().map(segment).collect::<Vec<_>>().join(", ")
    }

    fn leaf(run: &mut Sample, id: u64, parent: u64, from: f64, to: f64) -> (f64, f64, u64) {
        run.start(from, id, parent, "", Primitive, "sh");
        (to, from, id)
    }

    #[test]
    fn steps_in_sequence_are_all_on_the_path() {
        let mut run = Sample::new();
        for (id, from, to) in [(1, 5.0, 10.0), (2, 10.0, 10.0), (3, 12.0, 20.0)] {
            let (to, _, id) = leaf(&mut run, id, 0, from, to);
            run.end(to, id);
        }
        run.finish(21.0, Outcome::Succeeded);
        assert_eq!(path(&run), "- 0-5, 1 5-10, 2 10-10, - 10-12, 3 12-20, - 20-21");
        assert_eq!(sequential_ms(&Model::of(&run.events)), 13.0);
    }

    #[test]
    fn an_empty_run_is_all_script() {
        let mut run = Sample::new();
        run.finish(3.0, Outcome::Succeeded);
        assert_eq!(path(&run), "- 0-3");
    }

    #[test]
    fn nested_groups_go_through_the_last_branch() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Group, "parallel");
        run.start(1.0, 2, 1, "a", Branch, "parallel a");
        run.start(1.0, 3, 1, "b", Branch, "parallel b");
        run.start(1.0, 4, 2, "a", Primitive, "sh");
        run.start(1.0, 5, 3, "b", Group, "parallel");
        run.start(2.0, 6, 5, "b/x", Branch, "parallel x");
        run.start(2.0, 7, 5, "b/y", Branch, "parallel y");
        run.start(2.0, 8, 6, "b/x", Primitive, "sh");
        run.start(3.0, 9, 7, "b/y", Primitive, "sh");
        for (to, id) in [(20.0, 8), (20.0, 6), (30.0, 4), (30.0, 2), (50.0, 9), (51.0, 7), (52.0, 5)] {
            run.end(to, id);
        }
        run.end(52.0, 3);
        run.end(53.0, 1);
        run.finish(53.0, Outcome::Succeeded);
        assert_eq!(path(&run), "- 0-3, 9 3-50, - 50-53");
        let model = Model::of(&run.events);
        assert_eq!(sequential_ms(&model), 29.0 + 18.0 + 47.0);
    }

    #[test]
    fn a_branch_that_waited_for_a_slot_leads_to_the_one_that_freed_it() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Group, "each");
        run.start(0.0, 2, 1, "0", Branch, "each 0");
        run.start(0.0, 3, 2, "0", Primitive, "sh");
        run.end(10.0, 3);
        run.end(10.0, 2);
        run.start(10.0, 4, 1, "1", Branch, "each 1");
        run.start(10.0, 5, 4, "1", Primitive, "sh");
        run.end(25.0, 5);
        run.end(25.0, 4);
        run.end(25.0, 1);
        run.finish(25.0, Outcome::Succeeded);
        assert_eq!(path(&run), "3 0-10, 5 10-25");
    }

    /// A task of 40 ms started at 2; the script works until `busy`, then joins.
    fn with_task(busy: f64) -> Sample {
        let mut run = Sample::new();
        run.start(2.0, 1, 0, "t", Task, "start t");
        run.start(2.0, 2, 1, "t", Primitive, "sh");
        run.start(3.0, 3, 0, "", Primitive, "sh");
        for (ms, id) in [(42.0, 2), (42.0, 1), (busy, 3)] {
            run.end(ms, id);
        }
        let joined = busy.max(42.0);
        run.join(busy, 4, 0, "", 1);
        run.end(joined, 4);
        run.start(joined, 5, 0, "", Primitive, "sh");
        run.end(joined + 5.0, 5);
        run.finish(joined + 5.0, Outcome::Succeeded);
        run
    }

    #[test]
    fn a_join_that_waited_leads_into_the_task() {
        let run = with_task(20.0);
        assert_eq!(path(&run), "- 0-2, 2 2-42, 5 42-47");
        assert_eq!(sequential_ms(&Model::of(&run.events)), 40.0 + 17.0 + 5.0, "a join is no work");
    }

    #[test]
    fn a_join_that_did_not_wait_leads_to_what_was_before_it() {
        let run = with_task(60.0);
        assert_eq!(path(&run), "- 0-3, 3 3-60, 5 60-65");
    }

    #[test]
    fn a_task_nobody_joined_counts_when_the_script_was_done_before() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Phase, "step prepare");
        run.start(1.0, 2, 1, "", Primitive, "sh");
        run.end(4.0, 2);
        run.start(5.0, 3, 1, "t", Task, "start t");
        run.start(5.0, 4, 3, "t", Primitive, "sh");
        run.end(6.0, 1);
        run.start(6.0, 5, 0, "", Primitive, "sh");
        run.end(9.0, 5);
        run.end(30.0, 4);
        run.end(30.0, 3);
        run.finish(31.0, Outcome::Succeeded);
        assert_eq!(path(&run), "- 0-1, 2 1-4, - 4-5, 4 5-30, - 30-31");
    }

    #[test]
    fn a_primitive_with_steps_counts_through_them() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Primitive, "retry");
        run.start(1.0, 2, 1, "", Primitive, "sh");
        run.end_as(3.0, 2, Outcome::Failed, Some("no"));
        run.start(13.0, 3, 1, "", Primitive, "sh");
        run.end(15.0, 3);
        run.end(15.0, 1);
        run.finish(15.0, Outcome::Succeeded);
        assert_eq!(path(&run), "- 0-1, 2 1-3, - 3-13, 3 13-15");
        assert_eq!(sequential_ms(&Model::of(&run.events)), 4.0);
    }

    #[test]
    fn the_branch_that_failed_first_is_the_path_not_those_it_cancelled() {
        let mut run = Sample::new();
        run.events = sample::failure();
        assert_eq!(path(&run), "- 0-1, 1 1-10, 4 10-80, - 80-132");
    }

    #[test]
    fn a_run_that_died_has_a_path_to_its_last_event() {
        let mut run = Sample::new();
        run.start(1.0, 1, 0, "", Primitive, "create_cluster");
        run.end(5.0, 1);
        run.start(6.0, 2, 0, "", Phase, "step data");
        run.start(7.0, 3, 2, "", Primitive, "deploy_postgres");
        run.wait(19.0, 3, "PostgreSQL");
        assert_eq!(path(&run), "- 0-1, 1 1-5, - 5-7, 3 7-19");
    }

    #[test]
    fn a_cancelled_run_goes_through_what_stopped_last() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Group, "parallel");
        for (branch, child, end) in [(2, 3, 40.0), (4, 5, 60.0)] {
            run.start(0.0, branch, 1, "x", Branch, "parallel x");
            run.start(0.0, child, branch, "x", Primitive, "sh");
            run.end_as(end, child, Outcome::Cancelled, None);
            run.end_as(end, branch, Outcome::Cancelled, None);
        }
        run.end_as(60.0, 1, Outcome::Cancelled, None);
        run.finish(60.0, Outcome::Cancelled);
        assert_eq!(path(&run), "5 0-60");
    }

    #[test]
    fn a_stream_that_makes_no_sense_still_ends() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Task, "start t");
        run.join(1.0, 2, 1, "", 1);
        run.end(9.0, 2);
        run.end(9.0, 1);
        run.join(9.0, 3, 7, "", 42);
        run.end(9.0, 3);
        run.finish(9.0, Outcome::Succeeded);
        assert_eq!(path(&run), "- 0-9");
    }
}
