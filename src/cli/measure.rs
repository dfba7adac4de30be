//! The command lines of what measures and tests.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{Output, RunArgs, key_value};

/// `recipe test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// What every run takes.
    #[command(flatten)]
    pub run: RunArgs,
    /// Test the environment of this recipe, target and parameters that is up, changing only what differs, and
    /// leave it up; without one set it up
    #[arg(long, conflicts_with = "no_cache")]
    pub reuse: bool,
    /// Also write the outputs to this file, as NAME=VALUE lines that only its owner can read
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Read how the tests went from this JUnit file, which they write; patterns such as 'out/*.xml' and
    /// several files can be given
    #[arg(long, value_name = "PATH")]
    pub results: Vec<String>,
    /// The command, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `recipe bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The recipe, a .rhai file
    pub recipe: PathBuf,
    /// How often to run it each way
    #[arg(short = 'n', long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Where to set up: local
    #[arg(long, env = "RECIPE_TARGET", value_name = "TARGET")]
    pub target: Option<String>,
    /// Set a parameter of the recipe
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Read parameters from a TOML, YAML or JSON file; --set wins
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
    /// Give up when a set-up takes longer, such as 90s or 5m
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Compare with what --output json printed before, with a run, or with the `history` of this recipe
    #[arg(long, value_name = "FILE|RUN|history")]
    pub compare: Option<String>,
    /// Fail when the set-up got slower by more than this, and by more than runs differ among themselves;
    /// compared with the history unless --compare says otherwise
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub fail_over: Option<f64>,
    /// What to print on standard output at the end; progress goes to standard error
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// `20%` or `20`, as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    let share =
        number.ok().filter(|percent| (0.0..=10_000.0).contains(percent)).map(|percent| percent / 100.0);
    share.ok_or_else(|| "write a percentage such as 20%".to_owned())
}
