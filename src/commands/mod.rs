//! The subcommands, a file each.

mod bench;
mod check;
mod clear;
mod doc;
mod down;
mod env;
mod environment;
mod export;
mod listener;
mod logs;
mod ls;
mod report;
mod run;
mod session;
mod stage;
mod status;
mod stop;
mod terminal;
mod test;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::exit;
use crate::run::{Failure, Kind};
use crate::script::Diagnostic;

/// Parses the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are no errors; clap knows their codes and streams.
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    log();
    let result = match cli.command {
        Command::Supervise { run_dir } => return crate::supervise::run_shim(&run_dir),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::test(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Down(args) => down::down(&args),
        Command::Ls(args) => ls::ls(&args),
        Command::Status(args) => status::status(&args),
        Command::Env(args) => env::env(&args),
        Command::Logs(args) => logs::logs(&args),
        Command::Report(args) => report::report(&args),
        Command::Check(args) => check::check(&args),
        Command::Doc(args) => doc::doc(&args),
    };
    ExitCode::from(result.unwrap_or_else(|failure| {
        terminal::show(&Diagnostic::from(failure.clone()));
        match failure.kind {
            Kind::Usage => exit::USAGE,
            kind => exit::of(Some(kind)),
        }
    }))
}

/// Writes what recipe's developers want to know to standard error, for those
/// who ask with `RECIPE_LOG=recipe=debug`. People are told by events.
fn log() {
    if let Ok(filter) = std::env::var("RECIPE_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}

/// Runs the async work of a short command.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| Failure::new(Kind::Io, "the command cannot be started").cause(error))?
        .block_on(work)
}

/// What a subcommand comes to: its exit code, or why it could not be done.
type Done = Result<u8, Failure>;
