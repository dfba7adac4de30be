//! Values of a plan: what a step would return, which nobody knows before it runs.
//!
//! They can be handed on, and be parts of texts and sums. Where the script would
//! go one way or another by such a value, it is an error: the plan ends there.

use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Dynamic, Engine, EvalAltResult, Position};
use tokio::runtime::Handle;

use super::environment::Environment;
use super::failure::failure_of;
use super::host::Host;
use super::memory::Memory;
use super::program::Program;
use crate::run::event::SourcePosition;
use crate::run::{Events, Failure, Kind};

/// What scripts see as its type.
const TYPE: &str = "unknown";

/// What a step would return.
#[derive(Debug, Clone)]
pub(super) struct Unknown(pub Arc<str>);

/// What a plan has found out beside its steps.
#[derive(Default)]
pub struct Plan {
    ends: Mutex<Vec<End>>,
}

/// A place where the script goes on by a value that only a run has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The place.
    pub position: Option<SourcePosition>,
    /// The branch; empty for the main script.
    pub branch: String,
}

impl Plan {
    /// Where what follows is not known.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn end(&self, end: End) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        if !ends.contains(&end) {
            ends.push(end);
        }
    }
}

impl Host {
    /// A host whose steps are only planned, one branch after the other.
    #[must_use]
    pub fn planning(
        program: &Program,
        runtime: Handle,
        events: Events,
        environment: Arc<Environment>,
        plan: Arc<Plan>,
    ) -> Arc<Self> {
        let host = Self::new(program, runtime, events, environment, Memory::default(), true);
        let mut host = Arc::into_inner(host).unwrap_or_else(|| unreachable!("nobody else has it yet"));
        host.plan = Some(plan);
        Arc::new(host)
    }

    /// Whether a planned script has come to a value that only a run has; the
    /// place is noted then.
    pub fn ends_plan(&self, branch: &str, error: &EvalAltResult) -> bool {
        let Some(plan) = self.plan.as_ref().filter(|_| is_reading(error)) else { return false };
        let position = self.diagnose(error).position;
        plan.end(End { position, branch: branch.to_owned() });
        true
    }
}

/// Whether the script wanted to read such a value.
fn is_reading(error: &EvalAltResult) -> bool {
    let names = |text: &str| text.contains(TYPE);
    match error.unwrap_inner() {
        EvalAltResult::ErrorMismatchDataType(wanted, got, _) => names(wanted) || names(got),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => names(signature),
        EvalAltResult::ErrorFor(_) => true,
        EvalAltResult::ErrorDotExpr(why, _) => names(why),
        EvalAltResult::ErrorIndexingType(ty, _) => names(ty),
        _ => failure_of(error).is_some_and(|failure| failure.message.starts_with(READ)),
    }
}

/// Begins the message of the failure to read a value.
const READ: &str = "only a run knows";

fn read(value: &Unknown) -> Box<EvalAltResult> {
    read_at(value, Position::NONE)
}

fn read_at(value: &Unknown, at: Position) -> Box<EvalAltResult> {
    super::failure::raise(Failure::new(Kind::Script, format!("{READ} {}", value.0)), at)
}

/// A value, if it is one that is known before a run.
pub(super) fn readable(value: Dynamic, at: Position) -> Result<Dynamic, Box<EvalAltResult>> {
    let unknown = value.read_lock::<Unknown>().map(|unknown| read_at(&unknown, at));
    unknown.map_or(Ok(value), Err)
}

pub(super) fn register(engine: &mut Engine) {
    let part = |value: &mut Unknown, key: String| Unknown(format!("{}.{key}", value.0).into());
    engine
        .register_type_with_name::<Unknown>(TYPE)
        .register_fn("to_string", |value: &mut Unknown| format!("‹{}›", value.0))
        .register_fn("to_debug", |value: &mut Unknown| format!("‹{}›", value.0))
        .register_indexer_get(move |value: &mut Unknown, key: &str| part(value, key.to_owned()))
        .register_indexer_get(move |value: &mut Unknown, key: i64| part(value, key.to_string()));
    for operator in ["+", "-", "*", "/", "%"] {
        engine
            .register_fn(operator, |value: Unknown, _: Dynamic| value)
            .register_fn(operator, |_: Dynamic, value: Unknown| value);
    }
    for operator in ["==", "!=", "<", "<=", ">", ">="] {
        engine
            .register_fn(operator, |value: Unknown, _: Dynamic| Err::<bool, _>(read(&value)))
            .register_fn(operator, |_: Dynamic, value: Unknown| Err::<bool, _>(read(&value)));
    }
}

/// The name of such a value.
pub(super) fn name_of(value: &Dynamic) -> Option<String> {
    value.read_lock::<Unknown>().map(|value| value.0.rsplit(' ').next().unwrap_or_default().to_owned())
}

/// Whether a value is such a one.
pub(super) fn is_unknown(value: &Dynamic) -> bool {
    value.is::<Unknown>()
}
