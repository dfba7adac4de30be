//! What is wrong with a call that only its primitive knows: files that are not
//! there, migrations that cannot be read, manifests that no cluster can run.

use std::path::Path;

use rhai::Position;
use serde::Deserialize;
use serde_json::Value;

use crate::migrate::{self, Format, PlanError};
use crate::script::{Finding, Site};

/// Parameters and options that name a file or folder which must be there.
const FILES: [(&str, &str); 5] = [
    ("read_file", "path"),
    ("migrate", "dir"),
    ("apply_manifest", "path"),
    ("build_image", "dockerfile"),
    ("build_image", "binary"),
];

/// The problems of one call among all of its file.
pub(super) fn findings(site: &Site, all: &[Site], workspace: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    for (primitive, name) in FILES {
        if site.primitive.name == primitive
            && let Some((path, at)) = site.text(name)
        {
            found.extend(missing(site, all, workspace, (&path, at)));
        }
    }
    match site.primitive.name {
        "migrate" => {
            found.extend(site.text("dir").and_then(|(dir, at)| migrations(&workspace.join(dir), at)));
        }
        "apply_manifest" => {
            let path = site.text("path");
            found.extend(path.into_iter().flat_map(|(path, at)| manifest(&path, workspace, at)));
        }
        _ => {}
    }
    found
}

/// A file that is not there, and that the recipe does not make before.
fn missing(site: &Site, all: &[Site], workspace: &Path, (path, at): (&str, Position)) -> Option<Finding> {
    // What a build or a command makes shows only when it runs.
    let is_built = site.gives("build") && !site.gives("dockerfile");
    let is_written = all.iter().any(|other| match other.primitive.name {
        "write_file" => other.text("path").is_none_or(|(written, _)| written.starts_with(path)),
        "sh" => true,
        "build_image" => other.gives("build"),
        _ => false,
    });
    if workspace.join(path).exists() || is_built || is_written {
        return None;
    }
    let what = format!("{}: there is no file or folder `{path}`", site.primitive.name);
    Some(
        Finding::error("file", at, what)
            .hint(format!("a path in a recipe is relative to {}", workspace.display())),
    )
}

/// Migrations that cannot be read, or whose order nobody has chosen.
fn migrations(dir: &Path, at: Position) -> Option<Finding> {
    if !dir.is_dir() {
        return None;
    }
    if let Some([one, other]) = same_version(dir) {
        let what = format!("migrate: `{one}` and `{other}` have the same version");
        return Some(
            Finding::error("migrations", at, what)
                .hint("which comes first is chance, and some formats apply one only; number them anew"),
        );
    }
    let error = migrate::read(dir, Format::Auto).err()?;
    let mut what = format!("migrate: {error}");
    if let PlanError::Text { file, at, .. } = &error {
        what.push_str(&format!(" ({}:{}:{})", file.display(), at.line, at.column));
    }
    Some(
        Finding::error("migrations", at, what)
            .hint("correct the folder, or name its format with the option `format`"),
    )
}

/// The first two migrations of one version.
fn same_version(dir: &Path) -> Option<[String; 2]> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "sql"))
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .filter(|name| !name.ends_with(".down.sql"))
        .collect();
    files.sort_unstable();
    let version = |name: &str| {
        let number = name.strip_prefix(['V', 'v']).unwrap_or(name);
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let parts: Option<Vec<u64>> = number[..end].split('.').map(|part| part.parse().ok()).collect();
        parts
    };
    let mut seen: Vec<(Vec<u64>, String)> = Vec::new();
    for name in files {
        let Some(version) = version(&name) else { continue };
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == version) {
            return Some([other.clone(), name]);
        }
        seen.push((version, name));
    }
    None
}

/// Documents that do not parse, and containers whose image can never be there.
fn manifest(path: &str, workspace: &Path, at: Position) -> Vec<Finding> {
    let Ok(text) = std::fs::read_to_string(workspace.join(path)) else { return Vec::new() };
    // What is rendered first need not be YAML before.
    if text.contains("{{") || text.contains("{%") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for document in serde_norway::Deserializer::from_str(&text) {
        match Value::deserialize(document) {
            Ok(document) => {
                let named = document["kind"].as_str().unwrap_or("document");
                if document.is_object() && (document["kind"].is_null() || document["apiVersion"].is_null()) {
                    let what = format!("{path}: a document has no `kind` or no `apiVersion`");
                    found.push(Finding::error("manifest", at, what).hint("Kubernetes needs both"));
                }
                for image in unpullable(&document) {
                    let what = format!("{path}: the {named} runs `{image}` with imagePullPolicy Never");
                    found.push(Finding::error("manifest", at, what).hint(
                        "`latest` on a node may be of any age, or missing; give the image a tag of its own, \
                         or let load_image bring it",
                    ));
                }
            }
            Err(error) => {
                let what = format!("{path} is not YAML: {error}");
                found.push(Finding::error("manifest", at, what).hint("correct the file"));
                break;
            }
        }
    }
    found
}

/// Images of the tag `latest`, said or implied, that are never pulled.
fn unpullable(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(map) => {
            if let (Some(image), Some("Never")) =
                (map.get("image").and_then(Value::as_str), map.get("imagePullPolicy").and_then(Value::as_str))
            {
                let name = image.rsplit('/').next().unwrap_or(image);
                let is_latest = name.ends_with(":latest") || !name.contains([':', '@']);
                found.extend(is_latest.then(|| image.to_owned()));
            }
            found.extend(map.values().flat_map(unpullable));
        }
        Value::Array(items) => found.extend(items.iter().flat_map(unpullable)),
        _ => {}
    }
    found
}
