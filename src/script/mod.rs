//! The script layer: Rhai, embedded.
//!
//! A script blocks from top to bottom; each branch of a group and each task is
//! a thread of its own with a [`Branch`](branch::Branch), and primitives are
//! entries of one table that run as steps on the async runtime.
//!
//! Rhai is pinned to 1.25.1: since 1.26 a closure that leaves its module no
//! longer finds that module's functions, and a script's own `f.call()` of such
//! a closure cannot be repaired from the host. Recipes share steps as modules
//! that return closures, so this must work.

pub mod arguments;
mod branch;
pub mod call;
mod check;
pub mod diagnostic;
pub mod entry;
mod environment;
mod explain;
mod failure;
#[cfg(test)]
mod fuzz_tests;
pub mod host;
pub mod interactive;
pub mod json;
mod limits;
mod malformed;
mod memory;
pub mod modules;
pub(crate) mod parallel;
pub mod primitive;
pub mod program;
mod register;
mod render;
mod resolver;
mod reuse;
mod show;
mod snapshot;
pub mod sources;
mod subjects;
pub mod suggest;
mod syntax;
pub(crate) mod task;
pub mod tokens;
mod trust;
pub mod unknown;

pub use arguments::Arguments;
pub use branch::Branch;
pub use call::Call;
pub use check::{Finding, Site};
pub use diagnostic::Diagnostic;
pub use environment::{Environment, workspace_of};
pub use host::{Host, Table};
pub use interactive::Interactive;
pub use limits::{Limits, Taken};
pub use memory::{Memory, Remembered};
pub use primitive::{Family, Opt, Param, Primitive, Reach, Run, Type};
pub use program::Program;
pub use reuse::{Policy, Reusing, Takeover};
pub use trust::Trust;
pub use unknown::Plan;
