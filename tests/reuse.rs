//! `--reuse` with real servers: what stays, what is made anew and why, and what
//! the records say of it.

mod harness;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{Output, Sandbox};
use serde_json::Value;

/// Two servers, a migrated and seeded database, and a service that uses it.
const SHOP: &str = r#"
let token = random_password();
let port = random_port();
let cluster = create_cluster("shop");
let env = parallel(#{
    postgres: || { let pg = deploy_postgres(cluster); migrate(pg, "sql"); pg },
    redis: || deploy_redis(cluster),
});
sql(env.postgres, "INSERT INTO item VALUES (1, 'apple')");
let site = deploy_service(cluster, "site", #{
    command: ["python3", "-m", "http.server", "--bind", "$(HOST)", "$(PORT)"], port: 8000, ready: "/",
    env: #{ DATABASE_URL: env.postgres.internal_url, MODE: "plain" },
});
wait_ready(site);
output(#{
    token: token, port: port, url: site.url, database_url: env.postgres.url, redis_url: env.redis.url,
    items: sql(env.postgres, "SELECT count(*) FROM item")[0].count,
});
"#;

const ITEM: &str = "CREATE TABLE item (id int PRIMARY KEY, name text);";

fn shop() -> Sandbox {
    Sandbox::with(SHOP).file("sql/001_item.sql", ITEM)
}

/// A run with `--reuse`: the summary, and what each step said of reuse.
struct Run {
    summary: Value,
    output: Output,
}

fn reuse(sandbox: &Sandbox) -> Run {
    let output = sandbox.recipe(["run", "--reuse", "--output", "json", "recipe.rhai"]).success();
    let summary = serde_json::from_str(&output.stdout).unwrap();
    Run { summary, output }
}

