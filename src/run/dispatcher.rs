//! The dispatcher: gives every event its place in the stream and hands it to
//! the reporters, one after the other, on one thread.
//!
//! ```text
//!  branch threads ──┐                         ┌─> record (events.jsonl)
//!  primitives ──────┼─> Events::emit ─> queue ─┼─> progress (terminal)
//!  signals, teardown┘   (stamps seq, time)    └─> model (summary, timeline)
//! ```
//!
//! `emit` never waits for a reporter: a slow terminal cannot slow a step.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use jiff::Timestamp;

use super::event::{Event, EventKind};
use super::secrets::Secrets;

/// A reader of the stream.
pub trait Reporter: Send {
    /// Called for each event, in order.
    ///
    /// # Errors
    /// Whatever keeps the reporter from doing its work. It is told once and
    /// then left out: a full disk must not take the environment down.
    fn event(&mut self, event: &Event) -> anyhow::Result<()>;

    /// Called now and then while nothing happens, for spinners and clocks.
    fn tick(&mut self) {}

    /// Called when somebody else is about to write to the terminal: shows what
    /// there is, and nothing more until the next event.
    fn settle(&mut self) {}
}

/// The sending end; cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Events {
    inner: Arc<Mutex<Stamp>>,
    began: Instant,
    secrets: Secrets,
}

struct Stamp {
    seq: u64,
    queue: Option<Sender<Item>>,
}

/// What reporters are told of.
enum Item {
    Event(Box<Event>),
    /// To settle, and to say so.
    Settle(Sender<()>),
}

/// The receiving end: a thread that runs the reporters until [`Dispatcher::finish`].
pub struct Dispatcher {
    events: Events,
    thread: JoinHandle<Vec<Box<dyn Reporter>>>,
}

/// How often reporters tick while no event arrives.
const TICK: std::time::Duration = std::time::Duration::from_millis(80);

impl Events {
    /// Appends an event to the stream and returns its `ms`. Secrets in it are
    /// masked first.
    pub fn emit(&self, mut kind: EventKind) -> f64 {
        self.secrets.mask_event(&mut kind);
        // Stamped and queued under one lock, so that `seq` and `ms` agree with
        // the order in which reporters see the events.
        let mut stamp = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let ms = self.began.elapsed().as_secs_f64() * 1000.0;
        let event = Event { seq: stamp.seq, at: Timestamp::now(), ms, kind };
        stamp.seq += 1;
        if let Some(queue) = &stamp.queue {
            let _ = queue.send(Item::Event(Box::new(event)));
        }
        ms
    }

    /// Waits until the reporters have shown all there is. They show nothing
    /// more until the next event.
    pub fn settle(&self) {
        let (done, settled) = channel();
        if let Some(queue) = &self.inner.lock().unwrap_or_else(PoisonError::into_inner).queue {
            let _ = queue.send(Item::Settle(done));
        }
        // Without reporters there is nobody to wait for.
        let _ = settled.recv();
    }

    /// The secrets masked in every event.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }
}

impl Dispatcher {
    /// Starts the thread. `began` is the zero of every event's `ms`.
    #[must_use]
    pub fn start(began: Instant, secrets: Secrets, reporters: Vec<Box<dyn Reporter>>) -> Self {
        let (queue, events) = channel();
        let thread = std::thread::spawn(move || dispatch(&events, reporters));
        let inner = Arc::new(Mutex::new(Stamp { seq: 0, queue: Some(queue) }));
        Self { events: Events { inner, began, secrets }, thread }
    }

    /// A sending end.
    #[must_use]
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// Closes the stream, waits until the reporters have seen all of it and
    /// gives them back. Events emitted afterwards go nowhere.
    #[must_use]
    pub fn finish(self) -> Vec<Box<dyn Reporter>> {
        self.events.inner.lock().unwrap_or_else(PoisonError::into_inner).queue = None;
        self.thread.join().unwrap_or_default()
    }
}

fn dispatch(queue: &Receiver<Item>, mut reporters: Vec<Box<dyn Reporter>>) -> Vec<Box<dyn Reporter>> {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    loop {
        match queue.recv_timeout(TICK) {
            Ok(Item::Event(event)) => reporters.retain_mut(|reporter| match reporter.event(&event) {
                Ok(()) => true,
                Err(error) => {
                    anstream::eprintln!("warning: a report of this run is incomplete: {error:#}");
                    false
                }
            }),
            Ok(Item::Settle(done)) => {
                for reporter in &mut reporters {
                    reporter.settle();
                }
                let _ = done.send(());
            }
            Err(Timeout) => reporters.iter_mut().for_each(|reporter| reporter.tick()),
            Err(Disconnected) => return reporters,
        }
    }
}
