//! Databases of earlier runs: clusters that were initialised before, and
//! migrations that were applied before.
//!
//! # Why nothing stale can be served
//!
//! A script is imperative: when it calls `deploy_postgres`, nobody knows what
//! it will call `migrate` with, or whether, and between the two anybody may
//! look at the server or write to it. So nothing is guessed about what a
//! database is to hold:
//!
//! 1. `deploy_postgres` serves a data directory whose key holds all that its
//!    cluster was made from: recipe itself, the server's programs, and the flags,
//!    user, database and settings ([`key`]). The database in it is empty, as the
//!    step promises, whatever comes next. The server cannot change it: it reads
//!    it through an overlay, or has a copy ([`cluster`]).
//! 2. The same directory may hold *templates* beside it: databases to which
//!    migrations were applied, named by the key of all that they were made from,
//!    to which nobody can connect. Which directory is used is chosen by what the
//!    step used last ([`recollection`]); a wrong choice costs time alone.
//! 3. `migrate` reads its files now, computes the key of the state after each,
//!    and looks for a template with that key. If there is one, one transaction
//!    gives it the name of the database. It commits only if PostgreSQL has given
//!    out no transaction id since the server was made ready, and if nobody is
//!    connected to the database: then nothing was written to it, and nobody sees
//!    it change ([`swap`]). Else the files are applied, as without a cache.
//!    Files beyond the template are applied too, which is a *prefix* hit.
//!
//! What is kept is made apart from what is used ([`keep`]): after the set-up, a
//! server of its own, on a copy of the kept cluster, applies the files that
//! `migrate` has read to an empty database, and is stopped cleanly. Neither the
//! run's services nor its tests ever touch that. Migrations that change what
//! belongs to the whole server, such as roles, are not kept: a database could
//! not bring these along.
//!
//! Passwords inside what is kept were made for that and are told nobody; each
//! run replaces them before its server counts as ready.
//!
//! Migrations may ask what day it is, so their key holds the day. Their effects
//! outside PostgreSQL, say by `COPY .. TO PROGRAM`, do not happen again.

mod cluster;
mod ends;
mod held;
mod keep;
mod key;
mod provenance;
mod recollection;
mod store;
mod swap;
mod tree;
mod verify;
mod workshop;

pub use key::{MigratedFile, Part};
pub use store::{Entry, Store, Template};
pub use tree::Size;
pub use verify::{Reader, Verdict, verify};

pub(in crate::targets) use cluster::Cluster;
pub(super) use cluster::{Place, Spoilt, WORK, Way};
pub(in crate::targets) use ends::End;
pub(in crate::targets) use held::Held;
pub(super) use keep::Keeper;
pub(in crate::targets) use keep::{templates, unkept};
pub(in crate::targets) use provenance::{Called, Provenance};
pub(in crate::targets) use swap::{literal, quoted};
pub(in crate::targets) use workshop::Workshop;

use std::path::Path;

use crate::supervise::User;

/// Copies a data directory of which no server runs.
pub(super) fn copy(data: &Path, to: &Path, owner: Option<User>) -> std::io::Result<()> {
    tree::Tree::list(data)?.copy(to, owner).map(drop)
}
