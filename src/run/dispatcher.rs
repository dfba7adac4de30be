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

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use jiff::Timestamp;

use super::event::{Event, EventKind};
use super::secrets::{Lines, Secrets};
use crate::tell::tell;

/// A reader of the stream.
pub trait Reporter: Send {
    /// Called for each event, in order.
    ///
    /// # Errors
    /// Whatever keeps the reporter from doing its work. It is told once and
    /// then left out: a full disk must not take the environment down.
    fn event(&mut self, event: &Event) -> anyhow::Result<()>;

    /// Called after the last event that waited: hands on what [`event`] held
    /// back in order to write many at once.
    ///
    /// # Errors
    /// As those of [`event`].
    ///
    /// [`event`]: Reporter::event
    fn flush(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Called now and then while nothing happens, for spinners and clocks.
    fn tick(&mut self) {}

    /// Called when somebody else is about to write to the terminal: shows what
    /// there is, and nothing more until the next event.
    fn settle(&mut self) {}
}

/// The sending end; cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Events {
    queue: Arc<Queue>,
    began: Instant,
    secrets: Secrets,
    lines: Lines,
}

/// What the reporters have yet to be told.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Condvar,
}

struct Waiting {
    /// Of the next event.
    seq: u64,
    items: Vec<Item>,
    /// Whether there is anybody to tell.
    is_open: bool,
}

/// What reporters are told of.
enum Item {
    Event(Event),
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
    /// masked first; a line of output waits for the next one where both may hold
    /// parts of a secret.
    pub fn emit(&self, mut kind: EventKind) -> f64 {
        match &mut kind {
            EventKind::StepOutput { step, stream, line } if !self.secrets.is_empty() => {
                let (step, stream) = (*step, *stream);
                for line in self.lines.next(&self.secrets, (step, stream), std::mem::take(line)) {
                    self.push(EventKind::StepOutput { step, stream, line });
                }
                return self.ms();
            }
            EventKind::StepFinished { step, .. } => {
                for (stream, line) in self.lines.rest(*step) {
                    self.push(EventKind::StepOutput { step: *step, stream, line });
                }
            }
            _ => {}
        }
        self.secrets.mask_event(&mut kind);
        self.push(kind)
    }

    fn push(&self, kind: EventKind) -> f64 {
        self.queue.push(|seq| {
            let ms = self.ms();
            let event = Event { seq: *seq, at: Timestamp::now(), ms, kind };
            *seq += 1;
            (ms, Item::Event(event))
        })
    }

    fn ms(&self) -> f64 {
        self.began.elapsed().as_secs_f64() * 1000.0
    }

    /// Waits until the reporters have shown all there is. They show nothing
    /// more until the next event.
    pub fn settle(&self) {
        let (done, settled) = channel();
        self.queue.push(|_| ((), Item::Settle(done)));
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
        let queue = Arc::new(Queue::default());
        let events = Events { queue: queue.clone(), began, secrets, lines: Lines::default() };
        let thread = std::thread::spawn(move || {
            // Also when a reporter panics: nobody may wait for it then.
            let queue = Closing(queue);
            dispatch(&queue.0, reporters)
        });
        Self { events, thread }
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
        self.events.queue.close();
        self.thread.join().unwrap_or_default()
    }
}

impl Queue {
    /// Appends what `make` makes of the number of the next event.
    fn push<T>(&self, make: impl FnOnce(&mut u64) -> (T, Item)) -> T {
        let mut waiting = self.lock();
        // Stamped and queued under one lock, so that `seq` and `ms` agree with
        // the order in which reporters see the events.
        let (made, item) = make(&mut waiting.seq);
        let is_first = waiting.items.is_empty();
        if waiting.is_open {
            waiting.items.push(item);
        }
        drop(waiting);
        if is_first {
            self.more.notify_one();
        }
        made
    }

    /// All that waits, once there is something or [`TICK`] has passed; none
    /// once it is closed and empty.
    fn take(&self, into: &mut Vec<Item>) -> bool {
        let is_idle = |waiting: &mut Waiting| waiting.items.is_empty() && waiting.is_open;
        let waited = self.more.wait_timeout_while(self.lock(), TICK, is_idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.items, into);
        waiting.is_open || !into.is_empty()
    }

    fn close(&self) {
        self.lock().is_open = false;
        self.more.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Self { seq: 0, items: Vec::new(), is_open: true }
    }
}

/// Closes the queue when it goes.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
        self.0.lock().items.clear();
    }
}

fn dispatch(queue: &Queue, mut reporters: Vec<Box<dyn Reporter>>) -> Vec<Box<dyn Reporter>> {
    let mut items = Vec::new();
    while queue.take(&mut items) {
        if items.is_empty() {
            for reporter in &mut reporters {
                reporter.tick();
            }
            continue;
        }
        for item in items.drain(..) {
            match item {
                Item::Event(event) => tell(&mut reporters, |reporter| reporter.event(&event)),
                Item::Settle(done) => {
                    tell(&mut reporters, |reporter| reporter.flush());
                    for reporter in &mut reporters {
                        reporter.settle();
                    }
                    let _ = done.send(());
                }
            }
        }
        tell(&mut reporters, |reporter| reporter.flush());
    }
    reporters
}

/// Leaves out those that cannot do their work any more.
fn tell(
    reporters: &mut Vec<Box<dyn Reporter>>,
    mut tell: impl FnMut(&mut Box<dyn Reporter>) -> anyhow::Result<()>,
) {
    reporters.retain_mut(|reporter| match tell(reporter) {
        Ok(()) => true,
        Err(error) => {
            tell!("warning: a report of this run is incomplete: {error:#}");
            false
        }
    });
}
