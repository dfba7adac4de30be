//! Captured variables, taken as a snapshot when a branch forks off.
//!
//! Rhai turns a captured variable into one cell shared by all closures and the
//! parent, behind a lock that gives up after 50 ms and holds for the whole of a
//! method call. Two branches calling `db.query(..)` on one captured `db` would
//! fail with "data race detected", and two that assign would lose updates. So
//! each branch gets cells of its own, and their values are read-only: a write
//! is an error at its line instead of a change that nobody sees.

use rhai::{Array, Dynamic, FnPtr, Map};

/// `closure` with its captures replaced by private, read-only copies.
#[must_use]
pub(super) fn snapshot(closure: &FnPtr) -> FnPtr {
    let mut closure = closure.clone();
    // Arguments are bound read-write, so the read-only mark must sit on the
    // value inside a shared cell to survive.
    let captures: Vec<_> =
        closure.iter_curry().map(|value| unshare(value).into_read_only().into_shared()).collect();
    closure.set_curry(captures);
    closure
}

fn unshare(value: &Dynamic) -> Dynamic {
    let value = value.flatten_clone();
    if value.is_array() {
        value.cast::<Array>().iter().map(unshare).collect::<Array>().into()
    } else if value.is_map() {
        value.cast::<Map>().into_iter().map(|(key, value)| (key, unshare(&value))).collect::<Map>().into()
    } else if value.is_fnptr() {
        Dynamic::from(snapshot(&value.cast::<FnPtr>()))
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use rhai::{Engine, EvalAltResult};

    use super::*;

    fn call(script: &str, count: usize) -> Vec<Result<Dynamic, Box<EvalAltResult>>> {
        let engine = Engine::new();
        let ast = engine.compile(script).unwrap();
        let closure = engine.eval_ast::<FnPtr>(&ast).unwrap();
        (0..count).map(|_| snapshot(&closure).call(&engine, &ast, ())).collect()
    }

    #[test]
    fn each_snapshot_starts_from_the_captured_value() {
        let results = call("let list = [1]; || { let mine = list; mine.push(2); mine.len() }", 2);
        for result in results {
            assert_eq!(result.unwrap().as_int().unwrap(), 2);
        }
    }

    #[test]
    fn captures_are_read_only_at_any_depth() {
        for script in [
            "let n = 1; || { n += 1; }",
            "let list = [1]; || { list.push(2); }",
            "let n = 1; let add = || { n += 1; }; || add.call()",
            "let n = 1; let tools = #{ list: [|| { n += 1; }] }; || tools.list[0].call()",
        ] {
            let error = call(script, 1).remove(0).unwrap_err();
            let inner = error.unwrap_inner();
            let read_only = matches!(
                inner,
                EvalAltResult::ErrorAssignmentToConstant(..)
                    | EvalAltResult::ErrorNonPureMethodCallOnConstant(..)
            );
            assert!(read_only && !inner.position().is_none(), "{script}: {inner:?}");
        }
    }
}
