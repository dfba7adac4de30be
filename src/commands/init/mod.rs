//! `recipe init`: a first recipe that fits what is found here.

mod compose;
mod draft;

use std::path::Path;

use self::draft::{Draft, Server, Service};
use super::{Done, terminal};
use crate::cli::InitArgs;
use crate::exit;
use crate::primitives::TABLE;
use crate::run::{Failure, Kind};
use crate::script::Program;
use crate::tell::tell;

/// Compose files by the names that Docker looks for.
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// Folders that migrations are kept in.
const MIGRATIONS: [&str; 5] = ["migrations", "db/migrations", "db/migrate", "sql/migrations", "sql"];

pub(super) fn init(args: &InitArgs) -> Done {
    if args.file.exists() {
        return Err(Failure::new(Kind::Usage, format!("{} is there already", args.file.display()))
            .hint("name another file: recipe init FILE"));
    }
    let here = Path::new(".");
    let draft = draft(here)?;
    let text = draft.render();
    fs_err::write(&args.file, &text)
        .map_err(|error| Failure::new(Kind::Io, "the recipe cannot be written").cause(error))?;
    for note in &draft.notes {
        tell!("  {note}");
    }
    let problems = Program::problems(TABLE, &args.file);
    problems.iter().for_each(terminal::show);
    tell!("  wrote {0}; look through it, then: recipe run {0}", args.file.display());
    Ok(exit::DONE)
}

/// What is found, as a draft.
fn draft(here: &Path) -> Result<Draft, Failure> {
    let name = here.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    let mut draft = Draft { project: name.unwrap_or_else(|| "shop".to_owned()), ..Draft::default() };
    let is_migrations = |folder: &&&str| {
        let files = std::fs::read_dir(here.join(folder)).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.path().extension().is_some_and(|end| end == "sql"))
    };
    draft.migrations = MIGRATIONS.iter().find(is_migrations).map(ToString::to_string);
    if let Some(file) = COMPOSE.iter().find(|file| here.join(file).is_file()) {
        compose::read(&here.join(file), &mut draft)?;
        draft.notes.push(format!("found {file}: {} services", draft.servers.len() + draft.services.len()));
    } else {
        own_service(here, &mut draft);
    }
    match (&draft.migrations, draft.servers.iter().any(Server::is_postgres)) {
        (Some(folder), false) => {
            let note = format!("found migrations in {folder}");
            draft.notes.push(note);
            draft.servers.push(Server::postgres("postgres"));
        }
        (Some(folder), true) => draft.notes.push(format!("found migrations in {folder}")),
        (None, _) => {}
    }
    // Without a compose file to say it: what has migrations wants the database.
    if let ([server], [service]) = (draft.servers.as_slice(), draft.services.as_mut_slice())
        && server.is_postgres()
        && service.env.is_empty()
    {
        service.env.insert("DATABASE_URL".to_owned(), format!("{}.internal_url", server.name));
    }
    Ok(draft)
}

/// The service of a project without a compose file.
fn own_service(here: &Path, draft: &mut Draft) {
    let mut service = Service { name: draft.project.clone(), port: Some(8080), ..Service::default() };
    if let Some(name) = cargo_binary(here) {
        draft.notes.push(format!("found Cargo.toml: builds `{name}`"));
        service.build = Some(("cargo build --release".to_owned(), format!("target/release/{name}")));
        service.name = name;
    } else if here.join("go.mod").is_file() {
        draft.notes.push("found go.mod".to_owned());
        let binary = format!("bin/{}", service.name);
        service.build = Some((format!("go build -o {binary} ."), binary));
    } else if here.join("Dockerfile").is_file() {
        draft.notes.push("found Dockerfile: for targets with a container engine".to_owned());
        service.dockerfile = Some("Dockerfile".to_owned());
    } else {
        draft.notes.push("found no service here; the recipe shows how one is deployed".to_owned());
        return;
    }
    draft.services.push(service);
}

fn cargo_binary(here: &Path) -> Option<String> {
    let manifest: toml::Value =
        toml::from_str(&std::fs::read_to_string(here.join("Cargo.toml")).ok()?).ok()?;
    let named = manifest.get("bin").and_then(|bins| bins.get(0)).and_then(|bin| bin.get("name"));
    named.or_else(|| manifest.get("package")?.get("name"))?.as_str().map(str::to_owned)
}
