//! What a run would do, as a tree, with the times that its steps have taken in
//! earlier runs.

use std::collections::HashMap;

use owo_colors::OwoColorize;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::line::{duration, fit, label, plural};
use super::model::{Model, Step};
use crate::run::event::StepKind;

/// Earlier runs that count, the newest.
pub const RUNS: usize = 10;

/// Widest label of a step.
const WIDEST: usize = 56;

/// What tells a step from others of its recipe.
type Key = (String, String, String);

/// How long steps have taken.
#[derive(Default)]
pub struct Durations {
    runs: usize,
    took_ms: HashMap<Key, Vec<f64>>,
}

impl Durations {
    /// Takes in an earlier run.
    pub fn add(&mut self, model: &Model) {
        self.runs += 1;
        for step in model.steps.values() {
            if let Some(end_ms) = step.end_ms {
                self.took_ms.entry(key(step)).or_default().push(end_ms - step.start_ms);
            }
        }
    }

    /// The median of what a step has taken; none for a new one.
    fn of(&self, step: &Step) -> Option<f64> {
        let mut took_ms = self.took_ms.get(&key(step))?.clone();
        took_ms.sort_by(f64::total_cmp);
        took_ms.get(took_ms.len() / 2).copied()
    }
}

fn key(step: &Step) -> Key {
    (step.branch.to_string(), step.primitive.to_string(), step.title.clone())
}

/// A step of the plan.
struct Node<'m> {
    step: &'m Step,
    /// Milliseconds that it has taken, or its parts would take.
    takes_ms: Option<f64>,
    parts: Vec<Node<'m>>,
}

impl<'m> Node<'m> {
    fn new(model: &'m Model, history: &Durations, step: &'m Step) -> Self {
        let parts: Vec<_> = model.children(Some(step)).map(|step| Node::new(model, history, step)).collect();
        let takes_ms = if parts.is_empty() {
            history.of(step)
        } else if step.kind == StepKind::Group {
            parts.iter().filter_map(|part| part.takes_ms).reduce(f64::max)
        } else {
            sum(&parts)
        };
        Self { step, takes_ms, parts }
    }
}

/// One after the other; tasks run beside.
fn sum(parts: &[Node<'_>]) -> Option<f64> {
    let known = parts.iter().filter(|part| part.step.kind != StepKind::Task);
    known.filter_map(|part| part.takes_ms).reduce(|a, b| a + b)
}

/// The plan for a terminal.
#[must_use]
pub fn plan(model: &Model, history: &Durations) -> String {
    let roots: Vec<_> = model.children(None).map(|step| Node::new(model, history, step)).collect();
    let mut rows = Vec::new();
    for root in &roots {
        list(root, 0, &mut rows);
    }
    let width = rows.iter().map(|(text, _)| text.width()).max().unwrap_or_default().min(WIDEST);
    let mut text = format!("{} {} on {}\n\n", "plan of".bold(), model.recipe.bold(), model.target);
    for (row, takes_ms) in &rows {
        let takes = takes_ms.map(|ms| format!("  {:>9}", duration(ms))).unwrap_or_default();
        let row =
            if takes.is_empty() { row.clone() } else { format!("{}{}", fit(row, width), takes.dimmed()) };
        text.push_str(&format!("  {row}\n"));
    }
    let steps = plural(model.steps.values().filter(|step| step.is_leaf()).count(), "step");
    text.push_str(&match sum(&roots) {
        Some(total) => format!(
            "\n  {steps}, about {} (median of {})\n",
            duration(total).bold(),
            plural(history.runs, "earlier run")
        ),
        None => format!("\n  {steps}; no earlier run on this target to tell how long they take\n"),
    });
    text
}

fn list(node: &Node<'_>, depth: usize, rows: &mut Vec<(String, Option<f64>)>) {
    rows.push((format!("{}{}", "  ".repeat(depth), label(node.step)), node.takes_ms));
    node.parts.iter().for_each(|part| list(part, depth + 1, rows));
}

/// The plan for programs.
#[must_use]
pub fn plan_json(model: &Model, history: &Durations) -> Value {
    let roots: Vec<_> = model.children(None).map(|step| Node::new(model, history, step)).collect();
    json!({
        "recipe": model.recipe, "target": model.target, "earlier_runs": history.runs,
        "estimate_ms": sum(&roots), "steps": roots.iter().map(value).collect::<Vec<_>>(),
    })
}

fn value(node: &Node<'_>) -> Value {
    let step = node.step;
    json!({
        "primitive": step.primitive, "title": step.title, "branch": step.branch, "kind": step.kind,
        "position": step.position, "estimate_ms": node.takes_ms,
        "steps": node.parts.iter().map(value).collect::<Vec<_>>(),
    })
}
