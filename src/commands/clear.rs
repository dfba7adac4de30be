//! Removing what a run has left whose supervisor cannot do it any more.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::run::folder::Facts;
use crate::run::journal::{self, Change};
use crate::run::scratch::MARK_VARIABLE;
use crate::run::{Failure, Kind, RunFolder};
use crate::supervise::ProcessId;
use crate::targets::kubernetes::clean_up;

/// How long a process group has to quit by itself.
const GRACE: Duration = Duration::from_secs(2);

/// Between two looks at whether a process is gone.
const PAUSE: Duration = Duration::from_millis(5);

/// Ends the processes that the run has started and those that these have
/// started, as far as they can be told from others, and removes its scratch
/// directory.
pub(super) async fn clear(folder: &RunFolder, facts: &Facts) -> Result<(), Failure> {
    let entries = journal::read(&folder.path).map_err(|error| {
        Failure::new(Kind::Io, format!("the journal of `{}` cannot be read", folder.id)).cause(error)
    })?;
    let leaders = entries.iter().filter_map(|entry| match entry.change {
        Change::Running { process, .. } => Some(process),
        _ => None,
    });
    for leader in leaders.filter(|leader| leader.is_alive()) {
        end(leader).await;
    }
    let stragglers = async {
        loop {
            let left = marked(&facts.scratch);
            if left.is_empty() {
                break;
            }
            for process in left {
                let _ = kill(process, Signal::SIGKILL);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    // Whoever does not go belongs to another user, and keeps no directory.
    let _ = tokio::time::timeout(GRACE, stragglers).await;
    let removed = match fs_err::remove_dir_all(&facts.scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(Kind::Io, format!("{} cannot be removed", facts.scratch.display())).cause(error))
        }
        _ => Ok(()),
    };
    clean_up(folder).await.and(removed)
}

/// Asks a process group to quit, which keeps PostgreSQL from leaking shared
/// memory, and kills it if it does not.
async fn end(leader: ProcessId) {
    let group = Pid::from_raw(leader.pid);
    let _ = killpg(group, Signal::SIGQUIT);
    let over = async {
        while leader.is_alive() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout(GRACE, over).await.is_err() {
        let _ = killpg(group, Signal::SIGKILL);
    }
}

/// Processes that a service has started and that have outlived it: they still
/// have the variable that marks what belongs to a run.
#[cfg(target_os = "linux")]
fn marked(directory: &Path) -> Vec<Pid> {
    let mark = format!("{}={}", MARK_VARIABLE, directory.display()).into_bytes();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_marked = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let me = nix::unistd::getpid().as_raw();
    pids.filter(|pid| *pid != me).filter(is_marked).map(Pid::from_raw).collect()
}

/// Other systems do not show the environment of a process.
#[cfg(not(target_os = "linux"))]
fn marked(_: &Path) -> Vec<Pid> {
    Vec::new()
}
