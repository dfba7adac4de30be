//! What benchmarks have in common.

use std::path::Path;

use tempfile::TempDir;

/// A directory in memory, where there is a place for one: what is measured is
/// not the disk.
pub fn in_memory() -> TempDir {
    let base = if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("bench").tempdir_in(base).unwrap()
}
