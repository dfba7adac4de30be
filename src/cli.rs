//! The command line: types only.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use crate::commands::shell;

mod cache;
mod measure;
mod tools;

pub use cache::{CacheArgs, CacheCommand, CacheSort};
pub use measure::{BenchArgs, TestArgs};
pub use tools::{
    CheckArgs, CheckFormat, CompletionsArgs, DoctorArgs, GcArgs, InitArgs, LockArgs, ManArgs, Need, Shell,
};

const MORE_HELP: &str = "\
Exit codes:
  0        done
  1        the recipe failed
  2        the command line or the recipe is wrong
  3        the target lacks something
  70       a bug in recipe
  128 + n  ended by signal n

Environment variables:
  RECIPE_TARGET        where to set up, when --target does not say
  RECIPE_STATE_DIR     where records of runs are kept
  RECIPE_CACHE_DIR     where results of runs are kept for later ones
  RECIPE_RUN_DIR       where servers keep their data while they run
  RECIPE_PG_BIN        the directory of PostgreSQL's programs
  RECIPE_REDIS_SERVER  the program redis-server
  RECIPE_PATH          folders that modules are looked for in, separated by colons
  RECIPE_PARAM_NAME    the parameter NAME of a recipe; --set wins
  RECIPE_LOG           what to log for developers, such as recipe=debug
  NO_COLOR             no colours and no live display";

/// Sets up end-to-end test environments from short scripts.
#[derive(Debug, Parser)]
#[command(
    name = "recipe",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_long_help = MORE_HELP
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up the environment that a recipe describes, and leave it up
    Run(UpArgs),
    /// Set up, test with a command, and take down
    ///
    /// The command has the terminal, and the outputs of the recipe as environment variables, named as
    /// `recipe env` names them. Its exit code is that of recipe. Ctrl-C reaches the command; then the
    /// environment is taken down.
    Test(TestArgs),
    /// Measure a set-up: branches one after the other against side by side
    ///
    /// The ways take turns, so that noise of the machine meets all of them; each run starts from nothing
    /// and is taken down. Where results of earlier runs are kept, runs that use them are measured, too.
    Bench(BenchArgs),
    /// List, explain, remove and check what is kept of earlier runs
    Cache(CacheArgs),
    /// Show what a run would do, and how long it would take, without doing it
    Plan(PlanArgs),
    /// Write and run a recipe entry by entry, or look into an environment
    Repl(ReplArgs),
    /// Take environments down
    Down(DownArgs),
    /// Clear what runs have left that have died
    ///
    /// Each is found through its journal. What is not known to be recipe's stays, whatever it is called.
    Gc(GcArgs),
    /// List runs
    Ls(ListArgs),
    /// Show what a run consists of
    Status(RunName),
    /// Print the outputs of a run as environment variables, secrets in full
    ///
    /// To use them in a shell: eval "$(recipe env)"
    Env(RunName),
    /// Show what servers and services have written
    Logs(LogsArgs),
    /// Show a run again from its record, also one that was killed
    Report(ReportArgs),
    /// Find what is wrong with recipes and what they import, without running them
    Check(CheckArgs),
    /// Describe the primitives that recipes can call
    Doc(DocArgs),
    /// Pin the modules that recipe.toml takes from elsewhere, and fetch them
    Lock(LockArgs),
    /// Write a first recipe that fits what is found here
    Init(InitArgs),
    /// Check what targets need, and say how to install what is missing
    Doctor(DoctorArgs),
    /// Print what a shell needs to complete commands, recipes, parameters and runs
    ///
    /// For bash: source <(recipe completions bash), the same for zsh;
    /// for fish: recipe completions fish | source
    Completions(CompletionsArgs),
    /// Print the page of the manual, or write all pages
    Man(ManArgs),
    /// Print the JSON schema of recipe.toml, for editors
    Schema,
    /// The test command of a run, which waits until it may begin
    #[command(name = crate::run::foreground::EXEC, hide = true)]
    Exec {
        /// Its words.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// A port-forward of a run
    #[command(name = "__forward", hide = true)]
    Forward {
        /// The file that says what to forward.
        file: PathBuf,
    },
    /// The supervisor of a run
    #[command(name = "__supervise", hide = true)]
    Supervise {
        /// The scratch directory of the run.
        run_dir: PathBuf,
    },
}

/// `recipe run`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// What every run takes.
    #[command(flatten)]
    pub run: RunArgs,
    /// Take the environment down at the end
    #[arg(long)]
    pub rm: bool,
    /// Change what differs in the environment of this recipe that is up; without one set it up
    #[arg(long, conflicts_with_all = ["rm", "no_cache"])]
    pub reuse: bool,
}

