//! The host of a script: builds the interpreter, compiles and runs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use futures::future::BoxFuture;
use rhai::packages::{Package, StandardPackage};
use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext, OptimizationLevel, Position, Scope};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::branch::{Branch, on_progress};
use super::call::{Call, Started, bug, finish_step, one_line};
use super::check::{Finding, Site};
use super::diagnostic::Diagnostic;
use super::environment::Environment;
use super::interactive::values;
use super::memory::Memory;
use super::parallel::{GroupFailure, run_branch};
use super::primitive::Primitive;
use super::program::{Program, evaluate};
use super::resolver::Resolver;
use super::reuse::{Reusing, Takeover};
use super::snapshot::snapshot;
use super::sources::Sources;
use super::unknown::Plan;
use super::{failure, limits, register, task, unknown};
use crate::run::event::{EventKind, Level, StepKind};
use crate::run::{Events, Failure, StepId};

/// Stack of every thread that runs script code, in bytes. The deepest
/// expressions allowed below, 64 calls deep, need 8 MiB; only touched pages
/// count, so that more costs nothing.
pub(super) const STACK: usize = 16 << 20;
const MOST_CALL_LEVELS: usize = 64;
/// Enough for 15 nested `parallel` in one expression; Rhai's own limit allows 3.
const DEEPEST_EXPRESSION: usize = 128;

/// What the script layer is given: the primitives and the types they return.
#[derive(Clone, Copy)]
pub struct Table {
    /// All primitives.
    pub primitives: fn() -> Box<dyn Iterator<Item = &'static Primitive>>,
    /// Registers the types of handles with their properties.
    pub types: fn(&mut Engine),
    /// The name of a value that is a handle.
    pub name_of: fn(&Dynamic) -> Option<String>,
    /// What is wrong with a call of a primitive that only the primitive knows,
    /// given all calls of the recipe and its modules, and the workspace.
    pub rules: fn(&Site, &[&Site], &Path) -> Vec<Finding>,
    /// A value written down, with the handles in it.
    pub keep: fn(&Dynamic) -> Option<serde_json::Value>,
    /// A value that was written down, with its handles opened again.
    pub open: fn(serde_json::Value, Arc<Environment>) -> BoxFuture<'static, Result<Dynamic, Failure>>,
    /// How steps are spared in a run that takes an environment over.
    pub reusing: Reusing,
}

/// A script being run.
pub struct Host {
    /// The interpreter, shared by all branches.
    pub engine: Arc<Engine>,
    /// Where async work runs.
    pub runtime: Handle,
    /// The run's stream of events.
    pub events: Events,
    /// The texts of the recipe.
    pub sources: Sources,
    /// Branches one after the other.
    pub sequential: bool,
    /// Where the script acts: target, parameters, outputs, folders.
    pub environment: Arc<Environment>,
    pub(super) table: Table,
    main: String,
    /// What steps have returned.
    pub memory: Memory,
    /// What the run takes over.
    pub takeover: Option<Arc<Takeover>>,
    /// Where steps are only planned.
    pub plan: Option<Arc<Plan>>,
    /// The variables of the script as it ended.
    variables: Mutex<Vec<(String, Dynamic)>>,
    steps: Arc<AtomicU64>,
    failed_groups: AtomicU64,
    groups: Mutex<HashMap<String, GroupFailure>>,
    pub(super) on_exit: Mutex<Vec<ExitHook>>,
}

pub(super) struct ExitHook {
    closure: FnPtr,
    #[expect(deprecated, reason = "Rhai marks what it calls volatile as deprecated; the version is pinned")]
    context: rhai::NativeCallContextStore,
    call: Call,
}

/// Rhai's own functions, which engines share.
static STANDARD: LazyLock<StandardPackage> = LazyLock::new(StandardPackage::new);

