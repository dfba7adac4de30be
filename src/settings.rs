//! Settings of a run: flags, then `RECIPE_*` variables, then `recipe.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::primitives::Parameter;
use crate::run::{Failure, Kind};
use crate::script::Limits;
use crate::targets::caches::DATABASE_LIMIT;
use crate::targets::{TARGETS, is_target};

/// The project's `recipe.toml`, beside or above its recipes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectFile {
    /// The target when nothing else says.
    target: Option<String>,
    /// Where images for `kube:CONTEXT` are pushed to, when nothing else says.
    registry: Option<String>,
    /// How much is kept of databases.
    #[serde(default)]
    cache: CacheTable,
    /// How much a script may take.
    #[serde(default)]
    limits: LimitsTable,
    /// Read where modules are looked for.
    #[serde(rename = "path")]
    _path: Option<toml::Value>,
    #[serde(rename = "modules")]
    _modules: Option<toml::Value>,
    #[serde(rename = "override")]
    _override: Option<toml::Value>,
}

/// What is kept for later runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CacheTable {
    /// Megabytes of databases.
    databases_mb: Option<u64>,
}

/// How much a script may take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    memory_mb: Option<u64>,
    operations: Option<u64>,
    messages_mb: Option<u64>,
    branches: Option<usize>,
}

/// The JSON schema of `recipe.toml`.
#[must_use]
pub fn schema() -> Value {
    let text = |doc: &str| serde_json::json!({ "type": "string", "description": doc });
    let number = |doc: &str| serde_json::json!({ "type": "integer", "minimum": 1, "description": doc });
    serde_json::json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "recipe.toml",
        "description": "The settings of a project with recipes, at its root",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "target": {
                "type": "string", "pattern": "^(local|kind|kube:.+)$",
                "description": "the target when nothing else says: `local`, `kind` or `kube:CONTEXT`",
            },
            "registry": text("where images for `kube:CONTEXT` are pushed to, when nothing else says"),
            "path": {
                "type": "array", "items": { "type": "string" },
                "description": "folders that modules are looked for in, after that of the importing file; RECIPE_PATH wins",
            },
            "modules": {
                "type": "object",
                "description": "modules from elsewhere by the first part of their path; recipe.lock pins them",
                "additionalProperties": {
                    "type": "object", "additionalProperties": false,
                    "oneOf": [{ "required": ["path"] }, { "required": ["git"] }],
                    "properties": {
                        "path": text("a folder"),
                        "git": text("a repository that git can clone"),
                        "rev": text("a branch, tag or commit; the default branch when left out"),
                    },
                },
            },
            "cache": {
                "type": "object", "additionalProperties": false,
                "description": "how much is kept for later runs; the least used goes first",
                "properties": {
                    "databases_mb": {
                        "type": "integer", "minimum": 0,
                        "description": "megabytes of initialised and migrated databases; 2000 when left out",
                    },
                },
            },
            "limits": {
                "type": "object", "additionalProperties": false,
                "description": "how much a script may take before it fails",
                "properties": {
                    "memory_mb": number("megabytes of memory that recipe itself takes; 2048 when left out"),
                    "operations": number("operations between two steps; 1000000000 when left out"),
                    "branches": number("branches and tasks that run at a time; 20000 when left out"),
                    "messages_mb": number("megabytes of what it prints; 64 when left out"),
                },
            },
            "override": {
                "type": "object", "additionalProperties": { "type": "string" },
                "description": "recipes and modules of which the functions of another file replace some, and \
                                manifests of recipe's own, such as `manifests/service.yaml`, that another file changes",
            },
        },
    })
}

/// The target that a run asks for.
///
/// # Errors
/// When it is none of this version's, or `recipe.toml` is wrong.
pub fn target(given: Option<&str>, workspace: &Path) -> Result<String, Failure> {
    let project = project_file(workspace)?;
    let target = given.map(str::to_owned).or(project.target).unwrap_or_else(|| "local".to_owned());
    if is_target(&target) {
        return Ok(target);
    }
    Err(Failure::new(Kind::TargetUnusable, format!("this version cannot set up on the target `{target}`"))
        .hint(format!("it can set up on: {}", TARGETS.join(", "))))
}

/// The registry that images for a cluster that is there are pushed to.
///
/// # Errors
/// When `recipe.toml` is wrong.
pub fn registry(given: Option<&str>, workspace: &Path) -> Result<Option<String>, Failure> {
    Ok(given.map(str::to_owned).or(project_file(workspace)?.registry))
}

