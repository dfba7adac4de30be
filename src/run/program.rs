//! Finding programs as a shell does, and what to say when one cannot be executed.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use super::failure::{Failure, Kind};

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

/// `program` cannot be executed: because there is none, or for another reason
/// of the system, which says nothing about the program.
#[must_use]
pub fn not_executed(program: &str, error: Error) -> Failure {
    let is_absent = error.kind() == ErrorKind::NotFound;
    let kind = if is_absent { Kind::NotFound } else { Kind::Io };
    let mut failure = Failure::new(kind, format!("{program} cannot be executed"));
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory) {
        failure =
            failure.hint("there is no room for more processes; `ulimit -u` shows the limit of this user");
    }
    failure.cause(error)
}
