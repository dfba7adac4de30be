//! The sending side of the supervisor's connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::protocol::Message;

/// Number of a connection, from 0, which is the owner's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientId(u64);

impl ClientId {
    pub(super) const OWNER: Self = Self(0);
}

/// Everybody who is connected. Each has a queue of its own, so that a client
/// that does not read holds up nobody else.
#[derive(Default)]
pub(super) struct Clients {
    next: Cell<u64>,
    queues: RefCell<BTreeMap<ClientId, UnboundedSender<Rc<[u8]>>>>,
    writers: RefCell<JoinSet<()>>,
}

impl Clients {
    pub(super) fn add(&self, stream: OwnedWriteHalf) -> ClientId {
        let client = ClientId(self.next.replace(self.next.get() + 1));
        let (queue, lines) = unbounded_channel();
        self.queues.borrow_mut().insert(client, queue);
        self.writers.borrow_mut().spawn_local(write(stream, lines));
        client
    }

    pub(super) fn remove(&self, client: ClientId) {
        self.queues.borrow_mut().remove(&client);
    }

    pub(super) fn send(&self, client: ClientId, message: &Message) {
        if let Some(queue) = self.queues.borrow().get(&client) {
            let _ = queue.send(line(message));
        }
    }

    pub(super) fn send_all(&self, message: &Message) {
        let line = line(message);
        for queue in self.queues.borrow().values() {
            let _ = queue.send(line.clone());
        }
    }

    /// Sends what is queued and closes all connections.
    pub(super) async fn finish(&self) {
        self.queues.take();
        let writers = self.writers.take();
        let _ = timeout(Duration::from_secs(1), writers.join_all()).await;
    }
}

fn line(message: &Message) -> Rc<[u8]> {
    // Nothing in a message has a form that JSON lacks, but paths that came to
    // us as JSON.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

async fn write(mut stream: OwnedWriteHalf, mut lines: UnboundedReceiver<Rc<[u8]>>) {
    while let Some(line) = lines.recv().await {
        if stream.write_all(&line).await.is_err() {
            return;
        }
    }
}
