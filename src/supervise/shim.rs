//! The supervisor's side: `recipe __supervise RUN_DIR`.
//!
//! ```text
//!  owner (stdin) ─┐                       ┌─ SIGCHLD ─> reap, tell all clients
//!  supervisor.sock┴─> requests ─> Shim <──┤
//!                                         └─ owner gone, lease over, SIGTERM,
//!                                            shutdown ─> stop all, rm run dir
//! ```
//!
//! One thread and no other: the kernel's death signal to the children is bound
//! to the thread that forked them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use nix::sys::stat::{Mode, umask};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, LocalSet, spawn_local};
use tokio_util::sync::CancellationToken;

use super::clients::{ClientId, Clients};
use super::failure::Failure;
use super::identity::ProcessId;
use super::ports::Ports;
use super::process::{self, Child, Guarded, Reaped, end_guarded};
use super::protocol::{Call, Message, Ready, Reply, Request, Spawn, Status, Successor, VERSION};
use super::socket_path;
use crate::tell::tell;

/// All that the supervisor holds. Borrows of its cells never cross an await.
pub(super) struct Shim {
    pub(super) run_dir: PathBuf,
    pub(super) process: ProcessId,
    /// In order of start; an ended one stays until its name is used again.
    pub(super) children: RefCell<Vec<Rc<Child>>>,
    /// Process groups that clients have started, and whose they are.
    pub(super) guarded: RefCell<Vec<(ClientId, Guarded)>>,
    /// Everything is to be stopped.
    pub(super) ending: CancellationToken,
    /// The same, because the owner died: nobody waits for a tidy end.
    pub(super) abandoned: CancellationToken,
    /// A child was reaped.
    pub(super) reaped: Notify,
    ports: RefCell<Ports>,
    clients: Clients,
    /// Calls that are answered when everything is gone.
    shutdown_calls: RefCell<Vec<(ClientId, u64)>>,
    detached: Cell<bool>,
    lease: RefCell<Option<AbortHandle>>,
    /// What to become when the lease is over.
    successor: RefCell<Option<Successor>>,
    expired: Cell<bool>,
}

/// Runs a supervisor whose owner is at the other end of standard input, until
/// everything that it started is stopped and `run_dir` is removed.
///
/// Call it first in `main`: it closes the file descriptors that it was not
/// meant to get, and there must be no other thread.
pub fn run_shim(run_dir: &Path) -> ExitCode {
    match supervise(run_dir) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            tell!("{failure}");
            ExitCode::FAILURE
        }
        Err(error) => {
            tell!("the supervisor of {} cannot work: {error}", run_dir.display());
            ExitCode::FAILURE
        }
    }
}

fn supervise(run_dir: &Path) -> io::Result<Result<(), Failure>> {
    close_inherited_files();
    let owner = StdUnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Nothing is touched if a person has called this from a shell.
    owner.peer_addr()?;
    owner.set_nonblocking(true)?;
    // Out of the terminal's reach: its Ctrl-C is for the owner.
    nix::unistd::setsid()?;
    std::env::set_current_dir("/")?;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;
    let process = ProcessId::current().ok_or_else(|| io::Error::other("/proc is not mounted"))?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shim = Shim::new(run_dir, process);
    let outcome = LocalSet::new().block_on(&runtime, shim.clone().run(owner))?;
    match shim.successor.take().filter(|_| shim.expired.get()) {
        Some(successor) => Err(become_successor(successor)),
        None => Ok(outcome),
    }
}

/// Returns only if that is not possible.
fn become_successor(Successor { program, args, env }: Successor) -> io::Error {
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(env);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).exec()
}

/// A test runner that waits until all have closed its pipe must not wait for a
/// detached environment.
fn close_inherited_files() {
    let Ok(listing) = fs_err::read_dir("/dev/fd") else { return };
    let open: Vec<i32> = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for file in open.into_iter().filter(|file| *file > 2) {
        // Fails for the listing's own descriptor, which is closed by now.
        let _ = nix::unistd::close(file);
    }
}

