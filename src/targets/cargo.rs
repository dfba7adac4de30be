//! Knowing that `cargo build` has nothing to do, without asking it: that takes
//! it 0.2 s, which is more than the rest of a set-up with all else cached.
//!
//! Cargo writes beside each program which files it was built from (`NAME.d`),
//! those of all packages in the workspace. What it does not list there are
//! manifests, its configuration, the choice of a toolchain, the compiler and
//! the environment; all of these are added. A build is left out only if all are
//! as they were when this very command last succeeded, files by their contents
//! ([`digest`]), and if nobody has touched the program since. A package with a
//! build script may depend on anything, so then cargo is always asked. So it is
//! when the command is more than one plain `cargo build`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ImageRequest;
use super::caches::{self, at, identity};
use super::digest::{self, Marked};
use crate::run::find_program;

/// What a build was made from.
#[derive(Debug, Serialize, Deserialize)]
struct Built {
    made: Timestamp,
    command: String,
    environment: String,
    compiler: String,
    /// None where there was no such file.
    files: BTreeMap<PathBuf, Option<Marked>>,
    program: String,
}

/// Files that decide how cargo builds, in a package or any folder above it.
const BESIDE: [&str; 7] = [
    "Cargo.toml",
    // Where there is one, nothing is remembered.
    "build.rs",
    "Cargo.lock",
    ".cargo/config.toml",
    ".cargo/config",
    "rust-toolchain",
    "rust-toolchain.toml",
];

/// The steps of the clock that times of files come from, at most.
const COARSE: Duration = Duration::from_millis(100);

/// Variables that say where something runs, and nothing about what is built.
const OF_SESSIONS: [&str; 14] = [
    "_",
    "SHLVL",
    "PWD",
    "OLDPWD",
    "COLUMNS",
    "LINES",
    "TERM",
    "DISPLAY",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "RECIPE_STATE_DIR",
    "RECIPE_RUN_DIR",
    "RECIPE_CACHE_DIR",
];

/// Why the build of `request` can be left out; or why not, where it might have
/// been. None of commands of which nothing is known.
pub(super) fn up_to_date(request: &ImageRequest, program: &Path) -> Option<Result<String, String>> {
    let record = record(request, program)?;
    if request.no_cache {
        return Some(Err("--no-cache, or no_cache".to_owned()));
    }
    let Ok(text) = std::fs::read(record) else { return Some(Err("nothing cached yet".to_owned())) };
    let built: Built = serde_json::from_slice(&text).ok()?;
    let time = at(built.made);
    Some(match built.difference(request, program) {
        None => Ok(format!("none of {} files has changed since {time}", built.files.len())),
        Some(what) => Err(format!("{what} since {time}")),
    })
}

/// Remembers the build of `request`, which began then and has just succeeded.
/// Without it the next one is made, too.
pub(super) fn remember(request: &ImageRequest, program: &Path, began: SystemTime) {
    let (Some(record), Some(files)) = (record(request, program), inputs(program)) else { return };
    let built = Built {
        // Before any is looked at: what changes from now on shows.
        made: Timestamp::now(),
        command: request.build.clone().unwrap_or_default(),
        environment: environment(),
        compiler: compiler(),
        files: files.into_iter().map(|file| (file.clone(), digest::again(&file, None).ok())).collect(),
        program: identity(program),
    };
    // The compiler may have read what was there before. Looked at after all were
    // read; times of files come from a clock with coarse steps.
    let is_late = |file: &PathBuf| {
        let changed = std::fs::metadata(file).map(|found| {
            let nanoseconds = u32::try_from(found.ctime_nsec()).unwrap_or_default();
            let since = Duration::new(u64::try_from(found.ctime()).unwrap_or_default(), nanoseconds);
            SystemTime::UNIX_EPOCH + since
        });
        changed.is_ok_and(|changed| changed + COARSE >= began)
    };
    if built.files.keys().any(is_late) {
        return;
    }
    let _ = caches::save(&record, &built);
}

/// Before a build: what is known of the last one is not true any more.
pub(super) fn forget(request: &ImageRequest, program: &Path) {
    if let Some(record) = record(request, program) {
        let _ = std::fs::remove_file(record);
    }
}

