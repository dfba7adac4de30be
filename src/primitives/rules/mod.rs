//! What is wrong with a call that only its primitive knows: files that are not
//! there, migrations that cannot be read, manifests that no cluster can run,
//! ports that nobody listens on.

mod files;
mod manifest_ports;
mod manifests;
mod migrations;
mod ports;

use std::path::Path;

use rhai::Position;

use super::data::nameable;
use crate::script::{Finding, Site};

/// The problems of one call among all of the recipe.
pub(super) fn findings(site: &Site, all: &[&Site], workspace: &Path) -> Vec<Finding> {
    let mut found = files::findings(site, all, workspace);
    match site.primitive.name {
        "migrate" => {
            let dir = site.text("dir");
            found.extend(dir.and_then(|(dir, at)| migrations::findings(&workspace.join(dir), at)));
        }
        "wait_http" | "http" => found.extend(ports::findings(site, all)),
        name => {
            found.extend(manifests::findings(site, workspace));
            found.extend(site.text("name").filter(|_| name.starts_with("deploy_")).and_then(name_of));
        }
    }
    found
}

/// A name that nothing can be deployed under.
fn name_of((name, at): (String, Position)) -> Option<Finding> {
    let failure = nameable(&name).err()?;
    Some(Finding { hint: failure.hint.clone(), ..Finding::error("name", at, failure.to_string()) })
}
