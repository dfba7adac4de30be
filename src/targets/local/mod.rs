//! The local target: real servers as processes of this machine.
//!
//! A cluster is only a name here; everything is a process of the run's
//! supervisor, in a directory of its own below the run's scratch directory.

mod image;
mod postgres;
mod process;
mod ready;
mod redis;
mod servers;
mod service;

use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::handles::escape;
use super::{
    Cluster, ClusterRequest, Executed, Image, ImageRequest, Postgres, PostgresRequest, Redis, RedisRequest,
    Service, ServiceRequest, Target,
};
use crate::run::child::Children;
use crate::run::{Failure, Journal, Kind, RunFolder, Secrets, Step};
use crate::supervise::{Supervisor, SupervisorError, User};

/// Processes of this machine, owned by one supervisor.
pub struct Local {
    supervisor: Supervisor,
    /// The run's scratch directory.
    scratch: PathBuf,
    folder: RunFolder,
    journal: Journal,
    children: Children,
    secrets: Secrets,
    /// Cluster and name of what is deployed, in order.
    deployed: Mutex<Vec<(Arc<str>, String)>>,
}

impl Local {
    /// The local target of the run that `supervisor` belongs to.
    #[must_use]
    pub fn new(
        supervisor: Supervisor,
        scratch: PathBuf,
        folder: RunFolder,
        journal: Journal,
        children: Children,
        secrets: Secrets,
    ) -> Self {
        Self { supervisor, scratch, folder, journal, children, secrets, deployed: Mutex::default() }
    }

    /// A password nobody has seen, and that nothing will show.
    fn secret(&self, given: Option<String>) -> Result<String, Failure> {
        let secret = match given {
            Some(given) => given,
            None => crate::run::secrets::random(24)?,
        };
        self.secrets.add(&secret);
        self.secrets.add(&escape(&secret));
        Ok(secret)
    }

    /// Does the `work` of deploying `name`. Takes back what there is of it if
    /// that fails, so that it can be tried again.
    async fn deploy<T>(
        &self,
        cluster: &Cluster,
        name: &str,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        self.claim(cluster, name)?;
        let result = work.await;
        if result.is_err() {
            // The first failure is the one to tell; teardown will meet a second one, too.
            let _ = self.withdraw(name).await;
        }
        result
    }

    fn claim(&self, cluster: &Cluster, name: &str) -> Result<(), Failure> {
        let mut deployed = self.deployed();
        if deployed.iter().any(|(_, known)| known == name) {
            let what = format!("there is a `{name}` in this environment already");
            return Err(Failure::new(Kind::Usage, what).hint("give one of them another name"));
        }
        deployed.push((cluster.name.clone(), name.to_owned()));
        Ok(())
    }

    /// Stops what is called `name` and forgets it; its log stays.
    async fn withdraw(&self, name: &str) -> Result<(), Failure> {
        let status = self.supervisor.status().await.map_err(supervisor_failure)?;
        if status.processes.iter().any(|process| process.name == name && process.ended.is_none()) {
            self.supervisor.stop(name).await.map_err(supervisor_failure)?;
        }
        self.remove_home(name)?;
        self.journal.removed("process", name);
        self.deployed().retain(|(_, known)| known != name);
        Ok(())
    }

    fn deployed(&self) -> MutexGuard<'_, Vec<(Arc<str>, String)>> {
        self.deployed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the directory of one server or service, which `user` owns.
    fn home(&self, name: &str, user: Option<User>) -> Result<PathBuf, Failure> {
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

#[async_trait]
impl Target for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn create_cluster(&self, _step: &Step, request: ClusterRequest) -> Result<Cluster, Failure> {
        Ok(Cluster { name: request.name.into() })
    }

    async fn delete_cluster(&self, _step: &Step, cluster: &Cluster) -> Result<(), Failure> {
        let deployed = self.deployed().clone();
        // In reverse order, so that services go before what they use.
        for (_, name) in deployed.iter().rev().filter(|(owner, _)| *owner == cluster.name) {
            self.withdraw(name).await?;
        }
        Ok(())
    }

    async fn build_image(&self, step: &Step, request: ImageRequest) -> Result<Image, Failure> {
        self.build(step, request).await
    }

    async fn load_image(&self, step: &Step, _cluster: &Cluster, image: &Image) -> Result<Image, Failure> {
        step.cache(true, "local runs the program from where it was built");
        Ok(image.clone())
    }

    async fn deploy_postgres(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: PostgresRequest,
    ) -> Result<Postgres, Failure> {
        let name = request.name.clone();
        self.deploy(cluster, &name, self.start_postgres(step, request)).await
    }

    async fn deploy_redis(
        &self,
        step: &Step,
        cluster: &Cluster,
        request: RedisRequest,
    ) -> Result<Redis, Failure> {
        let name = request.name.clone();
        self.deploy(cluster, &name, self.start_redis(step, request)).await
    }

    async fn deploy_service(
        &self,
        _step: &Step,
        cluster: &Cluster,
        request: ServiceRequest,
    ) -> Result<Service, Failure> {
        let name = request.name.clone();
        self.deploy(cluster, &name, self.start_service(request)).await
    }

    async fn apply_manifest(&self, _step: &Step, _cluster: &Cluster, path: PathBuf) -> Result<(), Failure> {
        let what = format!("the target `local` has no Kubernetes to apply {} to", path.display());
        Err(Failure::new(Kind::Unsupported, what)
            .hint("use deploy_postgres, deploy_redis or deploy_service, which every target can do"))
    }

    async fn exec(&self, step: &Step, service: &Service, command: Vec<String>) -> Result<Executed, Failure> {
        self.execute(step, service, command).await
    }

    async fn reserve_port(&self) -> Result<u16, Failure> {
        self.supervisor.reserve_port(None).await.map_err(supervisor_failure)
    }

    async fn teardown(&self) -> Result<(), Failure> {
        self.supervisor.shutdown().await.map_err(supervisor_failure)
    }

    async fn detach(&self) -> Result<(), Failure> {
        self.supervisor.detach(None).await.map_err(supervisor_failure)
    }
}

/// What the supervisor refused, as a failure.
fn supervisor_failure(error: SupervisorError) -> Failure {
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
    if let Some(cause) = std::error::Error::source(&error) {
        failure = failure.cause(std::io::Error::other(cause.to_string()));
    }
    failure
}

/// Writes a new file that only `user` can read.
fn write_private(path: &Path, text: &str, user: Option<User>) -> Result<(), Failure> {
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
