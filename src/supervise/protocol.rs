//! What the supervisor and its clients say to each other: one JSON object a
//! line, in both directions, over a Unix socket.
//!
//! ```text
//! client                                   supervisor
//!        <── {"ready":{"version":1,..}}          first, once
//!   {"id":1,"request":{"spawn":{..}}} ──>
//!        <── {"reply":{"id":1,"result":{"Ok":{"spawned":{..}}}}}
//!        <── {"exited":{"name":"redis",..}}      whenever it happens
//! ```
//!
//! Replies come in any order: `stop` answers when the process is gone. Paths
//! and arguments are UTF-8.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::identity::ProcessId;

/// Version of these types. A client refuses a supervisor of another version.
pub const VERSION: u32 = 1;

/// A request with the number that its reply will carry.
#[derive(Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the client, unique on its connection.
    pub id: u64,
    /// What to do.
    pub request: Request,
}

/// What a client can ask for. Without `Debug`: environments hold secrets.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Start a process. Answers [`Reply::Spawned`].
    Spawn(Spawn),
    /// Stop a process and what is left of its tree. Answers [`Reply::Stopped`]
    /// when it is gone, at once if it ended before.
    Stop {
        /// The process.
        name: String,
    },
    /// Send a signal to a process, not to its group.
    Signal {
        /// The process.
        name: String,
        /// The signal.
        signal: Signal,
    },
    /// Reserve a TCP port on 127.0.0.1. Answers [`Reply::Port`].
    ReservePort {
        /// This one or none; without it any free one.
        preferred: Option<u16>,
    },
    /// Give a port back before the end of the run.
    ReleasePort {
        /// The port.
        port: u16,
    },
    /// Kill this process group, started by the client itself, at the end.
    Guard {
        /// The group's leader.
        leader: ProcessId,
        /// Whether it is asked alone to end, and has time to end the others.
        #[serde(default)]
        ends_its_children: bool,
    },
    /// Take a [`Request::Guard`] back. Send it before the leader is reaped.
    Unguard {
        /// The group's leader.
        leader: ProcessId,
    },
    /// Answers [`Reply::Status`].
    Status,
    /// Outlive the owner. A repeated request sets a new lease.
    Detach {
        /// End by itself after this many milliseconds.
        ttl_ms: Option<u64>,
        /// What to become then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<Successor>,
    },
    /// Stop everything, remove the run directory, answer, and end.
    Shutdown,
}

/// For how long a supervisor lets everything outlive its owner.
#[derive(Debug, Clone)]
pub struct Lease {
    /// How long.
    pub ttl: Duration,
    /// What the supervisor becomes when that is over and everything is stopped.
    pub successor: Option<Successor>,
}

/// The program that a supervisor becomes in the end, for what is left to do that
/// it knows nothing of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Successor {
    /// Its path.
    pub program: PathBuf,
    /// Arguments, without the program itself.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
}

/// A process to start.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spawn {
    /// Unique among the running processes of this supervisor.
    pub name: String,
    /// A path, or a name to look up in the `PATH` of `env`.
    pub program: PathBuf,
    /// Arguments, without the program itself.
    pub args: Vec<String>,
    /// The whole environment: nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// The working directory, which must exist.
    pub cwd: PathBuf,
    /// Whom to run it as; without it as the supervisor's own user.
    pub user: Option<User>,
    /// Where its output goes. Appended to; created 0600, as the supervisor's
    /// own user.
    pub log: PathBuf,
    /// How to end it.
    pub stop: StopPolicy,
    /// What the kernel sends it when the supervisor itself is killed (Linux
    /// only). Other than [`Signal::Kill`] it also says that a killed process
    /// would leave something behind: it then keeps its full grace even when
    /// the owner has died.
    pub on_supervisor_death: Signal,
    /// What it alone sees in a directory (Linux only).
    #[serde(default)]
    pub overlay: Option<Overlay>,
}

/// A directory in which a process sees what is in another one, which it cannot
/// change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// What it sees there. No path may have a comma, a colon or a backslash.
    pub lower: PathBuf,
    /// The directory. What the process changes is here for everybody.
    pub at: PathBuf,
    /// An empty directory of the same file system, for the kernel.
    pub work: PathBuf,
    /// On this file or directory the supervisor has a shared lock for as long as
    /// the process runs.
    pub lock: PathBuf,
}

/// An unprivileged user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id. There are no supplementary groups.
    pub gid: u32,
}

/// How a process is ended: a signal to its group, then SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopPolicy {
    /// The first signal.
    pub signal: Signal,
    /// Milliseconds from the first signal to SIGKILL.
    pub grace_ms: u64,
    /// At shutdown all processes of a wave stop together, lower waves first.
    #[serde(default)]
    pub wave: u8,
}

