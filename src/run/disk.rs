//! Room on disks.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Bytes that this user may still write to the disk of `folder`.
///
/// # Errors
/// When there is no such folder.
#[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "u32 on macOS"))]
pub fn free(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    Ok(u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size())))
}

/// Bytes that are in use there.
///
/// # Errors
/// When there is no such folder.
#[cfg_attr(target_os = "linux", expect(clippy::useless_conversion, reason = "u32 on macOS"))]
pub fn used(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder)?;
    let blocks = u64::from(disk.blocks()).saturating_sub(u64::from(disk.blocks_free()));
    Ok(blocks.saturating_mul(u64::from(disk.fragment_size())))
}
