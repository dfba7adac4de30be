//! Child processes of the run itself: commands that run to their end, such as
//! `sh`, a build, or `initdb`. Servers and services belong to the supervisor.
//!
//! Each child leads a process group of its own, so that a signal reaches all
//! that it started and the terminal's Ctrl-C reaches none of it. When the work
//! that waits for a child is dropped, because its branch was cancelled, the
//! group gets SIGTERM, then grace, then SIGKILL; [`Children::settle`] waits for
//! that, so that what comes next finds no locks and ports held.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::event::Stream;
use super::output::{Output, Pipe};
use crate::fault::{self, Seam};
use crate::supervise::{ProcessId, SharedMemory};

/// How long a cancelled child has to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// What is left of that at a second signal for one that ends its children.
const CAREFUL_GRACE: Duration = Duration::from_secs(2);
/// How long output is read on after the child has ended: enough for what it
/// has written, and for a `tee` behind it, but not for ever.
const DRAIN: Duration = Duration::from_millis(200);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Looked up in `PATH` when it has no slash.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Whether `env` is all; else it is added to the environment of this process.
    pub only_env: bool,
    /// Working directory; this process' when none.
    pub cwd: Option<PathBuf>,
    /// User and group to run as; this process' when none.
    pub user: Option<(u32, u32)>,
    /// Text for its standard input; empty when none.
    pub stdin: Option<String>,
    /// Whether it is asked alone to end, and its children end by themselves
    /// after it; else its whole group is asked, and killed after it.
    pub ends_its_children: bool,
}

/// What a child left.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output, invalid UTF-8 replaced.
    pub stdout: String,
    /// Its standard error, invalid UTF-8 replaced.
    pub stderr: String,
    /// Whether it left processes of its group behind, which were stopped.
    pub left_processes: bool,
}

impl Finished {
    /// The last `count` lines that it wrote to standard error, or to standard
    /// output if it wrote nothing there.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<String> {
        let text = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        last_lines(text, count)
    }
}

/// The last `count` lines of a text.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

/// `exit code 3`, `SIGKILL`: how a process ended, for people.
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => Signal::try_from(signal)
            .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned()),
        (None, None) => "an unknown status".to_owned(),
    }
}

/// The exit code as a shell gives it: 128 + n when signal n ended it.
#[must_use]
pub fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// Ends process groups when this process is killed; the supervisor does it.
#[async_trait]
pub trait Guard: Send + Sync {
    /// A variable for the environment of every child, by which even those are
    /// found that no group leads to any more.
    fn mark(&self) -> (&str, &str);
    /// Returns when the group of this leader dies with this process. One that
    /// `ends_its_children` is asked alone.
    async fn guard(&self, leader: ProcessId, ends_its_children: bool);
    /// The group is over.
    fn unguard(&self, leader: ProcessId);
}

/// The child processes of one run. Cheap to clone.
#[derive(Clone)]
pub struct Children {
    /// Closed from the first: it still takes tasks, and can be waited for.
    ending: TaskTracker,
    kill: CancellationToken,
    guard: Arc<OnceLock<Box<dyn Guard>>>,
}

impl Default for Children {
    fn default() -> Self {
        let ending = TaskTracker::new();
        ending.close();
        Self { ending, kill: CancellationToken::new(), guard: Arc::default() }
    }
}

impl Children {
    /// Hands process groups to `guard` from now on.
    pub fn set_guard(&self, guard: Box<dyn Guard>) {
        let _ = self.guard.set(guard);
    }

    /// Ends the grace of every child that is being stopped.
    pub fn kill(&self) {
        self.kill.cancel();
    }

    /// Waits until every cancelled child is gone.
    pub async fn settle(&self) {
        self.ending.wait().await;
    }

    /// Runs a command to its end, handing each line of output to `line`.
    ///
    /// # Errors
    /// When it cannot be started. How it ended is in the value.
    pub async fn run(
        &self,
        command: &Command,
        mut line: impl FnMut(Stream, &str) + Send,
    ) -> std::io::Result<Finished> {
        let mut child = self.spawn(command).await?;
        let (stdout, stderr) = child.pipes();
        let (mut stdout, mut stderr) = (Output::new(stdout), Output::new(stderr));
        let status = loop {
            tokio::select! {
                Some(text) = stdout.next() => line(Stream::Stdout, &text),
                Some(text) = stderr.next() => line(Stream::Stderr, &text),
                status = child.wait() => break status?,
            }
        };
        let mut drain = async || {
            let rest = async {
                loop {
                    tokio::select! {
                        Some(text) = stdout.next() => line(Stream::Stdout, &text),
                        Some(text) = stderr.next() => line(Stream::Stderr, &text),
                        else => break,
                    }
                }
            };
            tokio::time::timeout(DRAIN, rest).await.is_ok()
        };
        let drained = drain().await;
        let left_processes = child.over();
        if !drained {
            // Those that held the pipes open are gone now, but for any that
            // have left the group.
            drain().await;
        }
        Ok(Finished { status, stdout: stdout.text(), stderr: stderr.text(), left_processes })
    }

