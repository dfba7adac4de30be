//! Problems of a recipe that show without running it.
//!
//! Each file is a kind of problem; what only a primitive knows about its own
//! arguments, the table's `rules` find.

mod branches;
pub(super) mod calls;
mod closures;
mod constants;
mod effects;
mod mend;
mod results;
mod site;
mod text;
mod tries;
pub(super) mod unbound;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use rhai::{AST, Engine, Position};

pub use site::Site;
pub(in crate::script) use site::sites;

use super::diagnostic::Diagnostic;
use super::host::Table;
use super::sources::Sources;
use crate::run::Excerpt;

/// One problem, in a file that is known.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The place.
    pub at: Position,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What sort of problem, for programs.
    pub code: &'static str,
    /// Whether the recipe may be run all the same.
    pub warning: bool,
    /// The place in a file that the call names, where it is that which is wrong.
    pub elsewhere: Option<Excerpt>,
}

impl Finding {
    /// Something that would fail.
    #[must_use]
    pub fn error(code: &'static str, at: Position, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None, code, warning: false, elsewhere: None }
    }

    /// Something that is hardly meant.
    #[must_use]
    pub fn warning(code: &'static str, at: Position, message: impl Into<String>) -> Self {
        Self { warning: true, ..Self::error(code, at, message) }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that it is wrong in a file that the call names.
    #[must_use]
    pub fn elsewhere(mut self, place: Option<Excerpt>) -> Self {
        self.elsewhere = place;
        self
    }
}

/// All problems of the recipe at `path` and its modules: also of files beside
/// one that does not compile.
pub(super) fn recipe(engine: &Engine, sources: &Sources, table: Table, path: &Path) -> Vec<Diagnostic> {
    let mut problems = text::problems(engine, sources, table, path);
    problems.extend(compiled(engine, sources, table, &super::workspace_of(path)));
    problems
}

/// All problems of the files that compile, in the order of the text.
fn compiled(engine: &Engine, sources: &Sources, table: Table, workspace: &Path) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let trees = sources.trees();
    let sites: Vec<_> = trees.iter().map(|(_, ast)| sites(table, ast)).collect();
    // What one file makes, another may read.
    let all: Vec<_> = sites.iter().flatten().collect();
    for ((key, ast), sites) in trees.iter().zip(&sites) {
        let mut found = calls::findings(engine, table, ast, &overridden(sources, key));
        found.extend(branches::findings(ast));
        found.extend(effects::findings(table, ast));
        found.extend(results::findings(ast));
        for site in sites {
            found.extend((table.rules)(site, &all, workspace));
        }
        problems.extend(diagnostics(sources, key, found));
    }
    problems
}

/// Calls that are wrong in all files, whichever way a run would take. Other
/// problems may lie where it never comes, or in a `try`.
pub(super) fn refusals(engine: &Engine, sources: &Sources, table: Table) -> Vec<Diagnostic> {
    const REFUSED: [&str; 3] = ["unknown", "arity", "option"];
    let in_file = |(key, ast): &(String, Arc<AST>)| {
        let mut found = calls::findings(engine, table, ast, &overridden(sources, key));
        found.retain(|finding| REFUSED.contains(&finding.code));
        diagnostics(sources, key, found)
    };
    sources.trees().iter().flat_map(in_file).collect()
}

/// The functions of the file that another one overrides, and can call.
fn overridden(sources: &Sources, key: &str) -> HashSet<String> {
    let original = sources.search().overridden_by(Path::new(key)).map(super::sources::key);
    let tree = original.and_then(|original| sources.get(&original)?.ast);
    tree.iter().flat_map(|tree| tree.iter_functions()).map(|function| function.name.to_owned()).collect()
}

/// The findings in a file as errors with their place, sorted by it.
pub(super) fn diagnostics(sources: &Sources, key: &str, mut found: Vec<Finding>) -> Vec<Diagnostic> {
    found.sort_by_key(|finding| (finding.at.line(), finding.at.position()));
    found.dedup_by(|a, b| a.at == b.at && a.message == b.message);
    let told = found.into_iter().map(|finding| {
        let Finding { at, message, hint, code, warning, elsewhere } = finding;
        let here = sources.position(key, at);
        let mut problem = Diagnostic {
            message,
            hint,
            code: code.to_owned(),
            warning,
            position: Some(here.clone()),
            ..Diagnostic::default()
        };
        match elsewhere {
            Some(place) => problem.move_to(place, here),
            None => problem.mark_position(sources),
        }
        problem
    });
    told.collect()
}
