//! Completion in shells, and pages of the manual.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::CompletionCandidate;
use clap_complete::engine::PathCompleter;
use clap_complete::engine::ValueCompleter;
use clap_complete::env::{CompleteEnv, Shells};

use super::{Done, environment, logs, terminal};
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::exit;
use crate::primitives::{TABLE, declared_params};
use crate::run::{Failure, Kind, RunFolder};
use crate::script::Program;

/// Names the shell that asks for completions.
const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks how a command line may go on, and ends the process then.
pub(super) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Prints what a shell has to be told once.
pub(super) fn completions(args: &CompletionsArgs) -> Done {
    let name = args.shell.name();
    let completer = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("recipe"));
    let mut text = Vec::new();
    let failed = |error| Failure::new(Kind::Bug, "the completions cannot be made").cause(error);
    if let Some(shell) = Shells::builtins().completer(name) {
        shell
            .write_registration(VARIABLE, "recipe", "recipe", &completer.to_string_lossy(), &mut text)
            .map_err(failed)?;
    }
    terminal::print(&String::from_utf8_lossy(&text))?;
    Ok(exit::DONE)
}

/// Prints the page of the manual, or writes all pages into a folder.
pub(super) fn man(args: &ManArgs) -> Done {
    let failed = |error| Failure::new(Kind::Io, "the manual cannot be written").cause(error);
    if let Some(folder) = &args.folder {
        fs_err::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
        fs_err::write(folder.join("recipe-primitives.7"), super::doc::manual()).map_err(failed)?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(failed)?;
        terminal::print(&String::from_utf8_lossy(&page))?;
    }
    Ok(exit::DONE)
}

/// Runs, the newest first.
pub(crate) fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let all = RunFolder::all().unwrap_or_default().into_iter();
    let candidates = all.map(|(folder, facts)| {
        let help = format!("{} {}", environment::standing(&facts).name(), facts.recipe);
        CompletionCandidate::new(folder.id).help(Some(help.into()))
    });
    starting_with(candidates, current)
}

/// Servers and services of the newest run that is up.
pub(crate) fn workloads(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = environment::select(None).map(|(folder, _)| logs::logged(&folder)).unwrap_or_default();
    starting_with(names.into_iter().map(CompletionCandidate::new), current)
}

/// Recipes, and the folders that lead to them.
pub(crate) fn recipes(current: &OsStr) -> Vec<CompletionCandidate> {
    let is_recipe = |path: &Path| path.is_dir() || path.extension().is_some_and(|end| end == "rhai");
    PathCompleter::any().filter(is_recipe).complete(current)
}

/// Primitives.
pub(crate) fn primitives(current: &OsStr) -> Vec<CompletionCandidate> {
    let all = (TABLE.primitives)().filter(|primitive| !primitive.name.starts_with("test_"));
    let candidates =
        all.map(|primitive| CompletionCandidate::new(primitive.name).help(Some(primitive.summary().into())));
    starting_with(candidates, current)
}

/// The parameters of the recipe that the command line names.
pub(crate) fn params(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut words = std::env::args_os().map(PathBuf::from);
    let recipe = words.find(|word| word.extension().is_some_and(|end| end == "rhai"));
    let program = recipe.and_then(|recipe| Program::compile(TABLE, &recipe).ok());
    let declared = program.and_then(|program| declared_params(&program)).unwrap_or_default();
    let candidates = declared.into_iter().map(|parameter| {
        CompletionCandidate::new(format!("{}=", parameter.name)).help(parameter.help.map(Into::into))
    });
    starting_with(candidates, current)
}

fn starting_with(
    candidates: impl Iterator<Item = CompletionCandidate>,
    current: &OsStr,
) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    candidates.filter(|candidate| candidate.get_value().to_string_lossy().starts_with(&*typed)).collect()
}