pub(super) fn engine(table: Table, sources: &Sources) -> Engine {
    let mut engine = Engine::new_raw();
    STANDARD.register_into_engine(&mut engine);
    engine
        // Constant folding loses the positions of keys in option maps.
        .set_optimization_level(OptimizationLevel::None)
        // Fast ones lose the position of an overflow or a division by zero.
        .set_fast_operators(false)
        // A misspelt key would be `()`, which as an option means "left out".
        .set_fail_on_invalid_map_property(true)
        .set_strict_variables(true)
        .set_max_call_levels(MOST_CALL_LEVELS)
        .set_max_expr_depths(DEEPEST_EXPRESSION, DEEPEST_EXPRESSION)
        .disable_symbol("eval")
        .set_module_resolver(Resolver::new(sources.clone()))
        .on_progress(on_progress)
        .on_print(|text| say(text.to_owned()))
        .on_debug(|text, source, at| say(format!("{}:{at}: {text}", source.unwrap_or_default())));
    limits::limit(&mut engine);
    failure::register(&mut engine);
    task::register(&mut engine);
    unknown::register(&mut engine);
    (table.types)(&mut engine);
    let natives = register::natives(&engine, (table.primitives)());
    for primitive in (table.primitives)() {
        register::register(&mut engine, primitive, &natives);
    }
    engine
}

fn say(text: String) {
    if let Some(branch) = Branch::current() {
        let text = limits::message(text, &branch.host.environment.taken);
        branch.host.events.emit(EventKind::Message { level: Level::Info, branch: branch.path, text });
    }
}

