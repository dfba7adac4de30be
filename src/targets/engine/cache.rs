//! Where knowledge about contexts and layers is kept between runs. All of it
//! can be lost at any time; it only costs work.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::targets::caches;

/// A file of the user's cache directory; none where there is no home.
pub(super) fn file(kind: &str, name: &str) -> Option<PathBuf> {
    Some(caches::folder(kind)?.join(name))
}

/// What a file holds; the default when it is absent or not understood.
pub(super) fn read<T: DeserializeOwned + Default>(path: &Path) -> T {
    fs_err::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Writes a file, whole or not at all.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs_err::create_dir_all(folder)?;
    // Runs that end at the same moment must not write into one file.
    let aside = path.with_extension(format!("{}.new", std::process::id()));
    fs_err::write(&aside, serde_json::to_vec(value)?)?;
    fs_err::rename(aside, path)
}
