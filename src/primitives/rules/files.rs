//! Files that a recipe names and that are not there.

use std::path::Path;
use std::process::{Command, Stdio};

use rhai::Position;

use crate::script::{Finding, Site};
use crate::targets::Known;

/// Parameters and options that name a file or folder which must be there.
const FILES: [(&str, &str); 10] = [
    ("read_file", "path"),
    ("migrate", "dir"),
    ("apply_manifest", "path"),
    ("deploy_postgres", "manifest"),
    ("deploy_redis", "manifest"),
    ("deploy_service", "manifest"),
    ("create_cluster", "config"),
    ("build_image", "dockerfile"),
    ("build_image", "context"),
    ("build_image", "binary"),
];

pub(super) fn findings(site: &Site, all: &[&Site], workspace: &Path) -> Vec<Finding> {
    let named = FILES.iter().filter(|(primitive, _)| site.primitive.name == *primitive);
    named
        .filter_map(|(_, name)| site.text(name))
        .filter_map(|(path, at)| missing(site, all, workspace, (&path, at)))
        .collect()
}

/// How far a recipe goes towards making a file.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Made {
    /// Nothing in it makes files.
    Not,
    /// It runs commands, which make whatever they make.
    Perhaps,
    /// It writes it, or a command names it.
    Said,
}

fn missing(site: &Site, all: &[&Site], workspace: &Path, (path, at): (&str, Position)) -> Option<Finding> {
    // What is there on some machines only is tried for.
    if site.is_tried || workspace.join(path).exists() {
        return None;
    }
    // The build says where it leaves its program.
    let is_built = site.gives("build") && !site.gives("dockerfile");
    let made = all.iter().map(|other| makes(other, path)).max().unwrap_or(Made::Not);
    let what = format!("{}: there is no file or folder `{path}`", site.primitive.name);
    match made {
        _ if is_built => None,
        Made::Not => Some(
            Finding::error("file", at, what)
                .hint(format!("a path in a recipe is relative to {}", workspace.display())),
        ),
        // What git is told to ignore is made by something.
        Made::Perhaps if !is_ignored(workspace, path) => {
            Some(Finding::warning("file", at, format!("{what} yet")).hint(format!(
                "unless a command of the recipe makes it: paths are relative to {}",
                workspace.display()
            )))
        }
        Made::Perhaps | Made::Said => None,
    }
}

/// Whether a call makes the file or folder, as far as it says.
fn makes(call: &Site, path: &str) -> Made {
    let (option, is_command) = match call.primitive.name {
        "write_file" => ("path", false),
        "sh" | "exec" => ("command", true),
        "build_image" => ("build", true),
        _ => return Made::Not,
    };
    let text = match call.known(option) {
        None => return Made::Not,
        Some(Known::Value(value)) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        Some(_) => return if is_command { Made::Perhaps } else { Made::Said },
    };
    let folder = path.split('/').next().unwrap_or(path);
    match is_command {
        true if words(&text).any(|word| word == folder) => Made::Said,
        true => Made::Perhaps,
        false if Path::new(&text).starts_with(path) => Made::Said,
        false => Made::Not,
    }
}

/// The parts of paths in a command.
fn words(command: &str) -> impl Iterator<Item = &str> {
    command.split(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-'))
}

/// Whether git leaves the path out; false without a repository, or without git.
fn is_ignored(workspace: &Path, path: &str) -> bool {
    let mut git = Command::new("git");
    git.args(["check-ignore", "--quiet", "--", path]).current_dir(workspace);
    git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    git.status().is_ok_and(|status| status.success())
}
