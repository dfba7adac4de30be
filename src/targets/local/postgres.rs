//! PostgreSQL on this machine: `initdb`, or a copy of what an earlier run has
//! made; start, create the database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::OptionFuture;
use postgres_protocol::password::scram_sha_256;

use super::cache::{Keeper, Provenance, Spoilt, Way, literal, quoted};
use super::origin::Origin;
use super::servers::{PostgresPrograms, find_postgres, unprivileged};
use super::{Local, ready};
use crate::fault::{self, Seam};
use crate::run::event::Level;
use crate::run::{Failure, Kind, Step};
use crate::supervise::{Overlay, Signal, Spawn, StopPolicy, User};
use crate::targets::handles::PostgresParts;
use crate::targets::migrations::{Migrations, Recalled};
use crate::targets::process::SupervisedProcess;
use crate::targets::session::Spare;
use crate::targets::{Endpoint, Postgres, PostgresRequest, Session, Workload, probe};

/// Settings of every server: its data is thrown away, so nothing is synced.
/// `shared_buffers` is the least that keeps migrations in memory.
const SETTINGS: [(&str, &str); 8] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "32MB"),
    ("max_wal_senders", "0"),
    ("jit", "off"),
    ("max_connections", "100"),
    ("lc_messages", "C"),
];

/// What is waited for.
const ANSWERS: &str = "PostgreSQL to answer SELECT 1";

/// How often another port is tried when somebody took the one we chose.
const PORT_ATTEMPTS: usize = 3;

impl Local {
    pub(super) async fn start_postgres(
        &self,
        step: &Step,
        request: PostgresRequest,
    ) -> Result<Postgres, Failure> {
        let programs = find_postgres()?;
        mention_other_version(step, &programs, &request.image);
        let user = unprivileged(&["postgres"]);
        let password = self.run.secret(request.password.clone())?;
        let home = self.home(&request.name, user)?;
        let server = Server { local: self, step, programs, request, user, password, home };

        let mut way = Way::first();
        let mut spoilt = Vec::new();
        let mut origin = server.make_cluster(way, &spoilt).await?;
        let mut attempts = PORT_ATTEMPTS;
        let Started { process, port, session, hash } = loop {
            let failure = match server.start(&mut origin).await {
                Ok(Ok(started)) => break started,
                Ok(Err(found)) => {
                    spoilt.push(found);
                    origin = server.make_cluster(way, &spoilt).await?;
                    continue;
                }
                Err(failure) => failure,
            };
            attempts -= 1;
            if attempts > 0 && server.request.host_port.is_none() && lost_port(&failure) {
                continue;
            }
            // Not every system lets everybody mount, nor from everywhere.
            if origin.overlay().is_none() || failure.kind == Kind::Timeout {
                return Err(failure);
            }
            tracing::debug!(%failure, "no overlay");
            server.clear().await?;
            way = Way::Copy;
            origin = server.make_cluster(way, &spoilt).await?;
        };
        let next = server.make_ready(&process, &session, &origin, hash).await?;
        let provenance = origin.cluster.take().map(|cluster| {
            let (version, aside) = (origin.version, origin.aside);
            let arguments = arguments(&server.home, port, &server.request.settings);
            let (request, password) = (&server.request, origin.password);
            Arc::new(Provenance::new(cluster, request, version, password, arguments, aside, next))
        });
        if let Some(provenance) = &provenance {
            provenance.give(session);
            self.databases().push((provenance.clone(), server.maintenance(port, &server.password)));
        }
        Ok(server.handle(process, port, provenance))
    }

    /// Keeps for later runs what this one had to make. Returns whether there was
    /// anything.
    pub(super) async fn keep_databases(&self) -> Result<bool, Failure> {
        let databases = self.databases().clone();
        let mut is_new = false;
        for (provenance, config) in databases {
            let user = unprivileged(&["postgres"]);
            let name = format!(".keep-{}", provenance.name());
            let keeper = Keeper {
                children: &self.run.children,
                postgres: find_postgres()?.postgres,
                user,
                environment: environment(),
                home: self.home(&name, user)?,
            };
            let kept = provenance.keep(&keeper).await;
            self.remove_home(&name)?;
            is_new |= kept?;
            provenance.tidy(&config).await?;
        }
        Ok(is_new)
    }
}

