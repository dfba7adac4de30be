//! Waiting for a process: a typed probe, which ends at once when the process
//! does.

use std::time::Duration;

use crate::run::{Failure, Step};
use crate::targets::probe;
use crate::targets::process::SupervisedProcess;

/// Asks `probe` until it answers, or the process has ended, or time runs out.
pub(super) async fn wait<T, F>(
    process: &SupervisedProcess,
    step: &Step,
    what: &str,
    timeout: Duration,
    probe: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, String>>,
{
    step.waiting(what);
    let name = &process.name;
    tokio::select! {
        biased;
        answered = probe::answer(name, what, timeout, probe) => answered.map_err(|failure| {
            failure
                .hint(format!("`recipe logs RUN {name}` shows its log; the option `timeout` gives it more time"))
                .evidence(process.tail())
        }),
        failure = process.died() => Err(failure),
    }
}
