//! The command line of `recipe cache`, and of runs without one.

use clap::{Args, Subcommand, ValueEnum};

use super::{Output, RunArgs};

/// `recipe cache`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What can be done about results of earlier runs.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List what is kept
    Ls {
        /// The form of the output
        #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
        output: Output,
    },
    /// Say which steps of a run were cached, and why or why not
    Why {
        /// A primitive such as `migrate`, or a part of what the step works on; all steps when left out
        step: Option<String>,
        /// The run; the newest when left out
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
    },
    /// Remove what was not used for the longest time, down to the limits
    Prune {
        /// Remove everything
        #[arg(long)]
        all: bool,
    },
    /// Make the kept databases anew, and compare
    Verify,
}

/// A sort of results of earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CacheSort {
    /// Every sort.
    All,
    /// Initialised and migrated databases.
    Postgres,
    /// Images and programs.
    Images,
}

impl RunArgs {
    /// Whether results of earlier runs of this sort may be used and kept.
    #[must_use]
    pub fn may_cache(&self, sort: CacheSort) -> bool {
        !self.no_cache.iter().any(|refused| *refused == sort || *refused == CacheSort::All)
    }
}
