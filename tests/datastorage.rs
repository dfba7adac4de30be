//! The main job: the DataStorage service with its databases, set up by the
//! recipe of this repository on real servers.

mod harness;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use harness::live::{eventually, runs};
use harness::{Output, Sandbox};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const RECIPE: &str = "recipes/datastorage.rhai";

/// Sets up with the service as `cargo test` has built it.
fn set_up(sandbox: &Sandbox, args: &[&str]) -> (Output, Value) {
    let common = ["run", "--output", "json", "--set", "profile=dev", RECIPE];
    let output = sandbox.command(common.iter().chain(args)).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = Output::from(output.unwrap()).success();
    let summary = serde_json::from_str(&output.stdout).unwrap();
    (output, summary)
}

/// Runs a shell command with the environment's outputs as variables.
fn sh(sandbox: &Sandbox, script: &str) -> String {
    let exports = sandbox.recipe(["env"]).success().stdout;
    let output = Command::new("sh").arg("-c").arg(format!("{exports}\n{script}")).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// The password in `scheme://user:password@host`.
fn password(url: &Value) -> &str {
    let (rest, _) = url.as_str().unwrap().split_once('@').unwrap();
    rest.rsplit_once(':').unwrap().1
}

#[test]
fn sets_up_and_takes_down() {
    let sandbox = Sandbox::new();
    let (output, summary) = set_up(&sandbox, &["--rm"]);

    let fields = "run_id recipe target outcome wall_ms teardown_ms sequential_ms critical_path_ms critical_path \
                  steps outputs error";
    assert_eq!(keys(&summary), fields.split_whitespace().collect());
    let fields = "id parent branch primitive title start_ms end_ms outcome cache";
    for step in summary["steps"].as_array().unwrap() {
        assert_eq!(keys(step), fields.split_whitespace().collect());
        assert_eq!(step["outcome"], "succeeded", "{step}");
    }
    assert_eq!(summary["recipe"], RECIPE);
    assert_eq!(summary["target"], "local");
    assert_eq!(summary["outcome"], "succeeded");
    assert_eq!(summary["error"], Value::Null);
    assert!(summary["wall_ms"].as_f64() > Some(0.0) && summary["teardown_ms"].as_f64() > Some(0.0));
    assert!(!summary["critical_path"].as_array().unwrap().is_empty());
    assert_eq!(keys(&summary["outputs"]), ["database_url", "redis_url", "url"].into());

    for url in ["database_url", "redis_url"] {
        let secret = password(&summary["outputs"][url]);
        assert_eq!(secret.len(), 24);
        assert!(!output.stderr.contains(secret), "{}", output.stderr);
        assert!(files_with(&sandbox.run_folder(), secret).is_empty());
    }
    sandbox.assert_nothing_left();
    assert_eq!(sandbox.runs()[0]["state"], "down");
    output.says(&["set up in", "critical path", "nothing is left"]);
}

/// Names of the files below `folder` that hold `text`.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let found = Command::new("grep").args(["-rlF", text, "."]).current_dir(folder).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().map(|path| path.trim_start_matches("./").to_owned()).collect()
}

