//! The texts and syntax trees of a recipe and its modules, read once.
//!
//! Errors are rendered from these texts, so that a file edited during a long
//! run does not move the marks.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rhai::{AST, Engine, EvalAltResult, Expr, Position};

use super::syntax;
use crate::run::event::SourcePosition;

/// A file of script, by its key: the absolute path as text.
#[derive(Clone)]
pub struct Source {
    /// The path relative to the working directory where it lies below it.
    pub display: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
    /// None while, or if, it does not compile.
    pub(super) ast: Option<Arc<AST>>,
}

/// All files of a recipe. Cheap to clone, shared.
#[derive(Clone, Default)]
pub struct Sources(Arc<RwLock<HashMap<String, Source>>>);

/// Why a recipe does not compile.
#[derive(Debug)]
pub struct CompileError {
    /// The error as Rhai gives it.
    pub(super) error: Box<EvalAltResult>,
    /// Key of the file it is in.
    pub(super) file: String,
    /// The imports that led there, outermost first: file key and position.
    pub(super) imports: Vec<(String, Position)>,
}

impl CompileError {
    /// An error in a file that nobody imports.
    pub(super) fn in_file(error: Box<EvalAltResult>, file: &str) -> Self {
        Self { error, file: file.to_owned(), imports: Vec::new() }
    }
}