impl Host {
    /// A host for one run of `program`.
    #[must_use]
    pub fn new(
        program: &Program,
        runtime: Handle,
        events: Events,
        environment: Arc<Environment>,
        memory: Memory,
        sequential: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine: program.engine.clone(),
            runtime,
            events,
            sources: program.sources.clone(),
            sequential,
            environment,
            table: program.table,
            main: program.main.clone(),
            memory,
            takeover: None,
            plan: None,
            variables: Mutex::default(),
            steps: Arc::default(),
            failed_groups: AtomicU64::new(0),
            groups: Mutex::default(),
            on_exit: Mutex::default(),
        })
    }

    /// Runs the script to its end on a thread of its own and calls `done` there.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn run(
        self: &Arc<Self>,
        program: &Program,
        token: CancellationToken,
        done: impl FnOnce(Result<(), Box<EvalAltResult>>) + Send + 'static,
    ) -> std::io::Result<()> {
        let (host, ast, overriding) = (self.clone(), program.ast.clone(), program.overriding.clone());
        thread::Builder::new().name("script".to_owned()).stack_size(STACK).spawn(move || {
            let branch = Branch::main(host.clone(), token);
            let _entered = branch.clone().enter();
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let mut scope = Scope::new();
                let result = evaluate(&host.engine, &mut scope, &ast, overriding.as_deref());
                *host.variables.lock().unwrap_or_else(PoisonError::into_inner) = values(&scope);
                result
            }));
            let result =
                result.unwrap_or_else(|panic| Err(failure::raise(bug(panic.as_ref()), Position::NONE)));
            let result = match result.map_err(|error| *error) {
                Ok(_) | Err(EvalAltResult::Exit(..)) => Ok(Dynamic::UNIT),
                Err(error) => Err(error.into()),
            };
            done(branch.finish_tasks(result).map(drop));
        })?;
        Ok(())
    }

    /// Runs the closures given to `on_exit`, last first, on a thread of its own.
    ///
    /// # Errors
    /// The first error; the others are messages of the run. All closures run.
    pub fn run_exit_hooks(
        self: &Arc<Self>,
        token: CancellationToken,
        done: impl FnOnce(Result<(), Box<EvalAltResult>>) + Send + 'static,
    ) -> std::io::Result<()> {
        let host = self.clone();
        thread::Builder::new().name("on_exit".to_owned()).stack_size(STACK).spawn(move || {
            let branch = Branch { repeats: true, ..Branch::main(host.clone(), token) };
            let mut first = Ok(());
            loop {
                let Some(hook) = host.on_exit.lock().unwrap_or_else(PoisonError::into_inner).pop() else {
                    break;
                };
                let started = Started {
                    kind: StepKind::Phase,
                    primitive: "on_exit",
                    title: String::new(),
                    waits_for: None,
                };
                let step = started.emit(&branch, Some(hook.call.position.clone()));
                // A token of its own: a hook that fails cancels what it started
                // and leaves the others alone.
                let mut within = branch.within(step);
                within.token = branch.token.child_token();
                #[expect(deprecated, reason = "as above")]
                let context = hook.context.create_context(&host.engine);
                let result = run_branch(&within, &hook.call, || hook.closure.call_raw(&context, None, []));
                finish_step(&host, step, None, &result);
                match (result, &first) {
                    (Err(error), Ok(())) => first = Err(error),
                    (Err(error), Err(_)) => {
                        let text = format!("on_exit failed: {}", one_line(&error));
                        host.events.emit(EventKind::Message {
                            level: Level::Warning,
                            branch: "".into(),
                            text,
                        });
                    }
                    (Ok(_), _) => {}
                }
            }
            done(first);
        })?;
        Ok(())
    }

    /// Keeps `closure` for the end of the run.
    pub(crate) fn on_exit(&self, context: &NativeCallContext, call: Call, closure: &FnPtr) {
        #[expect(deprecated, reason = "as above")]
        let hook = ExitHook { closure: snapshot(closure), context: context.store_data(), call };
        self.on_exit.lock().unwrap_or_else(PoisonError::into_inner).push(hook);
    }

    /// Whether the script calls a function of this name anywhere.
    #[must_use]
    pub fn calls(&self, name: &str) -> bool {
        self.sources.calls(name)
    }

    /// Whether it may do so yet: what is typed entry by entry may.
    #[must_use]
    pub fn may_call(&self, name: &str) -> bool {
        self.calls(name) || !self.sources.trees().iter().any(|(key, _)| *key == self.main)
    }

    /// The variables of the script as it ended.
    #[must_use]
    pub fn variables(&self) -> Vec<(String, Dynamic)> {
        self.variables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same as JSON, but for what ends with this process, such as closures.
    #[must_use]
    pub fn kept_variables(&self) -> Vec<(String, serde_json::Value)> {
        let variables = self.variables().into_iter();
        variables.filter_map(|(name, value)| Some((name, (self.table.keep)(&value)?))).collect()
    }

    /// A value that was written down, with its handles opened again.
    ///
    /// # Errors
    /// When what a handle stands for is gone.
    pub async fn open(&self, value: serde_json::Value) -> Result<Dynamic, Failure> {
        (self.table.open)(value, self.environment.clone()).await
    }

    /// Takes over the variables of a script that ended elsewhere.
    pub fn set_variables(&self, variables: Vec<(String, Dynamic)>) {
        *self.variables.lock().unwrap_or_else(PoisonError::into_inner) = variables;
    }

    /// A host for another script in the same environment, whose steps are
    /// numbered on.
    #[must_use]
    pub fn beside(&self, program: &Program, memory: Memory) -> Arc<Self> {
        let (runtime, events) = (self.runtime.clone(), self.events.clone());
        let host = Self::new(program, runtime, events, self.environment.clone(), memory, self.sequential);
        let mut host = Arc::into_inner(host).unwrap_or_else(|| unreachable!("nobody else has it yet"));
        host.steps = self.steps.clone();
        Arc::new(host)
    }

    fn next_group(&self) -> u64 {
        self.failed_groups.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn next_step(&self) -> StepId {
        StepId(self.steps.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Wraps a branch's error in a call frame whose name refers to what became
    /// of the group. A frame is the one thing that travels with any error, also
    /// with values that a script throws, and leaves `catch` as it is.
    pub(super) fn frame_group(
        &self,
        group: GroupFailure,
        error: Box<EvalAltResult>,
        context: &NativeCallContext,
    ) -> Box<EvalAltResult> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        // Scripts that catch an error of the interpreter read this name in its message.
        let name = format!("branch `{}` of group {}", group.first, self.next_group());
        groups.insert(name.clone(), group);
        let source = context.call_source().unwrap_or_default().to_owned();
        EvalAltResult::ErrorInFunctionCall(name, source, error, context.call_position()).into()
    }

    /// What became of the group that a call frame refers to.
    pub(super) fn take_group(&self, frame: &str) -> Option<GroupFailure> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).remove(frame)
    }

    /// Explains an error of this script. Once only: what became of the branches
    /// of a failed group is handed over.
    #[must_use]
    pub fn diagnose(&self, error: &EvalAltResult) -> Diagnostic {
        Diagnostic::of(error, self, &self.main)
    }
}
