//! Making what is kept anew, to compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio_postgres::Config;

use super::ends::ends_of;
use super::keep::{self, Keeper};
use super::key;
use super::provenance::Called;
use super::recollection::Migrated;
use super::store::{Entry, Found, Store};
use super::swap::quoted;
use crate::run::child::{Children, Command, describe};
use crate::run::{Failure, Kind, scratch};
use crate::targets::Session;
use crate::targets::local::home::give;
use crate::targets::local::origin::{INITDB, initdb};
use crate::targets::local::postgres::{arguments, environment};
use crate::targets::local::servers::{PostgresPrograms, find_postgres, unprivileged};
use crate::targets::migrations::Migrations;

/// Reads migrations that were kept in a folder, which are applied in a manner.
pub type Reader<'a> = &'a (dyn Fn(&Path, &str) -> Result<Arc<dyn Migrations>, Failure> + Sync);

/// What comparing came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Made anew it is the same.
    Same,
    /// It is not, and was removed.
    Different(String),
    /// It cannot be made anew any more, for this reason.
    Unknown(String),
}

/// Makes the databases of an entry anew, and compares what `pg_dump` says of
/// both, but for points in time. One that differs is removed.
///
/// # Errors
/// When servers cannot be run.
pub async fn verify(store: &Store, entry: &Entry, read: Reader<'_>) -> Result<Verdict, Failure> {
    if entry.parts.iter().any(|part| part.name == key::IMAGE) {
        return Ok(Verdict::Unknown("it was made in a container".to_owned()));
    }
    let programs = find_postgres()?;
    let settings = entry
        .parts
        .iter()
        .filter_map(|part| Some((part.name.strip_prefix("setting ")?.to_owned(), part.value.clone())));
    let settings: BTreeMap<_, _> = settings.collect();
    let database = entry.parts.iter().find(|part| part.name == "database").map(|part| part.value.as_str());
    let database = database.unwrap_or_default();
    if key::of_cluster(&programs, (&entry.user, database), &INITDB, &settings) != entry.parts {
        return Ok(Verdict::Unknown("it was made by another recipe or PostgreSQL".to_owned()));
    }
    let scratch = Scratch::create(&entry.key)?;
    let rebuilding = Rebuilding { programs, settings, scratch: &scratch.0, children: Children::default() };
    let verdict = rebuilding.compare(store, entry, database, read).await?;
    rebuilding.children.settle().await;
    if matches!(verdict, Verdict::Different(_)) {
        store.remove(&entry.key);
    }
    Ok(verdict)
}

/// A directory that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn create(key: &str) -> Result<Self, Failure> {
        let path = scratch::path(&format!("verify-{}-{}", std::process::id(), &key[..8]));
        // No run has records of it.
        scratch::create(&path, &path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is for `recipe gc`.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Rebuilding<'a> {
    programs: PostgresPrograms,
    settings: BTreeMap<String, String>,
    scratch: &'a Path,
    children: Children,
}

