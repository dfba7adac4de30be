//! What a run may use of earlier runs, and where such is kept.

use std::path::PathBuf;

/// Names the directory that holds the caches.
pub const CACHE_VARIABLE: &str = "RECIPE_CACHE_DIR";

/// Bytes of databases that are kept when nothing else is said.
pub const DATABASE_LIMIT: u64 = 2_000_000_000;

/// The caches of a run.
#[derive(Debug, Clone)]
pub struct Caches {
    /// Whether initialised and migrated databases of earlier runs may serve.
    pub postgres: bool,
    /// Whether images and programs of earlier runs may serve.
    pub images: bool,
    /// Bytes of databases that are kept.
    pub limit: u64,
    /// The recipe: what its last run used is what its next one looks for first.
    pub recipe: PathBuf,
}

impl Default for Caches {
    fn default() -> Self {
        Self { postgres: true, images: true, limit: DATABASE_LIMIT, recipe: PathBuf::new() }
    }
}

/// A folder of the user's cache directory; none where there is no home.
#[must_use]
pub fn folder(kind: &str) -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    let all = match std::env::var_os(CACHE_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => etcetera::choose_base_strategy().ok()?.cache_dir().join("recipe"),
    };
    Some(all.join(kind))
}
