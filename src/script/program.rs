//! A recipe compiled together with its modules.

use std::path::Path;
use std::sync::Arc;

use rhai::{AST, Caches, Dynamic, Engine, EvalAltResult, Scope};

use super::check::{self, Site};
use super::diagnostic::{self, Diagnostic};
use super::environment::workspace_of;
use super::host::{Table, engine};
use super::sources::Sources;
use super::{sources, subjects};

/// A recipe compiled together with its modules.
pub struct Program {
    /// The interpreter it was compiled for.
    pub(super) engine: Arc<Engine>,
    /// All texts.
    pub sources: Sources,
    /// The key of the recipe among them.
    pub(super) main: String,
    pub(super) ast: Arc<AST>,
    /// The file whose functions replace some of the recipe's.
    pub(super) overriding: Option<Arc<AST>>,
    pub(super) table: Table,
}

impl Program {
    /// Compiles a recipe and all it imports.
    ///
    /// # Errors
    /// The first file that cannot be read or compiled, with its imports.
    pub fn compile(table: Table, path: &Path) -> Result<Self, Box<Diagnostic>> {
        let sources = Sources::of(&workspace_of(path)).map_err(Box::<Diagnostic>::from)?;
        Self::compile_with(engine(table, &sources), sources, table, path)
    }

    /// As [`Program::compile`], so that a plan notices where a `switch` goes on
    /// by a value that only a run has.
    ///
    /// # Errors
    /// As those of [`Program::compile`].
    pub fn compile_for_plan(table: Table, path: &Path) -> Result<Self, Box<Diagnostic>> {
        let sources = Sources::of(&workspace_of(path)).map_err(Box::<Diagnostic>::from)?.for_plan();
        let mut engine = engine(table, &sources);
        subjects::register(&mut engine);
        Self::compile_with(engine, sources, table, path)
    }

    fn compile_with(
        engine: Engine,
        sources: Sources,
        table: Table,
        path: &Path,
    ) -> Result<Self, Box<Diagnostic>> {
        let (engine, main) = (Arc::new(engine), sources::key(path));
        let own = sources.search().override_of(Path::new(&main));
        let mut others = sources.search().overriding();
        let compiled = others
            .try_for_each(|file| sources.compile(&engine, file).map(drop))
            .and_then(|()| own.map(|own| sources.compile(&engine, own)).transpose())
            .and_then(|overriding| Ok((sources.compile(&engine, path)?, overriding)));
        let (ast, overriding) = compiled.map_err(|error| Box::new(diagnostic::compile(&sources, &error)))?;
        drop(others);
        Ok(Self { engine, sources, main, ast, overriding, table })
    }

    /// Problems that make a run pointless, whichever way it would take.
    #[must_use]
    pub fn refusals(&self) -> Vec<Diagnostic> {
        check::refusals(&self.engine, &self.sources, self.table)
    }

    /// All problems of the recipe at `path`, also where it does not compile.
    #[must_use]
    pub fn problems(table: Table, path: &Path) -> Vec<Diagnostic> {
        let sources = match Sources::of(&workspace_of(path)) {
            Ok(sources) => sources,
            Err(failure) => return vec![failure.into()],
        };
        check::recipe(&engine(table, &sources), &sources, table, path)
    }

    /// The calls of a primitive in the recipe and its modules.
    #[must_use]
    pub fn calls_of(&self, primitive: &str) -> Vec<Site> {
        let trees = self.sources.trees().into_iter();
        let sites = trees.flat_map(|(_, ast)| check::sites(self.table, &ast));
        sites.filter(|site| site.primitive.name == primitive).collect()
    }
}

/// Runs a recipe, with the functions of another file instead of its own of the
/// same name.
pub(super) fn evaluate(
    engine: &Engine,
    scope: &mut Scope<'static>,
    ast: &AST,
    overriding: Option<&AST>,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let Some(overriding) = overriding else {
        return engine.run_ast_with_scope(scope, ast).map(|()| Dynamic::UNIT);
    };
    let mut global = engine.new_global_runtime_state();
    // The last one is asked first.
    global.lib = [ast, overriding].into_iter().map(|tree| tree.shared_lib().clone()).collect();
    // What the file imports, its functions see.
    for (tree, scope) in [(overriding, &mut Scope::new()), (ast, scope)] {
        global.source = tree.source().map(Into::into);
        #[expect(
            deprecated,
            reason = "Rhai marks what it calls volatile as deprecated; the version is pinned"
        )]
        let _: Dynamic =
            engine.eval_statements_raw(&mut global, &mut Caches::new(), scope, tree.statements())?;
    }
    Ok(Dynamic::UNIT)
}