impl Shim {
    fn new(run_dir: &Path, process: ProcessId) -> Rc<Self> {
        Rc::new(Self {
            run_dir: run_dir.to_owned(),
            process,
            children: RefCell::default(),
            guarded: RefCell::default(),
            ending: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            reaped: Notify::new(),
            ports: RefCell::new(Ports::new()),
            clients: Clients::default(),
            shutdown_calls: RefCell::default(),
            detached: Cell::new(false),
            lease: RefCell::default(),
            successor: RefCell::default(),
            expired: Cell::new(false),
        })
    }

    async fn run(self: Rc<Self>, owner: StdUnixStream) -> io::Result<Result<(), Failure>> {
        self.handle_signals()?;
        let previous = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(socket_path(&self.run_dir))?;
        umask(previous);
        let (owner, requests) = self.welcome(UnixStream::from_std(owner)?);
        debug_assert_eq!(owner, ClientId::OWNER, "nobody is welcomed before");
        let shim = self.clone();
        spawn_local(async move {
            shim.serve(owner, requests).await;
            if !shim.detached.get() {
                shim.abandoned.cancel();
                shim.ending.cancel();
            }
        });
        spawn_local(self.clone().accept(listener));

        self.ending.cancelled().await;
        let outcome = self.stop_everything().await;
        for (client, id) in self.shutdown_calls.take() {
            let result = outcome.clone().map(|()| Reply::Done);
            self.clients.send(client, &Message::Reply { id, result });
        }
        self.clients.finish().await;
        Ok(outcome)
    }

    /// SIGTERM ends everything in order: somebody has chosen this very process,
    /// or the machine goes down. SIGINT and SIGHUP are caught and dropped;
    /// caught, because children would inherit it if they were ignored.
    fn handle_signals(self: &Rc<Self>) -> io::Result<()> {
        let _ = (signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
        let mut terminate = signal(SignalKind::terminate())?;
        let shim = self.clone();
        spawn_local(async move {
            terminate.recv().await;
            shim.ending.cancel();
        });
        let mut child_ended = signal(SignalKind::child())?;
        let shim = self.clone();
        spawn_local(async move {
            while child_ended.recv().await.is_some() {
                shim.reap();
            }
        });
        Ok(())
    }

    /// Takes note of all ended children. Returns whether there are others.
    pub(super) fn reap(&self) -> bool {
        let leader = |pid| self.children.borrow().iter().find(|c| c.id.pid == pid && c.is_running()).cloned();
        loop {
            match process::reap(|pid| leader(pid).is_some()) {
                Reaped::Ended { pid, exit } => {
                    if let Some(child) = leader(pid) {
                        child.record_end(exit);
                        let name = child.name.clone();
                        self.clients.send_all(&Message::Exited { name, process: child.id, exit });
                    }
                    self.reaped.notify_one();
                }
                Reaped::AllRunning => return true,
                Reaped::NoChildren => return false,
            }
        }
    }

    async fn accept(self: Rc<Self>, listener: UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let shim = self.clone();
            spawn_local(async move {
                let (client, requests) = shim.welcome(stream);
                shim.serve(client, requests).await;
            });
        }
    }

    fn welcome(&self, stream: UnixStream) -> (ClientId, OwnedReadHalf) {
        let (requests, replies) = stream.into_split();
        let client = self.clients.add(replies);
        self.clients.send(client, &Message::Ready(Ready { version: VERSION, process: self.process }));
        (client, requests)
    }

