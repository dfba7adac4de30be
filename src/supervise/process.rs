//! Starting, signalling and reaping the supervisor's children.
//!
//! Each child leads a process group of its own. Such a group is signalled only
//! while its leader is not reaped: until then nobody else can have its number.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{self, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::identity::{ProcessId, descendants};
use super::overlay::{self, Mount};
use super::protocol::{Ended, Exit, ProcessStatus, Signal, Spawn, StopPolicy};
use super::shared_memory::SharedMemory;
use super::unchecked::prepare_in_child;

/// How long the kernel may take to carry out a SIGKILL.
pub(super) const KILL_WAIT: Duration = Duration::from_secs(10);

/// What is left of a grace once the owner has died: nobody waits for a tidy
/// end any more, but most programs end at once when asked.
pub(super) const ABANDONED_GRACE: Duration = Duration::from_millis(50);
/// The same for a process that would leave something behind if it were killed.
pub(super) const CAREFUL_GRACE: Duration = Duration::from_secs(2);

/// A started process; kept after its end, for the status.
pub(super) struct Child {
    pub(super) name: String,
    pub(super) id: ProcessId,
    pub(super) stop: StopPolicy,
    /// It would leave something behind if it were killed.
    needs_grace: bool,
    since: Timestamp,
    /// Keeps what its overlay shows, while it runs.
    lower: RefCell<Option<File>>,
    ended: watch::Sender<Option<Ended>>,
}

impl Child {
    pub(super) fn start(spec: &Spawn) -> Result<Self, Failure> {
        let name = spec.name.clone();
        // A missing directory and a missing program would give the same error.
        if !spec.cwd.is_dir() {
            return Err(Failure::NoDirectory { name, cwd: spec.cwd.clone() });
        }
        let log = open_log(spec)?;
        let stderr = log.try_clone().map_err(|error| no_log(spec, &error))?;
        let mut command = Command::new(&spec.program);
        command.args(&spec.args).env_clear().envs(&spec.env).current_dir(&spec.cwd);
        command.stdin(Stdio::null()).stdout(log).stderr(stderr).process_group(0);
        let (mut lower, mut mount) = (None, None);
        if let Some(overlay) = &spec.overlay {
            let failed = |error| not_started(spec, &error);
            lower = Some(overlay::hold(overlay).map_err(failed)?);
            mount = Some(Mount::prepare(overlay, spec.user).map_err(failed)?);
        } else if let Some(user) = spec.user {
            // Drops the supplementary groups, too.
            command.uid(user.uid).gid(user.gid);
        }
        prepare_in_child(&mut command, mount, spec.on_supervisor_death);

        // Returns when the program is executed. Dropping the handle leaves the
        // reaping to `reap`.
        let pid = command.spawn().map_err(|error| not_started(spec, &error))?.id().cast_signed();
        Ok(Self {
            name,
            // Not reaped yet, so it is there even if it has ended.
            id: ProcessId::of(pid).unwrap_or(ProcessId { pid, start_time: 0, boot: 0 }),
            stop: spec.stop,
            needs_grace: spec.on_supervisor_death != Signal::Kill,
            since: Timestamp::now(),
            lower: RefCell::new(lower),
            ended: watch::Sender::new(None),
        })
    }

    pub(super) fn is_running(&self) -> bool {
        self.ended.borrow().is_none()
    }

    /// To the process alone.
    pub(super) fn signal(&self, signal: Signal) {
        if self.is_running() {
            let _ = kill(Pid::from_raw(self.id.pid), signal::Signal::from(signal));
        }
    }

    fn signal_group(&self, signal: Signal) {
        if self.is_running() {
            let _ = killpg(Pid::from_raw(self.id.pid), signal::Signal::from(signal));
        }
    }

