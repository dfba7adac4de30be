//! Why a supervisor refuses a request, in words for the one who made it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::identity::ProcessId;
use super::protocol::User;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The program, or the interpreter that it names, does not exist.
    #[error("cannot start {name}: no program `{}`; install it or give its full path", program.display())]
    NoProgram {
        /// The process to be.
        name: String,
        /// As it was asked for.
        program: PathBuf,
    },
    /// The file is there, but what has to run it is not.
    #[error(
        "cannot start {name}: `{}` exists, but the interpreter of its first line or its dynamic loader does not",
        program.display()
    )]
    NoInterpreter {
        /// The process to be.
        name: String,
        /// As it was asked for.
        program: PathBuf,
    },
    /// The working directory is missing or is no directory.
    #[error("cannot start {name}: its working directory `{}` does not exist", cwd.display())]
    NoDirectory {
        /// The process to be.
        name: String,
        /// As it was asked for.
        cwd: PathBuf,
    },
    /// The log cannot be opened.
    #[error("cannot start {name}: its log `{}` cannot be opened: {reason}", log.display())]
    NoLog {
        /// The process to be.
        name: String,
        /// As it was asked for.
        log: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Any other reason of the system.
    #[error("cannot start {name}: `{}`{}: {reason}", program.display(), as_user(*.user))]
    NotStarted {
        /// The process to be.
        name: String,
        /// As it was asked for.
        program: PathBuf,
        /// Whom it should have run as.
        user: Option<User>,
        /// The system's words.
        reason: String,
    },
    /// A process of that name runs.
    #[error("{name} runs already (pid {}); stop it first, or use another name", process.pid)]
    NameTaken {
        /// The name.
        name: String,
        /// The running process.
        process: ProcessId,
    },
    /// No process of that name was started.
    #[error("no process is called {name}")]
    NoProcess {
        /// The name.
        name: String,
    },
    /// SIGKILL did not end them.
    #[error("not even SIGKILL ended {}; they wait in the kernel or belong to another user", pids(.processes))]
    Unkillable {
        /// What is left.
        processes: Vec<ProcessId>,
    },
    /// Somebody has the port.
    #[error("port {port} is taken{}; stop that, or choose another port", by(.holder.as_ref()))]
    PortTaken {
        /// The port.
        port: u16,
        /// Who has it, where this user may see that.
        holder: Option<PortHolder>,
    },
    /// The system refuses the port.
    #[error("port {port} cannot be used: {reason}")]
    PortRefused {
        /// The port.
        port: u16,
        /// The system's words.
        reason: String,
    },
    /// Every port of the range is taken.
    #[error("no free port on 127.0.0.1 from {first} to {last}; take some runs down with `recipe down`")]
    NoPort {
        /// First port of the range.
        first: u16,
        /// Last port of the range.
        last: u16,
    },
    /// The run directory is still there.
    #[error("everything is stopped, but `{}` could not be removed: {reason}", run_dir.display())]
    NotRemoved {
        /// The run directory.
        run_dir: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// Too late.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
    /// A line that is no [`Call`].
    #[error("the supervisor does not understand this request: {reason}")]
    NotUnderstood {
        /// What is wrong with it.
        reason: String,
    },
}

/// The process that has a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortHolder {
    /// Its pid.
    pub pid: i32,
    /// Its name. Not its arguments: they may hold secrets.
    pub command: String,
}

fn as_user(user: Option<User>) -> String {
    user.map(|user| format!(" as uid {}", user.uid)).unwrap_or_default()
}

fn by(holder: Option<&PortHolder>) -> String {
    holder.map(|holder| format!(" by {} (pid {})", holder.command, holder.pid)).unwrap_or_default()
}

fn pids(processes: &[ProcessId]) -> String {
    let pids: Vec<_> = processes.iter().map(|process| format!("pid {}", process.pid)).collect();
    pids.join(", ")
}
