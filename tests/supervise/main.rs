//! The supervisor as it is used: the real program, real processes, real kills.

mod death;
mod harness;
mod ports;
mod postgres;
mod processes;