/// A run, whatever it is for.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "a command line has as many switches")]
pub struct RunArgs {
    /// The recipe, a .rhai file; with --help its parameters are listed
    #[arg(add = ArgValueCompleter::new(shell::recipes))]
    pub recipe: PathBuf,
    /// Where to set up: local, kind or kube:CONTEXT
    #[arg(long, env = "RECIPE_TARGET", value_name = "TARGET")]
    pub target: Option<String>,
    /// Where images for kube:CONTEXT are pushed to and pulled from
    #[arg(long, env = "RECIPE_REGISTRY", value_name = "HOST/PATH")]
    pub registry: Option<String>,
    /// Set a parameter of the recipe
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = key_value, add = ArgValueCompleter::new(shell::params))]
    pub set: Vec<(String, String)>,
    /// Read parameters from a TOML, YAML or JSON file; --set wins
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
    /// Run branches one after the other, for comparison
    #[arg(long)]
    pub sequential: bool,
    /// What to leave up: `on-failure` what failed to set up or to pass its tests, `always` everything
    #[arg(long, value_enum, default_value_t = Keep::Never, value_name = "WHEN")]
    pub keep: Keep,
    /// Fail when the set-up takes longer, such as 90s or 5m
    #[arg(long, value_name = "TIME", value_parser = crate::run::duration::parse)]
    pub timeout: Option<std::time::Duration>,
    /// Take what is left up down after this time, such as 30m or 8h
    #[arg(long, value_name = "TIME", value_parser = crate::run::duration::parse)]
    pub ttl: Option<std::time::Duration>,
    /// Keep the recipe in its environment: no commands and programs on this machine, no files outside
    /// the workspace, no other addresses
    #[arg(long)]
    pub untrusted: bool,
    /// Use and keep no results of earlier runs, of all sorts or of those that are named
    #[arg(long, value_enum, value_name = "SORT", value_delimiter = ',', num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub no_cache: Vec<CacheSort>,
    /// Also write the events of the run to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Also write the events to this file descriptor, 3 or more, for a program that looks on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(3..), conflicts_with = "events_socket")]
    pub events_fd: Option<i32>,
    /// Also write the events to this Unix socket, on which a program listens
    #[arg(long, value_name = "PATH")]
    pub events_socket: Option<PathBuf>,
    /// At the end, write a page of HTML about the run to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// At the end, write a trace of the run to this file; ui.perfetto.dev shows it
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// At the end, write the steps as JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// What to print on standard output at the end, as json with outputs in full; progress goes to standard error
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
    /// Say only what went wrong
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show the output of commands too
    #[arg(short, long)]
    pub verbose: bool,
}

/// `recipe plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The recipe, a .rhai file; with --help its parameters are listed
    #[arg(add = ArgValueCompleter::new(shell::recipes))]
    pub recipe: PathBuf,
    /// Where to set up: local
    #[arg(long, env = "RECIPE_TARGET", value_name = "TARGET")]
    pub target: Option<String>,
    /// Also tell what `recipe run --untrusted` would refuse
    #[arg(long)]
    pub untrusted: bool,
    /// Set a parameter of the recipe
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = key_value, add = ArgValueCompleter::new(shell::params))]
    pub set: Vec<(String, String)>,
    /// Read parameters from a TOML, YAML or JSON file; --set wins
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// `recipe repl`.
#[derive(Debug, Args)]
pub struct ReplArgs {
    /// Where to set up: local
    #[arg(long, env = "RECIPE_TARGET", value_name = "TARGET")]
    pub target: Option<String>,
    /// Open the handles of a run that is up, or failed and was kept
    #[arg(long, value_name = "RUN", add = ArgValueCompleter::new(shell::runs))]
    pub attach: Option<String>,
    /// Set a parameter
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = key_value, add = ArgValueCompleter::new(shell::params))]
    pub set: Vec<(String, String)>,
    /// Read parameters from a TOML, YAML or JSON file; --set wins
    #[arg(long, value_name = "FILE")]
    pub params: Option<PathBuf>,
}

/// What happens to the environment of a failed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Keep {
    /// Take it down.
    Never,
    /// Leave it up for a look.
    OnFailure,
    /// Leave it up whatever happens.
    Always,
}

/// The form of what a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Commands about one run.
#[derive(Debug, Args)]
pub struct RunName {
    /// The run; the newest that is up when left out
    #[arg(add = ArgValueCompleter::new(shell::runs))]
    pub run: Option<String>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// `recipe down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// The runs; the only one that is up when left out
    #[arg(add = ArgValueCompleter::new(shell::runs))]
    pub runs: Vec<String>,
    /// All runs that are up
    #[arg(long, conflicts_with = "runs")]
    pub all: bool,
}

/// `recipe ls`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Also runs that are over
    #[arg(short, long)]
    pub all: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// `recipe logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The run, or a server or service of the newest run that is up
    #[arg(add = ArgValueCompleter::new(shell::runs))]
    pub run: Option<String>,
    /// The server or service; all of them when left out
    #[arg(add = ArgValueCompleter::new(shell::workloads))]
    pub name: Option<String>,
    /// How many lines of each, from the end
    #[arg(short = 'n', long, default_value_t = 100)]
    pub lines: usize,
}

/// `recipe report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run, or a file that --record wrote; the newest run when left out
    #[arg(value_name = "RUN|FILE", add = ArgValueCompleter::new(shell::runs))]
    pub run: Option<String>,
    /// What to make of it
    #[arg(long, value_enum, default_value_t = ReportFormat::Text, value_name = "FORMAT")]
    pub format: ReportFormat,
}

/// What a run can be made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A timeline.
    Text,
    /// A page that holds all it needs.
    Html,
    /// A picture, for pages that show no scripts.
    Svg,
    /// What `run --output json` prints.
    Json,
    /// Chrome trace events, for ui.perfetto.dev.
    Trace,
    /// JUnit XML.
    Junit,
}

/// `recipe doc`.
#[derive(Debug, Args)]
pub struct DocArgs {
    /// A primitive; a list of all when left out
    #[arg(add = ArgValueCompleter::new(shell::primitives))]
    pub name: Option<String>,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = DocFormat::Text, value_name = "FORMAT")]
    pub format: DocFormat,
}

/// The form of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocFormat {
    /// For a terminal.
    Text,
    /// For a README.
    Markdown,
    /// For programs.
    Json,
    /// A page of the manual, for man.
    Man,
    /// A definition file for Rhai's language server, recipe.d.rhai.
    Definitions,
    /// A TextMate grammar, for VS Code and other editors.
    Grammar,
    /// Snippets of VS Code.
    Snippets,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