    /// Stops the process and its group by its policy, and waits for that.
    pub(super) async fn stop(&self, abandoned: &CancellationToken) -> Result<Exit, Failure> {
        let shortened = async {
            abandoned.cancelled().await;
            sleep(ABANDONED_GRACE).await;
        };
        self.signal_group(self.stop.signal);
        tokio::select! {
            exit = self.ended() => return Ok(exit),
            () = sleep(self.stop.grace()) => {}
            () = shortened, if !self.needs_grace => {}
        }
        let memory = self.needs_grace.then(|| SharedMemory::of_group(self.id.pid));
        self.signal_group(Signal::Kill);
        let unkillable = || Failure::Unkillable { processes: vec![self.id] };
        let exit = timeout(KILL_WAIT, self.ended()).await.map_err(|_| unkillable())?;
        memory.unwrap_or_default().free();
        Ok(exit)
    }

    /// As [`Self::stop`], then kills descendants that have left the group.
    pub(super) async fn stop_tree(&self, abandoned: &CancellationToken) -> Result<Exit, Failure> {
        // Orphans get another parent, so the tree must be read before.
        let tree = if self.is_running() { descendants([self.id.pid]) } else { Vec::new() };
        let exit = self.stop(abandoned).await?;
        kill_trees(tree);
        Ok(exit)
    }

    async fn ended(&self) -> Exit {
        let mut ended = self.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await.ok().and_then(|ended| *ended);
        ended.map_or(Exit::Lost, |ended| ended.exit)
    }

    pub(super) fn record_end(&self, exit: Exit) {
        drop(self.lower.take());
        self.ended.send_replace(Some(Ended { exit, at: Timestamp::now() }));
    }

    pub(super) fn status(&self) -> ProcessStatus {
        let ended = *self.ended.borrow();
        ProcessStatus { name: self.name.clone(), process: self.id, since: self.since, ended }
    }
}

fn open_log(spec: &Spawn) -> Result<File, Failure> {
    // A service must not be able to turn its log into a link and have the
    // supervisor, perhaps root, write elsewhere when it is started again.
    let no_links = OFlag::O_NOFOLLOW.bits();
    let open =
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(no_links).open(&spec.log);
    open.map_err(|error| no_log(spec, &error))
}

fn no_log(spec: &Spawn, error: &io::Error) -> Failure {
    Failure::NoLog { name: spec.name.clone(), log: spec.log.clone(), reason: error.to_string() }
}

pub(super) fn not_started(spec: &Spawn, error: &io::Error) -> Failure {
    let (name, program) = (spec.name.clone(), spec.program.clone());
    let is_path = program.components().nth(1).is_some();
    match error.kind() {
        io::ErrorKind::NotFound if is_path && program.exists() => Failure::NoInterpreter { name, program },
        io::ErrorKind::NotFound => Failure::NoProgram { name, program },
        // What the system says, too, when a folder of PATH cannot be read.
        io::ErrorKind::PermissionDenied if !is_path && !is_in_path(spec) => {
            Failure::NoProgram { name, program }
        }
        _ => Failure::NotStarted { name, program, user: spec.user, reason: error.to_string() },
    }
}

fn is_in_path(spec: &Spawn) -> bool {
    let path = spec.env.get("PATH").map(String::as_str).unwrap_or_default();
    std::env::split_paths(path).any(|folder| folder.join(&spec.program).exists())
}

/// What [`reap`] found.
pub(super) enum Reaped {
    /// This child has ended and is reaped.
    Ended { pid: i32, exit: Exit },
    /// There are children, none of which has ended.
    AllRunning,
    /// There are no children. Thanks to re-parenting (Linux) this means that
    /// there are no descendants either.
    NoChildren,
}

/// Reaps one ended child, after killing what is left of the group that it leads.
pub(super) fn reap(leads_group: impl Fn(i32) -> bool) -> Reaped {
    match take_zombie(leads_group) {
        Ok(WaitStatus::Exited(pid, code)) => Reaped::Ended { pid: pid.as_raw(), exit: Exit::Code(code) },
        Ok(WaitStatus::Signaled(pid, signal, _)) => {
            Reaped::Ended { pid: pid.as_raw(), exit: Exit::Signal(signal as i32) }
        }
        Ok(_) | Err(Errno::EINTR) => Reaped::AllRunning,
        Err(_) => Reaped::NoChildren,
    }
}

