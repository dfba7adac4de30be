//! Migrations as targets see them: what identifies them, and that they can be
//! applied.

use async_trait::async_trait;
use tokio_postgres::Client;

use crate::run::Failure;

/// A file of migrations.
#[derive(Debug, Clone)]
pub struct MigrationFile {
    /// Its name, without the folder.
    pub name: String,
    /// A digest of its bytes and of what it applies, variables put in.
    pub digest: String,
}

/// The migrations that a call of `migrate` asks for, read and in order.
#[async_trait]
pub trait Migrations: Send + Sync {
    /// Their folder, as people call it.
    fn folder(&self) -> &str;

    /// How they are applied: their style, and the table that keeps account.
    fn manner(&self) -> &str;

    /// The files, in order.
    fn files(&self) -> &[MigrationFile];

    /// Names and texts of the files.
    fn sources(&self) -> Vec<(String, String)>;

    /// Applies the first `count` of them to a database, as far as it does not
    /// have them.
    async fn apply(&self, client: &mut Client, count: usize) -> Result<(), Failure>;
}

/// What a target has recalled from earlier runs.
#[derive(Debug, Default)]
pub struct Recalled {
    /// How many of the files the database has now.
    pub files: usize,
    /// Why so many, or no more; none where the target keeps nothing.
    pub why: Option<String>,
}
