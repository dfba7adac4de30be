//! Signals to recipe itself.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::event::CancelReason;

/// The signals that end a run.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over from the system.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> CancelReason {
        tokio::select! {
            _ = self.interrupt.recv() => CancelReason::Interrupt,
            _ = self.terminate.recv() => CancelReason::Terminate,
            _ = self.hangup.recv() => CancelReason::Hangup,
        }
    }
}

impl CancelReason {
    /// The number of the signal, where it is one.
    #[must_use]
    pub fn signal(self) -> Option<u8> {
        match self {
            Self::Interrupt => Some(2),
            Self::Terminate => Some(15),
            Self::Hangup => Some(1),
            Self::Failure | Self::Deadline => None,
        }
    }
}
