//! Readiness and diagnostics on a real cluster.

#[path = "../support/cluster.rs"]
mod cluster;
mod diagnostics;
mod doomed;
mod late;
mod lost;
mod ready;

use std::time::Duration;

/// Longer than anything here takes on a slow machine.
const LONG: Duration = Duration::from_secs(240);
