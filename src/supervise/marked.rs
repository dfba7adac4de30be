//! Processes that belong to a run though nobody waits for them: what a command
//! has left in a group of its own, what its owner could not tell the supervisor
//! of before it died, what has outlived both.
//!
//! They are known by a variable in their environment. Servers that overwrite
//! theirs with a title (PostgreSQL, Redis) are known by having none, and a
//! working directory in the run directory. On systems that show neither nobody
//! is found.

use std::path::Path;
use std::time::Duration;

use tokio::time::{sleep, timeout};

#[cfg(target_os = "linux")]
use super::identity::processes;
use super::identity::{Found, ProcessId};
use super::process::{KILL_WAIT, ask, kill_trees};
use super::shared_memory::SharedMemory;

/// Holds the run directory in the environment of every server and service, and
/// so of whatever they start.
pub const MARK_VARIABLE: &str = "RECIPE_SCRATCH";

/// Between two looks at whether processes are gone.
const PAUSE: Duration = Duration::from_millis(2);

/// The running processes that belong to the run of this directory, but for the
/// calling one.
#[must_use]
pub fn marked(run_dir: &Path) -> Vec<ProcessId> {
    find(run_dir).iter().map(|found| found.id).collect()
}

/// Ends them: asks those that no other of them has started, and kills what is
/// left `grace` after that and again `grace` after these have ended. Those that
/// have started others get to end them: `initdb` is one, whose servers leave
/// shared memory behind when a signal ends them.
pub async fn end_marked(run_dir: &Path, grace: Duration) {
    let found = find(run_dir);
    let is_eldest = |process: &&Found| found.iter().all(|other| other.id.pid != process.parent);
    let eldest: Vec<ProcessId> = found.iter().filter(is_eldest).map(|process| process.id).collect();
    eldest.iter().copied().for_each(ask);
    let _ = timeout(grace, gone(&eldest)).await;
    let all: Vec<ProcessId> = found.iter().map(|process| process.id).collect();
    let _ = timeout(grace, gone(&all)).await;
    let mut memory = SharedMemory::default();
    let killed = async {
        loop {
            let left = marked(run_dir);
            if left.is_empty() {
                break;
            }
            memory.add(left.iter().copied());
            kill_trees(left);
            sleep(PAUSE).await;
        }
    };
    // Whoever does not go belongs to another user, and keeps no directory.
    let _ = timeout(KILL_WAIT, killed).await;
    memory.free();
}

async fn gone(processes: &[ProcessId]) {
    while processes.iter().any(|process| process.is_alive()) {
        sleep(PAUSE).await;
    }
}

#[cfg(target_os = "linux")]
fn find(run_dir: &Path) -> Vec<Found> {
    let mark = format!("{MARK_VARIABLE}={}", run_dir.display()).into_bytes();
    let me = nix::unistd::getpid().as_raw();
    let is_ours = |found: &Found| {
        let pid = found.id.pid;
        if found.is_zombie || pid == me {
            return false;
        }
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
        let mut variables = environment.split(|byte| *byte == 0);
        let hides_its_environment = !environment.windows(5).any(|bytes| bytes == b"PATH=");
        variables.any(|variable| variable == mark)
            || (hides_its_environment
                && std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(run_dir)))
    };
    processes().into_iter().filter(is_ours).collect()
}

#[cfg(not(target_os = "linux"))]
fn find(_: &Path) -> Vec<Found> {
    Vec::new()
}
