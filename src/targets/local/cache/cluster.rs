//! The cluster that a server needs: which entry serves it, and how the server
//! gets at that.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::held::Held;
use super::key::{self, Part};
use super::recollection::{Recollection, step};
use super::store::{Entry, Found, Store};
use super::tree::make;
use crate::supervise::{Overlay, User};
use crate::targets::caches::{Caches, at};
use crate::targets::local::servers::PostgresPrograms;

/// What is said of an entry whose key means another one.
const SOMETHING_ELSE: &str = "what was kept of it is something else";
/// Beside the data directory, for the kernel.
pub(in crate::targets::local) const WORK: &str = "work";

/// The cluster that a server needs, and what there is of it.
pub(in crate::targets) struct Cluster {
    pub(super) store: Store,
    /// Where its recollection is.
    pub(super) step: PathBuf,
    pub(super) parts: Vec<Part>,
    /// The key of the cluster as initialised.
    pub(super) key: String,
    pub(super) recollection: Option<Recollection>,
    /// What serves it: as a copy, or read where it is.
    pub copied: Option<Entry>,
    rest: Option<Rest>,
    /// How its server sees what is kept, where it has no copy.
    pub overlay: Option<Overlay>,
    /// Why nothing was, where that is known before the server's version.
    discarded: Option<String>,
    /// What identifies its extensions, where they are not of this machine.
    pub(super) extensions: Option<String>,
}

/// How a server gets at what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It reads it where it is, and what it changes is kept apart.
    Overlay,
    /// By a copy of its own.
    Copy,
}

impl Way {
    /// The faster one, where there is a chance for it.
    pub fn first() -> Self {
        if cfg!(target_os = "linux") { Self::Overlay } else { Self::Copy }
    }
}

/// Where a server is to find its data.
pub struct Place<'a> {
    /// Its directory, which there is not yet.
    pub data: &'a Path,
    /// Whom it runs as.
    pub owner: Option<User>,
    pub way: Way,
}

/// What was found and turned out to be of no use.
#[derive(Clone)]
pub struct Spoilt {
    key: String,
    is_damaged: bool,
    why: String,
}

impl Spoilt {
    fn by(error: &io::Error, key: String) -> Self {
        let why = match error.kind() {
            io::ErrorKind::InvalidData => error.to_string(),
            _ => format!("what was kept of it could not be copied: {error}"),
        };
        Self { key, is_damaged: error.kind() != io::ErrorKind::StorageFull, why }
    }
}

/// What is still being copied of a cluster, or looked at. Its server can start
/// meanwhile.
struct Rest {
    work: JoinHandle<io::Result<()>>,
    /// Until somebody else has a hold on it.
    _held: Arc<Held>,
    /// Is cancelled when the database `postgres` is there, where it is not yet.
    postgres: Option<CancellationToken>,
}

