//! How the database of a running server came to be: what was copied, and what
//! has been applied since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_postgres::Config;

use super::held::Held;
use super::key::{self, MigratedFile, Part};
use super::recollection::{Migrated, Recollection, step};
use super::store::{Entry, Found, Store, Template};
use super::swap::{Swapped, swap};
use crate::run::Failure;
use crate::supervise::User;
use crate::targets::PostgresRequest;
use crate::targets::Session;
use crate::targets::caches::{Caches, at};
use crate::targets::local::servers::PostgresPrograms;
use crate::targets::migrations::{Migrations, Recalled};
use crate::targets::session::Spare;

/// Where PostgreSQL's extensions are.
const FOLDERS: &str = "SELECT string_agg(setting || CASE name WHEN 'SHAREDIR' THEN '/extension' ELSE '' END, E'\\n') \
                       FROM pg_config() WHERE name IN ('SHAREDIR', 'PKGLIBDIR')";

/// What is said of an entry whose key means another one.
const SOMETHING_ELSE: &str = "what was kept of it is something else";

/// The cluster that a server needs, and what there is of it.
pub(in crate::targets) struct Cluster {
    pub(super) store: Store,
    /// Where its recollection is.
    pub(super) step: PathBuf,
    pub(super) parts: Vec<Part>,
    /// The key of the cluster as initialised.
    pub(super) key: String,
    pub(super) recollection: Option<Recollection>,
    /// What was copied.
    pub copied: Option<Entry>,
    /// What of it is still being copied. A server can start meanwhile, and nobody
    /// may connect to it until all is there.
    rest: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    /// Why nothing was, where that is known before the server's version.
    discarded: Option<String>,
    /// What identifies its extensions, where they are not of this machine.
    pub(super) extensions: Option<String>,
}

impl Cluster {
    /// Looks for it, and copies the best there is of it to `data` for `owner`, as
    /// far as a server needs it to start. `discarded` says why what was found
    /// before was of no use. None where nothing can be kept.
    pub(in crate::targets::local) fn find(
        caches: &Caches,
        programs: &PostgresPrograms,
        (name, user, database): &(String, String, String),
        initdb: &[&str],
        settings: &BTreeMap<String, String>,
        (data, owner): (&Path, Option<User>),
        discarded: Option<String>,
    ) -> Option<Self> {
        let parts = key::of_cluster(programs, (user, database), initdb, settings);
        let mut cluster = Self::open(caches, name, parts)?;
        cluster.discarded = discarded;
        for candidate in cluster.candidates() {
            match cluster.store.find(&candidate) {
                Found::Held(held) => match cluster.copy(*held, data, owner) {
                    Ok(()) => break,
                    Err(why) => cluster.discarded = Some(why),
                },
                Found::Discarded(why) => cluster.discarded = Some(why),
                Found::Absent => {}
            }
        }
        Some(cluster)
    }

    /// One that is not of this machine: of a server in a container of the image
    /// with this `id`. Gives also what there is of it, untouched.
    pub fn of_image(
        caches: &Caches,
        (name, user, database): (&str, &str, &str),
        (image, id): (&str, &str),
        (initdb, settings): (&str, &BTreeMap<String, String>),
    ) -> Option<(Self, Option<Held>)> {
        let parts = key::of_image((image, id), (user, database), initdb, settings);
        // Another one than that of a server of this machine.
        let mut cluster = Self::open(caches, &format!("image {name}"), parts)?;
        cluster.extensions = Some(id.to_owned());
        for candidate in cluster.candidates() {
            match cluster.store.find(&candidate) {
                Found::Held(held) if held.entry.parts == cluster.parts => {
                    cluster.copied = Some(held.entry.clone());
                    return Some((cluster, Some(*held)));
                }
                Found::Held(_) => cluster.discarded = Some(SOMETHING_ELSE.to_owned()),
                Found::Discarded(why) => cluster.discarded = Some(why),
                Found::Absent => {}
            }
        }
        Some((cluster, None))
    }

    /// What was found is of no use, for this reason.
    pub fn discard(&mut self, why: String) {
        (self.copied, self.discarded) = (None, Some(why));
    }

    fn open(caches: &Caches, name: &str, parts: Vec<Part>) -> Option<Self> {
        let store = Store::open(caches.limit)?;
        let step = store.step(&step(caches, name));
        let recollection = Recollection::read(&step);
        let key = key::digest("", &parts);
        let (copied, rest, discarded, extensions) = (None, None, None, None);
        Some(Self { store, step, parts, key, recollection, copied, rest, discarded, extensions })
    }

