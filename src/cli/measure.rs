//! The command lines of what measures and tests.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::RunArgs;

/// `recipe test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// What every run takes.
    #[command(flatten)]
    pub run: RunArgs,
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
