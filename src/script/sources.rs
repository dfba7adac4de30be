//! The texts and syntax trees of a recipe and its modules, read once.
//!
//! Errors are rendered from these texts, so that a file edited during a long
//! run does not move the marks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rhai::{AST, Engine, EvalAltResult, Expr, Position};

use super::modules::Search;
use super::{subjects, syntax};
use crate::run::Failure;
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
pub struct Sources {
    files: Arc<RwLock<HashMap<String, Source>>>,
    search: Arc<Search>,
    /// Whether they are compiled for a plan.
    planned: bool,
}

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
    /// No files yet; modules are found as the workspace says.
    pub(super) fn of(workspace: &Path) -> Result<Self, Failure> {
        Ok(Self { search: Arc::new(Search::of(workspace)?), ..Self::default() })
    }

    /// The same, compiled for a plan.
    pub(super) fn for_plan(self) -> Self {
        Self { planned: true, ..self }
    }

    /// The file that `import "module"` means in the file `importer`.
    pub(super) fn module_path(&self, importer: Option<&str>, module: &str) -> PathBuf {
        let folder = importer.map(Path::new).and_then(Path::parent).unwrap_or(Path::new("."));
        self.search.find(&folder.join(module), module)
    }

    /// Where modules are found.
    pub(super) fn search(&self) -> &Search {
        &self.search
    }

    /// The file that changes a manifest which recipe brings along.
    #[must_use]
    pub fn patch_of(&self, shipped: &str) -> Option<&Path> {
        self.search.patch_of(shipped)
    }

    /// Adds a text that is in no file, under a name for people.
    pub(super) fn insert(&self, key: &str, name: &str, text: &str) {
        let source = Source { display: name.into(), text: text.into(), ast: None };
        self.files.write().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), source);
    }

    /// Keeps the tree of a text.
    pub(super) fn set_ast(&self, key: &str, ast: &Arc<AST>) {
        if let Some(source) = self.files.write().unwrap_or_else(PoisonError::into_inner).get_mut(key) {
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
    /// with the others. Gives one error for each file that cannot be read or
    /// compiled.
    pub(super) fn compile_all(&self, engine: &Engine, path: &Path) -> Vec<CompileError> {
        let mut errors = Vec::new();
        let mut seen = HashSet::new();
        let mut waiting = vec![(path.to_owned(), Vec::new())];
        while let Some((file, imports)) = waiting.pop() {
            let key = key(&file);
            if !seen.insert(key.clone()) {
                continue;
            }
            let more: Vec<_> = match self.compile_one(engine, &file, &imports) {
                Ok(ast) => {
                    self.set_ast(&key, &ast);
                    let all = syntax::literal_imports(&ast).into_iter();
                    all.map(|import| (import.at, import.path)).collect()
                }
                Err(error) => {
                    let unread = matches!(*error.error, EvalAltResult::ErrorModuleNotFound(..));
                    errors.push(*error);
                    let text = self.get(&key).filter(|_| !unread).map(|source| source.text);
                    // What does not compile may still name its imports.
                    syntax::imports_of_text(&text.unwrap_or_default())
                }
            };
            // The last one is looked at first.
            for (at, module) in more.into_iter().rev() {
                let file = self.module_path(Some(&key), &module);
                let mut imports = imports.clone();
                imports.push((key.clone(), at));
                match self.cycle(&file, &imports) {
                    Some(error) => errors.push(*error),
                    None => waiting.push((file, imports)),
                }
            }
        }
        errors
    }

    fn compile_in(
        &self,
        engine: &Engine,
        path: &Path,
        imports: &mut Vec<(String, Position)>,
    ) -> Result<Arc<AST>, Box<CompileError>> {
        let key = key(path);
        if let Some(ast) = self.get(&key).and_then(|source| source.ast) {
            return Ok(ast);
        }
        let ast = self.compile_one(engine, path, imports)?;
        for import in syntax::literal_imports(&ast) {
            let file = self.module_path(Some(&key), &import.path);
            imports.push((key.clone(), import.at));
            if let Some(error) = self.cycle(&file, imports) {
                return Err(error);
            }
            self.compile_in(engine, &file, imports)?;
            imports.pop();
        }
        self.set_ast(&key, &ast);
        Ok(ast)
    }

    /// Reads and compiles a file, and nothing that it imports.
    fn compile_one(
        &self,
        engine: &Engine,
        path: &Path,
        imports: &[(String, Position)],
    ) -> Result<Arc<AST>, Box<CompileError>> {
        let key = key(path);
        let text = fs_err::read_to_string(path).map_err(|error| {
            let at = imports.last().map_or(Position::NONE, |(_, at)| *at);
            let file = imports.last().map_or(key.clone(), |(file, _)| file.clone());
            let imports = imports[..imports.len().saturating_sub(1)].to_vec();
            let error = EvalAltResult::ErrorModuleNotFound(reason(path, &error), at).into();
            Box::new(CompileError { error, file, imports })
        })?;
        self.insert(&key, &display(path), &text);
        let read = if self.planned { subjects::read(&text) } else { text };
        let mut ast = engine.compile(&read).map_err(|error| {
            Box::new(CompileError { error: error.into(), file: key.clone(), imports: imports.to_vec() })
        })?;
        ast.set_source(&key);
        Ok(Arc::new(ast))
    }

    /// The error that importing `file` would be, where it leads back to itself.
    fn cycle(&self, file: &Path, imports: &[(String, Position)]) -> Option<Box<CompileError>> {
        let file_key = key(file);
        let ((importer, at), before) = imports.split_last()?;
        imports.iter().any(|(importer, _)| *importer == file_key).then(|| {
            let chain: Vec<_> =
                imports.iter().map(|(importer, _)| self.display(importer).to_string()).collect();
            let cycle = format!("import cycle: {} → {}", chain.join(" → "), display(file));
            let error = EvalAltResult::ErrorRuntime(cycle.into(), *at).into();
            Box::new(CompileError { error, file: importer.clone(), imports: before.to_vec() })
        })
    }

    /// The file with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Source> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The texts by the names that positions have.
    #[must_use]
    pub fn texts(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        let sources = self.files.read().unwrap_or_else(PoisonError::into_inner);
        sources.values().map(|source| (source.display.clone(), source.text.clone())).collect()
    }

    /// Whether any of the compiled files calls a function of this name.
    pub(super) fn calls(&self, name: &str) -> bool {
        let mut found = false;
        for (_, tree) in self.trees() {
            syntax::calls(&tree, &mut |call| found |= call.name == name);
        }
        found
    }

    /// The compiled files by their keys, sorted.
    pub(super) fn trees(&self) -> Vec<(String, Arc<AST>)> {
        let sources = self.files.read().unwrap_or_else(PoisonError::into_inner);
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
        let sources = self.files.read().unwrap_or_else(PoisonError::into_inner);
        let found = sources.iter().find(|(_, source)| source.display == position.file);
        found.map_or_else(|| position.file.to_string(), |(key, _)| key.clone())
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
