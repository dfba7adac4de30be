//! Files that do not compile. The compiler stops at the first error of a file;
//! here it is asked again for what else there is.

use std::path::{Path, PathBuf};

use rhai::{Engine, EvalAltResult, ParseError, ParseErrorType, Scope};

use crate::script::diagnostic::{self, Diagnostic};
use crate::script::sources::{CompileError, Sources};

/// Unknown variables of one file that are told.
const MOST: usize = 30;

/// Compiles the recipe and all it imports, as far as possible.
pub(super) fn problems(engine: &Engine, sources: &Sources, path: &Path) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let overriding: Vec<_> = sources.search().overriding().map(Path::to_owned).collect();
    let files = std::iter::once(path).chain(overriding.iter().map(PathBuf::as_path));
    for error in files.flat_map(|file| sources.compile_all(engine, file)) {
        found.push(diagnostic::compile(sources, &error));
        if let Some(source) = sources.get(&error.file) {
            found.extend(more(engine, sources, &error, &source.text));
        }
    }
    found
}

/// Further unknown names of a file whose first error is one.
fn more(engine: &Engine, sources: &Sources, first: &CompileError, text: &str) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut scope = Scope::new();
    let EvalAltResult::ErrorParsing(kind, at) = &*first.error else { return found };
    let mut last = (kind.clone(), *at);
    while let ParseErrorType::VariableUndefined(name) = &last.0
        && found.len() < MOST
    {
        // What is known, the compiler does not complain about.
        scope.push_constant(name.as_str(), ());
        let Err(ParseError(kind, at)) = engine.compile_with_scope(&scope, text) else { break };
        // Inside of functions it goes on complaining.
        if (&*kind, at) == (&last.0, last.1) {
            break;
        }
        last = (*kind, at);
        let error =
            CompileError::in_file(EvalAltResult::ErrorParsing(last.0.clone(), at).into(), &first.file);
        found.push(diagnostic::compile(sources, &error));
    }
    found
}