/// A server that answers.
struct Started {
    process: SupervisedProcess,
    port: u16,
    /// To the database `postgres`.
    session: Session,
    /// Of the run's password, where the cluster has another one.
    hash: Option<String>,
}

/// A server being made.
pub(super) struct Server<'a> {
    pub local: &'a Local,
    pub step: &'a Step,
    pub programs: PostgresPrograms,
    pub request: PostgresRequest,
    pub user: Option<User>,
    pub password: String,
    /// Its directory, which `user` owns.
    pub home: PathBuf,
}

impl Server<'_> {
    pub(super) fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Starts the server. The reason where what was kept for it is of no use.
    async fn start(&self, origin: &mut Origin) -> Result<Result<Started, Spoilt>, Failure> {
        let (process, port) = self.boot(origin.overlay()).await?;
        // Hashed here, so that no log of the server can hold it, and while it starts.
        let is_new = origin.password != self.password;
        let hash = is_new.then(|| {
            let password = self.password.clone();
            tokio::task::spawn_blocking(move || scram_sha_256(password.as_bytes()))
        });
        let opened = self.open(&process, port, origin).await?;
        let hash = OptionFuture::from(hash).await.transpose();
        let hash = hash.map_err(|error| Failure::new(Kind::Bug, error.to_string()))?;
        Ok(opened.map(|session| Started { process, port, session, hash }))
    }

    /// Starts it on a port of its own.
    async fn boot(&self, overlay: Option<Overlay>) -> Result<(SupervisedProcess, u16), Failure> {
        let request = &self.request;
        let port = self.local.deployed.port(&request.name, request.host_port).await?;
        let process = Spawn {
            name: request.name.clone(),
            log: self.local.run.folder.log(&request.name),
            program: self.programs.postgres.clone(),
            args: arguments(&self.home, port, &request.settings),
            env: environment(),
            cwd: self.home.clone(),
            user: self.user,
            // SIGQUIT ends it at once and, unlike SIGKILL, leaks no shared memory.
            stop: StopPolicy { signal: Signal::Quit, grace_ms: 5000, wave: 1 },
            on_supervisor_death: Signal::Quit,
            overlay,
        };
        Ok((self.local.run.spawn(process).await?, port))
    }

    /// Waits for the server's first answer to the superuser with this password.
    pub(super) async fn answer(
        &self,
        process: &SupervisedProcess,
        port: u16,
        password: &str,
    ) -> Result<Session, Failure> {
        let config = self.maintenance(port, password);
        let open = || async {
            fault::at(Seam::Sql).await.map_err(|error| error.to_string())?;
            self.is_up()?;
            Session::open(&config, "postgres").await.map_err(|error| probe::chain(&error))
        };
        ready::wait(process, self.step, ANSWERS, self.request.timeout, open).await
    }

    /// Whether it takes connections, as it has written down. To ask it by one makes
    /// it start a process only to say no.
    fn is_up(&self) -> Result<(), String> {
        /// `LOCK_FILE_LINE_PM_STATUS` in its sources, from 0.
        const STATUS: usize = 7;
        let lock = std::fs::read_to_string(self.data().join("postmaster.pid"));
        let lock = lock.map_err(|error| format!("it has not written its `postmaster.pid`: {error}"))?;
        match lock.lines().nth(STATUS).unwrap_or("starting").trim() {
            "starting" => Err("it starts".to_owned()),
            _ => Ok(()),
        }
    }

    /// Makes the database, where the cluster has none, and sets the password of
    /// which `hash` is. Returns the id of the next transaction that writes.
    async fn make_ready(
        &self,
        process: &SupervisedProcess,
        session: &Session,
        origin: &Origin,
        hash: Option<String>,
    ) -> Result<u64, Failure> {
        let name = &self.request.database;
        let copied = origin.cluster.as_ref().and_then(|cluster| cluster.copied.as_ref());
        let has_database = name == "postgres" || copied.is_some_and(|entry| entry.database.is_some());
        if !has_database {
            create_database(session, name, process).await?;
        }
        let Some(hash) = hash else { return Ok(0) };
        // `ALTER ROLE` would also try whether the hash is that of no password, for 3 ms.
        let user = literal(&self.request.user);
        let change = format!("UPDATE pg_authid SET rolpassword = '{hash}' WHERE rolname = {user}");
        let changed = session.transaction(&change).await.map_err(|error| {
            Failure::new(Kind::Sql, "the superuser's password cannot be set")
                .cause(error)
                .evidence(process.tail())
        })?;
        Ok(changed + 1)
    }

    /// The settings to reach the database that `initdb` made.
    fn maintenance(&self, port: u16, password: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(port).user(&self.request.user).password(password).dbname("postgres");
        config
    }

    fn handle(&self, process: SupervisedProcess, port: u16, provenance: Option<Arc<Provenance>>) -> Postgres {
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port };
        Postgres(Arc::new(PostgresParts {
            name: self.request.name.clone(),
            host: endpoint.clone(),
            internal: endpoint,
            user: self.request.user.clone(),
            password: self.password.clone(),
            database: self.request.database.clone(),
            workload: Arc::new(PostgresProcess {
                process,
                config: self.maintenance(port, &self.password),
                provenance,
                spare: Spare::default(),
            }),
        }))
    }
}

