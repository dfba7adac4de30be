//! `recipe check`.

use super::{Done, terminal};
use crate::cli::CheckArgs;
use crate::exit;
use crate::primitives::TABLE;
use crate::script::Program;

pub(super) fn check(args: &CheckArgs) -> Done {
    let mut code = exit::DONE;
    for recipe in &args.recipes {
        let problems = Program::problems(TABLE, recipe);
        for problem in &problems {
            terminal::show(problem);
            code = exit::USAGE;
        }
        if problems.is_empty() {
            anstream::eprintln!("{}: no problems", recipe.display());
        }
    }
    Ok(code)
}
