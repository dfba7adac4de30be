//! The supervisor of local processes: a process of its own that starts, watches
//! and ends the servers and services of one run, and that cannot be outlived by
//! them.
//!
//! `recipe` starts itself again as `recipe __supervise RUN_DIR` and talks to it
//! over a socket ([`protocol`]). When `recipe` dies, however that happens, the
//! socket closes, and the supervisor stops everything and removes the run
//! directory. What happens when one of them is killed:
//!
//! | SIGKILL to | processes | run directory |
//! |---|---|---|
//! | the owner | all stopped, by their policies in short, also what it had started itself | removed |
//! | the supervisor | its children get a signal from the kernel (Linux) | stays, for `recipe gc` |
//!
//! The supervisor has one thread, is the leader of its own session, and adopts
//! orphaned descendants (Linux), so that daemons cannot slip away. It knows
//! nothing of Rhai, events, or of what it runs.
//!
//! # Layout
//! `shim` is the supervisor; `clients` (who is connected), `process`, `teardown`,
//! `overlay` (directories without a copy), `marked` (who else belongs to the
//! run), `shared_memory` (what a killed PostgreSQL leaves) and `ports` (with
//! `claim` and `port_holder`) are its parts.
//! `client` is the other side, on top of `connection`. Both share [`protocol`],
//! `failure` and `identity`.

mod claim;
mod client;
mod clients;
mod connection;
mod failure;
mod identity;
mod marked;
mod overlay;
mod port_holder;
mod ports;
mod process;
pub mod protocol;
mod shared_memory;
mod shim;
mod teardown;
mod unchecked;

use std::path::{Path, PathBuf};

pub use client::{Process, Supervisor, SupervisorError};
pub use failure::{Failure, PortHolder};
pub use identity::ProcessId;
pub use marked::{MARK_VARIABLE, end_marked, marked};
pub use overlay::remove_all;
pub use protocol::{Exit, Lease, Overlay, ProcessStatus, Signal, Spawn, Status, StopPolicy, Successor, User};
pub use shared_memory::SharedMemory;
pub use shim::run_shim;
pub use unchecked::inherited;

/// The hidden subcommand that has to call [`run_shim`].
pub const SUBCOMMAND: &str = "__supervise";

/// Where the supervisor of this run directory can be reached, by its own user.
#[must_use]
pub fn socket_path(run_dir: &Path) -> PathBuf {
    run_dir.join("supervisor.sock")
}