impl Rebuilding<'_> {
    async fn compare(
        &self,
        store: &Store,
        entry: &Entry,
        database: &str,
        read: Reader<'_>,
    ) -> Result<Verdict, Failure> {
        let (kept, anew) = (self.keeper("kept")?, self.keeper("anew")?);
        let sources = match store.find_again(&entry.key) {
            Found::Held(held) => {
                held.copy(&kept.home.join("data"), kept.user).map_err(|error| keep::unkept(&error))?;
                held.sources()
            }
            Found::Discarded(why) => return Ok(Verdict::Different(why)),
            Found::Absent => return Ok(Verdict::Unknown("it was removed meanwhile".to_owned())),
        };
        let Some(longest) = entry.templates.last() else {
            // As nothing but `initdb` has made it: its digest says all.
            return Ok(Verdict::Same);
        };
        let mut files = longest.files.as_slice();
        let mut calls = Vec::new();
        for (folder, manner) in sources {
            let migrations = read(&folder, &manner)?;
            let Some((own, rest)) = files.split_at_checked(migrations.files().len()) else { break };
            if own.iter().zip(migrations.files()).any(|(known, file)| known.digest != file.digest) {
                return Ok(Verdict::Unknown("its migrations use variables that have changed".to_owned()));
            }
            calls.push(Called { record: Migrated { manner, files: own.to_vec() }, migrations });
            files = rest;
        }
        let data = anew.home.join("data");
        let superuser = (entry.user.as_str(), entry.password.as_str());
        let made =
            initdb(&self.children, &self.programs, &anew.home, superuser, anew.user, |_, _| {}).await?;
        if !made.status.success() {
            let what = format!("initdb ended with {}", describe(made.status));
            return Err(Failure::new(Kind::Command, what).evidence(made.tail(8)));
        }
        let arguments = arguments(&anew.home, keep::PORT, &self.settings);
        let ends = ends_of(&calls, &entry.templates);
        let access = (entry.user.as_str(), entry.password.as_str(), database);
        if anew.migrate(arguments, access, &calls, &ends, &data).await?.is_none() {
            return Ok(Verdict::Different("its migrations change more than their database".to_owned()));
        }
        for template in &entry.templates {
            let name = template.database();
            let (old, new) = (self.dump(&kept, entry, &name).await?, self.dump(&anew, entry, &name).await?);
            let mut lines = old.lines().zip(new.lines());
            if let Some((old, new)) = lines.find(|(old, new)| old != new) {
                return Ok(Verdict::Different(format!("`{old}` is `{new}` when made anew")));
            }
            if old.lines().count() != new.lines().count() {
                return Ok(Verdict::Different("made anew it holds more, or less".to_owned()));
            }
        }
        Ok(Verdict::Same)
    }

    fn keeper(&self, name: &str) -> Result<Keeper<'_>, Failure> {
        let (home, user) = (self.scratch.join(name), unprivileged(&["postgres"]));
        fs_err::create_dir(&home).and_then(|()| give(&home, user)).map_err(|error| keep::unkept(&error))?;
        let (children, postgres) = (&self.children, self.programs.postgres.clone());
        Ok(Keeper { children, postgres, user, environment: environment(), home })
    }

    /// What `pg_dump` says of a database in the data directory of `keeper`.
    async fn dump(&self, keeper: &Keeper<'_>, entry: &Entry, database: &str) -> Result<String, Failure> {
        let mut config = Config::new();
        config.host_path(&keeper.home).port(keep::PORT).user(&entry.user).password(&entry.password);
        let mut env = environment();
        env.insert("PGPASSWORD".to_owned(), entry.password.clone());
        let command = Command {
            program: keeper.postgres.with_file_name("pg_dump").into(),
            args: [
                "-h",
                &keeper.home.display().to_string(),
                "-p",
                &keep::PORT.to_string(),
                "-U",
                &entry.user,
                database,
            ]
            .map(Into::into)
            .into(),
            env,
            only_env: true,
            cwd: Some(keeper.home.clone()),
            ..Command::default()
        };
        let work = async {
            let session: Session = keep::connect(&config).await?;
            let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", quoted(database));
            session.run(&open).await.map_err(|error| keep::refused("open the database", error))?;
            drop(session);
            let dump = self.children.run(&command, |_, _| {}).await.map_err(|error| {
                Failure::new(Kind::TargetUnusable, "pg_dump cannot be executed")
                    .cause(error)
                    .hint("it is part of PostgreSQL's client programs")
            })?;
            if dump.status.success() {
                return Ok(without_times(&dump.stdout));
            }
            let what = format!("pg_dump ended with {}", describe(dump.status));
            Err(Failure::new(Kind::Command, what).evidence(dump.tail(8)))
        };
        let server = keeper.server(arguments(&keeper.home, keep::PORT, &self.settings));
        let served = self.children.serve(&server, Signal::SIGINT, Box::pin(work)).await;
        let (dump, ended) = served.map_err(|error| keep::unkept(&error))?;
        dump.unwrap_or_else(
            || Err(Failure::new(Kind::Exited, "the server has ended").evidence(ended.tail(8))),
        )
    }
}

/// The lines of a dump with a word in place of each point in time, and without
/// the marks that newer ones put around themselves at random.
fn without_times(dump: &str) -> String {
    let lines =
        dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    let fields = |line: &str| {
        let shown = |field: &str| if is_time(field) { "TIME".to_owned() } else { field.to_owned() };
        line.split('\t').map(shown).collect::<Vec<_>>().join("\t")
    };
    lines.map(fields).collect::<Vec<_>>().join("\n")
}

/// Whether a field is as `2026-01-02 03:04:05`, with more behind it or not.
fn is_time(field: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00 00:00:00";
    let fits =
        |(letter, form): (u8, &u8)| if *form == b'0' { letter.is_ascii_digit() } else { letter == *form };
    field.len() >= FORM.len() && field.bytes().zip(FORM).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time_do_not_count() {
        let dump = "\\restrict xyz\nCOPY t FROM stdin;\n1\t2026-01-02 03:04:05.67+00\tx 2026\n\\.";
        assert_eq!(without_times(dump), "COPY t FROM stdin;\n1\tTIME\tx 2026\n\\.");
    }
}
