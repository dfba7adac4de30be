//! `recipe cache`: what is kept of earlier runs.

mod verify;
mod why;

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::json;

use super::{Done, terminal};
use crate::cli::{CacheArgs, CacheCommand, Output};
use crate::run::duration::show;
use crate::run::{Failure, Kind};
use crate::targets::caches::{self, CACHE_VARIABLE};
use crate::targets::engine;
use crate::targets::local::cache::{Entry, Store};
use crate::tell::tell;
use crate::{exit, settings};

pub(super) fn cache(args: &CacheArgs) -> Done {
    match &args.command {
        CacheCommand::Ls { output } => ls(*output),
        CacheCommand::Why { step, run } => why::why(step.as_deref(), run.as_deref()),
        CacheCommand::Prune { all } => prune(*all),
        CacheCommand::Verify => verify::verify(&store()?),
    }
}

/// The databases of this user.
fn store() -> Result<Store, Failure> {
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(Kind::Io, "the working directory is gone").cause(error))?;
    let limit = settings::database_limit(&crate::script::workspace_of(&here.join("recipe.rhai")))?;
    Store::open(limit).ok_or_else(|| {
        Failure::new(Kind::TargetUnusable, "there is no home directory to keep anything in")
            .hint(format!("set {CACHE_VARIABLE} to a directory"))
    })
}

/// `PostgreSQL 15.18, database app with 7 migrations`.
fn told(entry: &Entry) -> String {
    let most = entry.templates.iter().map(|template| template.files.len()).max();
    let holds = match (&entry.database, most) {
        (Some(database), Some(count)) => format!(", database {database} with {count} migrations"),
        _ => ", initialised".to_owned(),
    };
    format!("PostgreSQL {}{holds}", entry.version)
}

fn ls(output: Output) -> Done {
    let databases = store()?.list();
    let layers = engine::kept_layers();
    if output == Output::Json {
        let databases = databases.iter().map(|(entry, used)| {
            json!({
                "key": entry.key, "version": entry.version, "database": entry.database, "user": entry.user,
                "templates": entry.templates, "bytes": entry.size.bytes, "made": entry.made,
                "used": Timestamp::try_from(*used).ok(),
            })
        });
        let databases: Vec<_> = databases.collect();
        let layers = layers.iter().map(|layer| {
            json!({ "digest": layer.digest, "bytes": layer.bytes, "used": Timestamp::try_from(layer.used).ok() })
        });
        let layers: Vec<_> = layers.collect();
        terminal::print_json(&json!({ "databases": databases, "layers": layers }))?;
        return Ok(exit::DONE);
    }
    if databases.is_empty() && layers.is_empty() {
        tell!("nothing is kept");
        return Ok(exit::DONE);
    }
    let mut text = format!("{:12}  {:>10}  {:10}  WHAT\n", "KEY", "SIZE", "USED");
    let ago = |used: SystemTime| show(used.elapsed().unwrap_or_default());
    for (entry, used) in &databases {
        let (key, size) = (&entry.key[..12], megabytes(entry.size.bytes));
        text.push_str(&format!("{key:12}  {size:>10}  {:10}  {}\n", ago(*used), told(entry)));
    }
    for layer in &layers {
        let digest = layer.digest.get(..12).unwrap_or(&layer.digest);
        let size = megabytes(layer.bytes);
        text.push_str(&format!("{digest:12}  {size:>10}  {:10}  layer of an image\n", ago(layer.used)));
    }
    let bytes = databases.iter().map(|(entry, _)| entry.size.bytes).sum::<u64>()
        + layers.iter().map(|layer| layer.bytes).sum::<u64>();
    let folder = caches::folder("").unwrap_or_default();
    text.push_str(&format!("\n{} in {}\n", megabytes(bytes), folder.display()));
    terminal::print(&text)?;
    Ok(exit::DONE)
}

fn prune(all: bool) -> Done {
    let store = store()?;
    let (count, bytes) = if all { store.prune(0) } else { store.prune_to_limit() };
    let (layers, layer_bytes) = engine::prune_layers(all);
    if all && let Some(programs) = caches::folder("programs") {
        // What is known of builds; there may be nothing.
        let _ = fs_err::remove_dir_all(programs);
    }
    let what = match count + layers {
        0 => "nothing was removed".to_owned(),
        _ => format!(
            "removed {count} databases and {layers} layers, {} in all",
            megabytes(bytes + layer_bytes)
        ),
    };
    let left = if all { store.list().len() } else { 0 };
    tell!("{what}{}", if left > 0 { "; what is in use stays" } else { "" });
    Ok(exit::DONE)
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1} MB")
}
