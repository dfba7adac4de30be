//! Removing what a run has left whose supervisor cannot do it any more.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::run::folder::Facts;
use crate::run::journal::{self, Change};
use crate::run::{Failure, Kind, RunFolder};
use crate::supervise::{ProcessId, SharedMemory, end_marked, marked, remove_all};
use crate::targets::kubernetes::clean_up;

/// How long a process group has to quit by itself.
const GRACE: Duration = Duration::from_secs(2);

/// How long others have that the run has started, and again those that they
/// have.
const STRAGGLERS: Duration = Duration::from_millis(500);

/// Between two looks at whether a process is gone.
const PAUSE: Duration = Duration::from_millis(5);

/// Ends the processes that the run has started and those that these have
/// started, as far as they can be told from others, removes its scratch
/// directory, and what its journal tells of elsewhere.
pub(super) async fn clear(folder: &RunFolder, facts: &Facts) -> Result<(), Failure> {
    let entries = journal::read(&folder.path).map_err(|error| {
        Failure::new(Kind::Io, format!("the journal of `{}` cannot be read", folder.id)).cause(error)
    })?;
    let leaders = entries.iter().filter_map(|entry| match entry.change {
        Change::Running { process, .. } => Some(process),
        _ => None,
    });
    let removed = clear_machine(leaders.collect(), &facts.scratch).await;
    clean_up(folder).await.and(removed)
}

/// Ends process groups that a run is known to have started, and what else has
/// its mark, and removes its scratch directory.
pub(super) async fn clear_machine(mut leaders: Vec<ProcessId>, scratch: &Path) -> Result<(), Failure> {
    leaders.retain(|leader| leader.is_alive());
    let memory = SharedMemory::of(leaders.iter().copied().chain(marked(scratch)), scratch);
    join_all(leaders.into_iter().map(end)).await;
    end_marked(scratch, STRAGGLERS).await;
    memory.free();
    match remove_all(scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::new(Kind::Io, format!("{} cannot be removed", scratch.display())).cause(error))
        }
        _ => Ok(()),
    }
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
