//! The services of a compose file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::draft::{Draft, Server, Service, quoted, variable};
use crate::run::{Failure, Kind};

/// Names that images of databases have.
const POSTGRES: [&str; 4] = ["postgres", "postgis", "timescaledb", "pgvector"];
const REDIS: [&str; 3] = ["redis", "valkey", "redis-stack-server"];

/// Adds the services of the file to the draft, those first that others wait for.
pub(super) fn read(path: &Path, draft: &mut Draft) -> Result<(), Failure> {
    let wrong = || Failure::new(Kind::Usage, format!("{} cannot be read as a compose file", path.display()));
    let text = fs_err::read_to_string(path).map_err(|error| wrong().cause(error))?;
    let file: Value = serde_norway::from_str(&text).map_err(|error| wrong().cause(error))?;
    let services = file["services"].as_object().cloned().unwrap_or_default();
    let mut environments = BTreeMap::new();
    for (name, service) in &services {
        let image = service["image"].as_str().unwrap_or_default();
        let base = image.rsplit('/').next().unwrap_or(image).split([':', '@']).next().unwrap_or_default();
        let env = environment(&service["environment"]);
        if POSTGRES.contains(&base) {
            draft.servers.push(postgres(name, image, &env));
        } else if REDIS.contains(&base) {
            let mut server = Server::redis(name);
            server.options.insert("image", quoted(image));
            draft.servers.push(server);
        } else {
            environments.insert(name.clone(), env);
            draft.services.push(own(name, service));
        }
    }
    order(&mut draft.services);
    let values: Vec<BTreeMap<String, String>> = draft
        .services
        .iter()
        .map(|service| {
            let env = environments.get(&service.name).cloned().unwrap_or_default();
            env.into_iter().map(|(name, value)| (name, rewritten(&value, draft))).collect()
        })
        .collect();
    for (service, env) in draft.services.iter_mut().zip(values) {
        service.env = env;
    }
    Ok(())
}

fn postgres(name: &str, image: &str, env: &BTreeMap<String, String>) -> Server {
    let mut server = Server::postgres(name);
    server.options.insert("image", quoted(image));
    for (variable, option) in
        [("POSTGRES_DB", "database"), ("POSTGRES_USER", "user"), ("POSTGRES_PASSWORD", "password")]
    {
        if let Some(value) = env.get(variable).filter(|value| !value.contains("${")) {
            server.options.insert(option, quoted(value));
        }
    }
    server
}

fn own(name: &str, service: &Value) -> Service {
    let mut own = Service { name: name.to_owned(), ..Service::default() };
    match &service["build"] {
        Value::String(context) => {
            own.dockerfile = Some(format!("{}/Dockerfile", context.trim_end_matches('/')));
        }
        Value::Object(build) => {
            let context = build.get("context").and_then(Value::as_str).unwrap_or(".");
            let file = build.get("dockerfile").and_then(Value::as_str).unwrap_or("Dockerfile");
            own.dockerfile = Some(format!("{}/{file}", context.trim_end_matches('/')));
        }
        _ => {
            let image = service["image"].as_str().unwrap_or("none");
            own.notes.push(format!(
                "The compose file runs the image {image}: say here what that is on every target."
            ));
        }
    }
    own.dockerfile = own.dockerfile.map(|file| file.trim_start_matches("./").to_owned());
    own.command = match &service["command"] {
        Value::String(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Value::Array(words) => Some(words.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => None,
    };
    if own.command.is_none() && own.dockerfile.is_none() {
        own.command = Some(vec![name.to_owned()]);
    }
    own.port = service["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(service["expose"].as_array().into_iter().flatten())
        .find_map(|port| match port {
            Value::Object(long) => long.get("target")?.as_u64(),
            Value::Number(port) => port.as_u64(),
            other => other.as_str()?.rsplit(':').next()?.split('/').next()?.parse().ok(),
        })
        .and_then(|port| u16::try_from(port).ok());
    own.after = match &service["depends_on"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::Object(names) => names.keys().cloned().collect(),
        _ => Vec::new(),
    };
    if !service["volumes"].is_null() {
        own.notes.push(
            "The compose file mounts volumes, which recipes do not have; see the option `files`.".to_owned(),
        );
    }
    own
}

fn environment(value: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        Value::Array(items) => {
            let pairs = items.iter().filter_map(|item| item.as_str()?.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// A value as a recipe writes it: an address of another service is asked from
/// its handle.
fn rewritten(value: &str, draft: &Draft) -> String {
    let names = draft.servers.iter().map(|server| &server.name).chain(draft.services.iter().map(|s| &s.name));
    for name in names {
        let Some(reference) = draft.reference(name) else { continue };
        let is_server = draft.servers.iter().any(|server| server.name == *name);
        let host = value.split("://").last().unwrap_or(value).rsplit('@').next().unwrap_or(value);
        let is_host = host.split([':', '/', '?']).next() == Some(name.as_str());
        if is_host && value.contains("://") {
            let is_plain = is_server || host.split_once('/').is_none_or(|(_, path)| path.is_empty());
            return if is_plain {
                format!("{reference}.internal_url")
            } else {
                let path = host.split_once('/').map_or("", |(_, path)| path);
                format!("{reference}.internal_url + {}", quoted(&format!("/{path}")))
            };
        }
        if value == name && is_server {
            return format!("{reference}.host");
        }
    }
    quoted(value)
}

/// Those that others wait for come first; circles stay as they are.
fn order(services: &mut Vec<Service>) {
    let mut ordered: Vec<Service> = Vec::new();
    while !services.is_empty() {
        let waits = |service: &Service| {
            service
                .after
                .iter()
                .any(|name| services.iter().any(|other| other.name == *name && other.name != service.name))
        };
        let next = services.iter().position(|service| !waits(service)).unwrap_or(0);
        ordered.push(services.remove(next));
    }
    *services = ordered;
    debug_assert!(services.iter().all(|service| !variable(&service.name).is_empty()));
}
