//! The scratch directory of a run: sockets, data and files of its servers.
//!
//! Apart from the run's folder of records, because it should be in memory, its
//! path must be short (a Unix socket's is at most 103 bytes), and unprivileged
//! servers must be able to enter it, which they cannot below `/root`.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

use super::failure::{Failure, Kind};

/// Names the directory in which scratch directories are made.
pub const BASE_VARIABLE: &str = "RECIPE_RUN_DIR";

/// Holds the scratch directory in the environment of every server and service,
/// and so of whatever they start: what is left of a run is known by it.
pub const MARK_VARIABLE: &str = "RECIPE_SCRATCH";

/// A cluster takes 40 MB, a migrated one 70 MB; Docker's own /dev/shm is 64 MB.
const ENOUGH: u64 = 512 << 20;

/// Where the scratch directory of run `id` is to be.
#[must_use]
pub fn path(id: &str) -> PathBuf {
    base().join(format!("recipe-{id}"))
}

/// Makes a scratch directory.
///
/// # Errors
/// When it cannot be made; says where it was tried.
pub fn create(path: &Path) -> Result<(), Failure> {
    // Others may pass through to what is theirs, but not look around.
    std::fs::DirBuilder::new()
        .mode(0o711)
        .create(path)
        .and_then(|()| fs_err::set_permissions(path, PermissionsExt::from_mode(0o711)))
        .map_err(|error| {
            Failure::new(
                Kind::TargetUnusable,
                format!("the scratch directory {} cannot be made", path.display()),
            )
            .hint(format!("set {BASE_VARIABLE} to a directory with room, on tmpfs where possible"))
            .cause(error)
        })
}

fn base() -> PathBuf {
    if let Some(base) = std::env::var_os(BASE_VARIABLE) {
        return base.into();
    }
    let shm = Path::new("/dev/shm");
    #[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "u32 on macOS"))]
    let free = statvfs(shm).map(|fs| u64::from(fs.blocks_available()) * u64::from(fs.fragment_size()));
    let usable = free.is_ok_and(|free| free >= ENOUGH)
        && nix::unistd::access(shm, nix::unistd::AccessFlags::W_OK).is_ok();
    if usable { shm.to_owned() } else { std::env::temp_dir() }
}