/// Where a build is remembered, if it is a plain `cargo build`.
fn record(request: &ImageRequest, program: &Path) -> Option<PathBuf> {
    let command = request.build.as_ref()?;
    let is_plain = command.starts_with("cargo build")
        && command.chars().all(|c| c.is_ascii_alphanumeric() || " -_=/.,+:".contains(c));
    if !is_plain {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    for text in [request.workspace.as_os_str(), program.as_os_str(), command.as_ref()] {
        hasher.update(text.as_encoded_bytes()).update(b"\0");
    }
    caches::file("programs", &format!("{}.json", &hasher.finalize().to_hex()[..32]))
}

impl Built {
    /// What is not as it was, in words.
    fn difference(&self, request: &ImageRequest, program: &Path) -> Option<String> {
        let shown = |path: &Path| path.strip_prefix(&request.workspace).unwrap_or(path).display().to_string();
        if self.environment != environment() {
            return Some("environment variables have changed".to_owned());
        }
        if self.compiler != compiler() {
            return Some("the compiler has changed".to_owned());
        }
        let is_other = |path: &Path, known: Option<&Marked>| {
            let settled = known.filter(|(mark, _)| mark.is_settled_at(self.made));
            digest::again(path, settled).ok().map(|(_, digest)| digest) != known.map(|(_, digest)| *digest)
        };
        let changed = self.files.iter().find(|(path, known)| is_other(path, known.as_ref()));
        if let Some((path, known)) = changed {
            let what = match (known, path.exists()) {
                (None, _) => "is new",
                (Some(_), false) => "is gone",
                (Some(_), true) => "changed",
            };
            return Some(format!("{} {what}", shown(path)));
        }
        (self.program != identity(program)).then(|| format!("{} changed", shown(program)))
    }
}

/// All files that the program was built from, also some that are not there and
/// would count if they were. None where that is not known.
fn inputs(program: &Path) -> Option<Vec<PathBuf>> {
    let listing = std::fs::read_to_string(program.with_extension("d")).ok()?;
    let sources = sources(&listing)?;
    let mut files = sources.clone();
    let mut folders: Vec<&Path> = sources.iter().flat_map(|source| source.ancestors().skip(1)).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        if std::fs::read_to_string(folder.join("Cargo.toml"))
            .is_ok_and(|manifest| has_script(folder, &manifest))
        {
            return None;
        }
        files.extend(BESIDE.map(|name| folder.join(name)));
    }
    if let Some(home) = cargo_home() {
        files.extend(["config.toml", "config"].map(|name| home.join(name)));
    }
    Some(files)
}

/// Whether the package in `folder` has a build script.
fn has_script(folder: &Path, manifest: &str) -> bool {
    let manifest: toml::Table = manifest.parse().unwrap_or_default();
    let build = manifest.get("package").and_then(|package| package.get("build"));
    folder.join("build.rs").exists() || build.is_some_and(|build| build.as_bool() != Some(false))
}

/// The prerequisites in a makefile of one rule, all absolute.
fn sources(listing: &str) -> Option<Vec<PathBuf>> {
    let (_, list) = listing.lines().next()?.split_once(": ")?;
    let mut words = vec![String::new()];
    let mut letters = list.chars();
    while let Some(letter) = letters.next() {
        let Some(word) = words.last_mut() else { break };
        match letter {
            // A blank in a name is escaped.
            '\\' => word.extend(letters.next()),
            ' ' => words.push(String::new()),
            letter => word.push(letter),
        }
    }
    let paths: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).map(PathBuf::from).collect();
    (!paths.is_empty() && paths.iter().all(|path| path.is_absolute())).then_some(paths)
}

fn environment() -> String {
    let mut all: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| !name.to_str().is_some_and(|name| OF_SESSIONS.contains(&name)))
        .collect();
    all.sort();
    let mut hasher = blake3::Hasher::new();
    for (name, value) in all {
        hasher.update(name.as_encoded_bytes()).update(b"=").update(value.as_encoded_bytes()).update(b"\0");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// What identifies the compiler: the programs in `PATH`, and what rustup, of
/// which these may be a part, has installed and chosen.
fn compiler() -> String {
    let mut parts: Vec<String> = ["cargo", "rustc", "cc", "ld"]
        .into_iter()
        .filter_map(find_program)
        .map(|program| identity(&program))
        .collect();
    if let Some(rustup) = home("RUSTUP_HOME", ".rustup") {
        parts.push(identity(&rustup.join("settings.toml")));
        let toolchains = std::fs::read_dir(rustup.join("toolchains")).into_iter().flatten().flatten();
        let mut compilers: Vec<_> =
            toolchains.map(|toolchain| identity(&toolchain.path().join("bin/rustc"))).collect();
        compilers.sort();
        parts.append(&mut compilers);
    }
    blake3::hash(parts.join("\n").as_bytes()).to_hex()[..32].to_owned()
}

fn cargo_home() -> Option<PathBuf> {
    home("CARGO_HOME", ".cargo")
}

fn home(variable: &str, below: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_of_a_program() {
        let listing = "/t/release/x: /w/src/a\\ b.rs /w/src/lib.rs\n\n/w/src/lib.rs:\n";
        let expected = [PathBuf::from("/w/src/a b.rs"), PathBuf::from("/w/src/lib.rs")];
        assert_eq!(sources(listing).unwrap(), expected);
        assert_eq!(sources("/t/x: src/lib.rs\n"), None, "relative to what?");
        assert_eq!(sources("/t/x:\n"), None);
    }

    #[test]
    fn packages_with_scripts_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let has = |manifest| has_script(folder.path(), manifest);
        assert!(!has("[package]\nname = \"x\""));
        assert!(!has("[package]\nbuild = false"));
        assert!(has("[package]\nbuild = \"make.rs\""));
        std::fs::write(folder.path().join("build.rs"), "").unwrap();
        assert!(has("[package]\nname = \"x\""));
    }
}
