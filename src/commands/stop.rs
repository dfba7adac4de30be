//! How a run is stopped from outside: by signals and by its deadline.

use std::pin::pin;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use crate::exit;
use crate::run::child::Children;
use crate::run::event::{CancelReason, EventKind};
use crate::run::signal::Signals;
use crate::run::{Events, Failure, Kind};

/// Listens while work goes on. The first signal cancels, the second ends all
/// grace, the third leaves at once; the supervisor then sees to the rest.
pub(super) struct Stop {
    signals: Signals,
    events: Events,
    children: Children,
    token: CancellationToken,
    reason: Option<CancelReason>,
    count: usize,
}

impl Stop {
    pub(super) fn listen(events: Events, children: Children) -> Result<Self, Failure> {
        let signals = Signals::listen()
            .map_err(|error| Failure::new(Kind::Io, "signals cannot be listened for").cause(error))?;
        Ok(Self { signals, events, children, token: CancellationToken::new(), reason: None, count: 0 })
    }

    /// Cancelled when the script is to stop.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// The commands that get signals passed on.
    pub(super) fn children(&self) -> &Children {
        &self.children
    }

    /// Why the run was cancelled; the strongest reason.
    pub(super) fn reason(&self) -> Option<CancelReason> {
        self.reason
    }

    /// Does `work` while listening.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                reason = self.signals.next() => self.signal(reason),
            }
        }
    }

    /// Does `work` while listening, and cancels at `deadline`.
    pub(super) async fn until<T>(&mut self, deadline: Instant, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut in_time = pin!(tokio::time::sleep_until(deadline.into()));
        loop {
            tokio::select! {
                done = &mut work => return done,
                reason = self.signals.next() => self.signal(reason),
                () = &mut in_time, if self.reason.is_none() => self.cancel(CancelReason::Deadline),
            }
        }
    }

    /// Does the last `work` while listening; cancels `token`, its own, at the
    /// second signal and when it takes longer than `patience`.
    pub(super) async fn last_words<T>(
        &mut self,
        token: &CancellationToken,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        let mut in_time = pin!(tokio::time::sleep(patience));
        loop {
            tokio::select! {
                done = &mut work => return done,
                reason = self.signals.next() => {
                    self.signal(reason);
                    if self.count > 1 {
                        token.cancel();
                    }
                }
                () = &mut in_time, if !token.is_cancelled() => token.cancel(),
            }
        }
    }

    /// Does `work` while listening; `pass_on` gets each signal, the second and
    /// later ones as SIGKILL.
    pub(super) async fn passing_on<T>(
        &mut self,
        work: impl Future<Output = T>,
        pass_on: impl Fn(Signal),
    ) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                reason = self.signals.next() => {
                    self.signal(reason);
                    let same = reason.signal().and_then(|number| Signal::try_from(i32::from(number)).ok());
                    pass_on(same.filter(|_| self.count == 1).unwrap_or(Signal::SIGKILL));
                }
            }
        }
    }

    fn signal(&mut self, reason: CancelReason) {
        self.count += 1;
        match self.count {
            1 => self.cancel(reason),
            2 => {
                self.events.emit(EventKind::KillBegan);
                self.children.kill();
            }
            _ => leave(reason),
        }
    }

    fn cancel(&mut self, reason: CancelReason) {
        if self.reason.is_none_or(|known| known < reason) {
            self.reason = Some(reason);
            self.events.emit(EventKind::CancelBegan { reason });
        }
        self.token.cancel();
    }
}

#[expect(clippy::exit, reason = "the third signal means: leave whatever is going on")]
pub(super) fn leave(reason: CancelReason) {
    std::process::exit(i32::from(exit::SIGNAL + reason.signal().unwrap_or_default()));
}
