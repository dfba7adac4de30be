//! Where a script acts: its target, its parameters, its folders, its outputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rhai::Dynamic;

use super::limits::{Limits, Taken};
use super::trust::Trust;
use crate::run::child::Children;
use crate::run::{RunFolder, Secrets};
use crate::targets::Target;

/// Shared by all branches of a run.
pub struct Environment {
    /// The run's folder of records.
    pub folder: RunFolder,
    /// Where things are set up.
    pub target: Arc<dyn Target>,
    /// What relative paths of a recipe are relative to.
    pub workspace: PathBuf,
    /// Values given by `--set` and `--params`.
    pub params: BTreeMap<String, serde_json::Value>,
    /// What is masked wherever recipe shows text.
    pub secrets: Secrets,
    /// Commands that the run itself executes.
    pub children: Children,
    /// How far the recipe is trusted.
    pub trust: Trust,
    /// How much it may take.
    pub limits: Limits,
    /// How much it has taken.
    pub taken: Taken,
    /// What `output` has set, secrets in full.
    pub outputs: Mutex<BTreeMap<String, Dynamic>>,
}

impl Environment {
    /// A path for people: relative to the workspace where it lies in it.
    #[must_use]
    pub fn display(&self, path: &Path) -> String {
        path.strip_prefix(&self.workspace).unwrap_or(path).display().to_string()
    }

    /// The outputs as a script's map, secrets in full.
    pub fn outputs_value(&self) -> Dynamic {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let fields = outputs.iter().map(|(name, value)| (name.as_str().into(), value.clone()));
        fields.collect::<rhai::Map>().into()
    }

    /// The outputs as JSON, secrets in full.
    #[must_use]
    pub fn outputs_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        outputs.iter().map(|(name, value)| (name.clone(), super::json::to_json(value))).collect()
    }
}

/// What relative paths of the recipe at `recipe` are relative to: the folder
/// of the nearest `recipe.toml` above it; else the working directory, if the
/// recipe lies below it; else the recipe's own folder.
#[must_use]
pub fn workspace_of(recipe: &Path) -> PathBuf {
    let recipe = recipe.canonicalize().unwrap_or_else(|_| recipe.to_owned());
    let marked = recipe.ancestors().skip(1).find(|folder| folder.join("recipe.toml").is_file());
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).unwrap_or_default();
    let own = recipe.parent().unwrap_or(&recipe);
    marked.unwrap_or(if recipe.starts_with(&here) { &here } else { own }).to_owned()
}
