//! Where modules are found that are not beside the file that imports them:
//! search paths, modules from elsewhere with their lock, and overrides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::suggest;
use crate::run::folder::runs_directory;
use crate::run::{Failure, Kind};
use crate::targets::kubernetes::SHIPPED;

/// Names folders to look for modules in, separated as in `PATH`.
const PATH_VARIABLE: &str = "RECIPE_PATH";

/// The lock file, beside `recipe.toml`.
pub const LOCK: &str = "recipe.lock";

/// What `recipe.toml` says of modules.
#[derive(Debug, Default, Deserialize)]
pub struct Project {
    #[serde(default)]
    path: Vec<PathBuf>,
    /// Modules from elsewhere by the first part of their path.
    #[serde(default)]
    pub modules: BTreeMap<String, Origin>,
    #[serde(default, rename = "override")]
    overrides: BTreeMap<String, PathBuf>,
}

/// Where a module is from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// A folder.
    pub path: Option<PathBuf>,
    /// A repository.
    pub git: Option<String>,
    /// A branch, tag or commit of it.
    pub rev: Option<String>,
}

/// What `recipe.lock` holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Lock {
    /// One for each module.
    #[serde(default, rename = "module")]
    pub modules: Vec<Locked>,
}

/// A module as it was locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// Its name.
    pub name: String,
    /// The commit, where it is from a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// A digest of its files.
    pub hash: String,
}

/// Where modules are found.
#[derive(Debug, Default)]
pub(super) struct Search {
    folders: Vec<PathBuf>,
    named: BTreeMap<String, PathBuf>,
    /// Files of which the functions of another replace some.
    overrides: BTreeMap<PathBuf, PathBuf>,
    /// Manifests that recipe brings along, and what changes them.
    patches: BTreeMap<String, PathBuf>,
}

impl Project {
    /// The file that changes a manifest which recipe brings along.
    #[must_use]
    pub fn patch_of(&self, shipped: &str) -> Option<&Path> {
        self.overrides.get(shipped).map(PathBuf::as_path)
    }

    /// Reads the project's `recipe.toml`, if it has one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(workspace: &Path) -> Result<Self, Failure> {
        let path = workspace.join("recipe.toml");
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|error| wrong(&path).cause(error))?,
        };
        toml::from_str(&text).map_err(|error: toml::de::Error| wrong(&path).cause(error))
    }
}

impl Lock {
    /// Reads the lock file, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(workspace: &Path) -> Result<Self, Failure> {
        let path = workspace.join(LOCK);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|error| wrong(&path).cause(error))?,
        };
        toml::from_str(&text).map_err(|error: toml::de::Error| wrong(&path).cause(error))
    }

    /// The entry of a module.
    #[must_use]
    pub fn of(&self, name: &str) -> Option<&Locked> {
        self.modules.iter().find(|locked| locked.name == name)
    }
}

fn wrong(path: &Path) -> Failure {
    Failure::new(Kind::Usage, format!("{} is wrong", path.display()))
}

/// Where a commit of a module is kept on this machine.
///
/// # Errors
/// When there is no place for it.
pub fn store(name: &str, commit: &str) -> Result<PathBuf, Failure> {
    let runs = runs_directory()?;
    Ok(runs.parent().unwrap_or(&runs).join("modules").join(format!("{name}-{commit}")))
}

/// A digest of the names and contents of all files in a folder.
///
/// # Errors
/// When one cannot be read.
pub fn digest(folder: &Path) -> std::io::Result<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != ".git") {
                    folders.push(path);
                }
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
        let text = std::fs::read(&file)?;
        // Lengths keep a name and a text from passing for others.
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        hasher.update(&(text.len() as u64).to_le_bytes()).update(&text);
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

