//! Homes: the directory of each server and service, made for it and taken back.

use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use super::{Local, supervisor_failure};
use crate::fault::{self, Seam};
use crate::run::{Failure, Kind};
use crate::supervise::{User, remove_all};
use crate::targets::Cluster;

impl Local {
    /// Does the `work` of deploying `name`. Takes back what there is of it if
    /// that fails, so that it can be tried again.
    pub(super) async fn deploy<T>(
        &self,
        cluster: &Cluster,
        name: &str,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        self.deployed.during(cluster, name, work, self.withdraw(name)).await
    }

    /// Stops what is called `name` and forgets it; its log stays.
    pub(super) async fn withdraw(&self, name: &str) -> Result<(), Failure> {
        let status = self.run.supervisor.status().await.map_err(supervisor_failure)?;
        if let Some(process) = status.processes.iter().find(|process| process.name == name) {
            if process.ended.is_none() {
                self.run.supervisor.stop(name).await.map_err(supervisor_failure)?;
            }
            self.run.journal.removed("process", name);
        }
        self.remove_home(name)?;
        self.databases().retain(|(database, _)| database.name() != name);
        self.deployed.forget(name);
        Ok(())
    }

    /// Makes the directory of one server or service, which `user` owns.
    pub(super) fn home(&self, name: &str, user: Option<User>) -> Result<PathBuf, Failure> {
        let home = self.run.scratch.join(name);
        let failed = |error| {
            let what =
                format!("the directory of `{name}` cannot be made below {}", self.run.scratch.display());
            Failure::new(Kind::Io, what)
                .hint("make room there, or set RECIPE_RUN_DIR to another directory")
                .cause(error)
        };
        fault::blocking(Seam::Files)
            .and_then(|()| fs_err::create_dir(&home))
            .and_then(|()| give(&home, user))
            .map_err(failed)?;
        Ok(home)
    }

    pub(super) fn remove_home(&self, name: &str) -> Result<(), Failure> {
        match remove_all(&self.run.scratch.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let what = format!("the directory of `{name}` cannot be removed");
                Err(Failure::new(Kind::Io, what).cause(error))
            }
            _ => Ok(()),
        }
    }
}

/// Writes a new file that only `user` can read.
pub(super) fn write_private(path: &Path, text: &str, user: Option<User>) -> Result<(), Failure> {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .and_then(|()| give(path, user));
    written
        .map_err(|error| Failure::new(Kind::Io, format!("{} cannot be written", path.display())).cause(error))
}

/// Makes `user` the owner.
pub(super) fn give(path: &Path, user: Option<User>) -> std::io::Result<()> {
    user.map_or(Ok(()), |user| chown(path, Some(user.uid), Some(user.gid)))
}
