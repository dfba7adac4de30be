//! Where the data directory of a server is from: `initdb`, or a copy of what an
//! earlier run has made.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::cache::{self, Cluster, Place, Spoilt, Way};
use super::home::write_private;
use super::postgres::{Server, environment};
use super::servers::PostgresPrograms;
use super::supervisor_failure;
use crate::run::child::{Children, Command, Finished, describe};
use crate::run::event::Stream;
use crate::run::{Failure, Kind, not_executed};
use crate::supervise::{Failure as Refusal, Overlay, SupervisorError, User};
use crate::targets::Session;
use crate::targets::process::SupervisedProcess;

/// How every cluster is made; what a run gives for itself is added.
pub(super) const INITDB: [&str; 6] = [
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--no-locale",
    "--no-sync",
    "--no-instructions",
    // Of the log, which is copied with the cluster: 1 MB instead of 16.
    "--wal-segsize=1",
];

/// Where a cluster is from.
pub(super) struct Origin {
    /// None where nothing is kept.
    pub cluster: Option<Cluster>,
    /// The superuser's password in it. Secret.
    pub password: String,
    /// The version of its server.
    pub version: String,
    /// Where a copy of it was put before its server started.
    pub aside: Option<PathBuf>,
}

impl Origin {
    /// How its server sees what is kept, where it has no copy.
    pub(super) fn overlay(&self) -> Option<Overlay> {
        self.cluster.as_ref()?.overlay.clone()
    }
}

