//! Faults on purpose, so that tests see what becomes of a run when what it uses
//! fails, hangs, is slow, or when recipe itself dies there.
//!
//! A seam is a place where recipe uses something outside of it. Each asks here
//! first, in one line. `RECIPE_FAULT` names one fault:
//!
//! ```text
//! [PRIMITIVE/]SEAM:FAULT:N[+]
//!
//! sql:fail:2             the second use of PostgreSQL fails
//! migrate/sql:hang:1     the first one by a `migrate` never ends
//! files:fail:1+          the disk is full from the first use on
//! ```
//!
//! It is told on standard error when it happens. None of this is in a release
//! build: there a seam does nothing, and nobody reads the variable.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio_postgres::Client;

#[cfg(debug_assertions)]
mod plan;

/// How much longer something slow takes.
const SLOW: Duration = Duration::from_millis(300);

/// What a run uses, by the name that `RECIPE_FAULT` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seam {
    /// `spawn`: a command that this process starts.
    Spawn,
    /// `server`: a server or service that the supervisor starts.
    Server,
    /// `docker`: the API of the container engine.
    Docker,
    /// `kubernetes`: the API of the cluster.
    Kubernetes,
    /// `sql`: PostgreSQL, a connection or a statement.
    Sql,
    /// `redis`: Redis.
    Redis,
    /// `files`: the journal of the run, directories of servers, and files of recipes.
    Files,
    /// `clock`: a time that is waited for. It fails by being over at once, as
    /// when the machine was asleep.
    Clock,
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(debug_assertions), expect(dead_code, reason = "made by the variable alone"))]
enum Fault {
    Fail,
    Hang,
    Slow,
}

/// One use of a seam.
///
/// # Errors
/// When it is to fail: as the system would say it there.
pub async fn at(seam: Seam) -> io::Result<()> {
    match next(seam) {
        None => Ok(()),
        Some(Fault::Fail) => Err(seam.error()),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Slow) => {
            tokio::time::sleep(SLOW).await;
            Ok(())
        }
    }
}

/// One use of a seam that blocks its thread.
///
/// # Errors
/// As [`at`].
pub fn blocking(seam: Seam) -> io::Result<()> {
    match next(seam) {
        None => Ok(()),
        Some(Fault::Fail) => Err(seam.error()),
        Some(Fault::Hang) => loop {
            std::thread::park();
        },
        Some(Fault::Slow) => {
            std::thread::sleep(SLOW);
            Ok(())
        }
    }
}

/// One use of PostgreSQL by a connected client. If it is to fail, the server
/// ends the session, and the next statement finds that out.
pub async fn sql(client: &Client) {
    if at(Seam::Sql).await.is_err() {
        // What it answers is that it is going away.
        let _ = client.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await;
    }
}

impl Seam {
    fn error(self) -> io::Error {
        match self {
            Self::Spawn | Self::Server => Errno::EAGAIN,
            Self::Files => Errno::ENOSPC,
            Self::Docker | Self::Kubernetes | Self::Sql | Self::Redis => Errno::ECONNRESET,
            Self::Clock => Errno::EINTR,
        }
        .into()
    }
}

#[cfg(debug_assertions)]
use plan::next;
#[cfg(debug_assertions)]
pub use plan::{During, during};

#[cfg(not(debug_assertions))]
fn next(_: Seam) -> Option<Fault> {
    None
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[must_use]
pub struct During;

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub fn during(_: &'static str) -> During {
    During
}
