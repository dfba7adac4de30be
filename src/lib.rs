//! `recipe` sets up end-to-end test environments from short Rhai scripts.
//!
//! # Layout
//! One chain of layers, each knowing only those to its right:
//! `main → commands → primitives → script → targets → run`, and beside it
//! `commands → report → run::event`.

pub mod migrate;
pub mod primitives;
pub mod report;
pub mod run;
pub mod script;
pub mod supervise;
pub mod targets;
