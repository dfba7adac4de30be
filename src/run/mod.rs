//! A run: its events, its folder, its journal and how it is cancelled.
//!
//! Knows neither Rhai, Kubernetes nor terminals.

pub mod dispatcher;
pub mod event;
pub mod secrets;

pub use dispatcher::{Dispatcher, Events, Reporter};
pub use event::{Event, EventKind, Outcome, StepId};
pub use secrets::Secrets;