    /// Keys of entries that may be it, the best first.
    fn candidates(&self) -> Vec<String> {
        let last = self.recollection.as_ref().filter(|last| last.parts == self.parts);
        last.map(|last| last.entry.clone()).into_iter().chain([self.key.clone()]).collect()
    }

    /// The parts must be the same in full: a digest is only as good as what it
    /// was made from.
    fn copy(&mut self, held: Held, data: &Path, owner: Option<User>) -> Result<(), String> {
        if held.entry.parts != self.parts {
            return Err(SOMETHING_ELSE.to_owned());
        }
        let first = held.copy_to_start(data, owner).map_err(|error| {
            // Nothing may be left of a copy that is not whole.
            let _ = std::fs::remove_dir_all(data);
            not_copied(&error)
        })?;
        let (entry, data) = (held.entry.clone(), data.to_owned());
        let rest = tokio::task::spawn_blocking(move || held.copy_databases(first, &data, owner));
        (self.copied, self.rest) = (Some(entry), Some(rest));
        Ok(())
    }

    /// Waits until all that [`Self::find`] has found is copied. The reason where
    /// it cannot be: then it is not kept any more, and must not be used.
    pub async fn complete(&mut self) -> Result<(), String> {
        let Some(rest) = self.rest.take() else { return Ok(()) };
        let copied = rest.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        copied.map_err(|error| {
            if let Some(entry) = self.copied.take()
                && error.kind() != std::io::ErrorKind::StorageFull
            {
                self.store.remove(&entry.key);
            }
            not_copied(&error)
        })
    }

    /// Whether something was copied, and why, the server being of this version.
    pub fn told(&self, version: &str) -> (bool, String) {
        match (&self.copied, &self.discarded, &self.recollection) {
            (Some(entry), ..) => (true, format!("made at {}", at(entry.made))),
            (None, Some(why), _) => (false, why.clone()),
            (None, None, Some(last)) => (false, last.why_another_cluster(version, &self.parts)),
            (None, None, None) => (false, "nothing cached yet".to_owned()),
        }
    }
}

fn not_copied(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::InvalidData => error.to_string(),
        _ => format!("what was kept of it could not be copied: {error}"),
    }
}

/// What is known of the database of a running server.
pub(in crate::targets) struct Provenance {
    pub(super) cluster: Cluster,
    pub(super) name: String,
    pub user: String,
    pub database: String,
    pub version: String,
    /// The initialised cluster before its server was started, where it is new.
    pub(super) aside: Option<PathBuf>,
    /// The password inside what is kept.
    pub password: String,
    pub arguments: Vec<String>,
    /// To the database `postgres`.
    spare: Spare,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// The id of the next transaction that writes, if none has that is not ours.
    untouched: Option<u64>,
    /// Those in the server that may still serve.
    templates: Vec<Template>,
    /// Databases in the server that are of no use any more.
    pub leftovers: Vec<String>,
    pub surroundings: Vec<Part>,
    /// The key of the database as it is.
    head: String,
    pub calls: Vec<Called>,
    /// A call of `migrate` that goes on.
    pending: Option<Pending>,
}

/// A call of `migrate` that is done.
pub(in crate::targets) struct Called {
    pub record: Migrated,
    pub migrations: Arc<dyn Migrations>,
}

struct Pending {
    called: Called,
    session: Session,
    /// The transaction that served all files.
    served: Option<u64>,
}

impl Provenance {
    /// Of a server that was just made ready, `next` being the id of the next
    /// transaction that writes.
    pub fn new(
        cluster: Cluster,
        request: &PostgresRequest,
        version: String,
        password: String,
        arguments: Vec<String>,
        aside: Option<PathBuf>,
        next: u64,
    ) -> Self {
        let templates = cluster.copied.as_ref().map(|entry| entry.templates.clone()).unwrap_or_default();
        let leftovers = templates.iter().map(Template::database).collect();
        let state = State { untouched: Some(next), templates, leftovers, ..State::default() };
        Self {
            cluster,
            name: request.name.clone(),
            user: request.user.clone(),
            database: request.database.clone(),
            version,
            aside,
            password,
            arguments,
            spare: Spare::default(),
            state: Mutex::new(state),
        }
    }

