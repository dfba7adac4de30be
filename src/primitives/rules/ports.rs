//! Addresses of this machine at which nothing will answer, because the port is
//! one inside of the target.

use serde_json::Value;

use crate::script::{Finding, Site};
use crate::targets::Known;

/// Ports of databases inside of the target.
const DATABASES: [(&str, u16); 2] = [("deploy_postgres", 5432), ("deploy_redis", 6379)];

pub(super) fn findings(site: &Site, all: &[&Site]) -> Option<Finding> {
    let (url, at) = site.text("url")?;
    let (port, path) = here(&url)?;
    if all.iter().any(|other| may_open(other, port)) {
        return None;
    }
    let (deployed, why) = all.iter().find_map(|other| Some((*other, mistaken(other, port, path)?)))?;
    let name = deployed
        .text_or_default("name")
        .map_or_else(|| "a service".to_owned(), |(name, _)| format!("`{name}`"));
    let what = format!(
        "{}: nothing of the recipe listens on port {port} of this machine: {name} {why}",
        site.primitive.name
    );
    Some(
        Finding::warning("port", at, what)
            .hint("use the `url` of the handle, which is right on every target"),
    )
}

/// Port and path of a URL of this machine, where it names a port.
fn here(url: &str) -> Option<(u16, &str)> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, port) = rest[..end].rsplit_once(':')?;
    matches!(host, "127.0.0.1" | "localhost" | "[::1]").then(|| Some((port.parse().ok()?, &rest[end..])))?
}

/// Whether a call may make something listen on a port of this machine.
fn may_open(call: &Site, port: u16) -> bool {
    let is_it = |known: &Known| known.port().is_none_or(|number| number == port);
    match call.primitive.name {
        // A command may start anything, and manifests and nodes may take ports.
        "sh" | "exec" | "apply_manifest" => true,
        "create_cluster" => call.gives("ports") || call.gives("config"),
        name if name.starts_with("deploy_") => {
            call.known("host_port").is_some_and(is_it)
                || call.gives("manifest")
                || ["command", "args", "env", "files"]
                    .iter()
                    .any(|option| call.known(option).is_some_and(|known| names(known, port)))
        }
        _ => false,
    }
}

/// Whether a program is told of the port by number; what a run puts into its
/// environment it is not.
fn names(known: &Known, port: u16) -> bool {
    match known {
        Known::Value(value) => {
            let all = value.to_string();
            all.split(|c: char| !c.is_ascii_digit()).any(|number| number == port.to_string())
        }
        Known::List(items) => items.iter().any(|item| names(item, port)),
        Known::Map(fields) => fields.values().any(|field| names(field, port)),
        Known::Unknown => false,
    }
}

/// Why somebody would take the port for one of this machine.
fn mistaken(call: &Site, port: u16, path: &str) -> Option<String> {
    let own = DATABASES.iter().any(|(name, own)| call.primitive.name == *name && port == *own);
    let inside = own
        || call.primitive.name == "deploy_service"
            && (call.known("port")?.port() == Some(port) || has_port(call, port));
    let outside = call.known("host_port").and_then(Known::port);
    match outside {
        Some(outside) if inside => {
            Some(format!("listens there inside of the target, and on {outside} of this machine"))
        }
        Some(outside) if is_ready_path(call, path) => Some(format!("takes port {outside}")),
        None if inside => Some("has it inside of the target, and any free one on this machine".to_owned()),
        _ => None,
    }
}

fn has_port(call: &Site, port: u16) -> bool {
    match call.known("ports") {
        Some(Known::Value(Value::Object(ports))) => {
            ports.values().any(|number| number.as_u64() == Some(port.into()))
        }
        _ => false,
    }
}

fn is_ready_path(call: &Site, path: &str) -> bool {
    call.known("ready").and_then(Known::text).is_some_and(|ready| {
        !ready.is_empty() && ready.trim_start_matches('/') == path.trim_start_matches('/')
    })
}
