//! A command that has the terminal: `recipe test` hands it over as a shell
//! does, and takes it back.
//!
//! The command leads a process group of its own, and that group is the one in
//! the foreground. So Ctrl-C reaches the command and all it started, not recipe,
//! which outlives it to take the environment down. Ctrl-Z stops the command;
//! recipe sees it and stops, too, so that the shell gets its prompt back, and
//! `fg` continues both. Where there is no terminal, or somebody else is in its
//! foreground, signals that recipe gets are passed on, and that is all.
//!
//! Between fork and exec there is a recipe that has stopped itself. It becomes
//! the command once the terminal is handed over and the supervisor knows of it,
//! so that neither a key nor the death of recipe can come too early.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, raise};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, getppid, tcgetpgrp, tcsetpgrp};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::child::Children;
use super::program::find_program;
use crate::supervise::ProcessId;

/// The subcommand that calls [`exec`].
pub const EXEC: &str = "__exec";

/// Stops this process, and makes it the command of these words once it is
/// continued. Returns only why that cannot be.
#[must_use]
pub fn exec(words: &[OsString]) -> io::Error {
    let parent = getppid();
    if let Err(error) = raise(Signal::SIGSTOP) {
        return error.into();
    }
    if getppid() != parent {
        // The kernel continues what a dead recipe has stopped.
        return io::Error::other("recipe has died before it began");
    }
    Command::new(&words[0]).args(&words[1..]).exec()
}

/// A command in the foreground that has not ended.
pub struct Foreground {
    group: Pid,
    leader: Option<ProcessId>,
    children: Children,
    terminal: Option<Terminal>,
    changes: UnboundedReceiver<nix::Result<WaitStatus>>,
    continued: Signals,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code as a shell gives it: 128 + n when signal n ended it.
    pub code: i32,
    /// Whether it left processes of its group behind, which were killed.
    pub left_processes: bool,
}

impl Foreground {
    /// Starts the command of these words, which has this process' standard
    /// streams, and hands the terminal over. Its group dies with this process.
    ///
    /// # Errors
    /// When there is no such program, or it cannot be started.
    pub async fn start(
        children: &Children,
        words: &[OsString],
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> io::Result<Self> {
        if find_program(&words[0]).is_none() {
            return Err(Errno::ENOENT.into());
        }
        let continued = signal(SignalKind::from_raw(Signal::SIGCONT as i32))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([EXEC, "--"]).args(words).envs(variables).envs(children.mark());
        let child = command.process_group(0).spawn()?;
        let group = Pid::from_raw(child.id().cast_signed());
        // It stops at once, or ends.
        let change =
            tokio::task::spawn_blocking(move || waitpid(group, Some(WaitPidFlag::WUNTRACED))).await?;
        if !matches!(change, Ok(WaitStatus::Stopped(..))) {
            return Err(io::Error::other(format!("it did not wait for its start: {change:?}")));
        }
        let leader = ProcessId::of(group.as_raw());
        children.guard(leader).await;
        let (told, changes) = unbounded_channel();
        std::thread::spawn(move || {
            loop {
                let change = waitpid(group, Some(WaitPidFlag::WUNTRACED));
                let over = !matches!(change, Ok(WaitStatus::Stopped(..)) | Err(Errno::EINTR));
                if told.send(change).is_err() || over {
                    break;
                }
            }
        });
        let terminal = Terminal::open();
        let foreground = Self { group, leader, children: children.clone(), terminal, changes, continued };
        foreground.resume();
        Ok(foreground)
    }

    /// What passes a signal on to the command and all it started.
    pub fn relay(&self) -> impl Fn(Signal) + use<> {
        let group = self.group;
        move |signal| {
            let _ = killpg(group, signal);
            // A command that is stopped would not notice.
            let _ = killpg(group, Signal::SIGCONT);
        }
    }

    /// Waits until the command has ended, and takes the terminal back.
    ///
    /// # Errors
    /// When the system does not tell.
    pub async fn wait(mut self) -> io::Result<Ended> {
        let (code, died) = loop {
            tokio::select! {
                change = self.changes.recv() => match change {
                    Some(Ok(WaitStatus::Exited(_, code))) => break (code, false),
                    Some(Ok(WaitStatus::Signaled(_, signal, _))) => break (128 + signal as i32, true),
                    Some(Ok(WaitStatus::Stopped(_, signal))) => self.stopped(signal),
                    Some(Err(Errno::EINTR)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    Some(Ok(_)) | None => return Err(Errno::ECHILD.into()),
                },
                _ = self.continued.recv() => self.resume(),
            }
        };
        if let Some(terminal) = &self.terminal {
            terminal.take_back(self.group, died);
        }
        let left_processes = killpg(self.group, Signal::SIGKILL) != Err(Errno::ESRCH);
        self.children.unguard(self.leader);
        Ok(Ended { code, left_processes })
    }

    /// The command was stopped: so is recipe, with all that the shell started
    /// with it.
    fn stopped(&self, signal: Signal) {
        let Some(terminal) = &self.terminal else { return };
        let wanted_terminal = matches!(signal, Signal::SIGTTIN | Signal::SIGTTOU);
        if wanted_terminal && terminal.is_of(self.group) {
            // It asked in the moment before it was handed over.
            let _ = killpg(self.group, Signal::SIGCONT);
            return;
        }
        terminal.take_back(self.group, false);
        let _ = killpg(getpgrp(), Signal::SIGTSTP);
    }

    /// Hands the terminal over, if it is recipe's to give, and lets the command
    /// go on, which may have been stopped for wanting it too early.
    fn resume(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.hand_over(self.group);
        }
        let _ = killpg(self.group, Signal::SIGCONT);
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        if let Some(terminal) = &self.terminal {
            terminal.take_back(self.group, false);
        }
    }
}

/// The terminal that recipe was started from.
struct Terminal {
    device: File,
    modes: Option<Termios>,
}

impl Terminal {
    /// None for a process without one. The streams may lead elsewhere.
    fn open() -> Option<Self> {
        let device = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let modes = tcgetattr(&device).ok();
        Some(Self { device, modes })
    }

    fn is_of(&self, group: Pid) -> bool {
        tcgetpgrp(&self.device) == Ok(group)
    }

    fn hand_over(&self, group: Pid) {
        if self.is_of(getpgrp()) {
            self.give(group);
        }
    }

    /// From a command that died before it could put the modes back, such as
    /// raw ones, these are put back for it.
    fn take_back(&self, group: Pid, died: bool) {
        if !self.is_of(group) {
            return;
        }
        self.give(getpgrp());
        if let Some(modes) = self.modes.as_ref().filter(|_| died) {
            let _ = tcsetattr(&self.device, SetArg::TCSADRAIN, modes);
        }
    }

    fn give(&self, group: Pid) {
        // Who is not in the foreground is stopped for this, unless it says no.
        let mut refused = SigSet::empty();
        refused.add(Signal::SIGTTOU);
        let Ok(before) = refused.thread_swap_mask(SigmaskHow::SIG_BLOCK) else { return };
        let _ = tcsetpgrp(&self.device, group);
        let _ = before.thread_set_mask();
    }
}
