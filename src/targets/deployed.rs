//! What is deployed: names and ports, given out once and taken back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Cluster;
use crate::run::{Failure, Kind};
use crate::supervise::{Supervisor, SupervisorError};

/// What this run has given out.
pub(super) struct Deployed {
    supervisor: Supervisor,
    /// Cluster and name, in order.
    names: Mutex<Vec<(Arc<str>, String)>>,
    /// Ports that the supervisor holds for this run, and the names that have
    /// them; none of a port that only the script knows.
    ports: Mutex<HashMap<u16, Option<String>>>,
}

impl Deployed {
    /// Nothing yet; `supervisor` holds the ports.
    pub(super) fn new(supervisor: Supervisor) -> Self {
        Self { supervisor, names: Mutex::default(), ports: Mutex::default() }
    }

    /// Does the `work` of deploying `name`, which must be new to the environment.
    /// If that fails it is taken back, name and all, so that it can be tried
    /// again.
    pub(super) async fn during<T>(
        &self,
        cluster: &Cluster,
        name: &str,
        work: impl Future<Output = Result<T, Failure>> + Send,
        take_back: impl Future<Output = Result<(), Failure>> + Send,
    ) -> Result<T, Failure> {
        self.claim(cluster, name)?;
        let result = work.await;
        if result.is_err() {
            // The first failure is the one to tell; teardown will meet a second one, too.
            let _ = take_back.await;
        }
        result
    }

    /// Takes a name, which must be new to the environment.
    pub(super) fn claim(&self, cluster: &Cluster, name: &str) -> Result<(), Failure> {
        let mut names = self.names();
        if names.iter().any(|(_, known)| known == name) {
            let what = format!("there is a `{name}` in this environment already");
            return Err(Failure::new(Kind::Usage, what).hint("give one of them another name"));
        }
        names.push((cluster.name.clone(), name.to_owned()));
        Ok(())
    }

    /// Gives a name back, with its ports.
    pub(super) fn forget(&self, name: &str) {
        self.free_ports(name);
        self.names().retain(|(_, known)| known != name);
    }

    /// The ports of a name stay reserved, and may be asked for again.
    pub(super) fn free_ports(&self, name: &str) {
        for owner in self.ports().values_mut().filter(|owner| owner.as_deref() == Some(name)) {
            *owner = None;
        }
    }

    /// The names of a cluster, in order.
    pub(super) fn of(&self, cluster: &Cluster) -> Vec<String> {
        let names = self.names();
        names.iter().filter(|(owner, _)| *owner == cluster.name).map(|(_, name)| name.clone()).collect()
    }

    /// A port for `name`: the `preferred` one, which may be one that the script
    /// has from `random_port`, or any.
    pub(super) async fn port(&self, name: &str, preferred: Option<u16>) -> Result<u16, Failure> {
        if let Some(port) = preferred {
            self.recall(port).await?;
        }
        if let Some(port) = preferred
            && let Some(owner) = self.ports().get_mut(&port)
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
        self.ports().insert(port, Some(name.to_owned()));
        Ok(port)
    }

    /// Takes note of a port that an earlier process of the run has reserved.
    async fn recall(&self, port: u16) -> Result<(), Failure> {
        let is_known = self.ports().contains_key(&port);
        if !is_known && self.supervisor.status().await.map_err(supervisor_failure)?.ports.contains(&port) {
            self.ports().entry(port).or_insert(None);
        }
        Ok(())
    }

    /// Takes note of what an earlier process of the run has deployed.
    pub(super) fn adopt(&self, name: &str, ports: impl IntoIterator<Item = u16>) {
        let mut names = self.names();
        // Known already where several variables hold the handle.
        if !names.iter().any(|(_, known)| known == name) {
            names.push(("".into(), name.to_owned()));
        }
        self.ports().extend(ports.into_iter().map(|port| (port, Some(name.to_owned()))));
    }

    /// A port that only the script knows.
    pub(super) async fn reserve(&self) -> Result<u16, Failure> {
        let port = self.supervisor.reserve_port(None).await.map_err(supervisor_failure)?;
        self.ports().insert(port, None);
        Ok(port)
    }

    fn names(&self) -> MutexGuard<'_, Vec<(Arc<str>, String)>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ports(&self) -> MutexGuard<'_, HashMap<u16, Option<String>>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the supervisor refused, as a failure.
pub(super) fn supervisor_failure(error: SupervisorError) -> Failure {
    use crate::supervise::Failure as Refusal;
    let kind = match &error {
        SupervisorError::Refused(
            Refusal::PortTaken { .. } | Refusal::PortRefused { .. } | Refusal::NoPort { .. },
        ) => Kind::PortTaken,
        SupervisorError::Refused(
            Refusal::NoProgram { .. } | Refusal::NoDirectory { .. } | Refusal::NoInterpreter { .. },
        ) => Kind::NotFound,
        SupervisorError::Refused(Refusal::NameTaken { .. }) => Kind::Usage,
        _ => Kind::Io,
    };
    let mut failure = Failure::new(kind, error.to_string());
    if matches!(error, SupervisorError::Refused(Refusal::NotStarted { .. })) {
        failure = failure.hint("it is the system that refuses: its limits (`ulimit -a`) or its permissions");
    }
    if let Some(cause) = std::error::Error::source(&error) {
        failure = failure.cause(std::io::Error::other(cause.to_string()));
    }
    failure
}