pub(super) fn arguments(home: &Path, port: u16, settings: &BTreeMap<String, String>) -> Vec<String> {
    let mut args = vec![
        "-D".to_owned(),
        home.join("data").display().to_string(),
        "-k".to_owned(),
        home.display().to_string(),
        "-p".to_owned(),
        port.to_string(),
    ];
    let ours = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let address = ("listen_addresses".to_owned(), "127.0.0.1".to_owned());
    let theirs = settings.iter().map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in ours.chain([address]).chain(theirs) {
        args.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    args
}

/// PostgreSQL reads `PG*` and locale variables, which must not be the caller's.
pub(super) fn environment() -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    BTreeMap::from([
        ("PATH".to_owned(), path),
        ("LC_ALL".to_owned(), "C".to_owned()),
        ("TZ".to_owned(), "UTC".to_owned()),
    ])
}

async fn create_database(session: &Session, name: &str, process: &SupervisedProcess) -> Result<(), Failure> {
    let failed = |error: tokio_postgres::Error| {
        Failure::new(Kind::Sql, format!("the database `{name}` cannot be created"))
            .cause(error)
            .evidence(process.tail())
    };
    let copy = session.file_copy().await.map_err(failed)?;
    session.run(&format!("CREATE DATABASE {} {copy}", quoted(name))).await.map_err(failed)
}

/// Says so when the recipe names an image of another major version.
fn mention_other_version(step: &Step, programs: &PostgresPrograms, image: &str) {
    let installed = programs.postgres.ancestors().filter_map(Path::file_name).find_map(|name| {
        let digits: String = name.to_str()?.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    let tag: String = image
        .rsplit_once(':')
        .map(|(_, tag)| tag.chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_default();
    if let (Some(installed), Ok(wanted)) = (installed, tag.parse::<u32>())
        && installed != wanted
    {
        let text = format!("local runs the installed PostgreSQL {installed}, where containers run {image}");
        step.message(Level::Info, text);
    }
}

/// Whether a server died because its port was taken between choice and use.
fn lost_port(failure: &Failure) -> bool {
    failure.kind == Kind::Exited && failure.evidence.iter().any(|line| line.contains("could not bind"))
}

/// The running server.
pub(super) struct PostgresProcess {
    pub process: SupervisedProcess,
    pub config: tokio_postgres::Config,
    /// None of a server that another process has started.
    pub provenance: Option<Arc<Provenance>>,
    /// To the database of the handle.
    pub spare: Spare,
}

#[async_trait]
impl Workload for PostgresProcess {
    async fn ready(&self, step: &Step, timeout: Duration) -> Result<(), Failure> {
        let probe = || probe::select_one(&self.config);
        let session = ready::wait(&self.process, step, ANSWERS, timeout, probe).await?;
        // A server of this process is asked by way of another database.
        if self.provenance.is_none() {
            self.spare.put(session);
        }
        Ok(())
    }

    fn session(&self) -> Option<Session> {
        self.spare.take()
    }

    async fn logs(&self, lines: usize) -> Result<String, Failure> {
        Ok(self.process.last_lines(lines))
    }

    async fn recall(&self, migrations: &Arc<dyn Migrations>) -> Recalled {
        match &self.provenance {
            Some(provenance) => provenance.recall(&self.config, migrations).await,
            None => Recalled::default(),
        }
    }

    async fn migrated(&self) {
        if let Some(provenance) = &self.provenance {
            provenance.migrated().await;
        }
    }
}
