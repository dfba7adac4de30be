//! The subcommands, a file each.

mod bench;
mod cache;
mod check;
mod clear;
mod doc;
mod doctor;
mod down;
mod env;
mod environment;
mod export;
mod gc;
mod help;
mod init;
mod listener;
mod lock;
mod logs;
mod ls;
mod pager;
mod plan;
mod repl;
mod report;
mod reuse;
mod run;
mod session;
pub(crate) mod shell;
mod stage;
mod status;
mod stop;
mod terminal;
mod test;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::run::{Failure, Kind};
use crate::script::Diagnostic;
use crate::{exit, settings};

/// Parses the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    shell::answer();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are no errors; clap knows their codes and streams.
        Err(error) => {
            let _ = error.print();
            if error.kind() == clap::error::ErrorKind::DisplayHelp
                && let Some(more) = help::of_recipe(std::env::args_os())
            {
                let _ = terminal::print(&format!("\n{more}"));
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    log();
    let result = match cli.command {
        Command::Supervise { run_dir } => return crate::supervise::run_shim(&run_dir),
        Command::Exec { command } => return test::exec(&command),
        Command::Forward { file } => {
            block_on(crate::targets::kubernetes::run_forward(&file)).map(|never| match never {})
        }
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::test(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Cache(args) => cache::cache(&args),
        Command::Plan(args) => plan::plan_run(&args),
        Command::Repl(args) => repl::repl(&args),
        Command::Down(args) => down::down(&args),
        Command::Gc(args) => gc::gc(&args),
        Command::Ls(args) => ls::ls(&args),
        Command::Status(args) => status::status(&args),
        Command::Env(args) => env::env(&args),
        Command::Logs(args) => logs::logs(&args),
        Command::Report(args) => report::report(&args),
        Command::Check(args) => check::check(&args),
        Command::Doc(args) => doc::doc(&args),
        Command::Lock(args) => lock::lock(&args),
        Command::Init(args) => init::init(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::Schema => terminal::print_json(&settings::schema()).map(|()| exit::DONE),
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

/// The runtime of a run: its work beside the script's own threads.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Failure::new(Kind::Io, "no threads can be started").cause(error))
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
