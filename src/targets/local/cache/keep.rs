//! Keeping for later runs what this one had to make.
//!
//! After the set-up, apart from its server: the cluster as `initdb` left it was
//! put aside before the server started. A server of its own applies the same
//! migrations in it, to an empty database of the same name, which is then
//! renamed; so what migrations do to their database itself goes along. It is
//! stopped cleanly before anything is copied.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use tokio_postgres::Config;

use super::ends::{End, ends};
use super::provenance::{Called, Provenance};
use super::recollection::{Migrated, Recollection};
use super::store::{Entry, Found, Template};
use super::swap::{literal, quoted};
use super::tree::Size;
use super::workshop::Workshop;
use crate::run::child::{Children, Command};
use crate::run::{Failure, Kind};
use crate::supervise::User;
use crate::targets::Session;

/// What the empty database is called while another one has its name.
const EMPTY: &str = "recipe_empty";
/// How long a server may take to start.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// What a server of its own needs.
pub(in crate::targets::local) struct Keeper<'a> {
    pub children: &'a Children,
    /// The program.
    pub postgres: PathBuf,
    /// Whom it runs as.
    pub user: Option<User>,
    pub environment: std::collections::BTreeMap<String, String>,
    /// Where its files are while it runs.
    pub home: PathBuf,
}

/// What became of a template.
enum Made {
    Kept,
    /// Its migrations have changed more than their database.
    Refused,
}

impl Provenance {
    /// Keeps what its server has that is not kept yet. Returns whether there was
    /// anything.
    pub async fn keep(&self, workshop: &dyn Workshop) -> Result<bool, Failure> {
        let state = self.state.lock().await;
        let cluster = &self.cluster;
        // One that ended before its migrations has not touched much.
        if cluster.copied.as_ref().is_some_and(|entry| entry.templates.is_empty() || !state.calls.is_empty())
        {
            cluster.note_touched();
        }
        let records: Vec<Migrated> = state.calls.iter().map(|call| call.record.clone()).collect();
        let last = cluster.recollection.as_ref().filter(|last| last.parts == cluster.parts);
        let mut found = Recollection {
            made: Timestamp::now(),
            version: self.version.clone(),
            parts: cluster.parts.clone(),
            entry: cluster.key.clone(),
            surroundings: state.surroundings.clone(),
            calls: records,
            refusal: None,
        };
        // What was refused once would be again.
        if let Some(last) = last
            && last.calls == found.calls
            && last.surroundings == found.surroundings
            && (last.refusal.is_some()
                || cluster.copied.as_ref().is_some_and(|entry| entry.key == last.entry))
        {
            return Ok(false);
        }
        let data = workshop.home().join("data");
        let mut is_new = self.aside.is_some();
        if let Some(aside) = &self.aside {
            self.put(&cluster.key, None, (Vec::new(), &[]), &state.folders, (aside, workshop.user())).await?;
            fs_err::rename(aside, &data).map_err(|error| unkept(&error))?;
        } else if cluster.copied.is_none() && found.calls.is_empty() {
            let made = workshop.make(self, &[], &[]).await?.unwrap_or_default();
            self.put(
                &cluster.key,
                Some(self.database.clone()),
                (made, &[]),
                &state.folders,
                (&data, workshop.user()),
            )
            .await?;
            is_new = true;
        } else if let (Some(copied), Some(_)) = (&cluster.copied, &cluster.extensions) {
            // Nowhere is it kept without its templates.
            found.entry.clone_from(&copied.key);
        }
        if let Some(files) = found.calls.last().map(|call| &call.files)
            && let Some(end) = files.last()
        {
            match cluster.store.find(&end.key) {
                Found::Held(_) => found.entry.clone_from(&end.key),
                Found::Absent | Found::Discarded(_) => {
                    let worth = ends(&state.calls, last);
                    let key = end.key.clone();
                    match workshop.make(self, &state.calls, &worth).await? {
                        Some(templates) => {
                            let database = Some(self.database.clone());
                            let made = (templates, state.calls.as_slice());
                            self.put(&key, database, made, &state.folders, (&data, workshop.user())).await?;
                            found.entry = key;
                        }
                        None => {
                            found.refusal = Some(
                                "they change what belongs to the whole server, such as roles, and are not kept"
                                    .to_owned(),
                            );
                        }
                    }
                    is_new = true;
                }
            }
        }
        found.write(&cluster.step).map_err(|error| unkept(&error))?;
        Ok(is_new)
    }

