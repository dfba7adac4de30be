//! The command lines of what surrounds recipes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use super::Output;
use crate::commands::shell;

/// `recipe check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The recipes
    #[arg(required = true, add = ArgValueCompleter::new(shell::recipes))]
    pub recipes: Vec<PathBuf>,
    /// Also tell what `recipe run --untrusted` would refuse
    #[arg(long)]
    pub untrusted: bool,
    /// The form of the output: for people, for programs, or as annotations of GitHub Actions
    #[arg(long, value_enum, default_value_t = CheckFormat::Text, value_name = "FORMAT")]
    pub output: CheckFormat,
}

/// The form of what is wrong with recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people, on standard error.
    Text,
    /// For programs.
    Json,
    /// Annotations of GitHub Actions.
    Github,
}

/// `recipe gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Say what would be removed, and why, without removing it
    #[arg(long)]
    pub dry_run: bool,
}

/// `recipe lock`.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// Take the newest of this module, instead of what is locked
    #[arg(long, value_name = "MODULE")]
    pub update: Vec<String>,
}

/// `recipe init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The recipe to write
    #[arg(default_value = "recipe.rhai")]
    pub file: PathBuf,
}

/// `recipe doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Check this target alone
    #[arg(long, value_enum, value_name = "TARGET")]
    pub target: Option<Need>,
    /// Install what is missing, after asking
    #[arg(long)]
    pub fix: bool,
    /// Do not ask before installing
    #[arg(long, requires = "fix")]
    pub yes: bool,
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// A sort of target, with needs of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Need {
    /// Servers of this machine.
    Local,
    /// A cluster in containers.
    Kind,
    /// A cluster that there is.
    Kube,
}

/// `recipe completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that can be told how command lines go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly one.
    Fish,
}

impl Shell {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}

/// `recipe man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this folder, instead of one to standard output
    pub folder: Option<PathBuf>,
}
