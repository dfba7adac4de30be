//! Databases that are kept for later runs: that they serve, that they are the
//! same as made anew, and that nothing else is ever served.

#[path = "../harness/mod.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod in_place;
mod serving;
mod sharing;
mod told;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::live::eventually;
use harness::{Output, Sandbox};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const DEPLOY: &str = "let pg = deploy_postgres(create_cluster(\"c\"));\n";
const MIGRATE: &str = "migrate(pg, \"sql\");\n";
/// Everything in the database, but for the times at which migrations were applied.
const DUMP: &str = r#"output(#{ dump: sh("pg_dump \"$DB\" | sed -E 's/[0-9-]{10} [0-9:.]{8,}(\\+00)?/TIME/; /restrict/d'", #{ env: #{ DB: pg.url } }).stdout });"#;

const FIRST: &str = "CREATE TABLE fruit (id serial PRIMARY KEY, name text);
                     INSERT INTO fruit (name) VALUES ('apple'), ('pear');
                     ALTER DATABASE app SET work_mem = '5MB';";
const SECOND: &str = "CREATE INDEX fruit_name ON fruit (name); CREATE EXTENSION pgcrypto;";

/// A sandbox with two migrations.
fn sandbox(recipe: &str) -> Sandbox {
    Sandbox::with(recipe).file("sql/001_fruit.sql", FIRST).file("sql/002_more.sql", SECOND)
}

/// What runs gave, one after the other.
struct Seen {
    outputs: Value,
    /// Whether each cached step hit, and why, by primitive.
    cache: Value,
    stderr: String,
}

impl Seen {
    fn hit(&self, primitive: &str) -> bool {
        self.cache[primitive]["hit"].as_bool().unwrap_or_else(|| panic!("no {primitive} in {}", self.cache))
    }

    #[track_caller]
    fn missed(&self, primitive: &str, why: &str) {
        let cache = &self.cache[primitive];
        assert_eq!(cache["hit"], false, "{cache}");
        assert!(cache["why"].as_str().unwrap().contains(why), "`{why}` is not in {cache}");
    }
}

#[track_caller]
fn run(sandbox: &Sandbox, args: &[&str]) -> Seen {
    let common = ["run", "--rm", "--output", "json"];
    let output = sandbox.recipe(common.iter().chain(args).chain(&["recipe.rhai"])).success();
    let summary: Value = serde_json::from_str(&output.stdout).unwrap();
    let steps = summary["steps"].as_array().unwrap();
    let cached = steps.iter().filter(|step| step["cache"].is_object());
    let cache = cached.map(|step| (step["primitive"].as_str().unwrap().to_owned(), step["cache"].clone()));
    sandbox.assert_nothing_left();
    Seen { outputs: summary["outputs"].clone(), cache: cache.collect(), stderr: output.stderr }
}

/// What is kept is of one day: on the next one it is made anew. Tries again
/// where midnight came between.
fn within_a_day(test: impl Fn()) {
    loop {
        let days = || {
            let now = Timestamp::now();
            [TimeZone::UTC, TimeZone::system()].map(|zone| now.to_zoned_datetime(zone).date())
        };
        let before = days();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&test));
        match outcome {
            Ok(()) => return,
            Err(panic) if before == days() => std::panic::resume_unwind(panic),
            Err(_) => {}
        }
    }
}

/// Whether a sandbox has come so far.
type Moment = fn(&Sandbox) -> bool;

fn entries(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sandbox.path().join("cache/postgres/entries"));
    entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

fn unfinished(sandbox: &Sandbox) -> bool {
    entries(sandbox).iter().any(|path| path.to_string_lossy().contains("/new-"))
}
