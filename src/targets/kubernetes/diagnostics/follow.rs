//! Follows the logs of pods from their start.

use crate::run::{RunFolder, Secrets};
use crate::targets::kubernetes::Space;

/// Follows the logs of all pods of a space; stops when dropped.
pub struct Follower {}

impl Follower {
    /// Begins.
    #[must_use]
    pub fn start(_space: &Space, _folder: &RunFolder, _secrets: Secrets) -> Self {
        Self {}
    }
}
