//! Databases of earlier runs for pods.
//!
//! They are kept as those of this machine are, under the same rules: see
//! [`crate::targets::local::cache`]. What differs is how they get to a server
//! and how they are made:
//!
//! ```text
//!  kept data ─> layer on top of the image ─> nodes ─> the pod's volume ─> server
//!      ^                                       copied at its first start
//!      └── container of the same image, after the set-up
//! ```
//!
//! A pod starts from a copy in its own volume, so that it has its data for as
//! long as it would have without a cache. Before its server can be reached, the
//! run's password is set, and the number of that transaction written down: by it
//! is known whether anybody has written since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use tokio_postgres::Config;

use super::Kubernetes;
use super::cleanup::Removal;
use super::kind::own_name;
use super::place::Site;
use super::postgres::{INITDB, PORT, arguments};
use super::space::{MANAGER, MANAGER_LABEL, RUN_LABEL};
use crate::run::{Failure, Kind, Step};
use crate::supervise::User;
use crate::targets::engine::{Addition, Engine, ServerRequest};
use crate::targets::local::cache::{
    Called, Cluster, End, Held, Provenance, Template, Workshop, quoted, templates, unkept,
};
use crate::targets::{Belongings, PostgresRequest, Session};

/// Puts what is kept in its place, and starts the server.
const START: &str = include_str!("../../../manifests/postgres-start.sh");
/// How the images are started that it knows to start.
const ENTRYPOINT: &str = "docker-entrypoint.sh";
/// Where the data is in a container that makes it.
const DATA: &str = "/var/lib/postgresql/data/pgdata";
/// What the digest of the layer is noted as.
const LAYER: &str = "layer";

/// What a server is started from.
pub(super) struct Base {
    /// What its pod runs.
    pub image: String,
    /// What is done to kept data before the server can be reached.
    pub start: Option<String>,
    /// None where nothing can be kept.
    cluster: Option<Cluster>,
}

impl Base {
    /// Whether the database may be kept.
    pub(super) fn keeps(&self) -> bool {
        self.cluster.is_some()
    }
}

/// A server whose database may be kept.
#[derive(Clone)]
pub(super) struct Database {
    pub provenance: Arc<Provenance>,
    /// Reaches it.
    config: Config,
    image: String,
}

impl Kubernetes {
    /// Looks for what an earlier run has kept for such a server, and brings it to
    /// the nodes.
    pub(super) async fn base(
        &self,
        step: &Step,
        site: &Site,
        request: &PostgresRequest,
        password: &str,
    ) -> Result<Base, Failure> {
        let mut base = Base { image: request.image.clone(), start: None, cluster: None };
        // Where nodes pull their images, nothing can be put on top of one.
        let Some(engine) = self.provider.engine().await else { return Ok(base) };
        let (id, why_not) = self.keepable(&engine, request).await?;
        if let Some(why) = why_not {
            step.cache(false, why);
            return Ok(base);
        }
        let (caches, image, settings) =
            (self.run.caches.clone(), request.image.clone(), request.settings.clone());
        let (name, user, database) = (request.name.clone(), request.user.clone(), request.database.clone());
        let find = move || {
            let names = (name.as_str(), user.as_str(), database.as_str());
            Cluster::of_image(&caches, names, (&image, &id), (INITDB, &settings))
        };
        let found = tokio::task::spawn_blocking(find).await;
        let found = found.map_err(|error| Failure::new(Kind::Bug, error.to_string()))?;
        let Some((mut cluster, held)) = found else {
            step.cache(false, "there is no home directory to keep it in");
            return Ok(base);
        };
        if let Some(held) = held {
            let name = format!("recipe.local/postgres-kept:{}", held.entry.key);
            step.waiting("the nodes, which take what is kept of it");
            match bring(&engine, &step.part(), site, (&request.image, &name), held).await {
                Ok(()) => {
                    base.image = name;
                    // Hashed here, so that no log of the server can hold it.
                    let hash = postgres_protocol::password::scram_sha_256(password.as_bytes());
                    let user = quoted(&request.user);
                    base.start =
                        Some(format!("ALTER ROLE {user} PASSWORD '{hash}'\nSELECT pg_current_xact_id()"));
                }
                Err(failure) => cluster.discard(format!("what is kept cannot be brought there: {failure}")),
            }
        }
        let (hit, why) = cluster.told(&request.image);
        step.cache(hit, why);
        base.cluster = Some(cluster);
        Ok(base)
    }

    /// The identity of the server's image; or why its data is not kept.
    async fn keepable(
        &self,
        engine: &Engine,
        request: &PostgresRequest,
    ) -> Result<(String, Option<String>), Failure> {
        let image = &request.image;
        let why_not = if !self.run.caches.postgres {
            "--no-cache".to_owned()
        } else if request.manifest.is_some() {
            "what its own manifest makes of it is not known".to_owned()
        } else if let Some((id, words)) = engine.entrypoint(image).await? {
            if words == [ENTRYPOINT] {
                return Ok((id, None));
            }
            format!("{image} does not start by {ENTRYPOINT}, as the official image does")
        } else {
            format!("the engine does not have {image}, which the nodes pull")
        };
        Ok((String::new(), Some(why_not)))
    }