    /// Until the client hangs up.
    async fn serve(self: &Rc<Self>, client: ClientId, requests: OwnedReadHalf) {
        let mut lines = BufReader::new(requests).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.receive(client, &line);
        }
        self.clients.remove(client);
        if client != ClientId::OWNER {
            // Of the owner's it is seen with everything else.
            let theirs: Vec<_> =
                self.guarded.borrow_mut().extract_if(.., |(whose, _)| *whose == client).collect();
            join_all(theirs.into_iter().map(|(_, guarded)| end_guarded(guarded))).await;
        }
    }

    fn receive(self: &Rc<Self>, client: ClientId, line: &str) {
        #[derive(Deserialize)]
        struct Id {
            id: u64,
        }
        let (id, result) = match serde_json::from_str(line) {
            Ok(Call { id, request }) => (id, self.handle(client, id, request)),
            Err(error) => {
                let id = serde_json::from_str(line).map_or(0, |Id { id }| id);
                (id, Err(Failure::NotUnderstood { reason: error.to_string() }))
            }
        };
        match result {
            Ok(None) => {}
            Ok(Some(reply)) => self.clients.send(client, &Message::Reply { id, result: Ok(reply) }),
            Err(failure) => self.clients.send(client, &Message::Reply { id, result: Err(failure) }),
        }
    }

    /// Answers, or returns nothing if the answer will come later.
    fn handle(
        self: &Rc<Self>,
        client: ClientId,
        id: u64,
        request: Request,
    ) -> Result<Option<Reply>, Failure> {
        let reply = match request {
            Request::Spawn(spec) => Reply::Spawned { process: self.spawn(&spec)? },
            Request::Stop { name } => {
                let (shim, child) = (self.clone(), self.child(&name)?);
                spawn_local(async move {
                    let result = child.stop_tree(&shim.abandoned).await.map(|exit| Reply::Stopped { exit });
                    shim.clients.send(client, &Message::Reply { id, result });
                });
                return Ok(None);
            }
            Request::Signal { name, signal } => {
                self.child(&name)?.signal(signal);
                Reply::Done
            }
            Request::ReservePort { preferred } => {
                Reply::Port { port: self.ports.borrow_mut().reserve(preferred)? }
            }
            Request::ReleasePort { port } => {
                self.ports.borrow_mut().release(port);
                Reply::Done
            }
            Request::Guard { leader, ends_its_children } => {
                self.guarded.borrow_mut().push((client, Guarded { leader, ends_its_children }));
                Reply::Done
            }
            Request::Unguard { leader } => {
                self.guarded.borrow_mut().retain(|(_, guarded)| guarded.leader != leader);
                Reply::Done
            }
            Request::Status => Reply::Status(Status {
                processes: self.children.borrow().iter().map(|child| child.status()).collect(),
                ports: self.ports.borrow().list(),
                detached: self.detached.get(),
            }),
            Request::Detach { ttl_ms, successor } => {
                self.detach(client, ttl_ms.map(Duration::from_millis));
                self.successor.replace(successor);
                Reply::Done
            }
            Request::Shutdown => {
                self.shutdown_calls.borrow_mut().push((client, id));
                self.ending.cancel();
                return Ok(None);
            }
        };
        Ok(Some(reply))
    }

    fn spawn(&self, spec: &Spawn) -> Result<ProcessId, Failure> {
        if self.ending.is_cancelled() {
            return Err(Failure::ShuttingDown);
        }
        // One that has ended a moment ago leaves its name free.
        self.reap();
        match self.child(&spec.name) {
            Ok(child) if child.is_running() => {
                return Err(Failure::NameTaken { name: spec.name.clone(), process: child.id });
            }
            _ => {}
        }
        let child = Rc::new(Child::start(spec)?);
        let process = child.id;
        let mut children = self.children.borrow_mut();
        children.retain(|earlier| earlier.name != spec.name);
        children.push(child);
        Ok(process)
    }

    fn child(&self, name: &str) -> Result<Rc<Child>, Failure> {
        let child = self.children.borrow().iter().find(|child| child.name == name).cloned();
        child.ok_or_else(|| Failure::NoProcess { name: name.to_owned() })
    }

    fn detach(self: &Rc<Self>, client: ClientId, ttl: Option<Duration>) {
        if client == ClientId::OWNER {
            self.detached.set(true);
            // Nobody is left who could tell when their numbers become free.
            self.guarded.take();
        }
        let shim = self.clone();
        let lease = ttl.map(|ttl| {
            let expiry = async move {
                tokio::time::sleep(ttl).await;
                shim.expired.set(true);
                shim.ending.cancel();
            };
            spawn_local(expiry).abort_handle()
        });
        if let Some(earlier) = self.lease.replace(lease) {
            earlier.abort();
        }
    }
}
