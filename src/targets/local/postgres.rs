//! PostgreSQL on this machine: `initdb`, start, create the database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::NoTls;

use super::home::write_private;
use super::servers::{PostgresPrograms, find_postgres, unprivileged};
use super::{Local, ready};
use crate::run::child::{Command, Finished, describe};
use crate::run::event::Level;
use crate::run::{Failure, Kind, Step};
use crate::supervise::{Signal, Spawn, StopPolicy, User};
use crate::targets::handles::PostgresParts;
use crate::targets::process::SupervisedProcess;
use crate::targets::{Endpoint, Postgres, PostgresRequest, Workload, probe};

/// Settings of every server: its data is thrown away, so nothing is synced.
/// `shared_buffers` is the least that keeps migrations in memory.
const SETTINGS: [(&str, &str); 8] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "128MB"),
    ("max_wal_senders", "0"),
    ("jit", "off"),
    ("max_connections", "100"),
    ("lc_messages", "C"),
];

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

        server.initdb().await?;
        let mut attempts = PORT_ATTEMPTS;
        let (process, postgres) = loop {
            attempts -= 1;
            match server.boot().await {
                Err(failure) if attempts > 0 && server.request.host_port.is_none() && lost_port(&failure) => {
                }
                result => break result?,
            }
        };
        create_database(&process, &postgres).await?;
        Ok(postgres)
    }
}

/// A server being made.
struct Server<'a> {
    local: &'a Local,
    step: &'a Step,
    programs: PostgresPrograms,
    request: PostgresRequest,
    user: Option<User>,
    password: String,
    /// Its directory, which `user` owns.
    home: PathBuf,
}

impl Server<'_> {
    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    async fn initdb(&self) -> Result<(), Failure> {
        self.step.waiting("initdb");
        let password_file = self.home.join("password");
        write_private(&password_file, &self.password, self.user)?;
        let args = [
            format!("--pgdata={}", self.data().display()),
            format!("--username={}", self.request.user),
            format!("--pwfile={}", password_file.display()),
            "--auth=scram-sha-256".to_owned(),
            "--encoding=UTF8".to_owned(),
            "--no-locale".to_owned(),
            "--no-sync".to_owned(),
            "--no-instructions".to_owned(),
        ];
        let command = Command {
            program: self.programs.initdb.clone().into(),
            args: args.into_iter().map(Into::into).collect(),
            env: environment(),
            only_env: true,
            // The caller's directory may be one the unprivileged user cannot enter.
            cwd: Some(self.home.clone()),
            user: self.user.map(|user| (user.uid, user.gid)),
            stdin: None,
            // A signal to the servers that it runs would leak their shared memory.
            ends_its_children: true,
        };
        let initdb =
            self.local.run.children.run(&command, |stream, line| self.step.output(stream, line)).await;
        let removed = std::fs::remove_file(&password_file);
        let initdb = initdb.map_err(|error| {
            let what = format!("{} cannot be executed", self.programs.initdb.display());
            Failure::new(Kind::TargetUnusable, what).cause(error)
        })?;
        if !initdb.status.success() {
            return Err(self.initdb_failure(&initdb));
        }
        removed.map_err(|error| Failure::new(Kind::Io, "the password file cannot be removed").cause(error))
    }

    fn initdb_failure(&self, initdb: &Finished) -> Failure {
        let evidence = initdb.tail(8);
        let is_full = evidence.iter().any(|line| line.contains("No space left on device"));
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

    /// Starts the server on a port of its own and waits for its first answer.
    async fn boot(&self) -> Result<(SupervisedProcess, Postgres), Failure> {
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
        };
        let process = self.local.run.spawn(process).await?;
        let config = maintenance(port, request, &self.password);
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port };
        let postgres = Postgres(Arc::new(PostgresParts {
            name: request.name.clone(),
            host: endpoint.clone(),
            internal: endpoint,
            user: request.user.clone(),
            password: self.password.clone(),
            database: request.database.clone(),
            workload: Arc::new(PostgresProcess { process: process.clone(), config }),
        }));
        postgres.0.workload.ready(self.step, request.timeout).await?;
        Ok((process, postgres))
    }
}

/// The settings to reach the database that `initdb` made.
fn maintenance(port: u16, request: &PostgresRequest, password: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).user(&request.user).password(password).dbname("postgres");
    config
}

fn arguments(home: &Path, port: u16, settings: &BTreeMap<String, String>) -> Vec<String> {
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
fn environment() -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
    BTreeMap::from([
        ("PATH".to_owned(), path),
        ("LC_ALL".to_owned(), "C".to_owned()),
        ("TZ".to_owned(), "UTC".to_owned()),
    ])
}

async fn create_database(process: &SupervisedProcess, postgres: &Postgres) -> Result<(), Failure> {
    let name = &postgres.0.database;
    if name == "postgres" {
        return Ok(());
    }
    let mut config = postgres.config();
    let failed = |error: tokio_postgres::Error| {
        Failure::new(Kind::Sql, format!("the database `{name}` cannot be created"))
            .cause(error)
            .evidence(process.tail())
    };
    let (client, connection) = config.dbname("postgres").connect(NoTls).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    // FILE_COPY takes 7 ms, the default WAL_LOG 20; before 15 there is no other way.
    let copy =
        if server_version(&client).await.map_err(failed)? >= 150_000 { " STRATEGY FILE_COPY" } else { "" };
    let created =
        client.batch_execute(&format!("CREATE DATABASE \"{}\"{copy}", name.replace('"', "\"\""))).await;
    connection.abort();
    created.map_err(failed)
}

async fn server_version(client: &tokio_postgres::Client) -> Result<i32, tokio_postgres::Error> {
    let row = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await?;
    row.try_get(0)
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
}

#[async_trait]
impl Workload for PostgresProcess {
    async fn ready(&self, step: &Step, timeout: Duration) -> Result<(), Failure> {
        let probe = || probe::select_one(&self.config);
        ready::wait(&self.process, step, "PostgreSQL to answer SELECT 1", timeout, probe).await
    }

    async fn logs(&self, lines: usize) -> Result<String, Failure> {
        Ok(self.process.last_lines(lines))
    }
}
