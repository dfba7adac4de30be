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
