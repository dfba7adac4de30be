//! Manifests that no cluster takes, or could run: rendered with what is known
//! of their variables before the run.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::manifest_ports;
use crate::run::{Excerpt, Failure};
use crate::script::modules::Project;
use crate::script::{Finding, Site};
use crate::targets::Known;
use crate::targets::kubernetes::{Preview, Variables, preview};

pub(super) fn findings(site: &Site, workspace: &Path) -> Vec<Finding> {
    let option = if site.primitive.name == "apply_manifest" { "path" } else { "manifest" };
    let patch = shipped(site).and_then(|shipped| patch(workspace, shipped));
    let Some((path, at)) = site.text(option).or_else(|| Some((patch?, site.at))) else { return Vec::new() };
    let file = workspace.join(&path);
    // Of one that is not there others tell.
    if !file.is_file() && site.gives(option) {
        return Vec::new();
    }
    let preview = match preview(&file, &path, &variables(site)) {
        Ok(Some(preview)) => preview,
        Ok(None) => return Vec::new(),
        Err(failure) => return vec![refused(&failure, at)],
    };
    let mut found = Vec::new();
    for (index, document) in preview.documents.iter().enumerate() {
        let kind = document["kind"].as_str().unwrap_or("document");
        for image in unpullable(document) {
            let what = format!("the {kind} runs `{image}` with imagePullPolicy Never");
            found.push(
                Finding::error("manifest", at, what)
                    .hint(
                        "`latest` on a node may be of any age, or missing; give the image a tag of its own, \
                         or let load_image bring it",
                    )
                    .elsewhere(place(&preview, index, &image)),
            );
        }
    }
    for flaw in manifest_ports::flaws(&preview.documents) {
        let found_at = place(&preview, flaw.document, &flaw.port);
        let finding = if flaw.is_certain {
            Finding::error("port", at, flaw.what)
        } else {
            Finding::warning("port", at, flaw.what)
        };
        found.push(finding.hint(flaw.hint).elsewhere(found_at));
    }
    found
}

/// The manifest of recipe's own that a call takes.
fn shipped(site: &Site) -> Option<&'static str> {
    let name = match site.primitive.name {
        "deploy_postgres" => "manifests/postgres.yaml",
        "deploy_redis" => "manifests/redis.yaml",
        "deploy_service" => "manifests/service.yaml",
        _ => return None,
    };
    (!site.gives("manifest")).then_some(name)
}

/// What the project changes in it.
fn patch(workspace: &Path, shipped: &str) -> Option<String> {
    let project = Project::read(workspace).ok()?;
    project.patch_of(shipped).map(|path| path.display().to_string())
}

fn place(preview: &Preview, document: usize, word: &str) -> Option<Excerpt> {
    Some(preview.place(document, word))
}

/// What rendering says, as a finding.
fn refused(failure: &Failure, at: rhai::Position) -> Finding {
    let message: Vec<_> = std::iter::once(failure.to_string()).chain(failure.causes()).collect();
    let mut finding = Finding::error("manifest", at, message.join(": "));
    finding.hint = failure.hint.clone().or_else(|| Some("correct the file".to_owned()));
    finding.elsewhere(failure.excerpt.clone())
}

/// The variables that the manifest of a call has, as far as they are known.
fn variables(site: &Site) -> Variables {
    let given = |name: &str, otherwise: Value| site.known(name).cloned().unwrap_or(Known::Value(otherwise));
    let mut known = BTreeMap::from([("namespace", Known::Unknown), ("run", Known::Unknown)]);
    let defaults = site.primitive.options.iter();
    let mut option = |name: &'static str| {
        let default = defaults.clone().find(|option| option.name == name).and_then(|option| option.default);
        known.insert(name, given(name, default.map_or(Value::Null, Value::from)));
    };
    match site.primitive.name {
        "apply_manifest" => drop(known.insert("cluster", Known::Unknown)),
        "deploy_postgres" => {
            ["name", "image", "database", "user", "storage"].into_iter().for_each(&mut option);
            known.extend([("password", Known::Unknown), ("args", Known::Unknown)]);
        }
        "deploy_redis" => {
            ["name", "image"].into_iter().for_each(&mut option);
            known.extend([("password", Known::Unknown), ("configuration", Known::Unknown)]);
        }
        _ => {
            ["name", "image", "command", "ready"].into_iter().for_each(&mut option);
            known.insert("replicas", given("replicas", json!(1)));
            known.insert("args", given("args", json!([])));
            known.insert("files_at", Known::Unknown);
            known.insert("ports", ports(site));
            // Which of them are secrets, and go another way, a run finds out.
            for (name, secret) in [("env", "secret_env"), ("files", "secret_files")] {
                let is_given = name == "env" || site.gives(name);
                let value = if is_given { Known::Unknown } else { json!([]).into() };
                known.extend([(name, value.clone()), (secret, value)]);
            }
        }
    }
    let mut variables = Variables { is_complete: true, ..Variables::default() };
    variables.known.extend(known.into_iter().map(|(name, value)| (name.to_owned(), value)));
    match site.known("vars") {
        None => {}
        Some(Known::Map(own)) => variables.known.extend(own.clone()),
        Some(Known::Value(Value::Object(own))) => {
            variables.known.extend(own.iter().map(|(name, value)| (name.clone(), value.clone().into())));
        }
        Some(_) => variables.is_complete = false,
    }
    variables
}

/// The main port first, as the target does it.
fn ports(site: &Site) -> Known {
    let mut ports = Vec::new();
    let number = |name: &str, port: &Known| {
        Known::Map(BTreeMap::from([("name".to_owned(), name.into()), ("number".to_owned(), port.clone())]))
    };
    ports.extend(site.known("port").map(|port| number("main", port)));
    match site.known("ports") {
        None => {}
        Some(Known::Map(more)) => ports.extend(more.iter().map(|(name, port)| number(name, port))),
        Some(Known::Value(Value::Object(more))) => {
            ports.extend(more.iter().map(|(name, port)| number(name, &port.clone().into())));
        }
        Some(_) => return Known::Unknown,
    }
    Known::List(ports)
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
                found.extend((is_latest && !Preview::is_open(image)).then(|| image.to_owned()));
            }
            found.extend(map.values().flat_map(unpullable));
        }
        Value::Array(items) => found.extend(items.iter().flat_map(unpullable)),
        _ => {}
    }
    found
}