impl Sources {
    /// Adds a text that is in no file, under a name for people.
    pub(super) fn insert(&self, key: &str, name: &str, text: &str) {
        let source = Source { display: name.into(), text: text.into(), ast: None };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), source);
    }

    /// Keeps the tree of a text.
    pub(super) fn set_ast(&self, key: &str, ast: &Arc<AST>) {
        if let Some(source) = self.0.write().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
            source.ast = Some(ast.clone());
        }
    }

    /// Reads and compiles `path` and, depth first, all it imports by a literal path.
    ///
    /// # Errors
    /// The first file that cannot be read or compiled.
    pub(super) fn compile(&self, engine: &Engine, path: &Path) -> Result<Arc<AST>, Box<CompileError>> {
        self.compile_in(engine, path, &mut Vec::new())
    }

    /// As [`Sources::compile`], but goes on after a file that does not compile
    /// with the others.
    ///
    /// # Errors
    /// One for each file that cannot be read or compiled.
    pub(super) fn compile_all(&self, engine: &Engine, path: &Path) -> Result<(), Vec<CompileError>> {
        let mut errors: Vec<CompileError> = Vec::new();
        while let Err(error) = self.compile_skipping(engine, path, &errors) {
            errors.push(*error);
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// As [`Sources::compile`], but leaves out the places of known errors.
    fn compile_skipping(
        &self,
        engine: &Engine,
        path: &Path,
        known: &[CompileError],
    ) -> Result<(), Box<CompileError>> {
        let is_known = |file: &str, at: Position| {
            known.iter().any(|error| error.file == file && error.error.position() == at)
        };
        let mut waiting = vec![(path.to_owned(), Vec::new())];
        let mut seen = std::collections::HashSet::new();
        while let Some((file, imports)) = waiting.pop() {
            let key = key(&file);
            if !seen.insert(key.clone()) {
                continue;
            }
            match self.compile_in(engine, &file, &mut imports.clone()) {
                Ok(_) => continue,
                Err(error) if !is_known(&error.file, error.error.position()) => return Err(error),
                Err(_) => {}
            }
            // What does not compile may still name its imports.
            let text = self.get(&key).map(|source| source.text).unwrap_or_default();
            for (at, module) in syntax::imports_of_text(&text) {
                if !is_known(&key, at) {
                    let mut imports = imports.clone();
                    imports.push((key.clone(), at));
                    waiting.push((module_path(Some(&key), &module), imports));
                }
            }
        }
        Ok(())
    }

    fn compile_in(
        &self,
        engine: &Engine,
        path: &Path,
        imports: &mut Vec<(String, Position)>,
    ) -> Result<Arc<AST>, Box<CompileError>> {
        let fail = |error: Box<EvalAltResult>, file: &str, imports: &[(String, Position)]| {
            Box::new(CompileError { error, file: file.to_owned(), imports: imports.to_vec() })
        };
        let key = key(path);
        if let Some(ast) = self.get(&key).and_then(|source| source.ast) {
            return Ok(ast);
        }
        let text = fs_err::read_to_string(path).map_err(|error| {
            let at = imports.last().map_or(Position::NONE, |(_, at)| *at);
            let file = imports.last().map_or(key.clone(), |(file, _)| file.clone());
            let imports = &imports[..imports.len().saturating_sub(1)];
            fail(EvalAltResult::ErrorModuleNotFound(reason(path, &error), at).into(), &file, imports)
        })?;
        let source = Source { display: display(path), text: text.as_str().into(), ast: None };
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), source);
        let mut ast = engine.compile(&text).map_err(|error| fail(error.into(), &key, imports))?;
        ast.set_source(&key);
        let ast = Arc::new(ast);
        for import in syntax::literal_imports(&ast) {
            let file = module_path(Some(&key), &import.path);
            imports.push((key.clone(), import.at));
            if imports.iter().any(|(importer, _)| *importer == self::key(&file)) {
                let chain: Vec<_> =
                    imports.iter().map(|(importer, _)| self.display(importer).to_string()).collect();
                let cycle = format!("import cycle: {} → {}", chain.join(" → "), display(&file));
                return Err(fail(
                    EvalAltResult::ErrorRuntime(cycle.into(), import.at).into(),
                    &key,
                    &imports[..imports.len() - 1],
                ));
            }
            self.compile_in(engine, &file, imports)?;
            imports.pop();
        }
        if let Some(source) = self.0.write().unwrap_or_else(PoisonError::into_inner).get_mut(&key) {
            source.ast = Some(ast.clone());
        }
        Ok(ast)
    }

    /// The file with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Source> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The texts by the names that positions have.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        sources.values().map(|source| (source.display.clone(), source.text.clone())).collect()
    }

    /// The compiled files by their keys, sorted.
    pub(super) fn trees(&self) -> Vec<(String, Arc<AST>)> {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut trees: Vec<_> =
            sources.iter().filter_map(|(key, source)| Some((key.clone(), source.ast.clone()?))).collect();
        trees.sort_by(|(a, _), (b, _)| a.cmp(b));
        trees
    }

    fn display(&self, key: &str) -> Arc<str> {
        self.get(key).map_or_else(|| key.into(), |source| source.display)
    }

    /// A position in the file `key` for events and errors.
    #[must_use]
    pub(super) fn position(&self, key: &str, at: Position) -> SourcePosition {
        SourcePosition {
            file: self.display(key),
            line: at.line().unwrap_or_default(),
            column: at.position().unwrap_or_default(),
        }
    }

    /// The key of the file that a position is in.
    #[must_use]
    pub(super) fn key_of(&self, position: &SourcePosition) -> String {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = sources.iter().find(|(_, source)| source.display == position.file);
        found.map_or_else(|| position.file.to_string(), |(key, _)| key.clone())
    }

    /// The first argument of each call of `function`, if all are literal strings.
    pub(super) fn literal_arguments(&self, function: &str) -> Option<Vec<String>> {
        let sources = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = Some(Vec::new());
        for ast in sources.values().filter_map(|source| source.ast.as_deref()) {
            syntax::calls(ast, &mut |call| {
                if call.name == function && !call.is_qualified {
                    match (call.arguments.first(), names.as_mut()) {
                        (Some(Expr::StringConstant(name, _)), Some(names)) => names.push(name.to_string()),
                        _ => names = None,
                    }
                }
            });
        }
        names
    }

    /// Where an argument stands in the call at `at`, or a part of it: a key of
    /// a map, an item of an array by its index. None where the call does not
    /// spell it out.
    pub(super) fn argument_position(
        &self,
        key: &str,
        at: Position,
        argument: usize,
        part: Option<&str>,
    ) -> Option<Position> {
        let ast = self.get(key)?.ast?;
        let mut found = None;
        syntax::calls(&ast, &mut |call| {
            if call.at != at {
                return;
            }
            let index = if call.is_method { argument.checked_sub(1) } else { Some(argument) };
            let Some(expression) = index.and_then(|index| call.arguments.get(index)) else { return };
            found = match (part, expression) {
                (None, expression) => Some(expression.start_position()),
                (Some(part), Expr::Map(map, _)) => {
                    map.0.iter().find(|(key, _)| key.name == part).map(|(key, _)| key.pos)
                }
                (Some(part), Expr::Array(items, _)) => {
                    part.parse().ok().and_then(|i: usize| items.get(i)).map(Expr::start_position)
                }
                (Some(_), _) => None,
            };
        });
        found
    }
}

/// The file that `import "module"` means in the file `importer`.
pub(super) fn module_path(importer: Option<&str>, module: &str) -> PathBuf {
    let folder = importer.map(Path::new).and_then(Path::parent).unwrap_or(Path::new("."));
    let mut path = folder.join(module);
    if path.extension().is_none_or(|extension| extension != "rhai") {
        path.as_mut_os_string().push(".rhai");
    }
    path
}

/// The key of a file: its absolute path with links resolved, where it exists.
pub(super) fn key(path: &Path) -> String {
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(path));
    absolute.as_deref().unwrap_or(path).to_string_lossy().into_owned()
}

/// A path for people: relative to the working directory where it lies below it.
pub(super) fn display(path: &Path) -> Arc<str> {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    absolute.strip_prefix(&here).unwrap_or(&absolute).to_string_lossy().into()
}

fn reason(path: &Path, error: &std::io::Error) -> String {
    use std::io::ErrorKind::{InvalidData, NotFound};
    match error.kind() {
        NotFound => format!("there is no file `{}`", display(path)),
        InvalidData => format!("`{}` is not UTF-8 text", display(path)),
        _ => format!("`{}` cannot be read: {error}", display(path)),
    }
}