#[test]
fn stays_up_to_be_used_and_goes_down_once() {
    let sandbox = Sandbox::new();
    let (output, summary) = set_up(&sandbox, &[]);
    let run = summary["run_id"].as_str().unwrap();
    output.says(&[&format!("{run} is up"), &format!("recipe down {run}"), "postgres://app:***@127.0.0.1:"]);

    let listed = sandbox.recipe(["ls"]).success().stdout;
    assert!(listed.lines().any(|line| line.starts_with(run) && line.contains(" up ")), "{listed}");
    let status = sandbox.recipe(["status"]).success().stdout;
    for word in ["postgres", "redis", "datastorage", "running for", run] {
        assert!(status.contains(word), "{word} is not in {status}");
    }

    // What `recipe env` prints is what a shell reads and what clients take.
    assert_eq!(sh(&sandbox, r#"psql "$DATABASE_URL" -tAc 'SELECT count(*) FROM audit_events'"#), "1");
    assert_eq!(sh(&sandbox, r#"redis-cli --no-auth-warning -u "$REDIS_URL" PING"#), "PONG");
    assert_eq!(sh(&sandbox, r#"curl -fsS -o /dev/null -w '%{http_code}' "$URL/readyz""#), "200");
    let outputs: Value =
        serde_json::from_str(&sandbox.recipe(["env", "--output", "json"]).success().stdout).unwrap();
    assert_eq!(outputs, summary["outputs"]);
    let kept = sandbox.run_folder().join("outputs.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let listing = Command::new("ps").args(["-eo", "args="]).output().unwrap();
    let listing = String::from_utf8_lossy(&listing.stdout);
    for url in ["database_url", "redis_url"] {
        assert!(!listing.contains(password(&summary["outputs"][url])), "{listing}");
    }

    let logs = sandbox.recipe(["logs"]).success().stdout;
    for line in ["postgres | ", "redis | ", "datastorage | "] {
        assert!(logs.contains(line), "{line} is not in {logs}");
    }
    let logs = sandbox.recipe(["logs", "postgres", "-n", "1"]).success().stdout;
    assert_eq!(logs.lines().count(), 1, "{logs}");
    sandbox
        .recipe(["logs", run, "postgre"])
        .exits(1)
        .says(&["has no log of `postgre`", "it has logs of: datastorage, postgres, redis"]);

    sandbox.recipe(["down"]).success().says(&[&format!("{run} is down")]);
    sandbox.assert_nothing_left();
    sandbox.recipe(["down"]).success().says(&["nothing is up"]);
    sandbox.recipe(["down", run]).success().says(&["was down already"]);
    sandbox.recipe(["env"]).exits(1).says(&["no environment is up"]);
    assert_eq!(sandbox.runs()[0]["state"], "down");
}

#[test]
fn events_outlive_a_database_that_stands_still() {
    let sandbox = Sandbox::new();
    let (_, summary) = set_up(&sandbox, &[]);
    let status = sandbox.recipe(["status", "--output", "json"]).success().stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    let processes = status["processes"].as_array().unwrap();
    let postgres = processes.iter().find(|process| process["name"] == "postgres").unwrap();
    let postgres = i32::try_from(postgres["process"]["pid"].as_i64().unwrap()).unwrap();

    let stopped = signal_tree(postgres, Signal::SIGSTOP);
    let event = json!({
        "event_type": "outage.checked", "actor": "test", "resource_type": "database", "resource_id": "1",
        "outcome": "success", "event_data": {},
    });
    let post = format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' -H 'content-type: application/json' -d '{event}' \
         \"$URL/api/v1/audit/events\""
    );
    let waiting = r#"redis-cli --no-auth-warning -u "$REDIS_URL" XLEN datastorage:dlq"#;
    assert_eq!(sh(&sandbox, &post), "202");
    assert_eq!(sh(&sandbox, waiting), "1");

    for pid in stopped {
        kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
    }
    eventually("the queue is drained", || sh(&sandbox, waiting) == "0");
    let stored = r#"psql "$DATABASE_URL" -tAc "SELECT count(*) FROM audit_events WHERE event_type = 'outage.checked'""#;
    assert_eq!(sh(&sandbox, stored), "1");

    let run = summary["run_id"].as_str().unwrap();
    sandbox.recipe(["down", run]).success();
    sandbox.assert_nothing_left();
    assert!(!runs(postgres));
}

/// Signals a server first, so that it has no new children, then its children.
fn signal_tree(server: i32, signal: Signal) -> Vec<i32> {
    kill(Pid::from_raw(server), signal).unwrap();
    let children = Command::new("pgrep").args(["-P", &server.to_string()]).output().unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    let children: Vec<i32> = children.lines().map(|pid| pid.parse().unwrap()).collect();
    for child in &children {
        kill(Pid::from_raw(*child), signal).unwrap();
    }
    children.into_iter().chain([server]).collect()
}
