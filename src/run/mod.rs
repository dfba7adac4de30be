//! A run: its events, its folder, its child processes and its failures.
//!
//! Knows neither Rhai, Kubernetes nor terminals.

pub mod child;
pub mod clock;
pub mod disk;
pub mod dispatcher;
pub mod duration;
pub mod event;
pub mod failure;
pub mod folder;
pub mod foreground;
pub mod journal;
pub mod machine;
mod output;
mod program;
pub mod scratch;
pub mod secrets;
pub mod signal;
pub mod step;

pub use dispatcher::{Dispatcher, Events, Reporter};
pub use event::{Event, EventKind, Outcome, StepId};
pub use failure::{Excerpt, Failure, Kind};
pub use folder::RunFolder;
pub use journal::Journal;
pub use program::{find_program, not_executed};
pub use secrets::Secrets;
pub use step::Step;
