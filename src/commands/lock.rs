//! `recipe lock`: pins modules from elsewhere, and fetches them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Done;
use crate::cli::LockArgs;
use crate::exit;
use crate::run::{Failure, Kind};
use crate::script::modules::{LOCK, Lock, Locked, Origin, Project, digest, store};
use crate::script::workspace_of;
use crate::tell::tell;

pub(super) fn lock(args: &LockArgs) -> Done {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(Kind::Io, "there is no working directory").cause(error))?;
    let workspace = workspace_of(&here.join(LOCK));
    let project = Project::read(&workspace)?;
    if let Some(unknown) = args.update.iter().find(|name| !project.modules.contains_key(*name)) {
        return Err(Failure::new(Kind::Usage, format!("recipe.toml has no module `{unknown}`")));
    }
    let before = Lock::read(&workspace)?;
    let mut modules = Vec::new();
    for (name, origin) in &project.modules {
        let known = before.of(name).filter(|_| !args.update.contains(name));
        let locked = pin(&workspace, name, origin, known)?;
        let word = match before.of(name) {
            Some(known) if *known == locked => "as it was",
            Some(_) => "changed",
            None => "new",
        };
        tell!("  {name}  {}  {word}", locked.commit.as_deref().unwrap_or(&locked.hash));
        modules.push(locked);
    }
    let text = toml::to_string(&Lock { modules })
        .map_err(|error| Failure::new(Kind::Bug, "the lock has no form in TOML").cause(error))?;
    let text = format!("# Written by `recipe lock`; keep it under version control.\n\n{text}");
    fs_err::write(workspace.join(LOCK), text)
        .map_err(|error| Failure::new(Kind::Io, "the lock cannot be written").cause(error))?;
    Ok(exit::DONE)
}

/// The module as it is locked already, or as it is now.
fn pin(workspace: &Path, name: &str, origin: &Origin, known: Option<&Locked>) -> Result<Locked, Failure> {
    let (folder, commit) = match (&origin.path, &origin.git) {
        (Some(path), None) => (workspace.join(path), None),
        (None, Some(git)) => {
            let pinned = known.and_then(|known| known.commit.as_deref());
            let (folder, commit) = fetch(name, git, pinned.or(origin.rev.as_deref()))?;
            (folder, Some(commit))
        }
        _ => {
            return Err(Failure::new(Kind::Usage, format!("the module `{name}` is from nowhere"))
                .hint("give it a `path` or a `git` in recipe.toml"));
        }
    };
    let hash = digest(&folder).map_err(|error| {
        Failure::new(Kind::NotFound, format!("the module `{name}` cannot be read")).cause(error)
    })?;
    if let Some(known) = known.filter(|known| known.hash != hash) {
        let what =
            format!("the module `{name}` is not what {LOCK} pins: {} is locked, {hash} is there", known.hash);
        return Err(Failure::new(Kind::Usage, what)
            .hint(format!("look at what has changed, then `recipe lock --update {name}`")));
    }
    Ok(Locked { name: name.to_owned(), commit, hash })
}

/// Clones a repository at a revision, unless that commit is there already.
fn fetch(name: &str, git: &str, rev: Option<&str>) -> Result<(PathBuf, String), Failure> {
    if let Some(commit) = rev
        && let Ok(folder) = store(name, commit)
        && folder.is_dir()
    {
        return Ok((folder, commit.to_owned()));
    }
    let fresh = store(name, &format!("new-{}", std::process::id()))?;
    let failed = |error| Failure::new(Kind::Io, "the module cannot be stored").cause(error);
    if let Some(parent) = fresh.parent() {
        fs_err::create_dir_all(parent).map_err(failed)?;
    }
    let clone = run(Command::new("git").args(["clone", "--quiet", "--", git]).arg(&fresh));
    let checked_out = clone.and_then(|_| {
        let rev = rev.map_or(Ok(String::new()), |rev| {
            run(Command::new("git").arg("-C").arg(&fresh).args(["checkout", "--quiet", "--detach", rev]))
        });
        rev.and_then(|_| run(Command::new("git").arg("-C").arg(&fresh).args(["rev-parse", "HEAD"])))
    });
    let commit = match checked_out {
        Ok(commit) => commit.trim().to_owned(),
        Err(failure) => {
            // What is half there would pass for the whole.
            let _ = std::fs::remove_dir_all(&fresh);
            return Err(failure);
        }
    };
    let folder = store(name, &commit)?;
    if folder.is_dir() {
        fs_err::remove_dir_all(&fresh).map_err(failed)?;
    } else {
        fs_err::rename(&fresh, &folder).map_err(failed)?;
    }
    Ok((folder, commit))
}

fn run(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|error| {
        Failure::new(Kind::NotFound, "git cannot be executed")
            .hint("modules from repositories need git")
            .cause(error)
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let evidence = said.lines().map(str::to_owned).collect();
    Err(Failure::new(Kind::Command, "git could not fetch the module").evidence(evidence))
}
