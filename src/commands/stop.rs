//! How a run is stopped from outside: by signals and by its deadline.

use std::pin::pin;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;

use crate::exit;
use crate::run::child::Children;
use crate::run::event::{CancelReason, EventKind, Level};
use crate::run::signal::Signals;
use crate::run::{Events, Failure, Kind, clock};

/// How long a cancelled script has to end: more than the grace of its commands.
const ASKED: Duration = Duration::from_secs(30);
/// The same when there is no grace any more.
const KILLED: Duration = Duration::from_secs(10);

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

    /// Runs a script while listening, and cancels at `deadline`. None when it
    /// does not end after that, because its thread hangs in the system, as when
    /// it reads from a disk that does not answer.
    pub(super) async fn script<T>(
        &mut self,
        deadline: Option<Instant>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        // Without the time in which recipe itself is stopped.
        let mut in_time = pin!(async {
            match deadline {
                Some(deadline) => clock::sleep(deadline.saturating_duration_since(Instant::now())).await,
                None => std::future::pending().await,
            }
        });
        let mut lost = pin!(at(None));
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                reason = self.signals.next() => {
                    self.signal(reason);
                    lost.set(at(Some(self.unwound())));
                }
                () = &mut in_time, if self.reason.is_none() => {
                    self.cancel(CancelReason::Deadline);
                    lost.set(at(Some(self.unwound())));
                }
                () = &mut lost => {
                    self.warn("the script hangs in the system and cannot be stopped; it is left behind");
                    return None;
                }
            }
        }
    }

    /// Does the last `work` while listening; cancels `token`, its own, at the
    /// second signal and when it takes longer than `patience`. None when it does
    /// not end after that.
    pub(super) async fn last_words<T>(
        &mut self,
        token: &CancellationToken,
        patience: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        let mut in_time = pin!(clock::sleep(patience));
        let mut lost = pin!(at(None));
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                reason = self.signals.next() => {
                    self.signal(reason);
                    if self.count > 1 {
                        token.cancel();
                        lost.set(at(Some(self.unwound())));
                    }
                }
                () = &mut in_time, if !token.is_cancelled() => {
                    token.cancel();
                    lost.set(at(Some(self.unwound())));
                }
                () = &mut lost => {
                    self.warn("a closure of `on_exit` hangs in the system and cannot be stopped; it is left behind");
                    return None;
                }
            }
        }
    }

    fn warn(&self, text: &str) {
        let text = text.to_owned();
        self.events.emit(EventKind::Message { level: Level::Warning, branch: "".into(), text });
    }

    /// When what was cancelled now must have ended.
    fn unwound(&self) -> Instant {
        Instant::now() + if self.count > 1 { KILLED } else { ASKED }
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

/// Resolves at `time`, if it is given.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::exit, reason = "the third signal means: leave whatever is going on")]
pub(super) fn leave(reason: CancelReason) {
    std::process::exit(i32::from(exit::SIGNAL + reason.signal().unwrap_or_default()));
}