#[cfg(target_os = "linux")]
fn take_zombie(leads_group: impl Fn(i32) -> bool) -> nix::Result<WaitStatus> {
    use nix::sys::wait::{Id, waitid};
    // First a look, so that the group is killed while its number is still its.
    let zombie = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)?;
    if let Some(pid) = zombie.pid() {
        if leads_group(pid.as_raw()) {
            let _ = killpg(pid, signal::Signal::SIGKILL);
        }
        waitpid(pid, None)?;
    }
    Ok(zombie)
}

/// Without a way to look first there is a moment in which the group's number
/// could go to somebody else; pids are given out in turn, so it will not.
#[cfg(not(target_os = "linux"))]
fn take_zombie(leads_group: impl Fn(i32) -> bool) -> nix::Result<WaitStatus> {
    let zombie = waitpid(None, Some(WaitPidFlag::WNOHANG))?;
    if let Some(pid) = zombie.pid().filter(|pid| leads_group(pid.as_raw())) {
        let _ = killpg(pid, signal::Signal::SIGKILL);
    }
    Ok(zombie)
}

/// Asks this very process to end, if it still runs.
pub(super) fn ask(process: ProcessId) {
    signal_process(process, signal::Signal::SIGTERM);
}

/// Kills this very process, if it still runs.
pub(super) fn kill_process(process: ProcessId) {
    signal_process(process, signal::Signal::SIGKILL);
}

fn signal_process(process: ProcessId, signal: signal::Signal) {
    if process.is_alive() {
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

/// Kills those that still run, with all their descendants.
pub(super) fn kill_trees(mut found: Vec<ProcessId>) {
    let mut tree: Vec<ProcessId> = Vec::new();
    found.retain(|process| process.is_alive());
    while !found.is_empty() {
        // A stopped process cannot fork behind our back.
        for process in &found {
            signal_process(*process, signal::Signal::SIGSTOP);
        }
        tree.append(&mut found);
        found = descendants(tree.iter().map(|process| process.pid));
        found.retain(|process| !tree.contains(process));
    }
    tree.into_iter().for_each(kill_process);
}

/// A process group that the owner has started itself.
#[derive(Clone, Copy)]
pub(super) struct Guarded {
    pub leader: ProcessId,
    pub ends_its_children: bool,
}

/// Ends a group of the owner's: asks, kills soon after, and waits until it is
/// gone, but not for long: it is for others to reap.
pub(super) async fn end_guarded(Guarded { leader, ends_its_children }: Guarded) {
    let group = Pid::from_raw(leader.pid);
    let gone = |grace| {
        timeout(grace, async {
            while has_group(leader) {
                sleep(Duration::from_millis(2)).await;
            }
        })
    };
    if ends_its_children {
        // What it would leave behind when killed is worth a longer wait.
        signal_process(leader, signal::Signal::SIGTERM);
        let _ = gone(CAREFUL_GRACE).await;
    } else if has_group(leader) {
        let _ = killpg(group, signal::Signal::SIGTERM);
        let _ = gone(ABANDONED_GRACE).await;
    }
    if has_group(leader) {
        let memory = ends_its_children.then(|| SharedMemory::of_group(leader.pid));
        let _ = killpg(group, signal::Signal::SIGKILL);
        let _ = gone(ABANDONED_GRACE).await;
        memory.unwrap_or_default().free();
    }
}

/// Whether the group of this leader exists. Its number cannot become the pid of
/// a stranger while it does.
fn has_group(leader: ProcessId) -> bool {
    let is_strange = ProcessId::of(leader.pid).is_some_and(|found| found != leader);
    !is_strange && killpg(Pid::from_raw(leader.pid), None).is_ok()
}
