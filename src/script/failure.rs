//! Failures as scripts see them.

use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Position};

use crate::run::Failure;

/// The failure as Rhai carries it. Scripts can catch it.
pub(super) fn raise(failure: Failure, at: Position) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(Dynamic::from(failure), at).into()
}

/// The failure inside a script error, if it is one.
pub(crate) fn failure_of(error: &EvalAltResult) -> Option<Failure> {
    match error.unwrap_inner() {
        // The latter is what the interpreter makes of a limit that is passed.
        EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _) => {
            value.clone().try_cast::<Failure>()
        }
        _ => None,
    }
}

/// Makes failures readable to scripts, under the names Rhai uses for its own
/// errors where both have a field (`message`, `line`).
pub(super) fn register(engine: &mut Engine) {
    fn text(value: impl Into<ImmutableString>) -> Dynamic {
        value.into().into()
    }
    engine
        .register_type_with_name::<Failure>("Error")
        .register_get("kind", |e: &mut Failure| text(e.kind.name()))
        .register_get("message", |e: &mut Failure| text(e.message.clone()))
        .register_get("hint", |e: &mut Failure| e.hint.clone().map_or(Dynamic::UNIT, text))
        .register_get("primitive", |e: &mut Failure| text(&*e.primitive))
        .register_get("branch", |e: &mut Failure| text(&*e.branch))
        .register_get("causes", |e: &mut Failure| e.causes().into_iter().map(text).collect::<Array>())
        .register_get("evidence", |e: &mut Failure| e.evidence.iter().cloned().map(text).collect::<Array>())
        .register_get("file", |e: &mut Failure| e.position.as_ref().map_or(Dynamic::UNIT, |p| text(&*p.file)))
        .register_get("line", |e: &mut Failure| line(e.position.as_ref().map(|p| p.line)))
        .register_get("column", |e: &mut Failure| line(e.position.as_ref().map(|p| p.column)))
        .register_fn("to_string", |e: &mut Failure| e.to_string())
        .register_fn("to_debug", |e: &mut Failure| format!("Error({e})"));
}

fn line(number: Option<usize>) -> Dynamic {
    number.and_then(|n| i64::try_from(n).ok()).map_or(Dynamic::UNIT, Dynamic::from)
}