impl Server<'_> {
    /// Takes a cluster that an earlier run has made, in this way, or makes one.
    /// What is `spoilt` is left out.
    pub(super) async fn make_cluster(&self, way: Way, spoilt: &[Spoilt]) -> Result<Origin, Failure> {
        let caches = &self.local.run.caches;
        let cluster = if caches.postgres { self.find_cluster(way, spoilt.to_vec()).await? } else { None };
        let Some(cluster) = cluster else {
            let why = if caches.postgres { "there is no home directory to keep it in" } else { "--no-cache" };
            self.initdb(&self.password).await?;
            self.step.cache(false, why);
            let password = self.password.clone();
            return Ok(Origin { cluster: None, password, version: String::new(), aside: None });
        };
        if let Some(entry) = cluster.copied.clone() {
            self.step.cache(true, cluster.told(&entry.version).1);
            let (password, version) = (entry.password, entry.version);
            self.local.run.secrets.add(&password);
            return Ok(Origin { cluster: Some(cluster), password, version, aside: None });
        }
        // Not the run's own password, which others are told.
        let password = self.local.run.secret(None)?;
        let (made, version) = tokio::join!(self.initdb(&password), self.version());
        made?;
        self.step.cache(false, cluster.told(&version).1);
        let aside = self.local.run.scratch.join(format!(".new-{}", self.request.name));
        let (data, user, to) = (self.data(), self.user, aside.clone());
        let copied = tokio::task::spawn_blocking(move || cache::copy(&data, &to, user)).await;
        // Where there is no room for a copy, this run does without.
        let aside = matches!(copied, Ok(Ok(()))).then_some(aside);
        Ok(Origin { cluster: aside.is_some().then_some(cluster), password, version, aside })
    }

    /// The first connection to the server at `port`, once a copy of its cluster
    /// is whole, too. One that cannot be is removed, with its server, and the
    /// reason returned.
    pub(super) async fn open(
        &self,
        process: &SupervisedProcess,
        port: u16,
        origin: &mut Origin,
    ) -> Result<Result<Session, Spoilt>, Failure> {
        let Some(cluster) = &mut origin.cluster else {
            return self.answer(process, port, &origin.password).await.map(Ok);
        };
        let (on_its_way, given_up) = (cluster.on_its_way(), CancellationToken::new());
        let answered = async {
            if let Some(there) = on_its_way {
                there.cancelled().await;
            }
            self.answer(process, port, &origin.password).await
        };
        let whole = async { cluster.complete().await.inspect_err(|_| given_up.cancel()) };
        match tokio::join!(whole, given_up.run_until_cancelled(answered)) {
            (Err(spoilt), _) => {
                // First, for its server holds on to it.
                self.clear().await?;
                cluster.remove(&spoilt);
                Ok(Err(spoilt))
            }
            (Ok(()), Some(answered)) => answered.map(Ok),
            (Ok(()), None) => unreachable!("it is given up only where it is spoilt"),
        }
    }

    /// Ends the server, if it runs, and removes its data: it can be started anew.
    pub(super) async fn clear(&self) -> Result<(), Failure> {
        self.local.deployed.free_ports(&self.request.name);
        let stopped = self.local.run.supervisor.stop(&self.request.name).await;
        if !matches!(stopped, Err(SupervisorError::Refused(Refusal::NoProcess { .. }))) {
            stopped.map_err(supervisor_failure)?;
        }
        ["data", cache::WORK]
            .iter()
            .try_for_each(|part| self.local.remove_home(&format!("{}/{part}", self.request.name)))
    }

    async fn find_cluster(&self, way: Way, spoilt: Vec<Spoilt>) -> Result<Option<Cluster>, Failure> {
        let (caches, programs) = (self.local.run.caches.clone(), self.programs.clone());
        let wanted = (self.request.name.clone(), self.request.user.clone(), self.request.database.clone());
        let (settings, data, owner) = (self.request.settings.clone(), self.data(), self.user);
        let find = move || {
            let place = Place { data: &data, owner, way };
            Cluster::find(&caches, &programs, &wanted, &INITDB, &settings, &place, &spoilt)
        };
        let found = tokio::task::spawn_blocking(find).await;
        found.map_err(|error| Failure::new(Kind::Bug, error.to_string()))
    }

    /// The version of the server, such as `15.18`; empty where it does not tell.
    async fn version(&self) -> String {
        let command = Command {
            program: self.programs.postgres.clone().into(),
            args: vec!["--version".into()],
            env: environment(),
            only_env: true,
            cwd: Some(self.home.clone()),
            ..Command::default()
        };
        let told = self.local.run.children.run(&command, |_, _| {}).await;
        // As in "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)".
        let told = told.map(|told| told.stdout).unwrap_or_default();
        told.split_whitespace().nth(2).unwrap_or_default().to_owned()
    }

    async fn initdb(&self, password: &str) -> Result<(), Failure> {
        self.step.waiting("initdb");
        let Self { local, programs, home, request, user, .. } = self;
        let line = |stream, line: &str| self.step.output(stream, line);
        let initdb = initdb(&local.run.children, programs, home, (&request.user, password), *user, line);
        let initdb = initdb.await?;
        if initdb.status.success() { Ok(()) } else { Err(self.initdb_failure(&initdb)) }
    }

    fn initdb_failure(&self, initdb: &Finished) -> Failure {
        let mut evidence = initdb.tail(8);
        // A long statement may follow it.
        let full = initdb.stderr.lines().find(|line| line.contains("No space left on device"));
        let is_full = full.is_some();
        if let Some(line) = full.filter(|full| !evidence.iter().any(|line| line == full)) {
            evidence = vec![line.to_owned()];
        }
        let what = format!("initdb ended with {}", describe(initdb.status));
        let mut failure = Failure::new(Kind::Command, what).evidence(evidence);
        if is_full {
            let (place, variable) = (self.local.run.scratch.display(), crate::run::scratch::BASE_VARIABLE);
            failure = failure.hint(format!(
                "there is no room left in {place}; free some, or set {variable} to a directory with 100 MB or more"
            ));
        }
        failure
    }
}

/// Runs `initdb` in the directory `data` below `home`, for a superuser of this
/// name and password.
pub(super) async fn initdb(
    children: &Children,
    programs: &PostgresPrograms,
    home: &Path,
    (name, password): (&str, &str),
    user: Option<User>,
    line: impl FnMut(Stream, &str) + Send,
) -> Result<Finished, Failure> {
    let password_file = home.join("password");
    write_private(&password_file, password, user)?;
    let own = [
        format!("--pgdata={}", home.join("data").display()),
        format!("--username={name}"),
        format!("--pwfile={}", password_file.display()),
    ];
    let command = Command {
        program: programs.initdb.clone().into(),
        args: own.into_iter().chain(INITDB.map(str::to_owned)).map(Into::into).collect(),
        env: environment(),
        only_env: true,
        // The caller's directory may be one the unprivileged user cannot enter.
        cwd: Some(home.to_owned()),
        user: user.map(|user| (user.uid, user.gid)),
        stdin: None,
        // A signal to the servers that it runs would leak their shared memory.
        ends_its_children: true,
    };
    let initdb = children.run(&command, line).await;
    let removed = std::fs::remove_file(&password_file);
    let initdb = initdb.map_err(|error| not_executed(&programs.initdb.display().to_string(), error))?;
    removed.map_err(|error| Failure::new(Kind::Io, "the password file cannot be removed").cause(error))?;
    Ok(initdb)
}