impl Run {
    /// Of the last pass: whether the step was spared, and why or why not.
    #[track_caller]
    fn step(&self, primitive: &str, title: &str) -> (bool, String) {
        let steps = self.summary["steps"].as_array().unwrap();
        let step = steps.iter().rfind(|step| step["primitive"] == primitive && step["title"] == title);
        let step = step.unwrap_or_else(|| panic!("no {primitive} {title} in {:#}", self.summary));
        let cache = &step["cache"];
        (cache["hit"] == true, cache["why"].as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn spared(&self, primitive: &str, title: &str) {
        let (hit, why) = self.step(primitive, title);
        assert!(hit, "{primitive} {title}: {why}");
    }

    /// A server that is made anew may still be made of what is kept of others.
    #[track_caller]
    fn anew(&self, primitive: &str, title: &str, why: &str) {
        let (_, told) = self.step(primitive, title);
        assert!(told.contains(why) && !told.contains("as it was"), "{primitive} {title}: {told}");
    }
}

/// Processes of the environment that run, by name.
fn pids(sandbox: &Sandbox) -> BTreeMap<String, i64> {
    let status: Value =
        serde_json::from_str(&sandbox.recipe(["status", "--output", "json"]).success().stdout).unwrap();
    let running = status["processes"].as_array().unwrap().iter().filter(|process| process["ended"].is_null());
    running
        .map(|process| {
            (process["name"].as_str().unwrap().to_owned(), process["process"]["pid"].as_i64().unwrap())
        })
        .collect()
}

#[track_caller]
fn down(sandbox: &Sandbox) {
    assert_eq!(sandbox.runs().len(), 1, "all runs were of one environment");
    sandbox.recipe(["down"]).success();
    sandbox.assert_nothing_left();
}

/// Makes a named pipe, through which a recipe tells the test how far it is.
fn pipe(sandbox: &Sandbox, name: &str) {
    assert!(Command::new("mkfifo").arg(sandbox.path().join(name)).status().unwrap().success());
}

/// Waits until somebody has written to the pipe.
fn hear(sandbox: &Sandbox, name: &str) {
    let path = sandbox.path().join(name);
    in_time(move || std::fs::read(path).unwrap());
}

/// Fails where something does not come.
fn in_time<T: Send + 'static>(wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (said, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || said.send(wait()));
    heard.recv_timeout(Duration::from_mins(1)).expect("it comes in time")
}

fn kill(pid: i64) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn unchanged_everything_stays_and_is_verified() {
    let sandbox = shop();
    let first = reuse(&sandbox);
    first.output.says(&["nothing to reuse", "setting one up", "is up"]);
    let before = pids(&sandbox);
    for _ in 0..2 {
        let again = reuse(&sandbox);
        assert_eq!(again.summary["outputs"], first.summary["outputs"], "random values stay, too");
        assert_eq!(again.summary["run_id"], first.summary["run_id"]);
        for thing in [("deploy_postgres", "postgres"), ("deploy_redis", "redis"), ("deploy_service", "site")]
        {
            again.spared(thing.0, thing.1);
        }
        again.spared("sql", "INSERT INTO item VALUES (1, 'apple')");
        again.spared("migrate", "sql");
        assert_eq!(pids(&sandbox), before, "nothing was restarted");
        let token = first.summary["outputs"]["token"].as_str().unwrap();
        again.output.says(&["reusing", "set up"]);
        let record = std::fs::read_to_string(sandbox.run_folder().join("events.jsonl")).unwrap();
        assert!(!record.contains(token), "a secret of an earlier process stays one");
    }
    let env = sandbox.recipe(["env"]).success();
    assert!(env.stdout.contains(first.summary["outputs"]["url"].as_str().unwrap()), "{}", env.stdout);
    down(&sandbox);
}

#[test]
fn what_has_changed_is_made_anew_and_nothing_else() {
    let sandbox = shop();
    let first = reuse(&sandbox);
    let before = pids(&sandbox);
    let sandbox = sandbox.file("recipe.rhai", &SHOP.replace("MODE: \"plain\"", "MODE: \"fancy\""));
    let changed = reuse(&sandbox);
    changed.anew("deploy_service", "site", "`env.MODE` has changed");
    changed.spared("deploy_postgres", "postgres");
    assert_eq!(changed.summary["outputs"], first.summary["outputs"], "it is where it was");
    changed.output.says(&["`site` is made anew: `env.MODE` has changed"]);
    let after = pids(&sandbox);
    assert_ne!(after["site"], before["site"]);
    assert_eq!((after["postgres"], after["redis"]), (before["postgres"], before["redis"]));
    let environ =
        std::fs::read_to_string(format!("/proc/{}/environ", after["site"])).unwrap_or("MODE=fancy".into());
    assert!(environ.contains("MODE=fancy"), "{environ}");
    reuse(&sandbox).spared("deploy_service", "site");
    down(&sandbox);
}

#[test]
fn added_migrations_are_applied_and_changed_ones_make_the_database_anew() {
    let sandbox = shop();
    reuse(&sandbox);
    let before = pids(&sandbox);
    let sandbox = sandbox.file("sql/002_note.sql", "CREATE TABLE note (id int);");
    let added = reuse(&sandbox);
    added.anew("migrate", "sql", "1 applied, 1 were already");
    added.spared("sql", "INSERT INTO item VALUES (1, 'apple')");
    assert_eq!(pids(&sandbox), before);

    let sandbox =
        sandbox.file("sql/001_item.sql", "CREATE TABLE item (id int PRIMARY KEY, name text, price int);");
    let changed = reuse(&sandbox);
    changed.anew("deploy_postgres", "postgres", "migration 001_item.sql has changed since it was applied");
    changed.anew("deploy_service", "site", "`postgres`, which it uses, was made anew");
    changed.anew("sql", "INSERT INTO item VALUES (1, 'apple')", "not yet done to `postgres`");
    changed.spared("deploy_redis", "redis");
    assert_eq!(changed.summary["outputs"]["items"], 1);
    assert_eq!(changed.summary["outputs"]["database_url"], added.summary["outputs"]["database_url"]);
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'item'";
    let sandbox = sandbox.file(
        "recipe.rhai",
        &format!("{SHOP}output(#{{ columns: sql(env.postgres, \"{columns}\")[0].count }});"),
    );
    let looked = reuse(&sandbox);
    assert_eq!(looked.summary["outputs"]["columns"], 3, "it has the schema of the files as they are");
    looked.spared("deploy_postgres", "postgres");
    down(&sandbox);
}

#[test]
fn other_statements_make_the_database_anew() {
    let sandbox = shop();
    reuse(&sandbox);
    let pear = SHOP.replace("(1, 'apple')", "(2, 'pear'), (3, 'fig')");
    let sandbox = sandbox.file("recipe.rhai", &pear);
    let other = reuse(&sandbox);
    other.anew("deploy_postgres", "postgres", "`sql INSERT INTO item VALUES (1, 'apple')` was done to it");
    assert_eq!(other.summary["outputs"]["items"], 2, "the earlier row is gone");
    other.output.says(&["the recipe begins again, with another `postgres`"]);

    let none = pear.replace("sql(env.postgres, \"INSERT", "// sql(env.postgres, \"INSERT");
    let sandbox = sandbox.file("recipe.rhai", &none);
    let fewer = reuse(&sandbox);
    fewer.anew("deploy_postgres", "postgres", "was done to it");
    assert_eq!(fewer.summary["outputs"]["items"], 0);
    down(&sandbox);
}

#[test]
fn the_dead_are_set_up_again_with_what_uses_them() {
    let sandbox = shop();
    let first = reuse(&sandbox);
    let before = pids(&sandbox);
    kill(before["redis"]);
    let redis = reuse(&sandbox);
    redis.anew("deploy_redis", "redis", "`redis` does not run any more");
    redis.spared("deploy_postgres", "postgres");
    redis.spared("deploy_service", "site");
    assert_eq!(redis.summary["outputs"], first.summary["outputs"], "password and port are as they were");

    let before = pids(&sandbox);
    kill(before["postgres"]);
    let postgres = reuse(&sandbox);
    postgres.anew("deploy_postgres", "postgres", "`postgres` does not run any more");
    postgres.anew("deploy_service", "site", "`postgres`, which it uses, was made anew");
    assert_eq!(postgres.summary["outputs"], first.summary["outputs"], "also what is in the database");
    assert_eq!(pids(&sandbox)["redis"], before["redis"]);
    down(&sandbox);
}

#[test]
fn what_hangs_does_not_pass_for_alive() {
    let sandbox = shop();
    reuse(&sandbox);
    let before = pids(&sandbox);
    let pid = nix::unistd::Pid::from_raw(before["redis"].try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    let again = reuse(&sandbox);
    again.anew("deploy_redis", "redis", "Redis to answer PING");
    assert_ne!(pids(&sandbox)["redis"], before["redis"]);
    down(&sandbox);
}

#[test]
fn what_is_not_in_the_recipe_now_is_taken_down() {
    let sandbox = shop();
    reuse(&sandbox);
    let lean =
        SHOP.replace("    redis: || deploy_redis(cluster),\n", "").replace(" redis_url: env.redis.url,", "");
    let sandbox = sandbox.file("recipe.rhai", &lean);
    reuse(&sandbox).output.says(&["`redis` is not in the recipe now, and was taken down"]);
    assert!(!pids(&sandbox).contains_key("redis"));
    reuse(&sandbox).output.never_says(&["not in the recipe now"]);
    let sandbox = sandbox.file("recipe.rhai", SHOP);
    reuse(&sandbox).anew("deploy_redis", "redis", "it was not there");
    down(&sandbox);
}

#[test]
fn a_run_that_fails_leaves_up_what_there_is() {
    let sandbox = shop();
    reuse(&sandbox);
    let before = pids(&sandbox);
    let sandbox = sandbox.file("recipe.rhai", &SHOP.replace("wait_ready(site);", "sh(\"exit 3\");"));
    let failed = sandbox.recipe(["run", "--reuse", "recipe.rhai"]).exits(1);
    failed.says(&["exit code 3", "was kept", "the next one with --reuse goes on from there"]);
    assert_eq!(pids(&sandbox), before);
    assert_eq!(sandbox.runs()[0]["state"], "kept");
    let sandbox = sandbox.file("recipe.rhai", SHOP);
    reuse(&sandbox).spared("deploy_service", "site");
    assert_eq!(sandbox.runs()[0]["state"], "up");
    down(&sandbox);
}

#[test]
fn other_parameters_are_another_environment() {
    let recipe = "let size = param(\"size\", 1);\ndeploy_redis(create_cluster(\"c\"), #{ settings: #{ databases: size } });";
    let sandbox = Sandbox::with(recipe);
    reuse(&sandbox);
    let other = sandbox.recipe(["run", "--reuse", "--set", "size=2", "recipe.rhai"]).success();
    other.says(&["is up with other parameters; setting up a new environment"]);
    assert_eq!(sandbox.runs().len(), 2);
    reuse(&sandbox).spared("deploy_redis", "redis");
    assert_eq!(sandbox.runs().len(), 2);
    sandbox.recipe(["down", "--all"]).success();
    sandbox.assert_nothing_left();
}

#[test]
fn tests_leave_up_what_they_reuse() {
    let sandbox = shop();
    let test = ["test", "--reuse", "recipe.rhai", "--", "sh", "-c"];
    let command = |line: &str| sandbox.recipe(test.iter().copied().chain([line]));
    command("test -n \"$DATABASE_URL\"").success();
    let before = pids(&sandbox);
    command("exit 7").exits(7).says(&["is up"]);
    assert_eq!(pids(&sandbox), before);
    assert_eq!(sandbox.runs()[0]["state"], "up", "the tests failed, and not the set-up");
    down(&sandbox);
}

#[test]
fn nonsense_is_refused() {
    let sandbox = shop();
    sandbox.recipe(["run", "--reuse", "--rm", "recipe.rhai"]).exits(2).says(&["cannot be used with"]);
    sandbox.recipe(["run", "--reuse", "--no-cache", "recipe.rhai"]).exits(2).says(&["cannot be used with"]);
}

#[test]
fn two_at_once_take_turns() {
    let recipe = "let redis = deploy_redis(create_cluster(\"c\"));\nsh(read_file(\"command\"));\noutput(#{ url: redis.url });";
    let sandbox = Sandbox::with(recipe).file("command", "echo > begun; cat go");
    pipe(&sandbox, "begun");
    pipe(&sandbox, "go");
    let start = || {
        let mut command = sandbox.command(["run", "--reuse", "--output", "json", "recipe.rhai"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let first = start();
    hear(&sandbox, "begun");
    let mut second = start();
    let mut told = BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("another run with --reuse is at work"), "{line}");
    let sandbox = sandbox.file("command", "true");
    std::fs::write(sandbox.path().join("go"), "").unwrap();
    // Somebody has to read on, or the second one may stand still.
    let rest = std::thread::spawn(move || std::io::read_to_string(told).unwrap());
    let outputs = [first, second].map(|run| {
        let output: Output = run.wait_with_output().unwrap().into();
        serde_json::from_str::<Value>(&output.success().stdout).unwrap()["outputs"].clone()
    });
    assert_eq!(outputs[0], outputs[1], "both have the same environment");
    assert!(rest.join().unwrap().contains("reusing"));
    down(&sandbox);
}

#[test]
fn a_killed_run_leaves_the_environment_to_the_next() {
    let recipe = "let redis = deploy_redis(create_cluster(\"c\"));\nsh(read_file(\"command\"));";
    let sandbox = Sandbox::with(recipe).file("command", "true");
    reuse(&sandbox);
    let before = pids(&sandbox);
    let sandbox = sandbox.file("command", "exec 3> begun; echo here >&3; exec sleep 600");
    pipe(&sandbox, "begun");
    let mut killed =
        sandbox.command(["run", "--reuse", "recipe.rhai"]).stderr(Stdio::null()).spawn().unwrap();
    let path = sandbox.path().join("begun");
    let mut told = in_time(move || BufReader::new(std::fs::File::open(path).unwrap()));
    told.read_line(&mut String::new()).unwrap();
    assert_eq!(sandbox.runs()[0]["state"], "running");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(sandbox.runs()[0]["state"], "kept", "the environment has outlived it");
    assert_eq!(pids(&sandbox), before);
    // The command had its end of the pipe open until the supervisor ended it.
    in_time(move || std::io::read_to_string(told).unwrap());
    let sandbox = sandbox.file("command", "true");
    reuse(&sandbox).spared("deploy_redis", "redis");
    down(&sandbox);
}

#[test]
fn what_followed_a_reset_is_still_there() {
    let recipe = "let pg = deploy_postgres(create_cluster(\"c\"));\nmigrate(pg, \"sql\");\nreset(pg);\n\
                  sql(pg, \"INSERT INTO item VALUES (1)\");\n";
    let count = "output(#{ items: sql(pg, \"SELECT count(*) FROM item\")[0].count });";
    let sandbox = Sandbox::with(recipe).file("sql/001_item.sql", ITEM);
    reuse(&sandbox);
    let sandbox = sandbox.file("recipe.rhai", &format!("{recipe}{count}"));
    let counted = reuse(&sandbox);
    counted.spared("reset", "postgres");
    assert_eq!(counted.summary["outputs"]["items"], 1);
    down(&sandbox);
}
