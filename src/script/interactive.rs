//! A script that grows entry by entry, as in a REPL: variables, functions and
//! imports of one entry are there for the next, also after one that failed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use rhai::{AST, Caches, Dynamic, GlobalRuntimeState, Position, Scope};
use tokio_util::sync::CancellationToken;

use super::branch::Branch;
use super::diagnostic::Diagnostic;
use super::entry::{only_looks, terminated};
use super::failure;
use super::host::{Host, STACK, Table, engine};
use super::program::Program;
use super::show::show;
use super::sources::{CompileError, Sources};
use super::{call, check, diagnostic, sources};
use crate::run::Failure;

/// What an entry has come to.
pub struct Answer {
    /// Its value as text; none where it has none.
    pub value: Option<String>,
    /// What is hardly meant in it.
    pub warnings: Vec<Diagnostic>,
}

/// What went wrong with an entry.
pub type Refused = Box<Diagnostic>;

/// A variable, for lists and completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The name of its type in scripts.
    pub ty: String,
    /// Its value in one line.
    pub value: String,
}

/// The script so far.
pub struct Interactive {
    host: Arc<Host>,
    /// What relative imports are relative to.
    folder: PathBuf,
    scope: Scope<'static>,
    global: GlobalRuntimeState,
    /// The functions of all entries.
    functions: AST,
    /// The session's line of execution; each entry has a token of its own.
    branch: Branch,
    entries: usize,
    /// What worked, in order.
    kept: Vec<String>,
}

impl Program {
    /// A recipe without text, which an [`Interactive`] script grows from.
    ///
    /// # Errors
    /// When `recipe.toml` or `recipe.lock` is wrong.
    pub fn empty(table: Table, folder: &Path) -> Result<Self, Failure> {
        let sources = Sources::of(folder)?;
        let mut engine = engine(table, &sources);
        // The compiler sees one entry and would not know what others import.
        engine.set_strict_variables(false);
        let main = folder.join("repl").to_string_lossy().into_owned();
        Ok(Self {
            engine: Arc::new(engine),
            sources,
            main,
            ast: Arc::new(AST::empty()),
            overriding: None,
            table,
        })
    }
}

impl Interactive {
    /// A script without entries that runs in `host`. All it starts ends with `token`.
    #[must_use]
    pub fn new(host: Arc<Host>, folder: &Path, token: CancellationToken) -> Self {
        let global = host.engine.new_global_runtime_state();
        let branch = Branch::main(host.clone(), token);
        Self {
            host,
            folder: folder.to_owned(),
            scope: Scope::new(),
            global,
            functions: AST::empty(),
            branch,
            entries: 0,
            kept: Vec::new(),
        }
    }

