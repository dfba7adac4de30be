//! Waiting for a process: a typed probe, first after 1 ms, then with growing
//! gaps; ends at once when the process does.

use std::time::Duration;

use tokio::time::Instant;

use super::process::LocalProcess;
use crate::run::duration::show;
use crate::run::{Failure, Kind, Step};

/// Between two probes: soon at first, since a server takes 10 to 30 ms, and
/// gently later, since then something else is slow.
fn gap(waited: Duration) -> Duration {
    match waited.as_millis() {
        0..100 => Duration::from_millis(1),
        100..1000 => Duration::from_millis(10),
        _ => Duration::from_millis(50),
    }
}

/// Asks `probe` until it answers. What it last said when it did not is told
/// when time runs out.
pub(super) async fn wait<T, F>(
    process: &LocalProcess,
    step: &Step,
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, String>>,
{
    step.waiting(what);
    let began = Instant::now();
    let mut last = "it has not answered anything yet".to_owned();
    let answered = async {
        loop {
            match probe().await {
                Ok(value) => return value,
                Err(why) => {
                    tracing::trace!(process = &*process.name, why, "not ready");
                    last = why;
                }
            }
            tokio::time::sleep(gap(began.elapsed())).await;
        }
    };
    tokio::select! {
        biased;
        value = tokio::time::timeout(timeout, answered) => value.map_err(|_| {
            let name = &process.name;
            Failure::new(Kind::Timeout, format!("`{name}` was not ready within {}: {what}", show(timeout)))
                .hint(format!("`recipe logs RUN {name}` shows its log; the option `timeout` gives it more time"))
                .evidence(process.tail())
                .cause(std::io::Error::other(last))
        }),
        failure = process.died() => Err(failure),
    }
}
