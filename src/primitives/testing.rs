//! Primitives for recipe's own tests. Not in release builds.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use futures::FutureExt;
use tokio::sync::Barrier;

use super::{DONE, Done};
use crate::script::{Arguments, Call, Family, Param, Primitive, Reach, Run, Type};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "test_barrier",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("name", Type::String), Param::new("count", Type::Count)],
        options: &[],
        returns: "",
        doc: "Waits until `count` branches wait at the barrier: passes only if they are alive together.",
        example: r#"parallel([|| test_barrier("both", 2), || test_barrier("both", 2)]);"#,
        run: Run::Step(|call, args| barrier(call, args).boxed()),
    },
    Primitive {
        name: "test_panic",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("message", Type::String)],
        options: &[],
        returns: "",
        doc: "Panics, as a bug in a primitive would.",
        example: r#"try { test_panic("oh no"); } catch (e) { print(e.kind); }"#,
        run: Run::Step(|_, args| async move { panic!("{}", args.text("message")) }.boxed()),
    },
];

async fn barrier(_call: Call, args: Arguments) -> Done {
    static BARRIERS: LazyLock<Mutex<HashMap<String, Arc<Barrier>>>> = LazyLock::new(Mutex::default);
    let count = args.count("count").unwrap_or_default();
    let barrier = BARRIERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .entry(args.text("name"))
        .or_insert_with(|| Arc::new(Barrier::new(count)))
        .clone();
    barrier.wait().await;
    DONE
}
