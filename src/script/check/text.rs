//! Files that do not compile. The compiler stops at the first error of a file;
//! here the file is mended in memory and it is asked again for what else there is.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rhai::{Engine, EvalAltResult, ParseError, ParseErrorType, Position, Scope};

use super::{calls, mend};
use crate::run::failure::offset_of;
use crate::script::diagnostic::{self, Diagnostic};
use crate::script::host::Table;
use crate::script::sources::{CompileError, Sources};

/// Errors of one file that are told.
const MOST: usize = 30;

/// Compiles the recipe and all it imports, as far as possible.
pub(super) fn problems(engine: &Engine, sources: &Sources, table: Table, path: &Path) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let overriding: Vec<_> = sources.search().overriding().map(Path::to_owned).collect();
    let files = std::iter::once(path).chain(overriding.iter().map(PathBuf::as_path));
    for error in files.flat_map(|file| sources.compile_all(engine, file)) {
        found.push(diagnostic::compile(sources, &error));
        let (Some(source), EvalAltResult::ErrorParsing(kind, at)) = (sources.get(&error.file), &*error.error)
        else {
            continue;
        };
        let mut draft = Draft::of(&source.text);
        let mut last = (kind.clone(), *at);
        for _ in 1..MOST {
            if !draft.mend(&last.0, last.1) {
                break;
            }
            let (kind, at) = match engine.compile_with_scope(&draft.scope, &draft.text) {
                Ok(mut ast) => {
                    ast.set_source(&error.file);
                    found.extend(calls::problems(
                        engine,
                        sources,
                        table,
                        (&error.file, &ast),
                        &draft.declared,
                    ));
                    break;
                }
                Err(ParseError(kind, at)) => (*kind, at),
            };
            if !draft.is_complaint_of_mending(&kind, at, last.1) {
                let next = EvalAltResult::ErrorParsing(kind.clone(), at);
                found.push(diagnostic::compile(sources, &CompileError::in_file(next.into(), &error.file)));
            } else if (&kind, at) != (&last.0, last.1) {
                break;
            }
            last = (kind, at);
        }
    }
    found
}

/// A text without the errors that are told of already.
struct Draft {
    text: String,
    /// Variables that the compiler has complained about, so that it does not again.
    scope: Scope<'static>,
    /// What mended statements have declared.
    declared: HashSet<String>,
    /// Up to where it is mended, in bytes.
    mended: usize,
}

impl Draft {
    fn of(text: &str) -> Self {
        Self { text: text.to_owned(), scope: Scope::new(), declared: HashSet::new(), mended: 0 }
    }

    /// Takes an error out of the text; false where it cannot be.
    fn mend(&mut self, error: &ParseErrorType, at: Position) -> bool {
        if let ParseErrorType::VariableUndefined(name) = error
            && self.scope.get(name).is_none()
        {
            self.scope.push_constant(name.as_str(), ());
            return true;
        }
        let (Some(line), Some(column)) = (at.line(), at.position()) else { return false };
        let fault = offset_of(&self.text, line, column);
        let is_unfinished = matches!(error, ParseErrorType::MissingToken(token, _) if token == ";");
        let ended = is_unfinished.then(|| mend::terminate(&self.text, fault)).flatten();
        let Some(mended) = ended.or_else(|| mend::blank(&self.text, fault)) else { return false };
        if mended.text == self.text {
            return false;
        }
        for name in &mended.declared {
            self.scope.push_constant(name.as_str(), ());
        }
        self.declared.extend(mended.declared);
        (self.text, self.mended) = (mended.text, mended.end);
        true
    }

    /// Whether an error is there only because of what was taken out, or is the
    /// last one still: functions do not see the variables of the scope.
    fn is_complaint_of_mending(&self, error: &ParseErrorType, at: Position, last: Position) -> bool {
        let (Some(line), Some(column)) = (at.line(), at.position()) else { return true };
        let is_named = match error {
            ParseErrorType::UnexpectedEOF => true,
            ParseErrorType::VariableUndefined(name) | ParseErrorType::ModuleUndefined(name) => {
                self.declared.contains(name)
            }
            _ => false,
        };
        is_named || at == last || offset_of(&self.text, line, column) < self.mended
    }
}