    /// Takes a connection to the database `postgres`, for the migrations that
    /// are likely to follow.
    pub fn give(&self, session: Session) {
        self.spare.put(session);
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Brings the database as near to what `migrations` make of it as a template
    /// allows. `config` reaches the server.
    pub async fn recall(&self, config: &Config, migrations: &Arc<dyn Migrations>) -> Recalled {
        let mut state = self.state.lock().await;
        match self.serve(&mut state, config, migrations).await {
            Ok((files, why)) => Recalled { files, why: Some(why) },
            // Whoever applies them will meet it again, and tell.
            Err(error) => Recalled { files: 0, why: Some(format!("the server could not be asked: {error}")) },
        }
    }

    async fn serve(
        &self,
        state: &mut State,
        config: &Config,
        migrations: &Arc<dyn Migrations>,
    ) -> Result<(usize, String), tokio_postgres::Error> {
        state.pending = None;
        // Whatever goes wrong from here on, nothing is known any more.
        let Some(next) = state.untouched.take() else {
            return Ok((0, "the database was changed in a way that is not kept".to_owned()));
        };
        if self.database == "postgres" {
            return Ok((0, "migrations of the database `postgres` are not kept".to_owned()));
        }
        let session = self.session(config).await?;
        if state.calls.is_empty() {
            let extensions = if let Some(known) = &self.cluster.extensions {
                known.clone()
            } else {
                let folders = session.value(FOLDERS).await?;
                key::of_folders(&folders.lines().map(str::to_owned).collect::<Vec<_>>())
            };
            state.surroundings = key::of_surroundings(extensions);
            state.head = key::digest(&self.cluster.key, &state.surroundings);
        }
        let files = key::of_files(&state.head, &**migrations);
        let found = (1..=files.len()).rev().find_map(|count| {
            let key = &files[count - 1].key;
            Some((count, state.templates.iter().find(|template| template.key == *key)?.database()))
        });
        let (served, id, refused) = match &found {
            None => match session.transaction("SELECT 1").await? {
                id if id == next => (0, id, None),
                _ => return Ok((0, "something was written to the server before".to_owned())),
            },
            Some((count, template)) => {
                let aside = format!("recipe_before_{}", state.calls.len());
                match swap(&session, &self.database, template, &aside, next).await? {
                    Swapped::Served(id) => {
                        state.leftovers.retain(|name| name != template);
                        state.leftovers.push(aside);
                        (*count, id, None)
                    }
                    Swapped::Refused(why) => (0, 0, Some(why)),
                }
            }
        };
        if let Some(why) = refused {
            return Ok((0, why.to_owned()));
        }
        let is_all = served == files.len();
        let why = self.why(state, served, migrations.manner(), &files);
        let record = Migrated { manner: migrations.manner().to_owned(), files };
        let called = Called { record, migrations: migrations.clone() };
        state.pending = Some(Pending { called, session, served: is_all.then_some(id) });
        Ok((served, why))
    }

    fn why(&self, state: &State, served: usize, manner: &str, files: &[MigratedFile]) -> String {
        let made = self.cluster.copied.as_ref().map_or_else(Timestamp::now, |entry| entry.made);
        if served == files.len() {
            let all = if served == 1 { "it was".to_owned() } else { format!("all {served} were") };
            return format!("{all} applied at {}", at(made));
        }
        let why = match &self.cluster.recollection {
            None => "nothing cached yet".to_owned(),
            Some(last) if last.parts != self.cluster.parts => "their server is another one".to_owned(),
            Some(last) => last.why_other_migrations(state.calls.len(), &state.surroundings, manner, files),
        };
        match served {
            0 => why,
            _ => format!("{why}; {served} of {} were applied at {}", files.len(), at(made)),
        }
    }

    /// The migrations of the last [`Self::recall`] are applied now, all of them.
    pub async fn migrated(&self) {
        let mut state = self.state.lock().await;
        let Some(Pending { called, session, served }) = state.pending.take() else { return };
        let id = if served.is_some() {
            served
        } else {
            // While they were applied, others may have written, too, and the next
            // template must not replace that.
            state.templates.clear();
            session.transaction("SELECT 1").await.ok()
        };
        state.untouched = id.map(|id| id + 1);
        if let Some(last) = called.record.files.last() {
            state.head.clone_from(&last.key);
        }
        state.calls.push(called);
        self.spare.put(session);
    }

    /// A connection to the database `postgres`.
    async fn session(&self, config: &Config) -> Result<Session, tokio_postgres::Error> {
        match self.spare.take() {
            Some(session) => Ok(session),
            None => Session::open(config, "postgres").await,
        }
    }

    /// Removes the databases that are of no use any more.
    pub async fn tidy(&self, config: &Config) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        let leftovers = std::mem::take(&mut state.leftovers);
        if leftovers.is_empty() {
            return Ok(());
        }
        state.untouched = None;
        let unreachable = |error| super::keep::refused("remove what is of no use any more", error);
        let session = self.session(config).await.map_err(unreachable)?;
        for name in leftovers {
            session
                .run(&format!("DROP DATABASE {}", super::swap::quoted(&name)))
                .await
                .map_err(unreachable)?;
        }
        Ok(())
    }
}
