//! The client's side: [`Supervisor`] and the [`Process`]es that it runs.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::watch;

use super::connection::{Connection, Spawning};
use super::failure::Failure;
use super::identity::ProcessId;
use super::process::not_started;
use super::protocol::{Exit, Lease, Reply, Request, Signal, Spawn, Status, VERSION};
use super::{SUBCOMMAND, socket_path};
use crate::fault::{self, Seam};

/// What goes wrong between a client and a supervisor.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Sockets have short names.
    #[error("the run directory `{}` has too long a path for a socket in it; use one of at most {max} bytes", path.display())]
    LongPath {
        /// The run directory.
        path: PathBuf,
        /// The longest one possible.
        max: usize,
    },
    /// The supervisor cannot be executed.
    #[error("cannot start a supervisor from `{}`", exe.display())]
    Launch {
        /// The program.
        exe: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("cannot reach a supervisor at `{}`; it may have ended", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It ended before it said that it is ready.
    #[error("the supervisor of `{}` did not come up: {log}", run_dir.display())]
    NotReady {
        /// The run directory.
        run_dir: PathBuf,
        /// What it wrote before it ended.
        log: String,
    },
    /// It was started by another version of recipe.
    #[error(
        "the supervisor (pid {pid}) speaks version {found} of the protocol, this recipe version {VERSION}; end it with `kill {pid}`"
    )]
    Version {
        /// Its version.
        found: u32,
        /// Its pid.
        pid: i32,
    },
    /// It ended while it was needed.
    #[error("the supervisor (pid {pid}) is gone{how}; `recipe down` removes what it left")]
    Gone {
        /// Its pid.
        pid: i32,
        /// How it ended, if that is known.
        how: String,
    },
    /// A path or an argument is not UTF-8.
    #[error("cannot be told to the supervisor")]
    NotText(#[source] serde_json::Error),
    /// A fault of the supervisor.
    #[error("the supervisor gave the answer to another question: {0:?}")]
    Misfit(Box<Reply>),
    /// It refused.
    #[error(transparent)]
    Refused(#[from] Failure),
}

/// A connection to a supervisor; cheap to clone, usable from any thread.
///
/// When the one who started it drops the last clone, also inside a [`Process`],
/// without [`Supervisor::detach`], the supervisor ends everything.
#[derive(Clone)]
pub struct Supervisor {
    connection: Arc<Connection>,
}

impl Supervisor {
    /// Starts a supervisor from `exe`, whose [`SUBCOMMAND`] calls
    /// [`super::run_shim`], and becomes its owner. `run_dir` must exist; the
    /// supervisor removes it in the end. Returns when it is ready.
    ///
    /// # Errors
    /// [`SupervisorError::LongPath`], [`SupervisorError::Launch`] and
    /// [`SupervisorError::NotReady`]; `run_dir` stays then.
    pub async fn start(exe: &Path, run_dir: &Path) -> Result<Self, SupervisorError> {
        let supervisor = Self::launch(exe, run_dir)?;
        supervisor.connection.ready().await?;
        Ok(supervisor)
    }

    /// As [`Self::start`], without waiting: calls do, and tell if it cannot work.
    /// To be called in a runtime.
    ///
    /// # Errors
    /// [`SupervisorError::LongPath`] and [`SupervisorError::Launch`]; `run_dir`
    /// stays then.
    pub fn launch(exe: &Path, run_dir: &Path) -> Result<Self, SupervisorError> {
        let launch = |source| SupervisorError::Launch { exe: exe.to_owned(), source };
        let run_dir = std::path::absolute(run_dir).map_err(launch)?;
        check_length(&run_dir)?;
        let log = run_dir.join("supervisor.log");
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(launch)?;
        ours.set_nonblocking(true).map_err(launch)?;
        let child = Command::new(exe)
            .arg(SUBCOMMAND)
            .arg(&run_dir)
            // It may run for days: it shall not keep the secrets of a shell.
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).map_err(launch)?)
            .spawn()
            .map_err(launch)?;
        let stream = UnixStream::from_std(ours).map_err(launch)?;
        // It cannot have vanished: nobody has reaped it.
        let process = child.id().and_then(|pid| ProcessId::of(i32::try_from(pid).ok()?));
        let process = process.ok_or_else(|| launch(io::Error::other("/proc is not mounted")))?;
        Ok(Self { connection: Arc::new(Connection::launched(stream, child, process, &run_dir)) })
    }

    /// Connects to the supervisor of `run_dir`, for as long as it exists.
    ///
    /// # Errors
    /// [`SupervisorError::Connect`] and [`SupervisorError::Version`].
    pub async fn connect(run_dir: &Path) -> Result<Self, SupervisorError> {
        let socket = socket_path(run_dir);
        let stream = UnixStream::connect(&socket).await;
        let stream = stream.map_err(|source| SupervisorError::Connect { socket, source })?;
        Ok(Self { connection: Arc::new(Connection::open(stream, run_dir).await?) })
    }

    /// The supervisor's own process.
    #[must_use]
    pub fn process(&self) -> ProcessId {
        self.connection.supervisor()
    }

    /// Starts a process. Returns when its program has been executed. If the
    /// future is dropped before, the process is stopped again.
    ///
    /// # Errors
    /// A [`Failure`] that tells what could not be started and why.
    pub async fn spawn(&self, spec: Spawn) -> Result<Process, SupervisorError> {
        fault::at(Seam::Server).await.map_err(|error| not_started(&spec, &error))?;
        let name = spec.name.clone();
        let (sender, exit) = watch::channel(None);
        let spawning = Spawning { name: name.clone(), exit: sender };
        match self.connection.call(Request::Spawn(spec), Some(spawning)).await? {
            Reply::Spawned { process: id } => Ok(Process { name, id, exit, supervisor: self.clone() }),
            other => Err(SupervisorError::Misfit(Box::new(other))),
        }
    }

    /// A running process that another client has started; none where no such
    /// runs.
    ///
    /// # Errors
    /// None of its own.
    pub async fn adopt(&self, name: &str) -> Result<Option<Process>, SupervisorError> {
        let (sender, exit) = watch::channel(None);
        let spawning = Spawning { name: name.to_owned(), exit: sender };
        match self.connection.call(Request::Status, Some(spawning)).await? {
            Reply::Status(status) => Ok(status.running(name).map(|process| Process {
                name: name.to_owned(),
                id: process,
                exit,
                supervisor: self.clone(),
            })),
            other => Err(SupervisorError::Misfit(Box::new(other))),
        }
    }

    /// Stops a process by its policy, and waits until it is gone.
    ///
    /// # Errors
    /// [`Failure::NoProcess`], [`Failure::Unkillable`].
    pub async fn stop(&self, name: &str) -> Result<Exit, SupervisorError> {
        match self.connection.call(Request::Stop { name: name.to_owned() }, None).await? {
            Reply::Stopped { exit } => Ok(exit),
            other => Err(SupervisorError::Misfit(Box::new(other))),
        }
    }

    /// Sends a signal to a process, if it still runs.
    ///
    /// # Errors
    /// [`Failure::NoProcess`].
    pub async fn signal(&self, name: &str, signal: Signal) -> Result<(), SupervisorError> {
        self.tell(Request::Signal { name: name.to_owned(), signal }).await
    }

    /// Reserves a TCP port on 127.0.0.1 until the end of the run: `preferred`,
    /// or any that no other run and no server has.
    ///
    /// # Errors
    /// [`Failure::PortTaken`], [`Failure::PortRefused`], [`Failure::NoPort`].
    pub async fn reserve_port(&self, preferred: Option<u16>) -> Result<u16, SupervisorError> {
        match self.connection.call(Request::ReservePort { preferred }, None).await? {
            Reply::Port { port } => Ok(port),
            other => Err(SupervisorError::Misfit(Box::new(other))),
        }
    }

    /// Gives a port back.
    ///
    /// # Errors
    /// None of its own.
    pub async fn release_port(&self, port: u16) -> Result<(), SupervisorError> {
        self.tell(Request::ReleasePort { port }).await
    }

    /// Has the supervisor end a process group that this process has started,
    /// should this process die. A leader that `ends_its_children` is asked
    /// alone, and the others are killed only if it does not. Its leader must
    /// not be reaped before [`Self::unguard`].
    ///
    /// # Errors
    /// None of its own.
    pub async fn guard(&self, leader: ProcessId, ends_its_children: bool) -> Result<(), SupervisorError> {
        self.tell(Request::Guard { leader, ends_its_children }).await
    }

    /// Takes [`Self::guard`] back.
    ///
    /// # Errors
    /// None of its own.
    pub async fn unguard(&self, leader: ProcessId) -> Result<(), SupervisorError> {
        self.tell(Request::Unguard { leader }).await
    }

    /// What the supervisor holds.
    ///
    /// # Errors
    /// None of its own.
    pub async fn status(&self) -> Result<Status, SupervisorError> {
        match self.connection.call(Request::Status, None).await? {
            Reply::Status(status) => Ok(status),
            other => Err(SupervisorError::Misfit(Box::new(other))),
        }
    }

    /// Lets everything outlive its owner, for the time of the lease if there is
    /// one. From a client that is not the owner it only sets the time anew.
    ///
    /// # Errors
    /// None of its own.
    pub async fn detach(&self, lease: Option<Lease>) -> Result<(), SupervisorError> {
        let ttl_ms = lease.as_ref().map(|lease| u64::try_from(lease.ttl.as_millis()).unwrap_or(u64::MAX));
        let successor = lease.and_then(|lease| lease.successor);
        self.tell(Request::Detach { ttl_ms, successor }).await
    }

    /// Stops everything, removes the run directory, and waits for that and for
    /// the supervisor's own end.
    ///
    /// # Errors
    /// [`Failure::Unkillable`], [`Failure::NotRemoved`].
    pub async fn shutdown(&self) -> Result<(), SupervisorError> {
        let outcome = self.tell(Request::Shutdown).await;
        if !matches!(outcome, Err(SupervisorError::NotText(_))) {
            self.gone().await;
        }
        outcome
    }

    /// Resolves when the supervisor has ended: everything that it could end is
    /// gone then.
    pub async fn gone(&self) {
        self.connection.gone().await;
        // The connection closes a moment before the process is gone, and no
        // event tells those of the latter who are not its parent.
        let over = async {
            while self.process().is_alive() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), over).await;
    }

    async fn tell(&self, request: Request) -> Result<(), SupervisorError> {
        match self.connection.call(request, None).await? {
            Reply::Done => Ok(()),
            other => Err(SupervisorError::Misfit(Box::new(other))),
        }
    }
}

