//! What is deployed: names, ports and directories, given out once and taken
//! back.

use std::collections::HashMap;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Local, supervisor_failure};
use crate::run::{Failure, Kind};
use crate::supervise::User;
use crate::targets::Cluster;

/// What this run has given out.
#[derive(Default)]
pub(super) struct Deployed {
    /// Cluster and name, in order.
    names: Mutex<Vec<(Arc<str>, String)>>,
    /// Ports that the supervisor holds for this run, and the names that have
    /// them; none of a port that only the script knows.
    ports: Mutex<HashMap<u16, Option<String>>>,
}

impl Deployed {
    fn claim(&self, cluster: &Cluster, name: &str) -> Result<(), Failure> {
        let mut names = self.names();
        if names.iter().any(|(_, known)| known == name) {
            let what = format!("there is a `{name}` in this environment already");
            return Err(Failure::new(Kind::Usage, what).hint("give one of them another name"));
        }
        names.push((cluster.name.clone(), name.to_owned()));
        Ok(())
    }

    fn forget(&self, name: &str) {
        for owner in self.ports().values_mut().filter(|owner| owner.as_deref() == Some(name)) {
            *owner = None;
        }
        self.names().retain(|(_, known)| known != name);
    }

    /// The names of a cluster, in order.
    pub(super) fn of(&self, cluster: &Cluster) -> Vec<String> {
        let names = self.names();
        names.iter().filter(|(owner, _)| *owner == cluster.name).map(|(_, name)| name.clone()).collect()
    }

    fn names(&self) -> MutexGuard<'_, Vec<(Arc<str>, String)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ports(&self) -> MutexGuard<'_, HashMap<u16, Option<String>>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Local {
    /// Does the `work` of deploying `name`. Takes back what there is of it if
    /// that fails, so that it can be tried again.
    pub(super) async fn deploy<T>(
        &self,
        cluster: &Cluster,
        name: &str,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        self.deployed.claim(cluster, name)?;
        let result = work.await;
        if result.is_err() {
            // The first failure is the one to tell; teardown will meet a second one, too.
            let _ = self.withdraw(name).await;
        }
        result
    }

    /// Stops what is called `name` and forgets it; its log stays.
    pub(super) async fn withdraw(&self, name: &str) -> Result<(), Failure> {
        let status = self.supervisor.status().await.map_err(supervisor_failure)?;
        if let Some(process) = status.processes.iter().find(|process| process.name == name) {
            if process.ended.is_none() {
                self.supervisor.stop(name).await.map_err(supervisor_failure)?;
            }
            self.journal.removed("process", name);
        }
        self.remove_home(name)?;
        self.deployed.forget(name);
        Ok(())
    }

    /// A port for `name`: the `preferred` one, which may be one that the script
    /// has from `random_port`, or any.
    pub(super) async fn port(&self, name: &str, preferred: Option<u16>) -> Result<u16, Failure> {
        if let Some(port) = preferred
            && let Some(owner) = self.deployed.ports().get_mut(&port)
        {
            if let Some(owner) = owner {
                let what = format!("port {port} is that of `{owner}` in this environment");
                return Err(
                    Failure::new(Kind::PortTaken, what).hint("choose another one, or leave it to recipe")
                );
            }
            *owner = Some(name.to_owned());
            return Ok(port);
        }
        let port = self.supervisor.reserve_port(preferred).await.map_err(supervisor_failure)?;
        self.deployed.ports().insert(port, Some(name.to_owned()));
        Ok(port)
    }

    /// Makes the directory of one server or service, which `user` owns.
    pub(super) fn home(&self, name: &str, user: Option<User>) -> Result<PathBuf, Failure> {
        let home = self.scratch.join(name);
        let failed = |error| {
            let what = format!("the directory of `{name}` cannot be made below {}", self.scratch.display());
            Failure::new(Kind::Io, what).cause(error)
        };
        fs_err::create_dir(&home).and_then(|()| give(&home, user)).map_err(failed)?;
        Ok(home)
    }

    fn remove_home(&self, name: &str) -> Result<(), Failure> {
        match fs_err::remove_dir_all(self.scratch.join(name)) {
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
fn give(path: &Path, user: Option<User>) -> std::io::Result<()> {
    user.map_or(Ok(()), |user| chown(path, Some(user.uid), Some(user.gid)))
}
