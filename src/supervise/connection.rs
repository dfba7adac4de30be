//! A client's connection: many callers at once share one socket.
//!
//! A task writes what callers have queued. Another reads: it hands each reply to
//! its caller and each exit to whoever started the process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::client::SupervisorError;
use super::failure::Failure;
use super::identity::ProcessId;
use super::protocol::{Call, Exit, Message, Ready, Reply, Request, VERSION};

/// Dropping it closes the socket.
pub(super) struct Connection {
    shared: Arc<Shared>,
    lines: UnboundedSender<Vec<u8>>,
}

/// What the reader shares with the callers.
struct Shared {
    supervisor: ProcessId,
    next_id: AtomicU64,
    calls: Mutex<Calls>,
    ready: CancellationToken,
    gone: CancellationToken,
}

enum Calls {
    Waiting(HashMap<u64, Caller>),
    Over(End),
}

/// Why nothing can be asked any more: the [`SupervisorError`] of each who asks.
enum End {
    NotReady { run_dir: PathBuf, log: String },
    Version { found: u32, pid: i32 },
    Gone { pid: i32, how: String },
}

impl From<&End> for SupervisorError {
    fn from(end: &End) -> Self {
        match end {
            End::NotReady { run_dir, log } => Self::NotReady { run_dir: run_dir.clone(), log: log.clone() },
            End::Version { found, pid } => Self::Version { found: *found, pid: *pid },
            End::Gone { pid, how } => Self::Gone { pid: *pid, how: how.clone() },
        }
    }
}

struct Caller {
    reply: oneshot::Sender<Result<Reply, Failure>>,
    spawning: Option<Spawning>,
}

/// A process on its way, or one that is adopted, and whom to tell about its end.
pub(super) struct Spawning {
    pub(super) name: String,
    pub(super) exit: watch::Sender<Option<Exit>>,
}

impl Connection {
    /// Of a supervisor that somebody else has started. Waits until it is ready.
    pub(super) async fn open(stream: UnixStream, run_dir: &Path) -> Result<Self, SupervisorError> {
        let (read, write) = stream.into_split();
        let mut messages = BufReader::new(read).lines();
        let ready = greeting(&mut messages, run_dir).await.map_err(|end| SupervisorError::from(&end))?;
        let (connection, lines) = Self::begin(ready.process, write);
        connection.shared.ready.cancel();
        tokio::spawn(read_messages(messages, connection.shared.clone(), lines, None));
        Ok(connection)
    }

    /// Of a supervisor that was just started, which is this process's to reap.
    /// Until it is ready, calls wait in the socket.
    pub(super) fn launched(stream: UnixStream, child: Child, supervisor: ProcessId, run_dir: &Path) -> Self {
        let (read, write) = stream.into_split();
        let mut messages = BufReader::new(read).lines();
        let (connection, lines) = Self::begin(supervisor, write);
        let (shared, run_dir) = (connection.shared.clone(), run_dir.to_owned());
        tokio::spawn(async move {
            match greeting(&mut messages, &run_dir).await {
                Ok(_) => {
                    shared.ready.cancel();
                    read_messages(messages, shared, lines, Some(child)).await;
                }
                Err(end) => shared.end(end),
            }
        });
        connection
    }

    /// Gives also what the reader sends by: weak, else the connection would keep
    /// itself open.
    fn begin(supervisor: ProcessId, write: OwnedWriteHalf) -> (Self, WeakUnboundedSender<Vec<u8>>) {
        let shared = Arc::new(Shared {
            supervisor,
            next_id: AtomicU64::new(1),
            calls: Mutex::new(Calls::Waiting(HashMap::new())),
            ready: CancellationToken::new(),
            gone: CancellationToken::new(),
        });
        let (lines, queue) = unbounded_channel();
        let weak = lines.downgrade();
        tokio::spawn(write_lines(write, queue));
        (Self { shared, lines }, weak)
    }

    /// Waits until the supervisor is ready.
    pub(super) async fn ready(&self) -> Result<(), SupervisorError> {
        tokio::select! {
            () = self.shared.ready.cancelled() => Ok(()),
            () = self.shared.gone.cancelled() => Err(self.shared.over()),
        }
    }