    /// What is known of the database of a server that has just been made ready.
    pub(super) async fn provenance(
        &self,
        step: &Step,
        base: Base,
        request: &PostgresRequest,
        config: &Config,
    ) -> Result<Option<Arc<Provenance>>, Failure> {
        let Some(mut cluster) = base.cluster else { return Ok(None) };
        let failed = |error| {
            Failure::new(Kind::Sql, format!("`{}` does not say what was written to it", request.name))
                .cause(error)
        };
        let session = Session::open(config, "postgres").await.map_err(failed)?;
        let mut last = None;
        if base.start.is_some() {
            let start =
                session.value("SELECT pg_read_file('recipe.start', 0, 40, true)").await.map_err(failed)?;
            last = start.trim().parse::<u64>().ok();
            if last.is_none() {
                cluster.discard("what was kept could not be started".to_owned());
                step.cache(false, cluster.told(&request.image).1);
            }
        }
        let last = match last {
            Some(last) => last,
            None => session.transaction("SELECT 1").await.map_err(failed)?,
        };
        let provenance = Provenance::new(
            cluster,
            request,
            request.image.clone(),
            self.run.secret(None)?,
            arguments(&request.settings),
            None,
            last + 1,
        );
        provenance.give(session);
        let provenance = Arc::new(provenance);
        let image = request.image.clone();
        let database = Database { provenance: provenance.clone(), config: config.clone(), image };
        self.databases.lock().unwrap_or_else(PoisonError::into_inner).push(database);
        Ok(Some(provenance))
    }

    /// Keeps for later runs what this one had to make. Returns whether there was
    /// anything.
    pub(super) async fn keep_databases(&self) -> Result<bool, Failure> {
        let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut is_new = false;
        for database in databases {
            let Some(engine) = self.provider.engine().await else { continue };
            let name = database.provenance.name();
            let home = self.run.scratch.join(format!(".keep-{name}"));
            fs_err::create_dir_all(&home).map_err(|error| unkept(&error))?;
            let container = own_name(&format!("recipe-keep-{name}"), &self.run.folder.id);
            let workshop =
                Container { engine, run: &self.run, name: container, image: &database.image, home };
            let kept = database.provenance.keep(&workshop).await;
            fs_err::remove_dir_all(&workshop.home).map_err(|error| unkept(&error))?;
            is_new |= kept?;
            database.provenance.tidy(&database.config).await?;
        }
        Ok(is_new)
    }
}

/// Brings an image with what is kept to the nodes.
async fn bring(
    engine: &Engine,
    step: &Step,
    site: &Site,
    (image, name): (&str, &str),
    held: Held,
) -> Result<(), Failure> {
    let script = blake3::hash(START.as_bytes()).to_hex();
    let list = move || {
        let noted = held.noted(LAYER);
        let known = noted.as_deref().and_then(|noted| noted.strip_prefix(&*script)).map(str::trim);
        let addition = Addition::new("recipe", ("start", START), &held.data(), known.map(str::to_owned))?;
        if known.is_none() {
            held.note(LAYER, &format!("{script} {}", addition.layer()));
        }
        Ok::<_, std::io::Error>((addition, held))
    };
    let listed = tokio::task::spawn_blocking(list).await;
    let listed = listed.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    // Held until the nodes have all of it.
    let (addition, _held) = listed.map_err(|error| unkept(&error))?;
    engine.load_added(step, &site.made.nodes, (image, name), addition).await
}

/// Makes data in a container of the server's image.
struct Container<'a> {
    engine: Engine,
    run: &'a Belongings,
    name: String,
    image: &'a str,
    home: PathBuf,
}

#[async_trait]
impl Workshop for Container<'_> {
    fn home(&self) -> &Path {
        &self.home
    }

    fn user(&self) -> Option<User> {
        // They get it in an image, which says whose it is.
        None
    }

    async fn make(
        &self,
        provenance: &Provenance,
        calls: &[Called],
        ends: &[End],
    ) -> Result<Option<Vec<Template>>, Failure> {
        let run = &self.run.folder.id;
        let removal = Removal::Container { name: self.name.clone(), run: run.clone() };
        self.run.announce("container", &self.name, "makes a database for later runs", &removal)?;
        let made = self.serve(provenance, calls, ends).await;
        self.engine.remove_server(&self.name, (RUN_LABEL, run)).await?;
        self.run.journal.removed("container", &self.name);
        made
    }
}

impl Container<'_> {
    async fn serve(
        &self,
        provenance: &Provenance,
        calls: &[Called],
        ends: &[End],
    ) -> Result<Option<Vec<Template>>, Failure> {
        let Provenance { user, password, database, arguments, .. } = provenance;
        let env = [
            ("POSTGRES_USER", user.as_str()),
            ("POSTGRES_PASSWORD", password),
            ("POSTGRES_DB", database),
            ("POSTGRES_INITDB_ARGS", INITDB),
            ("PGDATA", DATA),
        ];
        let labels = [(RUN_LABEL, self.run.folder.id.as_str()), (MANAGER_LABEL, MANAGER)];
        let request = ServerRequest {
            name: &self.name,
            image: self.image,
            env: BTreeMap::from(env),
            args: arguments,
            port: PORT,
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        };
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.engine.start_server(&request).await?);
        config.user(user).password(password);
        let templates = templates(&config, database, calls, ends).await?;
        self.engine.stop_server(&self.name).await?;
        self.engine.copy_out(&self.name, DATA, &self.home).await?;
        fs_err::rename(self.home.join("pgdata"), self.home.join("data")).map_err(|error| unkept(&error))?;
        Ok(templates)
    }
}
