//! `recipe run RECIPE --help`: what the recipe itself can be told.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::primitives::{Parameter, TABLE, declared_params};
use crate::script::Program;

/// The parameters of the recipe that a command line names, for its help.
pub(super) fn of_recipe(args: impl Iterator<Item = OsString>) -> Option<String> {
    let mut args = args.skip(1);
    args.next().filter(|command| command == "run" || command == "plan")?;
    let recipe = args.map(PathBuf::from).find(|arg| arg.extension().is_some_and(|end| end == "rhai"))?;
    let declared = match Program::compile(TABLE, &recipe) {
        Ok(program) => declared_params(&program),
        // `recipe check` says why.
        Err(_) => return Some(format!("{} does not compile; see recipe check\n", recipe.display())),
    };
    Some(text(&recipe, declared.as_deref()))
}

fn text(recipe: &Path, declared: Option<&[Parameter]>) -> String {
    let Some(declared) = declared else {
        return format!("{} computes the names of its parameters\n", recipe.display());
    };
    if declared.is_empty() {
        return format!("{} has no parameters\n", recipe.display());
    }
    let width = declared.iter().map(|parameter| parameter.name.len()).max().unwrap_or_default();
    let lines = declared.iter().map(|parameter| {
        let help = parameter.help.as_ref().map(|help| format!("{help} ")).unwrap_or_default();
        format!("  {:width$}  {help}({})\n", parameter.name, parameter.takes())
    });
    let title = format!("Parameters of {} (--set NAME=VALUE, or RECIPE_PARAM_NAME):\n", recipe.display());
    std::iter::once(title).chain(lines).collect()
}
