//! What the keeping of databases needs of a place where servers run.

use std::path::Path;

use async_trait::async_trait;

use super::ends::End;
use super::provenance::{Called, Provenance};
use super::store::Template;
use crate::run::Failure;
use crate::supervise::User;

/// Where clusters are made that are kept.
#[async_trait]
pub(in crate::targets) trait Workshop: Send + Sync {
    /// Where its files are while it works.
    fn home(&self) -> &Path;

    /// Whom servers of what is kept run as, where they may read it in place.
    fn user(&self) -> Option<User>;

    /// Puts the cluster of `provenance` into the folder `data` of its home, with a
    /// template of each end. None where migrations change more than their database.
    async fn make(
        &self,
        provenance: &Provenance,
        calls: &[Called],
        ends: &[End],
    ) -> Result<Option<Vec<Template>>, Failure>;
}
