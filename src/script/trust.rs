//! What a recipe may do that nobody trusts: `--untrusted`.
//!
//! Its calls are refused by what the table says that they reach. Paths and
//! addresses are looked at when they are used. No program of the recipe runs on
//! this machine, so that nothing changes a path between the look and the use.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rhai::Dynamic;

use super::arguments::Arguments;
use super::check::{Finding, diagnostics, sites};
use super::diagnostic::Diagnostic;
use super::environment::Environment;
use super::primitive::{Opt, Primitive, Reach};
use super::program::Program;
use crate::run::{Failure, Kind};

/// What to do about a refusal.
const HINT: &str = "read the recipe, and run it without --untrusted if you trust it";

/// How far a recipe is trusted.
pub enum Trust {
    /// It does what it likes.
    Full,
    /// It stays in its environment, of which these are the ports on this machine.
    Environment(Mutex<BTreeSet<u16>>),
}

impl Trust {
    /// As `--untrusted` says.
    #[must_use]
    pub fn new(untrusted: bool) -> Self {
        if untrusted { Self::Environment(Mutex::default()) } else { Self::Full }
    }
}

impl Reach {
    /// Why `--untrusted` refuses it on a target; none where it does not.
    fn refusal(self, target: &str) -> Option<&'static str> {
        match self {
            Self::Machine => Some("acts on this machine"),
            Self::Programs if target == "local" => {
                Some("runs programs of the recipe, on the target `local` on this machine")
            }
            Self::Run | Self::Workspace | Self::Network | Self::Programs => None,
        }
    }
}

/// Why a call is refused on `target`, and the option at fault where it is one.
fn refused(
    primitive: &'static Primitive,
    gives: impl Fn(&str) -> bool,
    target: &str,
) -> Option<(String, Option<&'static str>)> {
    if let Some(why) = primitive.reach.refusal(target) {
        return Some((format!("an untrusted recipe cannot call `{}`: it {why}", primitive.name), None));
    }
    let is_refused =
        |option: &&'static Opt| option.reach.is_some_and(|reach| reach.refusal(target).is_some());
    let option = primitive.options.iter().filter(is_refused).find(|option| gives(option.name))?;
    let what = format!(
        "an untrusted recipe cannot give `{}` the option `{}`: it acts on this machine",
        primitive.name, option.name
    );
    Some((what, Some(option.name)))
}

impl Program {
    /// The calls that a run of the recipe on `target` would refuse with
    /// `--untrusted`.
    #[must_use]
    pub fn untrusted(&self, target: &str) -> Vec<Diagnostic> {
        let mut problems = Vec::new();
        for (key, ast) in self.sources.trees() {
            let findings = sites(self.table, &ast).into_iter().filter_map(|site| {
                let (what, _) = refused(site.primitive, |option| site.gives(option), target)?;
                Some(Finding::error("untrusted", site.at, what).hint(HINT))
            });
            problems.extend(diagnostics(&self.sources, &key, findings.collect()));
        }
        problems
    }
}

impl Environment {
    /// Whether the recipe has to stay in its environment.
    #[must_use]
    pub fn is_untrusted(&self) -> bool {
        matches!(self.trust, Trust::Environment(_))
    }

    /// Refuses a call that an untrusted recipe may not make.
    pub(super) fn admits(
        &self,
        primitive: &'static Primitive,
        arguments: &Arguments,
    ) -> Result<(), (Failure, Option<&'static str>)> {
        let gives = |option: &str| arguments.get(option).is_some();
        let refused = self.is_untrusted().then(|| refused(primitive, gives, self.target.name())).flatten();
        match refused {
            Some((what, option)) => Err((Failure::new(Kind::Untrusted, what).hint(HINT), option)),
            None => Ok(()),
        }
    }

    /// Notes the ports of what a step has made.
    pub(super) fn opened(&self, kept: Option<serde_json::Value>, value: &Dynamic) {
        let Trust::Environment(ports) = &self.trust else { return };
        let mut ports = ports.lock().unwrap_or_else(PoisonError::into_inner);
        match value.as_int() {
            Ok(port) => ports.extend(u16::try_from(port)),
            Err(_) => collect(&kept.unwrap_or_default(), &mut ports),
        }
    }

    /// A path as a recipe gives it.
    ///
    /// # Errors
    /// When the recipe is not trusted and the path leaves the workspace.
    pub fn path(&self, path: &str) -> Result<PathBuf, Failure> {
        if !self.is_untrusted() {
            return Ok(self.workspace.join(path));
        }
        self.inside(path).ok_or_else(|| {
            let what = format!("`{path}` is outside the workspace {}", self.workspace.display());
            Failure::new(Kind::Untrusted, what).hint(HINT)
        })
    }

    /// As [`Environment::path`] for a folder, of which no file may be a link that
    /// leaves the workspace.
    ///
    /// # Errors
    /// As [`Environment::path`].
    pub fn folder(&self, path: &str) -> Result<PathBuf, Failure> {
        let folder = self.path(path)?;
        if self.is_untrusted() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                self.path(&Path::new(path).join(entry.file_name()).to_string_lossy())?;
            }
        }
        Ok(folder)
    }

    /// Refuses a module that is neither of the workspace nor of those that
    /// `recipe lock` keeps.
    pub(super) fn imports(&self, file: &Path) -> Result<(), Failure> {
        let kept = super::modules::store("", "").ok().and_then(|store| Some(store.parent()?.to_owned()));
        let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        if !self.is_untrusted() || kept.is_some_and(|kept| real.starts_with(kept)) {
            return Ok(());
        }
        self.path(&real.to_string_lossy()).map(drop)
    }

    /// A path within the workspace, also after links are followed; none for one
    /// that leaves it.
    #[must_use]
    pub fn inside(&self, path: &str) -> Option<PathBuf> {
        let wanted = self.workspace.join(path);
        if wanted.components().any(|part| part == Component::ParentDir)
            || !wanted.starts_with(&self.workspace)
        {
            return None;
        }
        // Not `exists`, which overlooks a link to a file that is still to be made.
        let existing = wanted.ancestors().find(|path| path.symlink_metadata().is_ok());
        let real = existing.unwrap_or(&self.workspace).canonicalize().ok()?;
        real.starts_with(self.workspace.canonicalize().ok()?).then_some(wanted)
    }

    /// Refuses an address that is not of the environment.
    ///
    /// # Errors
    /// When the recipe is not trusted, and has made nothing that answers there.
    pub fn reaches(&self, url: &str) -> Result<(), Failure> {
        let Trust::Environment(ports) = &self.trust else { return Ok(()) };
        let port = crate::targets::http::loopback_port(url);
        if port.is_some_and(|port| ports.lock().unwrap_or_else(PoisonError::into_inner).contains(&port)) {
            return Ok(());
        }
        let what = format!("an untrusted recipe cannot reach {url}: it is no address of the environment");
        Err(Failure::new(Kind::Untrusted, what).hint(format!("use the `url` of a handle; else {HINT}")))
    }
}

/// The ports in a handle that was written down.
fn collect(kept: &serde_json::Value, ports: &mut BTreeSet<u16>) {
    match kept {
        serde_json::Value::Object(fields) => {
            let port = fields.get("port").and_then(serde_json::Value::as_u64);
            ports.extend(port.and_then(|port| u16::try_from(port).ok()));
            fields.values().for_each(|field| collect(field, ports));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, ports)),
        _ => {}
    }
}
