//! The rows of the timeline: which steps get one, and in what order.

use std::collections::HashSet;

use super::critical_path::CriticalPath;
use super::line::label;
use super::model::{Model, Step};
use crate::run::event::StepKind;
use crate::run::{Outcome, StepId};

/// Rows shown at most; the rest is only counted.
const MOST_ROWS: usize = 40;

/// A join that waited for less than this part of the set-up is not shown.
const SHORT_WAIT: f64 = 0.01;

/// A line of the timeline.
pub(super) struct Row<'m> {
    pub(super) step: &'m Step,
    /// How far in, from 0.
    pub(super) depth: usize,
    pub(super) name: String,
    /// Whether it is on the critical path.
    pub(super) critical: bool,
}

/// The rows in the order of the script, and how many more there would be.
pub(super) fn outline<'m>(model: &'m Model, path: &CriticalPath) -> (Vec<Row<'m>>, usize) {
    let mut rows = rows(model, &path.steps().collect());
    let hidden = fold(model, &mut rows);
    (rows, hidden)
}

/// A row for each step of the set-up; a branch with a single step shares one
/// with it.
fn rows<'m>(model: &'m Model, critical: &HashSet<StepId>) -> Vec<Row<'m>> {
    let shown = |step: &&Step| {
        let waited = model.took(step) >= SHORT_WAIT * model.setup_ms();
        step.start_ms <= model.setup_ms() && (step.kind != StepKind::Join || waited)
    };
    let mut rows = Vec::new();
    let mut stack: Vec<(&Step, usize)> =
        model.children(None).filter(shown).rev().map(|step| (step, 0)).collect();
    while let Some((step, depth)) = stack.pop() {
        let children: Vec<&Step> = model.children(Some(step)).filter(shown).collect();
        let lane = matches!(step.kind, StepKind::Branch | StepKind::Task);
        let row = |step, name: String| Row { step, depth, critical: critical.contains(&step.id), name };
        match children[..] {
            [only] if lane && only.is_leaf() && only.outcome == step.outcome => {
                rows.push(row(only, format!("{}: {}", label(step), label(only))));
            }
            _ => {
                rows.push(row(step, label(step)));
                stack.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
            }
        }
    }
    rows
}

/// Keeps the rows that matter most, with those around them, and gives the
/// number of the others: what failed first, then the critical path, then the
/// top level, then the longest.
fn fold(model: &Model, rows: &mut Vec<Row<'_>>) -> usize {
    let all = rows.len();
    if all <= MOST_ROWS {
        return 0;
    }
    let mut by_weight: Vec<&Row<'_>> = rows.iter().collect();
    let rank = |row: &Row<'_>| {
        let failed = row.step.outcome == Some(Outcome::Failed);
        (failed, row.critical && model.took(row.step) > 0.02 * model.setup_ms(), row.depth == 0)
    };
    by_weight.sort_by(|a, b| {
        let longest = || model.took(b.step).total_cmp(&model.took(a.step));
        rank(b).cmp(&rank(a)).then_with(longest)
    });
    let has_row: HashSet<StepId> = rows.iter().map(|row| row.step.id).collect();
    let mut kept: HashSet<StepId> = HashSet::new();
    for row in by_weight {
        let around = std::iter::successors(Some(row.step), |step| model.parent(step)).map(|step| step.id);
        let new: Vec<StepId> = around.filter(|id| has_row.contains(id) && !kept.contains(id)).collect();
        if kept.len() + new.len() <= MOST_ROWS {
            kept.extend(new);
        }
    }
    rows.retain(|row| kept.contains(&row.step.id));
    all - rows.len()
}
