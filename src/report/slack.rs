//! How much later a step could have ended without a longer set-up.

use std::collections::HashMap;

use super::critical_path::CriticalPath;
use super::model::{Model, Step};
use crate::run::StepId;
use crate::run::event::StepKind;

/// The slack of each leaf step in milliseconds; 0 for those on `path`.
///
/// A lower bound: a branch has as much slack as its group outlived it, a task
/// as much as it was done before its first join, and a leaf what those around
/// it have together.
#[must_use]
pub fn slack_ms(model: &Model, path: &CriticalPath) -> HashMap<StepId, f64> {
    let around = Around::new(model);
    let leaves = model.steps.values().filter(|step| step.is_leaf());
    let mut slack: HashMap<_, _> = leaves.map(|leaf| (leaf.id, around.slack_ms(leaf))).collect();
    // Two branches may end at the same moment while only one is on the path.
    slack.extend(path.steps().map(|step| (step, 0.0)));
    slack
}

/// What follows on branches and tasks.
struct Around<'m> {
    model: &'m Model,
    first_join: HashMap<StepId, &'m Step>,
    last_branch_start: HashMap<StepId, f64>,
}

impl<'m> Around<'m> {
    fn new(model: &'m Model) -> Self {
        let mut first_join = HashMap::new();
        let mut last_branch_start = HashMap::new();
        for step in model.steps.values() {
            if let Some(task) = step.waits_for {
                first_join.entry(task).or_insert(step);
            }
            if let (StepKind::Branch, Some(group)) = (step.kind, step.parent) {
                let last: &mut f64 = last_branch_start.entry(group).or_default();
                *last = last.max(step.start_ms);
            }
        }
        Self { model, first_join, last_branch_start }
    }

    fn slack_ms(&self, leaf: &Step) -> f64 {
        let mut slack = 0.0;
        let mut at = Some(leaf);
        // Outwards, or on to the join of a task. Bounded, since a damaged record
        // may hold tasks that join each other.
        for _ in &self.model.steps {
            let Some(step) = at else { break };
            at = self.model.parent(step);
            let end = self.model.end_of(step);
            match (step.kind, at) {
                // With `#{max: n}`, the end of a branch may have let another
                // begin; then it has no slack of its own.
                (StepKind::Branch, Some(group)) if end > self.last_branch_start[&group.id] => {
                    slack += self.model.end_of(group) - end;
                }
                (StepKind::Task, _) => {
                    at = self.first_join.get(&step.id).copied();
                    slack += (at.map_or(self.model.setup_ms(), |join| join.start_ms) - end).max(0.0);
                }
                _ => {}
            }
        }
        slack
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "sums of small integers are exact")]
mod tests {
    use super::*;
    use crate::report::sample::Sample;
    use crate::run::Outcome;
    use StepKind::{Branch, Group, Primitive, Task};

    fn slack(run: &Sample) -> impl Fn(u64) -> f64 {
        let model = Model::of(&run.events);
        let slack = slack_ms(&model, &CriticalPath::of(&model));
        move |step| slack[&StepId(step)]
    }

    #[test]
    fn a_branch_has_what_its_group_outlived_it() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Group, "parallel");
        run.start(0.0, 2, 1, "a", Branch, "parallel a");
        run.start(0.0, 3, 2, "a", Group, "parallel");
        for (branch, leaf) in [(4, 5), (6, 7)] {
            run.start(0.0, branch, 3, "a/x", Branch, "parallel x");
            run.start(0.0, leaf, branch, "a/x", Primitive, "sh");
        }
        run.start(0.0, 8, 1, "b", Branch, "parallel b");
        run.start(0.0, 9, 8, "b", Primitive, "sh");
        for (ms, id) in [(10.0, 5), (10.0, 4), (30.0, 7), (30.0, 6), (30.0, 3), (30.0, 2)] {
            run.end(ms, id);
        }
        for id in [9, 8, 1] {
            run.end(50.0, id);
        }
        run.finish(50.0, Outcome::Succeeded);
        let slack = slack(&run);
        assert_eq!([slack(5), slack(7), slack(9)], [40.0, 20.0, 0.0]);
    }

    #[test]
    fn a_branch_that_frees_a_slot_has_none() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", Group, "each");
        for (branch, leaf, from, to) in [(2, 3, 0.0, 10.0), (4, 5, 10.0, 25.0)] {
            run.start(from, branch, 1, "x", Branch, "each x");
            run.start(from, leaf, branch, "x", Primitive, "sh");
            run.end(to, leaf);
            run.end(to, branch);
        }
        run.end(25.0, 1);
        run.finish(25.0, Outcome::Succeeded);
        assert_eq!(slack(&run)(3), 0.0);
    }

    #[test]
    fn a_task_has_the_time_until_its_join() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "t", Task, "start t");
        run.start(0.0, 2, 1, "t", Primitive, "sh");
        run.start(0.0, 3, 0, "", Primitive, "sh");
        run.end(12.0, 2);
        run.end(12.0, 1);
        run.end(30.0, 3);
        run.join(30.0, 4, 0, "", 1);
        run.end(30.0, 4);
        run.finish(31.0, Outcome::Succeeded);
        let slack = slack(&run);
        assert_eq!([slack(2), slack(3)], [18.0, 0.0]);
    }
}