impl StopPolicy {
    /// The time from the first signal to SIGKILL.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

/// The signals that a client may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say all")]
pub enum Signal {
    Hup,
    Int,
    Quit,
    Term,
    Kill,
    Usr1,
    Usr2,
}

impl From<Signal> for nix::sys::signal::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Hup => Self::SIGHUP,
            Signal::Int => Self::SIGINT,
            Signal::Quit => Self::SIGQUIT,
            Signal::Term => Self::SIGTERM,
            Signal::Kill => Self::SIGKILL,
            Signal::Usr1 => Self::SIGUSR1,
            Signal::Usr2 => Self::SIGUSR2,
        }
    }
}

/// What the supervisor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The first message on every connection.
    Ready(Ready),
    /// The answer to the call of this id.
    Reply {
        /// The call's id.
        id: u64,
        /// Its outcome.
        result: Result<Reply, Failure>,
    },
    /// A process has ended, by itself or because it was stopped.
    Exited {
        /// Its name.
        name: String,
        /// Which one of that name.
        process: ProcessId,
        /// How it ended.
        exit: Exit,
    },
}

/// The supervisor introduces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Its [`VERSION`].
    pub version: u32,
    /// Its process.
    pub process: ProcessId,
}

/// A successful answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done, nothing to tell.
    Done,
    /// The process runs: its program has been executed.
    Spawned {
        /// The process, which is also the id of its process group.
        process: ProcessId,
    },
    /// The process is gone.
    Stopped {
        /// How it ended.
        exit: Exit,
    },
    /// The port is reserved until it is released or the supervisor ends.
    Port {
        /// The port.
        port: u16,
    },
    /// What the supervisor holds.
    Status(Status),
}

/// What a supervisor holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// In order of start; the last one of each name.
    pub processes: Vec<ProcessStatus>,
    /// Reserved ports, ascending.
    pub ports: Vec<u16>,
    /// Whether it goes on without its owner.
    pub detached: bool,
}

impl Status {
    /// The process of this name, while it runs.
    pub(super) fn running(&self, name: &str) -> Option<ProcessId> {
        let process = self.processes.iter().find(|process| process.name == name)?;
        process.ended.is_none().then_some(process.process)
    }
}

/// One process of a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// Its process.
    pub process: ProcessId,
    /// When it was started.
    pub since: Timestamp,
    /// When and how it ended; nothing while it runs.
    pub ended: Option<Ended>,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// When.
    pub at: Timestamp,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It ended by itself, with this exit code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Nobody knows: the supervisor itself is gone, and the process with it.
    Lost,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(number) {
                Ok(signal) => write!(f, "was ended by signal {number} ({signal})"),
                Err(_) => write!(f, "was ended by signal {number}"),
            },
            Self::Lost => f.write_str("was lost with its supervisor"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: ProcessId = ProcessId { pid: 7, start_time: 4711, boot: 1 };

    /// A detached supervisor may be older than its client: a change here needs
    /// another [`VERSION`].
    #[test]
    fn lines_look_like_this() {
        let call = Call { id: 1, request: Request::ReservePort { preferred: None } };
        let call = serde_json::to_string(&call).expect("plain");
        assert_eq!(call, r#"{"id":1,"request":{"reserve_port":{"preferred":null}}}"#);

        let messages = [
            Message::Ready(Ready { version: 1, process: PROCESS }),
            Message::Reply { id: 1, result: Ok(Reply::Spawned { process: PROCESS }) },
            Message::Reply { id: 2, result: Err(Failure::NoProcess { name: "db".into() }) },
            Message::Exited { name: "db".into(), process: PROCESS, exit: Exit::Code(3) },
        ];
        let lines: Vec<_> =
            messages.iter().map(|message| serde_json::to_string(message).expect("plain")).collect();
        let process = r#"{"pid":7,"start_time":4711,"boot":1}"#;
        assert_eq!(lines[0], format!(r#"{{"ready":{{"version":1,"process":{process}}}}}"#));
        assert_eq!(
            lines[1],
            format!(r#"{{"reply":{{"id":1,"result":{{"Ok":{{"spawned":{{"process":{process}}}}}}}}}}}"#)
        );
        assert_eq!(lines[2], r#"{"reply":{"id":2,"result":{"Err":{"no_process":{"name":"db"}}}}}"#);
        assert_eq!(
            lines[3],
            format!(r#"{{"exited":{{"name":"db","process":{process},"exit":{{"code":3}}}}}}"#)
        );
    }

    #[test]
    fn an_exit_reads_as_the_end_of_a_sentence() {
        assert_eq!(Exit::Code(3).to_string(), "exited with code 3");
        assert_eq!(Exit::Signal(9).to_string(), "was ended by signal 9 (SIGKILL)");
        assert_eq!(Exit::Signal(64).to_string(), "was ended by signal 64");
    }
}
