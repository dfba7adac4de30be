//! What a run may use of earlier runs, and where such is kept.

use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Names the directory that holds the caches.
pub const CACHE_VARIABLE: &str = "RECIPE_CACHE_DIR";

/// Bytes of databases that are kept when nothing else is said.
pub const DATABASE_LIMIT: u64 = 2_000_000_000;

/// The caches of a run.
#[derive(Debug, Clone)]
pub struct Caches {
    /// Whether initialised and migrated databases of earlier runs may serve.
    pub postgres: bool,
    /// Whether images and programs of earlier runs may serve.
    pub images: bool,
    /// Bytes of databases that are kept.
    pub limit: u64,
    /// The recipe: what its last run used is what its next one looks for first.
    pub recipe: PathBuf,
}

impl Default for Caches {
    fn default() -> Self {
        Self { postgres: true, images: true, limit: DATABASE_LIMIT, recipe: PathBuf::new() }
    }
}

/// A folder of the user's cache directory; none where there is no home.
#[must_use]
pub fn folder(kind: &str) -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    let all = match std::env::var_os(CACHE_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => etcetera::choose_base_strategy().ok()?.cache_dir().join("recipe"),
    };
    Some(all.join(kind))
}

/// What identifies a file without reading it: the same as long as nobody has
/// replaced or changed it. Of the times nobody can set that of the last change
/// of anything.
pub(super) fn identity(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(found) => {
            let times = [(found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec())];
            format!("{} {} {} {times:?}", path.display(), found.ino(), found.len())
        }
        Err(_) => format!("{} is absent", path.display()),
    }
}

/// Writes a file that only this user can read, whole or not at all. Runs that
/// end at the same moment do not write into one file.
pub(super) fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    io::Write::write_all(&mut file, contents)?;
    fs_err::rename(aside, path)
}

/// A file of the user's cache directory; none where there is no home.
pub(super) fn file(kind: &str, name: &str) -> Option<PathBuf> {
    Some(folder(kind)?.join(name))
}

/// What a file of JSON holds; the default when it is absent or not understood.
pub(super) fn read<T: DeserializeOwned + Default>(path: &Path) -> T {
    fs_err::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Writes a file of JSON as [`write`] does, and makes its folder.
pub(super) fn save<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs_err::create_dir_all)?;
    write(path, &serde_json::to_vec(value)?)
}

/// `14:02`, or with the day where that is not today's.
pub(super) fn at(time: Timestamp) -> String {
    let zone = TimeZone::system();
    let (then, now) = (time.to_zoned_datetime(zone.clone()), Timestamp::now().to_zoned_datetime(zone));
    let format = if then.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    then.strftime(format).to_string()
}
