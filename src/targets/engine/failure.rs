//! What the engine answered, as a failure.

use bollard::errors::Error;

use crate::run::{Failure, Kind};

/// `what` did not work, because of `error`.
pub(super) fn engine_failure(what: &str, error: Error) -> Failure {
    let failure = match &error {
        Error::DockerResponseServerError { status_code: 404, .. } => Failure::new(Kind::NotFound, what),
        Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => {
            Failure::new(Kind::Command, what)
        }
        _ => Failure::new(Kind::Unreachable, what)
            .hint("`docker info` tells whether the container engine answers"),
    };
    failure.cause(Told(told(&error)))
}

/// Whether the engine has no such image.
pub(super) fn is_absent(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// The engine's own words, without the client's around them.
pub(super) fn told(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        error => {
            let mut innermost: &dyn std::error::Error = error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            innermost.to_string()
        }
    }
}

/// Something said by the engine or one of its programs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Told(pub String);
