//! The end of a run's processes: wave by wave, then whatever is left, then the
//! run directory.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use super::failure::Failure;
use super::identity::descendants;
use super::marked::end_marked;
use super::overlay::remove_all;
use super::process::{
    ABANDONED_GRACE, CAREFUL_GRACE, Child, KILL_WAIT, end_guarded, kill_process, kill_trees,
};
use super::shim::Shim;

/// How soon descendants are looked for again that were missed or that forked
/// while they were being killed.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

impl Shim {
    /// Returns when no descendant is left and the run directory is gone.
    pub(super) async fn stop_everything(&self) -> Result<(), Failure> {
        // Where orphans are not adopted, they must be known before.
        let known = if cfg!(target_os = "linux") { Vec::new() } else { descendants([self.process.pid]) };
        tokio::join!(
            join_all(self.guarded.take().into_iter().map(|(_, guarded)| end_guarded(guarded))),
            self.stop_waves()
        );
        kill_trees(known);
        let stopped = self.kill_stragglers().await;
        // What the owner's commands have left in groups of their own. If it has
        // died, also those that it could not have guarded in time: they are not
        // between fork and exec any more, or they would hold its end of our
        // socket open.
        let grace = if self.abandoned.is_cancelled() { ABANDONED_GRACE } else { CAREFUL_GRACE };
        end_marked(&self.run_dir, grace).await;
        let removed = self.remove_run_dir();
        stopped.and(removed)
    }

    async fn stop_waves(&self) {
        let mut running: Vec<Rc<Child>> = self.children.borrow().clone();
        running.retain(|child| child.is_running());
        running.sort_by_key(|child| child.stop.wave);
        for wave in running.chunk_by(|one, other| one.stop.wave == other.stop.wave) {
            // One that cannot be killed is a straggler in the end, and told then.
            join_all(wave.iter().map(|child| child.stop(&self.abandoned))).await;
        }
    }

    /// Kills every descendant. On Linux none can hide: whose parent has ended
    /// becomes a child of ours.
    async fn kill_stragglers(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + KILL_WAIT;
        while self.reap() {
            let processes = descendants([self.process.pid]);
            if Instant::now() > deadline {
                return Err(Failure::Unkillable { processes });
            }
            processes.into_iter().for_each(kill_process);
            let _ = timeout(LOOK_AGAIN, self.reaped.notified()).await;
        }
        Ok(())
    }

    fn remove_run_dir(&self) -> Result<(), Failure> {
        match remove_all(&self.run_dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::NotRemoved { run_dir: self.run_dir.clone(), reason: error.to_string() })
            }
            _ => Ok(()),
        }
    }
}
