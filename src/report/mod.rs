//! Readers of a run's events: the progress shown while it runs, the record
//! that is kept, and what is made of either at the end.
//!
//! ```text
//!             ┌─> Record ────────> events.jsonl ──read──┬─> trace, JUnit
//!  events ────┼─> Plain or Live ─> stderr               │
//!             └─> Model <───────────────────────────────┘
//!                   └─> critical path, timeline, summary, page of HTML
//! ```
//!
//! Everything on the right works the same from a live run and from a record.

use std::io::IsTerminal;

use crate::run::Reporter;

mod bench;
mod bench_text;
mod critical_path;
mod frame;
#[cfg(test)]
mod fuzz_tests;
mod github;
mod history;
mod html;
mod junit;
mod lanes;
mod line;
mod live;
mod model;
mod narration;
mod outline;
mod peak;
mod plain;
mod plan;
mod record;
mod results;
#[cfg(test)]
mod sample;
mod screen;
mod shared;
mod slack;
mod split;
mod spread;
mod stream;
mod summary;
mod svg;
mod tested;
mod timeline;
mod totals;
mod trace;
mod usage;
mod what_if;

pub use bench::{Baseline, Bench, Comparison, Mode, SlowerStep, StepMedians, fresh_runs};
pub use bench_text::{bench_text, comparison_text};
pub use critical_path::{CriticalPath, Segment, sequential_ms};
pub use github::GitHub;
pub use history::{Entry, History, params_digest};
pub use html::html;
pub use junit::junit;
pub use line::duration;
pub use live::Live;
pub use model::{Finished, Message, Model, Progress, Resource, Step, Turn, Wait};
pub use peak::Peak;
pub use plain::Plain;
pub use plan::{Durations, RUNS, plan, plan_json};
pub use record::{ReadError, Record, read};
pub use results::{ResultsError, test_results};
pub use shared::SharedModel;
pub use slack::slack_ms;
pub use spread::Spread;
pub use stream::Stream;
pub use summary::{StepSummary, Summary, TestSummary};
pub use svg::svg;
pub use tested::Tested;
pub use timeline::timeline;
pub use totals::{StepTime, Totals};
pub use trace::trace;
pub use what_if::{WhatIf, what_if};

/// How much a progress report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Also steps as they end, phases and messages.
    #[default]
    Normal,
    /// Also the output of child processes, resources and cache misses.
    Verbose,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// A line for each thing worth telling.
    Plain,
    /// The running steps below those lines, redrawn as they go on.
    Live,
    /// The lines in groups, and failures at their place in the recipe, as GitHub
    /// Actions understands them.
    GitHub,
}

impl ProgressMode {
    /// Live on a terminal that wants colours; plain elsewhere and in CI, where
    /// a terminal is only pretended.
    #[must_use]
    pub fn detect() -> Self {
        if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
            return Self::GitHub;
        }
        let stderr = std::io::stderr();
        let colour = anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
        if stderr.is_terminal() && colour && std::env::var_os("CI").is_none() {
            Self::Live
        } else {
            Self::Plain
        }
    }
}

/// The reporter that shows progress on stderr, of a run whose `model` is told of
/// each event before.
#[must_use]
pub fn progress(mode: ProgressMode, verbosity: Verbosity, model: &SharedModel) -> Box<dyn Reporter> {
    match (mode, verbosity) {
        (ProgressMode::Live, Verbosity::Normal | Verbosity::Verbose) => Box::new(Live::new(verbosity, model)),
        (ProgressMode::GitHub, _) => Box::new(GitHub::new(anstream::stderr(), verbosity, model)),
        _ => Box::new(Plain::new(anstream::stderr(), verbosity, model)),
    }
}
