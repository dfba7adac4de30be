//! Brings a PostgreSQL database to the schema that a folder of migrations describes.
//!
//! [`read`] turns a folder into a [`Plan`] and finds all that is wrong without a database; [`apply`]
//! applies what the database does not have yet. It knows PostgreSQL and files, and nothing of
//! scripts, events or terminals.
//!
//! ```text
//! discover   folder -> files, their style      goose, named   files -> migrations
//! statements text -> statements                script         statements <-> places in the file
//! ledger     tables of versions, drift         apply          lock, transactions, progress
//! ```

mod apply;
mod discover;
mod envsub;
mod failure;
#[cfg(test)]
mod fuzz_tests;
mod goose;
mod ledger;
mod named;
mod plan;
mod script;
mod statements;

pub use apply::{Applied, ApplyError, Progress, apply};
pub use discover::FolderError;
pub use envsub::EnvsubError;
pub use failure::StatementError;
pub use goose::GooseError;
pub use ledger::{Drift, TableError};
pub use named::NameError;
pub use plan::{Format, Migration, Plan, PlanError, Style, TextError, UnknownFormat, read};
pub use script::{Location, ScriptError};
pub use statements::SplitProblem;
