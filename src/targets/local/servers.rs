//! The servers installed on this machine, and whom they run as.

use std::path::{Path, PathBuf};

use crate::run::{Failure, Kind};
use crate::supervise::User;

/// Names the directory of PostgreSQL's programs.
const POSTGRES_VARIABLE: &str = "RECIPE_PG_BIN";
/// Names the program `redis-server`.
const REDIS_VARIABLE: &str = "RECIPE_REDIS_SERVER";

/// Where packages put each version: Debian, Red Hat, Homebrew on either chip.
const POSTGRES_HOMES: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/usr/local", "pgsql-"),
];

/// An installed PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PostgresPrograms {
    pub initdb: PathBuf,
    pub postgres: PathBuf,
}

/// Finds PostgreSQL: `$RECIPE_PG_BIN`, then the newest packaged version, then `PATH`.
pub(super) fn find_postgres() -> Result<PostgresPrograms, Failure> {
    let programs = |bin: &Path| {
        let found = PostgresPrograms { initdb: bin.join("initdb"), postgres: bin.join("postgres") };
        (found.initdb.is_file() && found.postgres.is_file()).then_some(found)
    };
    if let Some(bin) = std::env::var_os(POSTGRES_VARIABLE).map(PathBuf::from) {
        return programs(&bin).ok_or_else(|| {
            let what =
                format!("{POSTGRES_VARIABLE} names {}, where there is no initdb and postgres", bin.display());
            Failure::new(Kind::TargetUnusable, what)
                .hint(format!("correct it, or unset it: {INSTALL_POSTGRES}"))
        });
    }
    let mut packaged: Vec<(u32, PathBuf)> =
        POSTGRES_HOMES.iter().flat_map(|(home, prefix)| versions(Path::new(home), prefix)).collect();
    packaged.sort();
    let on_path = path_directories();
    let mut candidates = packaged.into_iter().rev().map(|(_, home)| home.join("bin")).chain(on_path);
    candidates.find_map(|bin| programs(&bin)).ok_or_else(|| {
        Failure::new(Kind::TargetUnusable, "PostgreSQL is not installed on this machine")
            .hint(INSTALL_POSTGRES)
    })
}

#[cfg(target_os = "macos")]
const INSTALL_POSTGRES: &str = "install it with `brew install postgresql@16`";
#[cfg(not(target_os = "macos"))]
const INSTALL_POSTGRES: &str = "install it with `sudo apt-get install postgresql` (Debian, Ubuntu) or \
     `sudo dnf install postgresql-server postgresql-contrib` (Fedora)";

#[cfg(target_os = "macos")]
const INSTALL_REDIS: &str = "install it with `brew install redis`";
#[cfg(not(target_os = "macos"))]
const INSTALL_REDIS: &str = "install it with `sudo apt-get install redis-server` (Debian, Ubuntu) or `sudo dnf install redis` (Fedora)";

/// Folders of `home` that are called `prefix` and a version.
fn versions(home: &Path, prefix: &str) -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path()))
        })
        .collect()
}

/// Finds Redis: `$RECIPE_REDIS_SERVER`, then `PATH` and where packages put it.
pub(super) fn find_redis() -> Result<PathBuf, Failure> {
    if let Some(program) = std::env::var_os(REDIS_VARIABLE).map(PathBuf::from) {
        return if program.is_file() {
            Ok(program)
        } else {
            let what = format!("{REDIS_VARIABLE} names {}, which is not there", program.display());
            Err(Failure::new(Kind::TargetUnusable, what)
                .hint(format!("correct it, or unset it: {INSTALL_REDIS}")))
        };
    }
    let packaged = ["/usr/bin", "/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
    let mut candidates = path_directories().into_iter().chain(packaged);
    candidates.find_map(|bin| Some(bin.join("redis-server")).filter(|program| program.is_file())).ok_or_else(
        || Failure::new(Kind::TargetUnusable, "Redis is not installed on this machine").hint(INSTALL_REDIS),
    )
}

fn path_directories() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// Whom servers run as when recipe runs as root, which PostgreSQL refuses to:
/// the first of `names` that exists, else `nobody`. None otherwise.
pub(super) fn unprivileged(names: &[&str]) -> Option<User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let known =
        names.iter().chain(&["nobody"]).find_map(|name| nix::unistd::User::from_name(name).ok().flatten());
    known.map(|user| User { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}
