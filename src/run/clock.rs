//! Time in which recipe runs. While it is stopped (Ctrl-Z, SIGSTOP), the clocks
//! of the machine go on, but nothing of it counts: neither did its work.

use std::time::Duration;

use tokio::time::Instant;

/// A longer sleep is slept in parts of this, of which a stop can only make one
/// too long.
const PART: Duration = Duration::from_millis(250);
/// What is slept longer than that was a stop, not a busy machine.
const STOPPED: Duration = Duration::from_secs(1);

/// The time was over before the work.
#[derive(Debug)]
pub struct OutOfTime;

/// Waits until `time` has passed.
pub async fn sleep(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let (part, began) = (left.min(PART), Instant::now());
        tokio::time::sleep(part).await;
        let took = began.elapsed();
        left = left.saturating_sub(if took > part + STOPPED { part } else { took });
    }
}

/// Does `work`, for no longer than `limit`.
///
/// # Errors
/// When it took longer; it is dropped then.
pub async fn timeout<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, OutOfTime> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = sleep(limit) => Err(OutOfTime),
    }
}
