//! `recipe` sets up end-to-end test environments from short Rhai scripts.
//!
//! # Layout
//!
//! One chain of layers, each knowing only those below it:
//!
//! | layer | what it is |
//! |---|---|
//! | [`commands`] | one file for each subcommand: wires the others together |
//! | [`primitives`] | the table of what recipes can call, a file for each family |
//! | [`script`] | Rhai: branches, tasks, arguments, errors with their place |
//! | [`targets`] | where things are set up, and the handles on them |
//! | [`run`] | events, the run's folder, child processes, failures |
//! | [`supervise`] | the process that owns local servers and services |
//!
//! Beside the chain, [`report`] reads the events of a run and knows only
//! `run::event`, and [`migrate`] knows PostgreSQL and files alone. Below them all is
//! [`fault`], by which tests of debug builds make fail what a run uses.

#[cfg(test)]
mod arbitrary;
pub mod cli;
pub mod commands;
pub mod exit;
pub mod fault;
pub mod migrate;
pub mod primitives;
pub mod report;
pub mod run;
pub mod script;
pub mod settings;
pub mod supervise;
pub mod targets;
mod tell;

pub use commands::main;
pub use rhai::{Dynamic, Map};
pub use run::{Failure, Kind};

/// The `recipe` command with primitives of a team's own beside recipe's; see
/// `examples/embedding.rs`. The binary that calls it is its own supervisor.
#[must_use]
pub fn main_with(own: &'static [script::Primitive]) -> std::process::ExitCode {
    primitives::register(own);
    main()
}
