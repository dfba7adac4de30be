//! Runs of one recipe, measured several ways in turn, and what they came to.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::history::Entry;
use super::spread::Spread;
use super::summary::rounded;
use super::totals::Totals;
use crate::run::Outcome;

/// More than this, and runs say more about the machine than about the recipe.
const MOST_NOISE: f64 = 0.25;

/// Runs of the history that are looked at.
const RECENT: usize = 20;

/// Steps that are named as slower.
const MOST_SLOWER: usize = 3;

/// Those that make up less of the change are not.
const LEAST_SHARE: f64 = 0.1;

/// What was measured. Times are milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bench {
    /// The recipe's path as given.
    pub recipe: PathBuf,
    /// Where it was set up.
    pub target: Arc<str>,
    /// How often each way was measured.
    pub rounds: usize,
    /// The ways, in the order of the first round.
    pub modes: Vec<Mode>,
    /// The median of the rounds' own ratios, parallel to sequential.
    pub ratio: f64,
    /// The median of each step, those of parallel runs in order of start.
    pub steps: Vec<StepMedians>,
    /// Why the numbers may not mean much.
    pub warnings: Vec<String>,
}

/// A way of running the recipe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mode {
    /// `sequential`, `parallel` or `warm`.
    pub name: String,
    /// Set-ups in the order they were measured.
    pub runs_ms: Vec<f64>,
    /// What they come to.
    pub setup_ms: Spread,
    /// The same of teardowns.
    pub teardown_ms: Spread,
}

/// A step's median in each mode that has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepMedians {
    /// As in [`super::StepTime`].
    pub key: String,
    /// What people know it by.
    pub name: String,
    /// Whether it was on the critical path of most parallel runs.
    pub critical: bool,
    /// Milliseconds by the names of modes.
    pub medians_ms: BTreeMap<String, f64>,
}

impl Bench {
    /// Sums up `measured`: the name of each mode, with its runs.
    #[must_use]
    pub fn new(recipe: &Path, target: Arc<str>, measured: &[(&str, Vec<Totals>)]) -> Self {
        let runs = |name: &str| measured.iter().find(|(mode, _)| *mode == name).map(|(_, runs)| &runs[..]);
        let (sequential, parallel) =
            (runs("sequential").unwrap_or_default(), runs("parallel").unwrap_or_default());
        let ratios = parallel
            .iter()
            .zip(sequential)
            .map(|(parallel, sequential)| parallel.setup_ms / sequential.setup_ms);
        let modes: Vec<Mode> = measured.iter().map(|(name, runs)| Mode::new(name, runs)).collect();
        Self {
            recipe: recipe.to_owned(),
            target,
            rounds: parallel.len(),
            ratio: rounded(Spread::of(ratios).median),
            steps: steps(measured, parallel),
            warnings: warnings(&modes),
            modes,
        }
    }

    /// The way of this name.
    #[must_use]
    pub fn mode(&self, name: &str) -> Option<&Mode> {
        self.modes.iter().find(|mode| mode.name == name)
    }
}

impl Mode {
    fn new(name: &str, runs: &[Totals]) -> Self {
        let runs_ms: Vec<f64> = runs.iter().map(|run| run.setup_ms).collect();
        Self {
            name: name.to_owned(),
            setup_ms: Spread::of(runs_ms.iter().copied()),
            teardown_ms: Spread::of(runs.iter().map(|run| run.teardown_ms)),
            runs_ms,
        }
    }
}

fn steps(measured: &[(&str, Vec<Totals>)], parallel: &[Totals]) -> Vec<StepMedians> {
    let mut times = HashMap::<(&str, &str), Vec<f64>>::new();
    let mut critical = HashMap::<&str, usize>::new();
    for (mode, run) in measured.iter().flat_map(|(mode, runs)| runs.iter().map(move |run| (*mode, run))) {
        for step in &run.steps {
            times.entry((mode, &step.key)).or_default().push(step.ms);
            *critical.entry(&step.key).or_default() += usize::from(mode == "parallel" && step.critical);
        }
    }
    let last = parallel.last().map(|run| &run.steps[..]).unwrap_or_default();
    let medians = |key: &str| {
        let of = |mode: &str| Some(rounded(Spread::of(times.get(&(mode, key))?.iter().copied()).median));
        measured.iter().filter_map(|(mode, _)| Some(((*mode).to_owned(), of(mode)?))).collect()
    };
    last.iter()
        .map(|step| StepMedians {
            key: step.key.clone(),
            name: step.name.clone(),
            critical: 2 * critical[&*step.key] > parallel.len(),
            medians_ms: medians(&step.key),
        })
        .collect()
}