/// A process that a supervisor has started.
#[derive(Clone)]
pub struct Process {
    name: String,
    id: ProcessId,
    exit: watch::Receiver<Option<Exit>>,
    supervisor: Supervisor,
}

impl Process {
    /// The name that it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity, fit for a journal.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Its pid, which is also the id of its process group.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.id.pid
    }

    /// How it ended; nothing while it runs.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        // The channel closes when the supervisor is gone.
        let is_lost = self.exit.has_changed().is_err();
        self.exit.borrow().or(is_lost.then_some(Exit::Lost))
    }

    /// Resolves as soon as the process has ended, or its supervisor has.
    pub async fn exited(&self) -> Exit {
        let mut exit = self.exit.clone();
        exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit).unwrap_or(Exit::Lost)
    }

    /// As [`Supervisor::stop`].
    ///
    /// # Errors
    /// [`Failure::Unkillable`].
    pub async fn stop(&self) -> Result<Exit, SupervisorError> {
        match self.exit() {
            // The name may be another process's by now.
            Some(exit) => Ok(exit),
            None => self.supervisor.stop(&self.name).await,
        }
    }
}

/// The kernel's limit on the path of a socket, the smallest of our systems'.
const SOCKET_PATH_MAX: usize = 103;

fn check_length(run_dir: &Path) -> Result<(), SupervisorError> {
    let path = run_dir.as_os_str().len();
    let socket = socket_path(run_dir).as_os_str().len();
    if socket <= SOCKET_PATH_MAX {
        return Ok(());
    }
    Err(SupervisorError::LongPath { path: run_dir.to_owned(), max: SOCKET_PATH_MAX - (socket - path) })
}