    pub(super) fn supervisor(&self) -> ProcessId {
        self.shared.supervisor
    }

    pub(super) async fn gone(&self) {
        self.shared.gone.cancelled().await;
    }

    pub(super) async fn call(
        &self,
        request: Request,
        spawning: Option<Spawning>,
    ) -> Result<Reply, SupervisorError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let line = line(&Call { id, request }).map_err(SupervisorError::NotText)?;
        let (reply, answer) = oneshot::channel();
        match &mut *self.shared.calls() {
            Calls::Waiting(callers) => callers.insert(id, Caller { reply, spawning }),
            Calls::Over(end) => return Err((&*end).into()),
        };
        // Fails only when the supervisor is gone: then there is no answer either.
        let _ = self.lines.send(line);
        match answer.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(self.shared.over()),
        }
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_caller(&self, id: u64) -> Option<Caller> {
        match &mut *self.calls() {
            Calls::Waiting(callers) => callers.remove(&id),
            Calls::Over(_) => None,
        }
    }

    fn end(&self, end: End) {
        *self.calls() = Calls::Over(end);
        self.gone.cancel();
    }

    fn over(&self) -> SupervisorError {
        match &*self.calls() {
            Calls::Over(end) => end.into(),
            Calls::Waiting(_) => SupervisorError::Gone { pid: self.supervisor.pid, how: String::new() },
        }
    }
}

/// The first message, which says that the supervisor is ready.
async fn greeting(messages: &mut Lines<BufReader<OwnedReadHalf>>, run_dir: &Path) -> Result<Ready, End> {
    let Some(Message::Ready(ready)) = next(messages).await else {
        let log = fs_err::read_to_string(run_dir.join("supervisor.log")).unwrap_or_default();
        let log = if log.is_empty() { "it wrote no reason".into() } else { log.trim_end().into() };
        return Err(End::NotReady { run_dir: run_dir.to_owned(), log });
    };
    if ready.version == VERSION {
        Ok(ready)
    } else {
        Err(End::Version { found: ready.version, pid: ready.process.pid })
    }
}

async fn read_messages(
    mut messages: Lines<BufReader<OwnedReadHalf>>,
    shared: Arc<Shared>,
    lines: WeakUnboundedSender<Vec<u8>>,
    child: Option<Child>,
) {
    let mut exits: HashMap<ProcessId, Vec<watch::Sender<Option<Exit>>>> = HashMap::new();
    while let Some(message) = next(&mut messages).await {
        match message {
            Message::Ready(_) => {}
            Message::Exited { process, exit, .. } => {
                for told in exits.remove(&process).into_iter().flatten() {
                    told.send_replace(Some(exit));
                }
            }
            Message::Reply { id, result } => {
                let Some(Caller { reply, spawning }) = shared.take_caller(id) else { continue };
                // Before its exit is read, which may be the next message.
                let mut started = None;
                match (&result, spawning) {
                    (Ok(Reply::Spawned { process }), Some(Spawning { name, exit })) => {
                        exits.insert(*process, vec![exit]);
                        started = Some(name);
                    }
                    (Ok(Reply::Status(status)), Some(Spawning { name, exit })) => {
                        if let Some(process) = status.running(&name) {
                            exits.entry(process).or_default().push(exit);
                        }
                    }
                    _ => {}
                }
                if let (Err(_), Some(name), Some(lines)) = (reply.send(result), started, lines.upgrade()) {
                    // Whoever wanted the process has been cancelled meanwhile.
                    let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
                    let _ = line(&Call { id, request: Request::Stop { name } }).map(|line| lines.send(line));
                }
            }
        }
    }
    drop(exits);
    let how = match child {
        Some(mut child) => child.wait().await.map(|status| format!(" ({status})")).unwrap_or_default(),
        None => String::new(),
    };
    shared.end(End::Gone { pid: shared.supervisor.pid, how });
}

async fn write_lines(mut stream: OwnedWriteHalf, mut lines: UnboundedReceiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        if stream.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// The next message; nothing when the supervisor is gone.
async fn next(messages: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<Message> {
    serde_json::from_str(&messages.next_line().await.ok()??).ok()
}

fn line(call: &Call) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(call)?;
    line.push(b'\n');
    Ok(line)
}
