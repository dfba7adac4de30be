//! Registration of the table with the interpreter.

use std::any::TypeId;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rhai::FuncInfo;
use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext};

use super::arguments::{Arguments, Misfit};
use super::branch::Branch;
use super::call::{Call, bug};
use super::primitive::{Primitive, Run};
use crate::fault;

/// Values that are different each time, or given from outside: a run that is
/// resumed has them as they were.
const REMEMBERED: [&str; 3] = ["random_port", "random_password", "param"];

/// What a plan leaves out although it is no step.
const EFFECTS: [&str; 4] = ["write_file", "output", "wait_for", "sleep"];

/// A function of Rhai's own: its name and the types that it takes.
pub(super) type Native = (String, Vec<TypeId>);

/// Functions of Rhai's own that are called as one of `primitives` is. They take
/// certain types and would win for those: `sleep(60)` would be Rhai's, which
/// nothing can stop, and `sleep("60s")` ours.
pub(super) fn natives(engine: &Engine, primitives: impl Iterator<Item = &'static Primitive>) -> Vec<Native> {
    let names: HashSet<_> = primitives.map(|primitive| primitive.name).collect();
    let native = |info: FuncInfo<'_>| {
        let name = info.metadata.name.to_string();
        names.contains(name.as_str()).then(|| (name, info.metadata.param_types.to_vec()))
    };
    engine.collect_fn_metadata(None, native, true)
}

/// Makes `primitive` callable with each number of arguments it takes.
///
/// The types are left open here and checked by [`Arguments`], whose errors name
/// the parameter; Rhai's own would only say that no such function exists.
/// Of `natives` it takes the place, where they have its name.
pub(super) fn register(engine: &mut Engine, primitive: &'static Primitive, natives: &[Native]) {
    let (least, most) = primitive.arity();
    let open = (least..=most).map(|count| vec![TypeId::of::<Dynamic>(); count]);
    let shadowed = natives
        .iter()
        .filter(|(name, types)| name == primitive.name && (least..=most).contains(&types.len()));
    for types in open.chain(shadowed.map(|(_, types)| types.clone())) {
        engine.register_raw_fn(
            primitive.name,
            types,
            move |context: NativeCallContext, values: &mut [&mut Dynamic]| {
                // Copied, not taken: in `handle.method()` the first is the variable itself.
                let values = values.iter().map(|value| value.flatten_clone()).collect();
                invoke(primitive, &context, values)
            },
        );
    }
}

fn invoke(
    primitive: &'static Primitive,
    context: &NativeCallContext,
    values: Vec<Dynamic>,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let at = context.call_position();
    let Some(branch) = Branch::current() else {
        return Err(format!("`{}` can only be called while a recipe runs", primitive.name).into());
    };
    if branch.token.is_cancelled() {
        return Err(Branch::cancelled(at));
    }
    let call = Call::new(primitive.name, branch, context);
    let arguments = Arguments::read(primitive, values, context.engine()).map_err(
        |Misfit { failure, option, argument }| {
            call.raise(call.locate_argument(failure, argument, option.as_deref()))
        },
    )?;
    call.host().environment.admits(primitive, &arguments).map_err(|(failure, option)| {
        let last = primitive.params.len().saturating_sub(1);
        call.raise(match option {
            Some(_) => call.locate_argument(failure, last, option),
            None => failure,
        })
    })?;
    let is_planned = call.host().plan.is_some()
        && match primitive.run {
            Run::Step(_) => true,
            Run::Value(_) | Run::Control(_) => EFFECTS.contains(&primitive.name),
        };
    if is_planned {
        return call.plan(primitive, &arguments);
    }
    let _faults = fault::during(primitive.name);
    match primitive.run {
        Run::Step(run) => call.step(primitive, arguments, run),
        Run::Value(run) if REMEMBERED.contains(&primitive.name) => {
            guarded(&call, || call.remembered(primitive, &arguments, run))
        }
        Run::Value(run) => guarded(&call, || run(&call, &arguments).map_err(|failure| call.raise(failure))),
        Run::Control(run) => run(context, call, &arguments),
    }
}

/// Runs host code that may be wrong: a panic becomes a failure.
fn guarded(
    call: &Call,
    run: impl FnOnce() -> Result<Dynamic, Box<EvalAltResult>>,
) -> Result<Dynamic, Box<EvalAltResult>> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(call.raise(bug(panic.as_ref()))))
}
