//! Databases of earlier runs on a real cluster: what is served, what never is,
//! and what is said of it. Run by `make test-kind`, which prepares the container
//! engine and the images.

mod harness;

use std::process::{Command, Stdio};

use harness::{Output, Sandbox, told};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Deploys and migrates, and dumps what came of it.
const RECIPE: &str = r#"
let cluster = create_cluster("cache-test", #{ reuse: true });
let pg = deploy_postgres(cluster, #{ image: param("image", ""), database: "shop", timeout: "5m" });
migrate(pg, "sql");
output(#{
    dump: sh("pg_dump --no-owner \"$DB\"", #{ env: #{ DB: pg.url } }).stdout,
    databases: sql(pg, "SELECT datname FROM pg_database ORDER BY 1"),
});
"#;

const FIRST: &str =
    "CREATE TABLE fruit (id int PRIMARY KEY, name text); INSERT INTO fruit VALUES (1, 'apple');";

fn sandbox() -> Sandbox {
    Sandbox::with(RECIPE)
        .file("sql/001_fruit.sql", FIRST)
        .file("sql/002_more.sql", "INSERT INTO fruit VALUES (2, 'pear');")
}

fn command(sandbox: &Sandbox, args: &[&str]) -> Command {
    let image = format!("image={}", told("RECIPE_TEST_POSTGRES_IMAGE"));
    let common = ["run", "--rm", "--target", "kind", "--output", "json", "recipe.rhai", "--set", &image];
    sandbox.command(common.iter().chain(args).copied())
}

/// What a run came to.
struct Run(Value);

impl Run {
    fn of(output: Output) -> Self {
        Self(serde_json::from_str(&output.success().stdout).unwrap())
    }

    fn new(sandbox: &Sandbox, args: &[&str]) -> Self {
        Self::of(command(sandbox, args).output().unwrap().into())
    }

    /// What a step said of the cache.
    #[track_caller]
    fn cache(&self, primitive: &str) -> (bool, String) {
        let steps = self.0["steps"].as_array().unwrap();
        let step = steps.iter().rfind(|step| step["primitive"] == primitive).unwrap();
        (step["cache"]["hit"] == true, step["cache"]["why"].as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn hit(&self, primitive: &str, why: &str) {
        let (hit, told) = self.cache(primitive);
        assert!(hit && told.contains(why), "{primitive}: {told}");
    }

    #[track_caller]
    fn missed(&self, primitive: &str, why: &str) {
        let (hit, told) = self.cache(primitive);
        assert!(!hit && told.contains(why), "{primitive}: {told}");
    }

    /// The dump, without the marks and the points in time that differ from run to run.
    fn dump(&self) -> String {
        let dump = self.0["outputs"]["dump"].as_str().unwrap();
        // Some versions count the changes of columns, which pg_dump then tells.
        let dump =
            dump.lines().filter(|line| !line.contains("SET (pg_attver=")).collect::<Vec<_>>().join("\n");
        let lines =
            dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        let field = |field: &str| {
            if field.len() > 18 && field.starts_with("20") { "TIME".to_owned() } else { field.to_owned() }
        };
        lines
            .map(|line| line.split('\t').map(field).collect::<Vec<_>>().join("\t"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// What is kept is of a day: a test that meets midnight is done again.
fn within_a_day(test: impl Fn()) {
    let days = || {
        let now = Timestamp::now();
        [TimeZone::UTC, TimeZone::system()].map(|zone| now.to_zoned_datetime(zone).date())
    };
    loop {
        let before = days();
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(&test)) {
            Ok(()) => return,
            Err(panic) if before == days() => std::panic::resume_unwind(panic),
            Err(_) => {}
        }
    }
}

/// The cluster that the runs of a test share; one that a killed test has left
/// goes first.
struct Shared;

impl Shared {
    fn new() -> Self {
        delete_cluster();
        Self
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        delete_cluster();
    }
}

fn delete_cluster() {
    let kind = std::env::var_os("RECIPE_KIND").unwrap_or("kind".into());
    let _ = Command::new(kind).args(["delete", "cluster", "--quiet", "--name", "cache-test"]).status();
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn a_pod_starts_migrated_and_equal_to_one_that_does_not() {
    let _shared = Shared::new();
    within_a_day(|| {
        let sandbox = sandbox();
        let first = Run::new(&sandbox, &[]);
        first.missed("deploy_postgres", "nothing cached yet");
        first.missed("migrate", "nothing cached yet");
        let second = Run::new(&sandbox, &[]);
        second.hit("deploy_postgres", "made at ");
        second.hit("migrate", "all 2 were applied at ");
        let fresh = Run::new(&sandbox, &["--no-cache=postgres"]);
        fresh.missed("deploy_postgres", "--no-cache");
        assert!(second.dump().contains("pear"));
        assert_eq!(second.dump(), fresh.dump());
        assert_eq!(second.dump(), first.dump());

        // One more: only that is applied.
        let sandbox = sandbox.file("sql/003_new.sql", "CREATE TABLE third (id int);");
        let longer = Run::new(&sandbox, &[]);
        longer.missed("migrate", "sql/003_new.sql is new since ");
        longer.missed("migrate", "; 2 of 3 were applied at ");
        assert_eq!(longer.dump(), Run::new(&sandbox, &["--no-cache=postgres"]).dump());

        // The first one changed: nothing that was kept may serve, but the server's own data.
        let sandbox = sandbox.file("sql/001_fruit.sql", &FIRST.replace("apple", "fig"));
        let changed = Run::new(&sandbox, &[]);
        changed.hit("deploy_postgres", "made at ");
        changed.missed("migrate", "sql/001_fruit.sql changed since ");
        assert!(changed.dump().contains("fig") && !changed.dump().contains("apple"));
        Run::new(&sandbox, &[]).hit("migrate", "all 3 were applied at ");

        // Whoever writes before keeps what was written.
        let own = "sql(pg, \"CREATE TABLE own (id int)\");\nmigrate(pg";
        let sandbox = sandbox.file("recipe.rhai", &RECIPE.replace("migrate(pg", own));
        let wrote = Run::new(&sandbox, &[]);
        // Either is told: the connection that wrote may not be gone yet.
        wrote.missed("migrate", " to the ");
        assert!(wrote.dump().contains("public.own"));

        let listed = sandbox.recipe(["cache", "ls"]).success().stdout;
        assert!(listed.contains("database shop with 3 migrations"), "{listed}");
        sandbox.recipe(["cache", "prune", "--all"]).success();
        let sandbox = sandbox.file("recipe.rhai", RECIPE);
        Run::new(&sandbox, &[]).missed("deploy_postgres", "what was kept of it was removed meanwhile");
        sandbox.assert_nothing_left();
    });
    let containers =
        Command::new("docker").args(["ps", "-aq", "--filter", "name=recipe-keep"]).output().unwrap();
    assert_eq!(String::from_utf8(containers.stdout).unwrap(), "", "the servers that keep are gone");
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn two_runs_at_once_share_what_is_kept() {
    let _shared = Shared::new();
    within_a_day(|| {
        let sandbox = sandbox();
        let both = || {
            let start =
                || command(&sandbox, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let runs = [start(), start()].map(|run| Run::of(run.wait_with_output().unwrap().into()));
            assert_eq!(runs[0].dump(), runs[1].dump());
            runs
        };
        both();
        for run in both() {
            run.hit("migrate", "all 2 were applied at ");
        }
        assert_eq!(sandbox.recipe(["cache", "ls"]).success().stdout.matches("with 2 migrations").count(), 1);
        sandbox.assert_nothing_left();
    });
}
