//! The scratch directory of a run: sockets, data and files of its servers.
//!
//! Apart from the run's folder of records, because it should be in memory, its
//! path must be short (a Unix socket's is at most 103 bytes), and unprivileged
//! servers must be able to enter it, which they cannot below `/root`.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk;
use super::failure::{Failure, Kind};
pub use crate::supervise::MARK_VARIABLE;
use crate::supervise::{ProcessId, socket_path};

/// Names the directory in which scratch directories are made.
pub const BASE_VARIABLE: &str = "RECIPE_RUN_DIR";

/// A cluster takes 40 MB, a migrated one 70 MB; Docker's own /dev/shm is 64 MB.
const ENOUGH: u64 = 512 << 20;

/// Where the scratch directory of run `id` is to be.
#[must_use]
pub fn path(id: &str) -> PathBuf {
    base().join(format!("recipe-{id}"))
}

/// Makes a scratch directory of this process', with what tells `recipe gc` whose
/// it is should the records of the run in `folder` be gone.
///
/// # Errors
/// When it cannot be made; says where it was tried.
pub fn create(path: &Path, folder: &Path) -> Result<(), Failure> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let label = ProcessId::current().map(|owner| Label { scratch: path.to_owned(), folder, owner });
    // Others may pass through to what is theirs, but not look around.
    std::fs::DirBuilder::new()
        .mode(0o711)
        .create(path)
        .and_then(|()| fs_err::set_permissions(path, PermissionsExt::from_mode(0o711)))
        .and_then(|()| fs_err::write(path.join(LABEL), serde_json::to_vec(&label)?))
        .map_err(|error| {
            Failure::new(
                Kind::TargetUnusable,
                format!("the scratch directory {} cannot be made", path.display()),
            )
            .hint(format!("set {BASE_VARIABLE} to a directory with room, on tmpfs where possible"))
            .cause(error)
        })
}

/// In a scratch directory: whose it is.
const LABEL: &str = ".recipe.json";

#[derive(Serialize, Deserialize)]
struct Label {
    /// Where it was made: a copy elsewhere is nobody's.
    scratch: PathBuf,
    /// The run's records.
    folder: PathBuf,
    owner: ProcessId,
}

/// Scratch directories of this user's whose runs are dead and have no records
/// that would tell of them.
#[must_use]
pub fn orphans() -> Vec<PathBuf> {
    let mut places = vec![base(), PathBuf::from("/dev/shm"), std::env::temp_dir()];
    places.sort();
    places.dedup();
    let listings = places.into_iter().filter_map(|place| std::fs::read_dir(place).ok());
    let mut orphans: Vec<_> = listings.flatten().flatten().map(|entry| entry.path()).collect();
    orphans.retain(|path| is_orphan(path));
    orphans
}

/// Its name alone says nothing: the label must be this user's, and of this very
/// directory.
fn is_orphan(path: &Path) -> bool {
    let is_named = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"recipe-"));
    if !is_named {
        return false;
    }
    let is_own = |path: &Path| {
        let found = std::fs::symlink_metadata(path);
        found.is_ok_and(|found| !found.is_symlink() && found.uid() == nix::unistd::geteuid().as_raw())
    };
    let file = path.join(LABEL);
    if !is_own(path) || !is_own(&file) {
        return false;
    }
    let text = std::fs::read(file).unwrap_or_default();
    let Ok(label) = serde_json::from_slice::<Label>(&text) else { return false };
    label.scratch == path
        && !label.folder.join("run.json").exists()
        && !label.owner.is_alive()
        && UnixStream::connect(socket_path(path)).is_err()
}

fn base() -> PathBuf {
    if let Some(base) = std::env::var_os(BASE_VARIABLE) {
        return base.into();
    }
    let shm = Path::new("/dev/shm");
    let usable = disk::free(shm).is_ok_and(|free| free >= ENOUGH)
        && nix::unistd::access(shm, nix::unistd::AccessFlags::W_OK).is_ok();
    if usable { shm.to_owned() } else { std::env::temp_dir() }
}