impl Search {
    /// Where recipes of a workspace find modules. Those from elsewhere must be
    /// as they were locked.
    pub(super) fn of(workspace: &Path) -> Result<Self, Failure> {
        let project = Project::read(workspace)?;
        let from_variable = std::env::var_os(PATH_VARIABLE).unwrap_or_default();
        let folders = std::env::split_paths(&from_variable)
            .filter(|folder| !folder.as_os_str().is_empty())
            .chain(project.path.iter().map(|folder| workspace.join(folder)))
            .collect();
        let mut search = Self { folders, ..Self::default() };
        if !project.modules.is_empty() {
            let lock = Lock::read(workspace)?;
            for (name, origin) in &project.modules {
                search.named.insert(name.clone(), locked_folder(workspace, name, origin, &lock)?);
            }
        }
        for (module, file) in &project.overrides {
            if Path::new(module).extension().is_some_and(|extension| extension == "yaml") {
                search.patches.insert(shipped(module)?.to_owned(), file.clone());
                continue;
            }
            let original = search.find(&workspace.join(module), module);
            if !original.is_file() {
                let what = format!("recipe.toml overrides `{module}`, which there is none of");
                let names = search.named.keys().map(String::as_str);
                let mut failure = Failure::new(Kind::Usage, what);
                failure.hint = suggest::did_you_mean(module.split('/').next().unwrap_or_default(), names);
                return Err(failure);
            }
            let original = original.canonicalize().unwrap_or(original);
            search.overrides.insert(original, workspace.join(file));
        }
        Ok(search)
    }

    /// The file of `module`: the one `beside` the importing file, if it is
    /// there, else the first on the search path, else one from elsewhere.
    pub(super) fn find(&self, beside: &Path, module: &str) -> PathBuf {
        let beside = with_extension(beside);
        if beside.is_file() {
            return beside;
        }
        let on_path = self.folders.iter().map(|folder| with_extension(&folder.join(module)));
        let named = module
            .split_once('/')
            .and_then(|(name, rest)| self.named.get(name).map(|folder| with_extension(&folder.join(rest))));
        on_path.chain(named).find(|file| file.is_file()).unwrap_or(beside)
    }

    /// The file whose functions replace some of `file`'s.
    pub(super) fn override_of(&self, file: &Path) -> Option<&Path> {
        self.overrides.get(file).map(PathBuf::as_path)
    }

    /// The file whose functions are replaced by those of `file`.
    pub(super) fn overridden_by(&self, file: &Path) -> Option<&Path> {
        let is_it = |over: &Path| over.canonicalize().is_ok_and(|over| over == file);
        self.overrides.iter().find(|(_, over)| is_it(over)).map(|(original, _)| original.as_path())
    }

    /// The file that changes a manifest which recipe brings along.
    pub(super) fn patch_of(&self, shipped: &str) -> Option<&Path> {
        self.patches.get(shipped).map(PathBuf::as_path)
    }

    /// All files that replace functions.
    pub(super) fn overriding(&self) -> impl Iterator<Item = &Path> {
        self.overrides.values().map(PathBuf::as_path)
    }
}

/// The manifest of recipe's own that is called so.
fn shipped(name: &str) -> Result<&str, Failure> {
    if SHIPPED.contains(&name) {
        return Ok(name);
    }
    let what = format!("recipe.toml overrides the manifest `{name}`, which recipe does not bring along");
    Err(Failure::new(Kind::Usage, what).hint(format!("those that it does are: {}", SHIPPED.join(", "))))
}

fn with_extension(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    if path.extension().is_none_or(|extension| extension != "rhai") {
        path.as_mut_os_string().push(".rhai");
    }
    path
}

/// The folder of a module from elsewhere, if it is what was locked.
fn locked_folder(workspace: &Path, name: &str, origin: &Origin, lock: &Lock) -> Result<PathBuf, Failure> {
    let locked = lock.of(name).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("the module `{name}` is not in {LOCK}"))
            .hint("`recipe lock` adds it")
    })?;
    let folder = match (&origin.path, &locked.commit) {
        (Some(path), _) => workspace.join(path),
        (None, Some(commit)) => store(name, commit)?,
        (None, None) => {
            return Err(Failure::new(Kind::Usage, format!("{LOCK} has no commit of the module `{name}`"))
                .hint("`recipe lock` adds it"));
        }
    };
    let found = digest(&folder).map_err(|error| {
        Failure::new(Kind::NotFound, format!("the module `{name}` is not on this machine"))
            .hint("`recipe lock` fetches what is locked")
            .cause(error)
    })?;
    if found == locked.hash {
        return Ok(folder);
    }
    let what = format!("the module `{name}` in {} is not what {LOCK} pins", folder.display());
    Err(Failure::new(Kind::Usage, what).hint(format!(
        "it was {}, and is {found}; look at what has changed, then `recipe lock --update {name}`",
        locked.hash
    )))
}
