//! Problems of a recipe that show without running it.

use std::collections::HashSet;

use rhai::Engine;

use super::diagnostic::Diagnostic;
use super::explain::functions;
use super::sources::Sources;
use super::{suggest, syntax};

/// Functions of the language itself, which are in no table.
const LANGUAGE: [&str; 10] =
    ["call", "curry", "Fn", "type_of", "is_shared", "is_def_var", "is_def_fn", "print", "debug", "eval"];

/// Calls of functions that neither the recipe, its file, nor recipe has.
pub(super) fn unknown_functions(engine: &Engine, sources: &Sources) -> Vec<Diagnostic> {
    let native = functions(engine, None);
    let mut problems = Vec::new();
    for (key, ast) in sources.trees() {
        let own: HashSet<_> = ast.iter_functions().map(|function| function.name.to_owned()).collect();
        let known = |name: &str| {
            own.contains(name)
                || LANGUAGE.contains(&name)
                || native.binary_search_by(|f| f.as_str().cmp(name)).is_ok()
        };
        syntax::calls(&ast, &mut |call| {
            // A method may be a closure in a map, a module is checked on its own.
            if call.is_method
                || call.is_qualified
                || call.is_operator
                || known(call.name)
                || call.name.contains('$')
            {
                return;
            }
            let candidates = native.iter().chain(&own).map(String::as_str);
            let message = format!("unknown function `{}`", call.name);
            let hint = suggest::did_you_mean(call.name, candidates);
            let position = Some(sources.position(&key, call.at));
            let mut problem =
                Diagnostic { message, hint, position, code: "unknown".to_owned(), ..Diagnostic::default() };
            problem.mark_position(sources);
            problems.push(problem);
        });
    }
    problems
}
