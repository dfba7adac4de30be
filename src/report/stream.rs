//! Events handed to another program as they happen, as the lines of a record.
//!
//! A thread of its own writes them, so that a reader who is slow holds up
//! nobody. One who falls too far behind, or goes away, gets no more.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::bail;

use crate::run::{Event, Reporter};

/// Bytes that a reader may be behind.
const FARTHEST_BEHIND: usize = 8 << 20;

/// How long the end of a run waits for its last lines to be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// The writing end.
pub struct Stream {
    /// None once the reader is given up.
    lines: Option<Sender<Vec<u8>>>,
    behind: Arc<AtomicUsize>,
    written: Receiver<()>,
}

impl Stream {
    /// Writes to `out`, which may block.
    #[must_use]
    pub fn to(mut out: impl Write + Send + 'static) -> Self {
        let (lines, queue) = channel::<Vec<u8>>();
        // Never sent to: that its other end is gone says that all is written.
        let (done, written) = channel::<()>();
        let behind = Arc::new(AtomicUsize::new(0));
        let counted = behind.clone();
        std::thread::spawn(move || {
            let _done = done;
            for line in queue {
                if out.write_all(&line).and_then(|()| out.flush()).is_err() {
                    break;
                }
                counted.fetch_sub(line.len(), Relaxed);
            }
        });
        Self { lines: Some(lines), behind, written }
    }

    fn give_up(&mut self) {
        self.lines = None;
    }
}

impl Reporter for Stream {
    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.behind.fetch_add(line.len(), Relaxed) > FARTHEST_BEHIND {
            self.give_up();
            bail!("the program that reads the events does not keep up, and gets no more of them");
        }
        if self.lines.as_ref().is_none_or(|lines| lines.send(line).is_err()) {
            self.give_up();
            bail!("the program that read the events has gone away");
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.lines.take().is_some() {
            let _ = self.written.recv_timeout(PATIENCE);
        }
    }
}
