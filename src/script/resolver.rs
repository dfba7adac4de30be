//! `import`, relative to the importing file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};

use super::branch::Branch;
use super::explain::RELATIVE;
use super::failure::raise;
use super::sources::{Sources, key};
use crate::run::{Failure, Kind};

type Loaded = Arc<Mutex<Option<Shared<Module>>>>;

/// Finds, runs and keeps modules. The top level of a module runs once in a
/// run, in the first branch that imports it; others wait for it.
pub(super) struct Resolver {
    sources: Sources,
    modules: Mutex<HashMap<String, Loaded>>,
}

impl Resolver {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, modules: Mutex::default() }
    }
}

impl ModuleResolver for Resolver {
    fn resolve(
        &self,
        engine: &Engine,
        importer: Option<&str>,
        path: &str,
        at: Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let file = self.sources.module_path(importer, path);
        if let Some(branch) = Branch::current() {
            branch.host.environment.imports(&file).map_err(|failure| raise(failure, at))?;
        }
        let key = key(&file);
        let overriding =
            self.sources.search().override_of(std::path::Path::new(&key)).map(std::path::Path::to_owned);
        // The file that overrides a module imports it as it is.
        let overriding = overriding.filter(|over| importer != Some(self::key(over).as_str()));
        let slot = if overriding.is_some() { format!("{key} overridden") } else { key.clone() };
        let loaded =
            self.modules.lock().unwrap_or_else(PoisonError::into_inner).entry(slot).or_default().clone();
        // Cycles of literal imports are refused before anything runs, so that
        // only an import by a computed path could wait for itself here.
        let Ok(mut module) = loaded.try_lock().or_else(|error| match error {
            std::sync::TryLockError::Poisoned(poisoned) => Ok(poisoned.into_inner()),
            std::sync::TryLockError::WouldBlock if LOADING.with_borrow(|loading| loading.contains(&key)) => {
                Err(())
            }
            std::sync::TryLockError::WouldBlock => Ok(loaded.lock().unwrap_or_else(PoisonError::into_inner)),
        }) else {
            return Err(EvalAltResult::ErrorRuntime(format!("`{path}` imports itself").into(), at).into());
        };
        if let Some(module) = &*module {
            return Ok(module.clone());
        }
        let in_module = |error| Box::new(EvalAltResult::ErrorInModule(key.clone(), error, at));
        let ast = self.sources.compile(engine, &file).map_err(|failed| match *failed.error {
            // Rhai replaces what an error of its own kind for this says.
            EvalAltResult::ErrorModuleNotFound(why, _) => {
                let mut failure = Failure::new(Kind::NotFound, why).hint(RELATIVE);
                failure.position = importer.map(|importer| self.sources.position(importer, at));
                raise(failure, at)
            }
            error => in_module(error.into()),
        })?;
        LOADING.with_borrow_mut(|loading| loading.push(key.clone()));
        let evaluated = Module::eval_ast_as_new(Scope::new(), &ast, engine);
        LOADING.with_borrow_mut(Vec::pop);
        let mut evaluated = evaluated.map_err(in_module)?;
        if let Some(over) = overriding {
            let ast = self.sources.compile(engine, &over).map_err(|failed| in_module(failed.error))?;
            let more = Module::eval_ast_as_new(Scope::new(), &ast, engine).map_err(in_module)?;
            evaluated.combine(more);
            evaluated.build_index();
        }
        evaluated.set_id(key.as_str());
        Ok(module.insert(evaluated.into()).clone())
    }
}

thread_local! {
    /// Modules whose top level this thread is running.
    static LOADING: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}
