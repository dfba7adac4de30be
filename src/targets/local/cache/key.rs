//! What a state of a database is made from, and so what identifies it.
//!
//! A key is a chain of digests: of all that went into the cluster, then of each
//! migration that was applied, in order. Two states with the same key were made
//! from the same bytes by the same programs.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::targets::caches::identity;
use crate::targets::local::servers::PostgresPrograms;
use crate::targets::migrations::{MigrationFile, Migrations};

/// Changes when the same parts give another state.
const FORMAT: u32 = 3;

/// One thing that a state is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is: `user`, `setting work_mem`.
    pub name: String,
    /// Its value, or what identifies it.
    pub value: String,
}

/// A migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigratedFile {
    /// What the state after it is identified by.
    pub key: String,
    /// The file, as people call it.
    pub name: String,
    /// A digest of the file, and of what it applies.
    pub digest: String,
}

pub(super) const PROGRAM: &str = "recipe";
pub(super) const SERVER: &str = "PostgreSQL";
pub(super) const IMAGE: &str = "image";
pub(super) const DAY: &str = "day";
pub(super) const EXTENSIONS: &str = "extensions";

fn part(name: impl Into<String>, value: impl Into<String>) -> Part {
    Part { name: name.into(), value: value.into() }
}

/// What a cluster with an empty database is made from.
pub(super) fn of_cluster(
    programs: &PostgresPrograms,
    names: (&str, &str),
    initdb: &[&str],
    settings: &BTreeMap<String, String>,
) -> Vec<Part> {
    let programs = format!("{} {}", identity(&programs.postgres), identity(&programs.initdb));
    of_server(part(SERVER, programs), names, &initdb.join(" "), settings)
}

/// The same of a cluster in a container of the image with this `id`, which holds
/// the server's programs and the scripts that they are started by.
pub(super) fn of_image(
    (image, id): (&str, &str),
    names: (&str, &str),
    initdb: &str,
    settings: &BTreeMap<String, String>,
) -> Vec<Part> {
    of_server(part(IMAGE, format!("{image} {id}")), names, initdb, settings)
}

fn of_server(
    server: Part,
    (user, database): (&str, &str),
    initdb: &str,
    settings: &BTreeMap<String, String>,
) -> Vec<Part> {
    let own = [
        part(PROGRAM, program()),
        server,
        part("initdb", initdb),
        part("user", user),
        part("database", database),
    ];
    let settings = settings.iter().map(|(name, value)| part(format!("setting {name}"), value.as_str()));
    own.into_iter().chain(settings).collect()
}

/// Recipe itself, which may make another state of the same parts.
fn program() -> String {
    let program = std::env::current_exe().map(|exe| identity(&exe)).unwrap_or_default();
    format!("{FORMAT} {program}")
}

/// What migrations meet beside the database: the day, for they may ask which it
/// is and make partitions for it, and the extensions that are installed, whose
/// scripts they may run.
pub(super) fn of_surroundings(extensions: String) -> Vec<Part> {
    let now = Timestamp::now();
    let day = |zone| now.to_zoned_datetime(zone).date();
    // Servers are in UTC, unless a setting says otherwise.
    vec![
        part(DAY, format!("{} {}", day(TimeZone::UTC), day(TimeZone::system()))),
        part(EXTENSIONS, extensions),
    ]
}

/// A digest of what is installed in the folders of PostgreSQL's extensions.
pub(super) fn of_folders(folders: &[String]) -> String {
    let mut installed = blake3::Hasher::new();
    for folder in folders {
        let mut files: Vec<_> = std::fs::read_dir(Path::new(folder))
            .map(|files| files.flatten().map(|file| identity(&file.path())).collect())
            .unwrap_or_default();
        files.sort();
        for file in files {
            installed.update(file.as_bytes()).update(b"\0");
        }
    }
    installed.finalize().to_hex()[..32].to_owned()
}

/// The key of what is made from `parts`, on top of what has the key `before`.
pub(super) fn digest(before: &str, parts: &[Part]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    add(before);
    for part in parts {
        add(&part.name);
        add(&part.value);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The keys of the states after each file, on top of what has the key `before`.
pub(super) fn of_files(before: &str, migrations: &dyn Migrations) -> Vec<MigratedFile> {
    let mut key = digest(before, &[part("manner", migrations.manner())]);
    let after = |file: &MigrationFile| {
        key = digest(&key, &[part(&file.name, &file.digest)]);
        let name = format!("{}/{}", migrations.folder(), file.name);
        MigratedFile { key: key.clone(), name, digest: file.digest.clone() }
    };
    migrations.files().iter().map(after).collect()
}