impl Cluster {
    /// Looks for it, and brings the best there is of it to `place`, as far as a
    /// server needs it to start. What is `spoilt` is left out. None where nothing
    /// can be kept.
    pub(in crate::targets::local) fn find(
        caches: &Caches,
        programs: &PostgresPrograms,
        (name, user, database): &(String, String, String),
        initdb: &[&str],
        settings: &BTreeMap<String, String>,
        place: &Place<'_>,
        spoilt: &[Spoilt],
    ) -> Option<Self> {
        let parts = key::of_cluster(programs, (user, database), initdb, settings);
        let mut cluster = Self::open(caches, name, parts)?;
        cluster.discarded = spoilt.last().map(|spoilt| spoilt.why.clone());
        let is_spoilt = |key: &String| spoilt.iter().any(|spoilt| spoilt.key == *key);
        for candidate in cluster.candidates().into_iter().filter(|key| !is_spoilt(key)) {
            match cluster.store.find(&candidate) {
                // In full: a digest is only as good as what it was made from.
                Found::Held(held) if held.entry.parts == cluster.parts => match cluster.bring(*held, place) {
                    Ok(()) => break,
                    Err(error) => {
                        let spoilt = Spoilt::by(&error, candidate);
                        cluster.remove(&spoilt);
                        cluster.discarded = Some(spoilt.why);
                    }
                },
                Found::Held(_) => cluster.discarded = Some(SOMETHING_ELSE.to_owned()),
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
        Some(Self {
            store,
            step,
            parts,
            key,
            recollection,
            copied: None,
            rest: None,
            overlay: None,
            discarded: None,
            extensions: None,
        })
    }

    /// Keys of entries that may be it, the best first.
    fn candidates(&self) -> Vec<String> {
        let last = self.recollection.as_ref().filter(|last| last.parts == self.parts);
        last.map(|last| last.entry.clone()).into_iter().chain([self.key.clone()]).collect()
    }

    fn bring(&mut self, held: Held, place: &Place<'_>) -> io::Result<()> {
        let held = Arc::new(held);
        let brought = match place.way {
            Way::Overlay => self.lay(held.clone(), place),
            Way::Copy => Self::copy(held.clone(), place),
        };
        self.rest = Some(brought.inspect_err(|_| {
            // Nothing may be left of a copy that is not whole.
            let _ = std::fs::remove_dir_all(place.data);
        })?);
        self.copied = Some(held.entry.clone());
        Ok(())
    }

    fn lay(&mut self, held: Arc<Held>, place: &Place<'_>) -> io::Result<Rest> {
        let overlay = Overlay {
            lower: held.data(),
            at: place.data.to_owned(),
            work: place.data.with_file_name(WORK),
            lock: held.path().to_owned(),
        };
        make(&overlay.at, place.owner)?;
        make(&overlay.work, None)?;
        held.copy_touched(place.data, place.owner)?;
        self.overlay = Some(overlay);
        let own = held.clone();
        let work = tokio::task::spawn_blocking(move || own.require_size());
        Ok(Rest { work, _held: held, postgres: None })
    }

    fn copy(held: Arc<Held>, place: &Place<'_>) -> io::Result<Rest> {
        let first = held.copy_to_start(place.data, place.owner)?;
        let (data, owner) = (place.data.to_owned(), place.owner);
        let postgres = CancellationToken::new();
        let (own, told) = (held.clone(), postgres.clone());
        let work = tokio::task::spawn_blocking(move || {
            own.copy_databases(first, &data, owner, || told.cancel())?;
            told.cancel();
            Ok(())
        });
        Ok(Rest { work, _held: held, postgres: Some(postgres) })
    }

    /// Is cancelled when the database `postgres` is there; none where it is.
    /// Nobody may connect to another one before [`Self::complete`].
    pub fn on_its_way(&self) -> Option<CancellationToken> {
        self.rest.as_ref()?.postgres.clone()
    }

    /// Waits until all that [`Self::find`] has found is there. Fails where it
    /// cannot be: then it must not be used. May be cancelled and called again.
    pub async fn complete(&mut self) -> Result<(), Spoilt> {
        let Some(rest) = &mut self.rest else { return Ok(()) };
        let copied = (&mut rest.work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.rest = None;
        copied.map_err(|error| {
            let key = self.copied.take().map(|entry| entry.key).unwrap_or_default();
            Spoilt::by(&error, key)
        })
    }

    /// Keeps it no longer, if it is damaged and nobody reads it.
    pub fn remove(&self, spoilt: &Spoilt) {
        if spoilt.is_damaged {
            self.store.remove(&spoilt.key);
        }
    }

    /// Notes what its server has written to until now, for the next one.
    pub fn note_touched(&self) {
        let held = self.overlay.as_ref().and_then(|overlay| Some((Held::of(&overlay.lock)?, overlay)));
        if let Some((held, overlay)) = held
            && let Err(error) = held.note_touched(&overlay.at)
        {
            tracing::debug!(%error, "the next server is slower");
        }
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
