//! How the database of a running server came to be: what was copied, and what
//! has been applied since.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_postgres::Config;

use super::cluster::Cluster;
use super::key::{self, MigratedFile, Part};
use super::recollection::Migrated;
use super::store::Template;
use super::swap::{Swapped, swap};
use crate::run::Failure;
use crate::targets::PostgresRequest;
use crate::targets::Session;
use crate::targets::caches::at;
use crate::targets::migrations::{Migrations, Recalled};
use crate::targets::session::Spare;

/// Where PostgreSQL's extensions are.
const FOLDERS: &str = "SELECT string_agg(setting || CASE name WHEN 'SHAREDIR' THEN '/extension' ELSE '' END, E'\\n') \
                       FROM pg_config() WHERE name IN ('SHAREDIR', 'PKGLIBDIR')";

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
    /// Of extensions; none before the first call of `migrate`.
    pub folders: Vec<String>,
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
                state.folders = self.folders(&session).await?;
                key::of_folders(&state.folders)
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

    /// Where the extensions of the server are: as an entry says, whose key means
    /// the same programs in the same place, or as the server does.
    async fn folders(&self, session: &Session) -> Result<Vec<String>, tokio_postgres::Error> {
        let known = self.cluster.copied.as_ref().map(|entry| &entry.folders);
        if let Some(known) = known.filter(|known| !known.is_empty()) {
            return Ok(known.clone());
        }
        let folders = session.value(FOLDERS).await?;
        Ok(folders.lines().map(str::to_owned).collect())
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
