//! Readers of a run's events: the progress shown while it runs, the record
//! that is kept, and what is made of either at the end.
//!
//! ```text
//!             ┌─> Record ────────> events.jsonl ──read──┐
//!  events ────┼─> Plain or Live ─> stderr               │
//!             └─> Model <───────────────────────────────┘
//!                   └─> critical path, timeline, summary
//! ```
//!
//! Everything on the right works the same from a live run and from a record.

mod critical_path;
mod line;
mod model;
mod narration;
mod outline;
mod plain;
mod record;
#[cfg(test)]
mod sample;
mod slack;
mod summary;
mod timeline;

pub use critical_path::{CriticalPath, Segment, sequential_ms};
pub use line::duration;
pub use model::{Finished, Message, Model, Progress, Resource, SharedModel, Step, Wait};
pub use plain::Plain;
pub use record::{ReadError, Record, read};
pub use slack::slack_ms;
pub use summary::{StepSummary, Summary};
pub use timeline::timeline;

/// How much a progress report says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Also steps as they end, phases and messages.
    #[default]
    Normal,
    /// Also the output of child processes, resources and cache misses.
    Verbose,
}
