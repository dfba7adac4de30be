//! How a watch is kept up.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// Seconds after which a watch is begun anew where it was, so that a connection
/// that died silently is noticed.
pub(in crate::targets::kubernetes) const RENEWAL: u32 = 30;

/// The pauses until the API is asked again: short, since somebody waits for it.
pub(in crate::targets::kubernetes) struct Pauses(Duration);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);
}

impl Default for Pauses {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(Self::LONGEST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}