    /// Runs an entry on a thread of its own and calls `done` there. `file` is
    /// where it was read from, if it was.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn run(
        shared: &Arc<Mutex<Self>>,
        text: String,
        file: Option<PathBuf>,
        token: CancellationToken,
        done: impl FnOnce(Result<Answer, Refused>) + Send + 'static,
    ) -> io::Result<()> {
        let shared = shared.clone();
        thread::Builder::new().name("script".to_owned()).stack_size(STACK).spawn(move || {
            let mut script = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = script.evaluate(&text, file.as_deref(), token);
            drop(script);
            done(answer);
        })?;
        Ok(())
    }

    fn evaluate(
        &mut self,
        text: &str,
        file: Option<&Path>,
        token: CancellationToken,
    ) -> Result<Answer, Refused> {
        self.entries += 1;
        let key = match file {
            Some(file) => sources::key(file),
            None => self.folder.join(format!("entry {}", self.entries)).to_string_lossy().into_owned(),
        };
        let name = match file {
            Some(file) => sources::display(file),
            None => format!("entry {}", self.entries).into(),
        };
        let ast = self.compile(text, &key, &name)?;
        let known: HashSet<_> =
            self.functions.iter_functions().map(|function| function.name.to_owned()).collect();
        let problems = check::calls::problems(
            &self.host.engine,
            &self.host.sources,
            self.host.table,
            (&key, &ast),
            &known,
        );
        if let Some(problem) = problems.into_iter().next() {
            return Err(Box::new(problem));
        }
        let names: Vec<_> = self.values().into_iter().map(|(name, _)| name).collect();
        let warnings = check::unbound::warnings(&self.host.sources, (&key, &ast), &names);
        self.functions = self.functions.merge(&ast.clone_functions_only());
        self.global.lib = std::iter::once(self.functions.shared_lib().clone()).collect();
        self.global.source = Some(key.as_str().into());
        // An entry that was stopped leaves these as they were inside of it.
        (self.global.level, self.global.scope_level) = (0, 0);

        let branch = Branch { token, ..self.branch.clone() };
        let result = {
            let _entered = branch.enter();
            let statements = ast.statements();
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                #[expect(
                    deprecated,
                    reason = "Rhai marks what it calls volatile as deprecated; the version is pinned"
                )]
                self.host.engine.eval_statements_raw(
                    &mut self.global,
                    &mut Caches::new(),
                    &mut self.scope,
                    statements,
                )
            }))
            .unwrap_or_else(|panic| Err(failure::raise(call::bug(panic.as_ref()), Position::NONE)))
        };
        match result {
            Ok(value) => {
                if !only_looks(&ast) {
                    self.kept.push(terminated(&self.host.engine, text));
                }
                let value = (!value.is_unit()).then(|| self.shown(&value));
                Ok(Answer { value, warnings })
            }
            Err(error) => Err(Box::new(Diagnostic::of(&error, &self.host, &key))),
        }
    }

    fn shown(&self, value: &Dynamic) -> String {
        show(value, self.host.table.name_of, self.host.events.secrets())
    }

    fn compile(&self, text: &str, key: &str, name: &str) -> Result<Arc<AST>, Refused> {
        let (engine, sources) = (&self.host.engine, &self.host.sources);
        sources.insert(key, name, text);
        let compiled = engine.compile_with_scope(&self.scope, text);
        let mut ast = compiled.map_err(|error| {
            let error = CompileError::in_file(error.into(), key);
            Box::new(diagnostic::compile(sources, &error))
        })?;
        ast.set_source(key);
        let ast = Arc::new(ast);
        sources.set_ast(key, &ast);
        Ok(ast)
    }

    /// Waits for the tasks that entries have started, and stops them first.
    pub fn end(&self) {
        self.branch.token.cancel();
        let _ = self.branch.finish_tasks(Ok(Dynamic::UNIT));
    }

    /// The entries that worked, as a recipe.
    #[must_use]
    pub fn recipe(&self) -> String {
        self.kept.iter().flat_map(|entry| [entry.trim_end(), "\n"]).collect()
    }

    /// The host that it runs in.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The variables, in order; of several of one name the last.
    #[must_use]
    pub fn variables(&self) -> Vec<Variable> {
        let variable = |(name, value): (String, Dynamic)| {
            let text = self.shown(&value);
            let line = text.lines().next().unwrap_or_default().to_owned();
            Variable { name, ty: self.type_name(&value), value: line }
        };
        self.values().into_iter().map(variable).collect()
    }

    /// Takes over the plain variables, the functions and the entries of a
    /// script whose environment is gone; handles are not plain.
    pub fn take_over(&mut self, old: &Self) {
        for (name, value) in old.values() {
            let is_gone =
                (self.host.table.keep)(&value).is_none_or(|kept| kept.to_string().contains("\"handle\""));
            if !is_gone {
                self.bind(&name, value);
            }
        }
        self.functions = old.functions.clone();
        (self.entries, self.kept) = (old.entries, old.kept.clone());
    }

    /// Binds a variable.
    pub fn bind(&mut self, name: &str, value: Dynamic) {
        self.scope.set_or_push(name, value);
    }

    /// The values of all variables.
    #[must_use]
    pub fn values(&self) -> Vec<(String, Dynamic)> {
        values(&self.scope)
    }

    /// Names of the functions that entries have defined.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        let names = self.functions.iter_functions().map(|function| function.name.to_owned());
        names.filter(|name| !name.contains('$')).collect()
    }

    /// What can follow `path.` : keys of a map, or properties of a handle.
    #[must_use]
    pub fn members(&self, path: &[&str]) -> Vec<String> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        let Some(mut value) = self.scope.get_value::<Dynamic>(first).map(Dynamic::flatten) else {
            return Vec::new();
        };
        for key in rest {
            let Some(inner) = value.read_lock::<rhai::Map>().and_then(|map| map.get(*key).cloned()) else {
                return Vec::new();
            };
            value = inner.flatten();
        }
        if let Some(map) = value.read_lock::<rhai::Map>() {
            return map.keys().map(ToString::to_string).collect();
        }
        let id = value.type_id();
        let engine = &self.host.engine;
        let mut names = engine.collect_fn_metadata(
            None,
            |info| {
                let own = info.metadata.param_types.first() == Some(&id);
                own.then(|| info.metadata.name.strip_prefix("get$").map(str::to_owned)).flatten()
            },
            true,
        );
        let ty = self.type_name(&value);
        names.extend(
            (self.host.table.primitives)()
                .filter(|primitive| primitive.is_method_of(&ty))
                .map(|primitive| format!("{}(", primitive.name)),
        );
        names.sort_unstable();
        names.dedup();
        names
    }

    fn type_name(&self, value: &Dynamic) -> String {
        match self.host.engine.map_type_name(value.type_name()) {
            "i64" => "int".to_owned(),
            "f64" => "float".to_owned(),
            name => name.to_owned(),
        }
    }
}

/// The variables of a scope by their names, the last of each.
pub(super) fn values(scope: &Scope<'_>) -> Vec<(String, Dynamic)> {
    // The newest first: a name declared anew hides the one before.
    let mut seen = HashSet::new();
    let newest = scope.iter_raw().filter(|(name, ..)| seen.insert((*name).to_owned()));
    let mut values: Vec<_> =
        newest.map(|(name, _, value)| (name.to_owned(), value.flatten_clone())).collect();
    values.reverse();
    values
}
