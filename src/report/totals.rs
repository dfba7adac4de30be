//! A run in numbers, to be compared with other runs of the same recipe.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::critical_path::{CriticalPath, sequential_ms};
use super::line::label;
use super::model::{Model, Step};
use super::summary::rounded;
use super::tested::Tested;

/// Steps that are told apart: the longest.
const MOST_STEPS: usize = 40;

/// Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Duration of the set-up.
    pub setup_ms: f64,
    /// Duration of the teardown; 0 where the environment stayed up.
    pub teardown_ms: f64,
    /// What the steps would have taken one after the other.
    pub sequential_ms: f64,
    /// Duration of the tests, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_ms: Option<f64>,
    /// Steps that earlier work has spared.
    pub cache_hits: usize,
    /// The longest steps, in order of start.
    pub steps: Vec<StepTime>,
}

/// How long a step took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// What it is known by in other runs: its branch, primitive and place.
    pub key: String,
    /// What people know it by.
    pub name: String,
    /// Whether it was on the critical path.
    pub critical: bool,
    /// How long it took.
    pub ms: f64,
}

impl Totals {
    /// Sums up a run.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let path = CriticalPath::of(model);
        let critical: Vec<_> = path.steps().collect();
        let mut leaves: Vec<&Step> = model.steps.values().filter(|step| step.is_leaf()).collect();
        let mut seen = HashMap::<String, usize>::new();
        let keys: Vec<String> = leaves.iter().map(|step| key(step, &mut seen)).collect();
        let keys: HashMap<_, _> = leaves.iter().map(|step| step.id).zip(keys).collect();
        leaves.sort_by(|a, b| model.took(b).total_cmp(&model.took(a)));
        leaves.truncate(MOST_STEPS);
        leaves.sort_by_key(|step| step.id);
        let time = |step: &&Step| StepTime {
            key: keys[&step.id].clone(),
            name: name(step),
            critical: critical.contains(&step.id),
            ms: rounded(model.took(step)),
        };
        Self {
            setup_ms: rounded(model.setup_ms()),
            teardown_ms: rounded(model.finished.as_ref().map_or(0.0, |finished| finished.teardown_ms)),
            sequential_ms: rounded(sequential_ms(model)),
            test_ms: model.tested.as_ref().and_then(Tested::took).map(rounded),
            cache_hits: model.steps.values().filter(|step| step.was_cached()).count(),
            steps: leaves.iter().map(time).collect(),
        }
    }
}

/// Titles hold ports and other things that change from run to run; places do
/// not. A step that is done again and again is numbered.
fn key(step: &Step, seen: &mut HashMap<String, usize>) -> String {
    let place = step.position.as_ref().map_or_else(|| step.title.clone(), ToString::to_string);
    let key = format!("{} {} {place}", step.branch, step.primitive);
    let times = seen.entry(key.clone()).or_default();
    *times += 1;
    if *times == 1 { key } else { format!("{key} #{times}") }
}

fn name(step: &Step) -> String {
    if step.branch.is_empty() { label(step) } else { format!("{}: {}", step.branch, label(step)) }
}