    /// Runs a server to its end, which `stop` brings about once `work` is done.
    ///
    /// # Errors
    /// When it cannot be started. What `work` gave is missing where the server
    /// ended before.
    pub async fn serve<T>(
        &self,
        command: &Command,
        stop: Signal,
        work: impl Future<Output = T>,
    ) -> std::io::Result<(Option<T>, Finished)> {
        let mut child = self.spawn(command).await?;
        let (stdout, stderr) = child.pipes();
        let (mut stdout, mut stderr) = (Output::new(stdout), Output::new(stderr));
        let mut work = std::pin::pin!(work);
        let mut done = None;
        let status = loop {
            tokio::select! {
                Some(_) = stdout.next() => {}
                Some(_) = stderr.next() => {}
                value = &mut work, if done.is_none() => {
                    done = Some(value);
                    // To the server alone: it ends its children in order.
                    let _ = kill(Pid::from_raw(child.group), stop);
                }
                status = child.wait() => break status?,
            }
        };
        let left_processes = child.over();
        Ok((done, Finished { status, stdout: stdout.text(), stderr: stderr.text(), left_processes }))
    }

    async fn spawn(&self, command: &Command) -> std::io::Result<Running> {
        let mut process = tokio::process::Command::new(&command.program);
        if command.only_env {
            process.env_clear();
        }
        process
            .args(&command.args)
            .envs(&command.env)
            .process_group(0)
            .stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(guard) = self.guard.get() {
            let (name, value) = guard.mark();
            process.env(name, value);
        }
        if let Some(cwd) = &command.cwd {
            process.current_dir(cwd);
        }
        if let Some((uid, gid)) = command.user {
            process.uid(uid).gid(gid);
        }
        fault::at(Seam::Spawn).await?;
        let mut child = process.spawn()?;
        tracing::debug!(program = ?command.program, pid = child.id(), "started");
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        let leader = ProcessId::of(group);
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), command.stdin.clone()) {
            tokio::spawn(async move {
                // A child that does not read its input is its own business.
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, text.as_bytes()).await;
            });
        }
        // Made before there is anything to wait for: from here on it is ended
        // when it is dropped.
        let running = Running {
            child: Some(child),
            group,
            leader,
            ends_its_children: command.ends_its_children,
            children: self.clone(),
        };
        if let (Some(guard), Some(leader)) = (self.guard.get(), leader) {
            guard.guard(leader, command.ends_its_children).await;
        }
        Ok(running)
    }

    /// The variable that marks what belongs to the run.
    pub(super) fn mark(&self) -> Option<(&str, &str)> {
        self.guard.get().map(|guard| guard.mark())
    }

    /// Lets the group of `leader` die with this process.
    pub(super) async fn guard(&self, leader: Option<ProcessId>) {
        if let (Some(guard), Some(leader)) = (self.guard.get(), leader) {
            guard.guard(leader, false).await;
        }
    }

    pub(super) fn unguard(&self, leader: Option<ProcessId>) {
        if let (Some(guard), Some(leader)) = (self.guard.get(), leader) {
            guard.unguard(leader);
        }
    }

    async fn terminate(
        self,
        mut child: Child,
        group: i32,
        leader: Option<ProcessId>,
        ends_its_children: bool,
    ) {
        if ends_its_children {
            let _ = kill(Pid::from_raw(group), Signal::SIGTERM);
        } else {
            signal_group(group, Signal::SIGTERM);
        }
        let over = async {
            let _ = child.wait().await;
            if ends_its_children {
                dissolved(group).await;
            }
        };
        let hurried = async {
            self.kill.cancelled().await;
            if ends_its_children {
                // What it would leave behind when killed is worth a moment.
                tokio::time::sleep(CAREFUL_GRACE).await;
            }
        };
        tokio::select! {
            () = over => {}
            () = tokio::time::sleep(GRACE) => {}
            () = hurried => {}
        }
        let memory = ends_its_children.then(|| SharedMemory::of_group(group));
        signal_group(group, Signal::SIGKILL);
        let _ = child.wait().await;
        dissolved(group).await;
        memory.unwrap_or_default().free();
        self.unguard(leader);
    }
}

/// A child that is waited for; terminated when dropped before its end.
struct Running {
    child: Option<Child>,
    group: i32,
    leader: Option<ProcessId>,
    ends_its_children: bool,
    children: Children,
}

impl Running {
    fn pipes(&mut self) -> (Option<Pipe>, Option<Pipe>) {
        let Some(child) = &mut self.child else { return (None, None) };
        let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Pipe);
        let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Pipe);
        (stdout, stderr)
    }

    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        match &mut self.child {
            Some(child) => child.wait().await,
            None => std::future::pending().await,
        }
    }

    /// The leader has ended: ends what is left of its group. Returns whether
    /// there was anything.
    fn over(&mut self) -> bool {
        self.child = None;
        let left = killpg(Pid::from_raw(self.group), None) != Err(Errno::ESRCH);
        if left {
            signal_group(self.group, Signal::SIGKILL);
        }
        self.children.unguard(self.leader);
        left
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            let children = self.children.clone();
            let work = children.clone().terminate(child, self.group, self.leader, self.ends_its_children);
            children.ending.spawn(work);
        }
    }
}

fn signal_group(group: i32, signal: Signal) {
    // 0 and 1 would mean this process' own group and everything.
    if group > 1 {
        let _ = killpg(Pid::from_raw(group), signal);
    }
}

/// Waits until a killed group has no members: its leader's descendants are
/// nobody's children here, so that they can only be looked for. Not for long,
/// since where nobody reaps them they stay as zombies, which hold nothing.
async fn dissolved(group: i32) {
    let mut pause = Duration::from_millis(1);
    while pause < DRAIN && killpg(Pid::from_raw(group), None) != Err(Errno::ESRCH) {
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}
