//! Finding programs as a shell does.

use std::path::{Path, PathBuf};

/// The file of a program: of a name that which comes first in `PATH`, of a path
/// itself. None if there is no such file.
#[must_use]
pub fn find_program(program: impl AsRef<Path>) -> Option<PathBuf> {
    let program = program.as_ref();
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return program.is_file().then(|| program.to_owned());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file())
}
