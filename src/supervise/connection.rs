//! A client's connection: many callers at once share one socket.
//!
//! A task writes what callers have queued. Another reads: it hands each reply to
//! its caller and each exit to whoever started the process.

use std::collections::HashMap;
use std::path::Path;
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
use super::protocol::{Call, Exit, Message, Reply, Request, VERSION};

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
    gone: CancellationToken,
}

enum Calls {
    Waiting(HashMap<u64, Caller>),
    Gone { how: String },
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
    /// Waits until the supervisor is ready. `child` is the supervisor itself, if
    /// it is ours to reap.
    pub(super) async fn open(
        stream: UnixStream,
        child: Option<Child>,
        run_dir: &Path,
    ) -> Result<Self, SupervisorError> {
        let (read, write) = stream.into_split();
        let mut messages = BufReader::new(read).lines();
        let Some(Message::Ready(ready)) = next(&mut messages).await else {
            let log = fs_err::read_to_string(run_dir.join("supervisor.log")).unwrap_or_default();
            let log = if log.is_empty() { "it wrote no reason".into() } else { log.trim_end().into() };
            return Err(SupervisorError::NotReady { run_dir: run_dir.to_owned(), log });
        };
        if ready.version != VERSION {
            return Err(SupervisorError::Version { found: ready.version, pid: ready.process.pid });
        }
        let shared = Arc::new(Shared {
            supervisor: ready.process,
            next_id: AtomicU64::new(1),
            calls: Mutex::new(Calls::Waiting(HashMap::new())),
            gone: CancellationToken::new(),
        });
        let (lines, queue) = unbounded_channel();
        tokio::spawn(write_lines(write, queue));
        tokio::spawn(read_messages(messages, shared.clone(), lines.downgrade(), child));
        Ok(Self { shared, lines })
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
            Calls::Gone { how } => return Err(self.shared.gone_error(how)),
        };
        // Fails only when the supervisor is gone: then there is no answer either.
        let _ = self.lines.send(line);
        match answer.await {
            Ok(result) => Ok(result?),
            Err(_) => Err(match &*self.shared.calls() {
                Calls::Gone { how } => self.shared.gone_error(how),
                Calls::Waiting(_) => self.shared.gone_error(""),
            }),
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
            Calls::Gone { .. } => None,
        }
    }

    fn gone_error(&self, how: &str) -> SupervisorError {
        SupervisorError::Gone { pid: self.supervisor.pid, how: how.to_owned() }
    }
}

async fn read_messages(
    mut messages: Lines<BufReader<OwnedReadHalf>>,
    shared: Arc<Shared>,
    // Weak: else the connection would keep itself open.
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
    *shared.calls() = Calls::Gone { how };
    shared.gone.cancel();
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