fn warnings(modes: &[Mode]) -> Vec<String> {
    let mut warnings = Vec::new();
    for Mode { name, setup_ms, runs_ms, .. } in modes {
        if runs_ms.len() < 3 {
            warnings.push("fewer than 3 rounds say nothing of how far runs differ by chance".to_owned());
            break;
        }
        if setup_ms.noise() > MOST_NOISE {
            let noise = 100.0 * setup_ms.noise();
            warnings.push(format!(
                "the machine is too noisy to tell: the middle half of {name} runs differs by {noise:.0} %"
            ));
        }
    }
    if let [first, second, ..] = modes
        && !first.setup_ms.is_above(&second.setup_ms)
        && !second.setup_ms.is_above(&first.setup_ms)
    {
        warnings
            .push(format!("{} and {} differ by less than runs among themselves", first.name, second.name));
    }
    warnings
}

/// What a bench is compared with.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// Where it is from.
    pub name: String,
    /// Its set-ups.
    pub setup_ms: Spread,
    /// Milliseconds of each step, by key.
    pub steps: HashMap<String, f64>,
}

/// A bench against an earlier one. Times are milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What it is compared with.
    pub base: String,
    /// The median then.
    pub base_ms: f64,
    /// The median now.
    pub now_ms: f64,
    /// The change as a share of what it was.
    pub change: f64,
    /// Whether the middle half of the runs lies above that of before.
    pub beyond_noise: bool,
    /// The steps that got slower, the worst first.
    pub slower: Vec<SlowerStep>,
}

/// A step that got slower.
#[derive(Debug, Clone, Serialize)]
pub struct SlowerStep {
    /// What people know it by.
    pub name: String,
    /// Its median then.
    pub base_ms: f64,
    /// Its median now.
    pub now_ms: f64,
}

impl Baseline {
    /// The parallel runs of an earlier bench.
    #[must_use]
    pub fn of_bench(name: &str, bench: &Bench) -> Option<Self> {
        let steps =
            bench.steps.iter().filter_map(|step| Some((step.key.clone(), *step.medians_ms.get("parallel")?)));
        Some(Self {
            name: name.to_owned(),
            setup_ms: bench.mode("parallel")?.setup_ms,
            steps: steps.collect(),
        })
    }

    /// Runs of the history; none where there are none.
    #[must_use]
    pub fn of_runs(name: &str, runs: &[&Entry]) -> Option<Self> {
        if runs.is_empty() {
            return None;
        }
        let mut times = HashMap::<&String, Vec<f64>>::new();
        for step in runs.iter().flat_map(|run| &run.totals.steps) {
            times.entry(&step.key).or_default().push(step.ms);
        }
        let steps = times.into_iter().map(|(key, times)| (key.clone(), Spread::of(times).median));
        let setup_ms = Spread::of(runs.iter().map(|run| run.totals.setup_ms));
        Some(Self { name: name.to_owned(), setup_ms, steps: steps.collect() })
    }
}

/// The newest runs of a recipe that can be compared with parallel runs of a
/// bench, which use no results of earlier ones. Where nothing is ever used
/// again, all runs are such.
#[must_use]
pub fn fresh_runs<'e>(
    entries: &'e [Entry],
    recipe: &Path,
    target: &str,
    params: &str,
    has_cache: bool,
) -> Vec<&'e Entry> {
    let is_like = |entry: &&Entry| {
        entry.recipe == recipe
            && &*entry.target == target
            && entry.params == params
            && !entry.sequential
            && entry.outcome == Some(Outcome::Succeeded)
            && (entry.fresh || !has_cache)
    };
    entries.iter().rev().filter(is_like).take(RECENT).collect()
}

impl Comparison {
    /// Compares the parallel runs with `base`.
    #[must_use]
    pub fn new(bench: &Bench, base: &Baseline) -> Self {
        let now = bench.mode("parallel").map_or(Spread::of([]), |mode| mode.setup_ms);
        let worth_naming = LEAST_SHARE * (now.median - base.setup_ms.median).max(0.0);
        let slower = |step: &StepMedians| {
            let (base_ms, now_ms) = (*base.steps.get(&step.key)?, *step.medians_ms.get("parallel")?);
            (now_ms - base_ms > worth_naming).then(|| SlowerStep { name: step.name.clone(), base_ms, now_ms })
        };
        let mut slower: Vec<SlowerStep> = bench.steps.iter().filter_map(slower).collect();
        slower.sort_by(|a, b| (b.now_ms - b.base_ms).total_cmp(&(a.now_ms - a.base_ms)));
        slower.truncate(MOST_SLOWER);
        Self {
            base: base.name.clone(),
            base_ms: rounded(base.setup_ms.median),
            now_ms: rounded(now.median),
            change: rounded(now.median / base.setup_ms.median.max(f64::MIN_POSITIVE) - 1.0),
            beyond_noise: now.is_above(&base.setup_ms),
            slower,
        }
    }

    /// Whether it got slower by more than `limit`, a share, and not by chance.
    #[must_use]
    pub fn is_slower(&self, limit: f64) -> bool {
        self.change > limit && self.beyond_noise
    }
}
