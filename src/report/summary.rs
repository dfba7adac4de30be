//! The object that `--output json` prints on stdout at the end of a run.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::critical_path::{CriticalPath, sequential_ms};
use super::model::{Model, Step};
use super::tested::Tested;
use crate::run::event::{CacheUse, TestResults};
use crate::run::{Outcome, StepId};

/// A run in one JSON object. Times are milliseconds, rounded to microseconds.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Name of the run.
    pub run_id: Arc<str>,
    /// Path of the recipe as given.
    pub recipe: Arc<str>,
    /// `local`, `kind` or `kube:CONTEXT`.
    pub target: Arc<str>,
    /// How the run ended; null for one that died.
    pub outcome: Option<Outcome>,
    /// Duration of the set-up alone.
    pub wall_ms: f64,
    /// Duration of the teardown; 0 when the environment stays up.
    pub teardown_ms: f64,
    /// What the steps would have taken one after the other.
    pub sequential_ms: f64,
    /// Length of the critical path, with the script's time between its steps.
    pub critical_path_ms: f64,
    /// The steps on the critical path, in order of time.
    pub critical_path: Vec<StepId>,
    /// Every step, in order of start.
    pub steps: Vec<StepSummary>,
    /// The command that tested the environment; left out where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<TestSummary>,
    /// What the recipe set with `output`.
    pub outputs: Map<String, Value>,
    /// What went wrong, rendered, without colour.
    pub error: Option<String>,
}

/// The tests in a [`Summary`].
#[derive(Debug, Serialize)]
pub struct TestSummary {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it passed; null if the run died before.
    pub outcome: Option<Outcome>,
    /// Its exit code, 128 + n when signal n ended it.
    pub code: Option<i32>,
    /// How long it took.
    pub wall_ms: Option<f64>,
    /// What its JUnit files say; null without such.
    pub results: Option<TestResults>,
}

/// A step in a [`Summary`].
#[derive(Debug, Serialize)]
pub struct StepSummary {
    /// Its identity.
    pub id: StepId,
    /// The step it is part of.
    pub parent: Option<StepId>,
    /// Path of its branch; empty for the main script.
    pub branch: Arc<str>,
    /// The primitive as the script calls it.
    pub primitive: Arc<str>,
    /// What it works on.
    pub title: String,
    /// When it began, since the run began.
    pub start_ms: f64,
    /// When it ended, since the run began; null if the run died before.
    pub end_ms: Option<f64>,
    /// How it ended; null if the run died before.
    pub outcome: Option<Outcome>,
    /// Cache use; null where there is no cache.
    pub cache: Option<CacheUse>,
}

impl Summary {
    /// Sums up a run. `outputs` and `error` are the caller's, for those of the
    /// model have their secrets masked.
    #[must_use]
    pub fn new(model: &Model, outputs: Map<String, Value>, error: Option<String>) -> Self {
        let path = CriticalPath::of(model);
        let finished = model.finished.as_ref();
        Self {
            run_id: model.run_id.clone(),
            recipe: model.recipe.clone(),
            target: model.target.clone(),
            outcome: model.outcome(),
            wall_ms: rounded(finished.map_or(model.setup_ms(), |finished| finished.wall_ms)),
            teardown_ms: rounded(finished.map_or(0.0, |finished| finished.teardown_ms)),
            sequential_ms: rounded(sequential_ms(model)),
            critical_path_ms: rounded(path.total_ms()),
            critical_path: path.steps().collect(),
            steps: model.steps.values().map(StepSummary::new).collect(),
            test: model.tested.as_ref().map(TestSummary::new),
            outputs,
            error,
        }
    }
}

impl TestSummary {
    fn new(tested: &Tested) -> Self {
        Self {
            command: tested.command.clone(),
            outcome: tested.outcome(),
            code: tested.code,
            wall_ms: tested.took().map(rounded),
            results: tested.results,
        }
    }
}

impl StepSummary {
    fn new(step: &Step) -> Self {
        Self {
            id: step.id,
            parent: step.parent,
            branch: step.branch.clone(),
            primitive: step.primitive.clone(),
            title: step.title.clone(),
            start_ms: rounded(step.start_ms),
            end_ms: step.end_ms.map(rounded),
            outcome: step.outcome,
            cache: step.cache.clone(),
        }
    }
}

/// Finer than a microsecond is noise, and hard to read.
pub(super) fn rounded(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use crate::run::event::StepKind;

    #[test]
    fn the_fields_are_those_that_were_promised() {
        let mut run = Sample::new();
        run.start(1.000_04, 1, 0, "", StepKind::Primitive, "build_image datastorage");
        run.end_cached(20.123_456_7, 1, "same sources as 4 minutes ago");
        run.finish(21.5, Outcome::Succeeded);
        let outputs = Map::from_iter([("url".to_owned(), "http://127.0.0.1:9000".into())]);
        let summary = Summary::new(&Model::of(&run.events), outputs, None);
        insta::assert_snapshot!(serde_json::to_string_pretty(&summary).unwrap(), @r#"
        {
          "run_id": "calm-otter",
          "recipe": "recipes/datastorage.rhai",
          "target": "local",
          "outcome": "succeeded",
          "wall_ms": 21.5,
          "teardown_ms": 0.0,
          "sequential_ms": 19.123,
          "critical_path_ms": 21.5,
          "critical_path": [
            1
          ],
          "steps": [
            {
              "id": 1,
              "parent": null,
              "branch": "",
              "primitive": "build_image",
              "title": "datastorage",
              "start_ms": 1.0,
              "end_ms": 20.123,
              "outcome": "succeeded",
              "cache": {
                "hit": true,
                "why": "same sources as 4 minutes ago"
              }
            }
          ],
          "outputs": {
            "url": "http://127.0.0.1:9000"
          },
          "error": null
        }
        "#);
    }

    #[test]
    fn a_run_that_died_has_no_outcome() {
        let events = sample::environment();
        let model = Model::of(&events[..12]);
        let summary = serde_json::to_value(Summary::new(&model, Map::new(), None)).unwrap();
        assert_eq!(summary["outcome"], Value::Null);
        assert_eq!(summary["wall_ms"], summary["critical_path_ms"]);
        assert_eq!(summary["steps"][0]["end_ms"], Value::Null);
        assert_eq!(summary["steps"][2]["outcome"], "succeeded");
    }
}