/// Bytes of databases that are kept for later runs.
///
/// # Errors
/// When `recipe.toml` is wrong.
pub fn database_limit(workspace: &Path) -> Result<u64, Failure> {
    let megabytes = project_file(workspace)?.cache.databases_mb;
    Ok(megabytes.map_or(DATABASE_LIMIT, |megabytes| megabytes.saturating_mul(1_000_000)))
}

/// How much a script may take.
///
/// # Errors
/// When `recipe.toml` is wrong.
pub fn limits(workspace: &Path) -> Result<Limits, Failure> {
    let given = project_file(workspace)?.limits;
    let default = Limits::default();
    let bytes = |megabytes: Option<u64>| megabytes.map(|megabytes| megabytes.saturating_mul(1 << 20));
    Ok(Limits {
        memory: bytes(given.memory_mb).unwrap_or(default.memory),
        operations: given.operations.unwrap_or(default.operations),
        branches: given.branches.unwrap_or(default.branches),
        messages: bytes(given.messages_mb).unwrap_or(default.messages),
    })
}

fn project_file(workspace: &Path) -> Result<ProjectFile, Failure> {
    let path = workspace.join("recipe.toml");
    let text = match fs_err::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(ProjectFile::default()),
        Err(error) => return Err(Failure::new(Kind::Usage, "recipe.toml cannot be read").cause(error)),
    };
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        Failure::new(Kind::Usage, format!("{} is wrong", path.display())).cause(error)
    })
}

/// Begins the names of variables that give parameters.
const PARAM_VARIABLE: &str = "RECIPE_PARAM_";

/// The parameters given by `--params`, by `RECIPE_PARAM_*` and by `--set`, the
/// latter two as text and stronger. `declared` are the recipe's own, where they
/// are known.
///
/// # Errors
/// When the file cannot be read as a map; when a parameter is none of the
/// recipe's, or its value does not fit. All of them are told.
pub fn params(
    set: &[(String, String)],
    file: Option<&Path>,
    declared: Option<&[Parameter]>,
) -> Result<BTreeMap<String, Value>, Failure> {
    let mut params = match file {
        Some(path) => read_params(path)?,
        None => BTreeMap::new(),
    };
    params.extend(from_variables(declared));
    params.extend(set.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    if let Some(declared) = declared {
        check_params(&params, declared)?;
    }
    Ok(params)
}

/// Variables are for whichever recipe has such a parameter: others do not mind.
fn from_variables(declared: Option<&[Parameter]>) -> BTreeMap<String, Value> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?.strip_prefix(PARAM_VARIABLE)?.to_owned();
        Some((name, value.into_string().ok()?))
    });
    let named = variables.filter_map(|(name, value)| {
        let name = match declared {
            Some(declared) => declared.iter().find(|known| variable(&known.name) == name)?.name.clone(),
            None => name.to_ascii_lowercase(),
        };
        Some((name, Value::String(value)))
    });
    named.collect()
}

/// What follows [`PARAM_VARIABLE`] for a parameter.
fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn read_params(path: &Path) -> Result<BTreeMap<String, Value>, Failure> {
    let wrong = |why: String| {
        Failure::new(Kind::Usage, format!("{} does not hold parameters: {why}", path.display()))
            .hint("write a table of names and values in TOML (.toml), YAML (.yaml, .yml) or JSON (.json)")
    };
    let text = fs_err::read_to_string(path)
        .map_err(|error| Failure::new(Kind::Usage, "the file of parameters cannot be read").cause(error))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        // Its own display shows the line, which may hold a secret.
        Some("toml") => toml::from_str(&text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            wrong(format!("line {line}: {}", error.message()))
        }),
        Some("yaml" | "yml") => serde_norway::from_str(&text).map_err(|error| wrong(error.to_string())),
        Some("json") => serde_json::from_str(&text).map_err(|error| wrong(error.to_string())),
        _ => Err(wrong("its name has none of the known extensions".to_owned())),
    }
}

/// Refuses parameters that the recipe does not ask for, and values that it
/// would refuse.
fn check_params(params: &BTreeMap<String, Value>, declared: &[Parameter]) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for (name, value) in params {
        if let Some(known) = declared.iter().find(|known| known.name == *name) {
            wrong.extend(known.read(value).err());
            continue;
        }
        let mut failure = Failure::new(Kind::Usage, format!("the recipe has no parameter `{name}`"));
        let names = declared.iter().map(|known| known.name.as_str());
        failure.hint = if declared.is_empty() {
            Some("it has no parameters at all".to_owned())
        } else {
            crate::script::suggest::hint(name, names, "its parameters are")
        };
        wrong.push(failure);
    }
    let mut wrong = wrong.into_iter();
    let Some(mut first) = wrong.next() else { return Ok(()) };
    first.evidence.extend(wrong.map(|other| other.to_string()));
    Err(first)
}