    async fn put(
        &self,
        key: &str,
        database: Option<String>,
        (templates, calls): (Vec<Template>, &[Called]),
        folders: &[String],
        (data, owner): (&Path, Option<User>),
    ) -> Result<(), Failure> {
        let sources: Vec<_> = calls.iter().map(|call| call.migrations.sources()).collect();
        let entry = Entry {
            key: key.to_owned(),
            made: Timestamp::now(),
            version: self.version.clone(),
            parts: self.cluster.parts.clone(),
            folders: folders.to_owned(),
            user: self.user.clone(),
            password: self.password.clone(),
            database,
            templates,
            manners: calls.iter().map(|call| call.record.manner.clone()).collect(),
            size: Size { files: 0, bytes: 0 },
            digest: String::new(),
        };
        let (store, data) = (self.cluster.store.clone(), data.to_owned());
        let put = tokio::task::spawn_blocking(move || store.put(entry, (&data, owner), &sources)).await;
        put.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(|error| unkept(&error))
    }
}

#[async_trait]
impl Workshop for Keeper<'_> {
    fn home(&self) -> &Path {
        &self.home
    }

    fn user(&self) -> Option<User> {
        self.user
    }

    async fn make(
        &self,
        provenance: &Provenance,
        calls: &[Called],
        ends: &[End],
    ) -> Result<Option<Vec<Template>>, Failure> {
        let data = self.home.join("data");
        self.ensure(provenance, &data).await?;
        let Provenance { user, password, database, .. } = provenance;
        self.migrate(provenance.arguments.clone(), (user, password, database), calls, ends, &data).await
    }
}

