//! Exit codes.

use crate::run::Kind;

/// All is well.
pub const DONE: u8 = 0;
/// The recipe failed.
pub const FAILED: u8 = 1;
/// The command line is wrong, or the recipe does not compile.
pub const USAGE: u8 = 2;
/// The target cannot be used: something it needs is missing.
pub const TARGET: u8 = 3;
/// A bug in recipe itself.
pub const BUG: u8 = 70;
/// Added to the number of the signal that ended a run.
pub const SIGNAL: u8 = 128;

/// The exit code for a failure of this sort.
#[must_use]
pub fn of(kind: Option<Kind>) -> u8 {
    match kind {
        Some(Kind::TargetUnusable) => TARGET,
        Some(Kind::Bug) => BUG,
        _ => FAILED,
    }
}
