//! `--reuse` on a real cluster: what stays, what is made anew and why. Run by
//! `make test-kind`, which prepares the container engine and the images.

mod harness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use harness::{Output, Sandbox, told};
use serde_json::Value;

/// Two servers, a migrated and seeded database, and a service that uses it.
const SHOP: &str = r#"
let postgres = param("postgres_image", "");
let redis = param("redis_image", "");
let cluster = create_cluster("shop", #{ reuse: param("reuse", false), images: [postgres, redis] });
let env = parallel(#{
    postgres: || { let pg = deploy_postgres(cluster, #{ image: postgres }); migrate(pg, "sql"); pg },
    redis: || deploy_redis(cluster, #{ image: redis }),
});
sql(env.postgres, "INSERT INTO item VALUES (1, 'apple')");
let site = deploy_service(cluster, "site", #{
    image: redis, command: ["redis-server", "--port", "$(PORT)"], port: 7000,
    env: #{ DATABASE_URL: env.postgres.internal_url, MODE: "plain" },
});
wait_ready(site);
output(#{
    url: site.url, database_url: env.postgres.url, redis_url: env.redis.url,
    items: sql(env.postgres, "SELECT count(*) FROM item")[0].count,
});
"#;

const ITEM: &str = "CREATE TABLE item (id int PRIMARY KEY, name text);";

fn command(sandbox: &Sandbox, args: &[&str]) -> Output {
    let images = [("postgres_image", "POSTGRES"), ("redis_image", "REDIS")]
        .map(|(name, variable)| format!("--set={name}={}", told(&format!("RECIPE_TEST_{variable}_IMAGE"))));
    let common = ["run", "--reuse", "--target", "kind", "--output", "json", "recipe.rhai"];
    sandbox.recipe(common.iter().chain(args).map(|arg| (*arg).to_owned()).chain(images))
}

/// A run with `--reuse`: the summary, and what each step said of reuse.
struct Run {
    summary: Value,
    output: Output,
}

fn reuse(sandbox: &Sandbox, args: &[&str]) -> Run {
    let output = command(sandbox, args).success();
    let summary = serde_json::from_str(&output.stdout).unwrap();
    Run { summary, output }
}

impl Run {
    /// Of the last pass: whether the step was spared, and why or why not.
    #[track_caller]
    fn step(&self, primitive: &str) -> (bool, String) {
        let steps = self.summary["steps"].as_array().unwrap();
        let step = steps.iter().rfind(|step| step["primitive"] == primitive);
        let step = step.unwrap_or_else(|| panic!("no {primitive} in {:#}", self.summary));
        (step["cache"]["hit"] == true, step["cache"]["why"].as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn spared(&self, primitives: &[&str]) {
        for primitive in primitives {
            let (hit, why) = self.step(primitive);
            assert!(hit, "{primitive}: {why}");
        }
    }

    #[track_caller]
    fn anew(&self, primitive: &str, why: &str) {
        let (_, told) = self.step(primitive);
        assert!(told.contains(why) && !told.contains("as it was"), "{primitive}: {told}");
    }
}

/// Runs kubectl in the environment's only cluster, past `recipe`.
#[track_caller]
fn kubectl(sandbox: &Sandbox, args: &[&str]) -> String {
    let scratch = std::fs::read_dir(sandbox.scratch()).unwrap().next().unwrap().unwrap().path();
    let files = std::fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().path());
    let kubeconfigs: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "kubeconfig")).collect();
    let [kubeconfig] = &kubeconfigs[..] else { panic!("{kubeconfigs:?}") };
    let node = kubeconfig.file_stem().unwrap().to_str().unwrap();
    let output = Command::new("docker")
        .args([
            "exec",
            &format!("{node}-control-plane"),
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
        ])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The identities of the containers of the environment, by the name of what they are of.
fn containers(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let shape = r#"jsonpath={range .items[*]}{.metadata.labels.app\.kubernetes\.io/name} {.status.containerStatuses[0].containerID}{"\n"}{end}"#;
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    let pods = kubectl(sandbox, &["get", "pods", "-A", "-l", &format!("recipe/run={run}"), "-o", shape]);
    pods.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .collect()
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn only_what_differs_is_made_anew() {
    let sandbox = Sandbox::with(SHOP).file("sql/001_item.sql", ITEM);
    let first = reuse(&sandbox, &[]);
    first.output.says(&["nothing to reuse", "is up"]);
    let before = containers(&sandbox);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["postgres", "redis", "site"]);

    let all = ["create_cluster", "deploy_postgres", "deploy_redis", "deploy_service", "migrate"];
    let unchanged = reuse(&sandbox, &[]);
    unchanged.spared(&all);
    assert_eq!(unchanged.summary["outputs"], first.summary["outputs"]);
    assert_eq!(unchanged.summary["run_id"], first.summary["run_id"]);
    unchanged.output.says(&["as it was: nothing of it has changed, and it answers"]);
    assert_eq!(containers(&sandbox), before, "nothing was restarted");

    // A service in another way: nothing else is touched.
    let fancy = SHOP.replace("MODE: \"plain\"", "MODE: \"fancy\"");
    let sandbox = sandbox.file("recipe.rhai", &fancy);
    let changed = reuse(&sandbox, &[]);
    changed.anew("deploy_service", "`env.MODE` has changed");
    changed.spared(&["create_cluster", "deploy_postgres", "deploy_redis"]);
    assert_eq!(changed.summary["outputs"], first.summary["outputs"], "it is where it was");
    let after = containers(&sandbox);
    assert_ne!(after["site"], before["site"]);
    assert_eq!((&after["postgres"], &after["redis"]), (&before["postgres"], &before["redis"]));

    // A run that fails before it comes to the cluster leaves all of it up.
    let sandbox = sandbox.file("recipe.rhai", &format!("sh(\"exit 3\");\n{fancy}"));
    command(&sandbox, &[]).exits(1).says(&["was kept", "the next one with --reuse goes on from there"]);
    assert_eq!(containers(&sandbox), after);

    // One that is gone is set up again; its port and password stay.
    let sandbox = sandbox.file("recipe.rhai", &fancy);
    kubectl(&sandbox, &["delete", "deployment", "redis", "-n", "shop"]);
    let gone = reuse(&sandbox, &[]);
    gone.anew("deploy_redis", "`redis` is not in the cluster any more");
    gone.spared(&["deploy_postgres", "deploy_service"]);
    assert_eq!(gone.summary["outputs"], first.summary["outputs"]);

    // Another migration in place of one that was applied: the database is made
    // anew, and what uses it.
    let sandbox = sandbox.file("sql/001_item.sql", &ITEM.replace("name text", "name text, price int"));
    let migrated = reuse(&sandbox, &[]);
    migrated.anew("deploy_postgres", "migration 001_item.sql has changed since it was applied");
    migrated.anew("deploy_service", "`postgres`, which it uses, was made anew");
    migrated.spared(&["create_cluster", "deploy_redis"]);
    assert_eq!(migrated.summary["outputs"]["items"], 1);
    assert_eq!(migrated.summary["outputs"]["database_url"], first.summary["outputs"]["database_url"]);

    // What the recipe does not have any more is taken down.
    let lean = fancy.replace("    redis: || deploy_redis(cluster, #{ image: redis }),\n", "");
    let lean = lean.replace(" redis_url: env.redis.url,", "");
    let sandbox = sandbox.file("recipe.rhai", &lean);
    reuse(&sandbox, &[]).output.says(&["`redis` is not in the recipe now, and was taken down"]);
    assert!(!containers(&sandbox).contains_key("redis"));

    assert_eq!(sandbox.runs().len(), 1, "all runs were of one environment");
    sandbox.recipe(["down"]).success();
    sandbox.assert_nothing_left();
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn a_place_that_is_gone_is_made_anew_with_all_that_was_in_it() {
    // What a killed test has left.
    delete_shared();
    let sandbox = Sandbox::with(SHOP).file("sql/001_item.sql", ITEM);
    let first = reuse(&sandbox, &["--set=reuse=true"]);
    let namespace = kubectl(&sandbox, &["get", "namespaces", "-l", "recipe/run", "-o", "name"]);
    kubectl(&sandbox, &["delete", namespace.trim()]);
    let again = reuse(&sandbox, &["--set=reuse=true"]);
    again.anew("deploy_redis", "`cluster shop`, which it uses, was made anew");
    assert_eq!(again.summary["outputs"], first.summary["outputs"]);
    again.output.says(&["`cluster shop` is made anew: its namespace", "is gone"]);
    sandbox.recipe(["down"]).success();
    sandbox.assert_nothing_left();
    delete_shared();
}

/// Deletes the cluster that outlives its run.
fn delete_shared() {
    let kind = std::env::var_os("RECIPE_KIND").unwrap_or("kind".into());
    let deleted = Command::new(kind).args(["delete", "cluster", "--quiet", "--name", "shop"]).status();
    assert!(deleted.unwrap().success());
}