impl Keeper<'_> {
    /// Makes sure that there is the cluster at `data`.
    async fn ensure(&self, provenance: &Provenance, data: &Path) -> Result<(), Failure> {
        if data.exists() {
            return Ok(());
        }
        let (store, key) = (provenance.cluster.store.clone(), provenance.cluster.key.clone());
        let (data, user) = (data.to_owned(), self.user);
        let copied = tokio::task::spawn_blocking(move || match store.find(&key) {
            Found::Held(held) => held.copy(&data, user),
            Found::Absent | Found::Discarded(_) => {
                Err(std::io::Error::other("the cluster to start from is not kept any more"))
            }
        });
        let copied = copied.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        copied.map_err(|error| unkept(&error))
    }

    /// A server on the data directory in its home, which nobody else reaches;
    /// `arguments` are those of another one.
    pub(super) fn server(&self, mut arguments: Vec<String>) -> Command {
        for (flag, value) in [
            ("-D", self.home.join("data").display().to_string()),
            ("-k", self.home.display().to_string()),
            ("-p", PORT.to_string()),
            ("-c", "listen_addresses=".to_owned()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        Command {
            program: self.postgres.clone().into(),
            args: arguments.into_iter().map(Into::into).collect(),
            env: self.environment.clone(),
            only_env: true,
            cwd: Some(self.home.clone()),
            user: self.user.map(|user| (user.uid, user.gid)),
            stdin: None,
            ends_its_children: true,
        }
    }

    /// Makes templates of `ends` in the initialised cluster at `data`. None where
    /// migrations change more than their database.
    pub(super) async fn migrate(
        &self,
        arguments: Vec<String>,
        (user, password, database): (&str, &str, &str),
        calls: &[Called],
        ends: &[End],
        data: &Path,
    ) -> Result<Option<Vec<Template>>, Failure> {
        let command = self.server(arguments);
        let mut config = Config::new();
        config.host_path(&self.home).port(PORT).user(user).password(password);
        let work = Box::pin(templates(&config, database, calls, ends));
        // A fast shutdown writes everything down and ends in order.
        let (done, server) =
            self.children.serve(&command, Signal::SIGINT, work).await.map_err(|error| unkept(&error))?;
        let Some(templates) = done else {
            let what = "the server that migrates for later has ended";
            return Err(Failure::new(Kind::Exited, what).evidence(server.tail(8)));
        };
        let templates = templates?;
        if templates.is_some() {
            self.trim(data).await.map_err(|error| unkept(&error))?;
        }
        Ok(templates)
    }

    /// Removes the log that a clean start does not read: all segments but the
    /// one with the last checkpoint. Where that cannot be told all stay.
    async fn trim(&self, data: &Path) -> std::io::Result<()> {
        let command = Command {
            program: self.postgres.with_file_name("pg_controldata").into(),
            args: vec![data.into()],
            env: self.environment.clone(),
            only_env: true,
            cwd: Some(self.home.clone()),
            user: self.user.map(|user| (user.uid, user.gid)),
            ..Command::default()
        };
        let told = self.children.run(&command, |_, _| {}).await.map(|told| told.stdout).unwrap_or_default();
        let Some(needed) =
            told.lines().find_map(|line| line.strip_prefix("Latest checkpoint's REDO WAL file:"))
        else {
            return Ok(());
        };
        for entry in fs_err::read_dir(data.join("pg_wal"))? {
            let entry = entry?;
            let name = entry.file_name();
            let is_segment = name.len() == 24 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
            if is_segment && name.to_str() != Some(needed.trim()) {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The port in the name of the socket.
pub(super) const PORT: u16 = 5432;

/// Makes the empty database and a template for each end. None where migrations
/// change more than their database.
pub(in crate::targets) async fn templates(
    config: &Config,
    database: &str,
    calls: &[Called],
    ends: &[End],
) -> Result<Option<Vec<Template>>, Failure> {
    let session = connect(config).await?;
    let copy = session.file_copy().await.map_err(|error| refused("tell its version", error))?;
    let count = format!("SELECT count(*) FROM pg_database WHERE datname = {}", literal(database));
    let failed = |error| refused("make an empty database", error);
    if session.value(&count).await.map_err(failed)? == "0" {
        let make = format!("CREATE DATABASE {} {copy}", quoted(database));
        session.run(&make).await.map_err(failed)?;
    }
    let mut made = Vec::new();
    for end in ends {
        let files = calls[..end.call].iter().flat_map(|call| &call.record.files);
        let files: Vec<_> = files.chain(&calls[end.call].record.files[..end.count]).cloned().collect();
        let Some(file) = files.last() else { continue };
        let template = Template { key: file.key.clone(), files };
        let rename = format!("ALTER DATABASE {} RENAME TO {EMPTY}", quoted(database));
        session.run(&rename).await.map_err(|error| refused("put the empty database aside", error))?;
        let again = format!("CREATE DATABASE {} TEMPLATE {EMPTY} {copy}", quoted(database));
        session.run(&again).await.map_err(|error| refused("make a database to migrate", error))?;
        if let Made::Refused = apply(config, database, calls, end).await? {
            return Ok(None);
        }
        let name = quoted(&template.database());
        let rename = format!(
            "ALTER DATABASE {database} RENAME TO {name}; ALTER DATABASE {name} ALLOW_CONNECTIONS false; \
             ALTER DATABASE {EMPTY} RENAME TO {database}",
            database = quoted(database),
        );
        session.run(&rename).await.map_err(|error| refused("name the migrated database", error))?;
        made.push(template);
    }
    Ok(Some(made))
}

async fn apply(config: &Config, database: &str, calls: &[Called], end: &End) -> Result<Made, Failure> {
    let failed = |error| refused("migrate for later", error);
    let mut session = Session::open(config, database).await.map_err(failed)?;
    let before = session.value(WHOLE_SERVER).await.map_err(failed)?;
    for call in &calls[..end.call] {
        call.migrations.apply(&mut session.client, call.record.files.len()).await?;
    }
    calls[end.call].migrations.apply(&mut session.client, end.count).await?;
    let after = session.value(WHOLE_SERVER).await.map_err(failed)?;
    Ok(if before == after { Made::Kept } else { Made::Refused })
}

/// What belongs to no database, or to another one than this, as one text.
const WHOLE_SERVER: &str = "
    SELECT md5(concat_ws('|',
        (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM pg_authid t),
        (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM pg_auth_members t),
        (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM pg_tablespace t),
        (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM pg_replication_origin t),
        (SELECT string_agg(t.subname, ' ' ORDER BY t.subname) FROM pg_subscription t),
        (SELECT string_agg(t.slot_name, ' ' ORDER BY t.slot_name) FROM pg_replication_slots t),
        (SELECT string_agg(t.gid, ' ' ORDER BY t.gid) FROM pg_prepared_xacts t),
        (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM pg_shdescription t
            WHERE classoid <> 'pg_database'::regclass),
        (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM pg_shseclabel t),
        (SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM pg_db_role_setting t
            WHERE setdatabase NOT IN (SELECT oid FROM pg_database WHERE datname = current_database())),
        (SELECT string_agg(concat_ws(' ', oid, datname, datdba, datacl, datconnlimit), ' ' ORDER BY oid)
            FROM pg_database WHERE datname <> current_database()),
        (SELECT string_agg(t.a, ' ') FROM (SELECT concat(sourceline, name, setting) AS a
            FROM pg_file_settings ORDER BY sourcefile, sourceline) t)))";

/// Asks until the server answers; it ends by itself if it cannot start.
pub(super) async fn connect(config: &Config) -> Result<Session, Failure> {
    let connect = || async { Session::open(config, "postgres").await.map_err(|error| error.to_string()) };
    let what = "PostgreSQL to answer";
    crate::targets::probe::answer("the server that migrates for later", what, PATIENCE, connect).await
}

pub(super) fn refused(doing: &str, error: tokio_postgres::Error) -> Failure {
    Failure::new(Kind::Sql, format!("PostgreSQL would not {doing}")).cause(error)
}

pub(in crate::targets) fn unkept(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Io, error.to_string())
}
