//! Environments that are left up for a time.

mod harness;

use harness::Sandbox;
use harness::live::eventually;

const REDIS: &str = "deploy_redis(create_cluster(\"c\"));";

#[test]
fn an_environment_goes_down_when_its_time_is_over() {
    let sandbox = Sandbox::with(REDIS);
    sandbox
        .recipe(["run", "--ttl", "1s", "recipe.rhai"])
        .success()
        .says(&["is up", "by itself it goes down in 1.00 s"]);
    // Its supervisor becomes the `recipe down` that writes this.
    let is_down = || sandbox.runs()[0]["state"] == "down";
    eventually("the environment is down", || is_down() && sandbox.processes().is_empty());
    sandbox.assert_nothing_left();
    assert_eq!(sandbox.open_entries(), [""; 0]);
    sandbox.recipe(["ls"]).success().says(&["no environment is up"]);
}

#[test]
fn a_failed_run_that_was_kept_goes_down_too() {
    let sandbox = Sandbox::with(&format!("{REDIS}throw \"enough\";"));
    let args = ["run", "--keep", "on-failure", "--ttl", "1s", "recipe.rhai"];
    sandbox.recipe(args).exits(1).says(&["was kept", "by itself it goes down in"]);
    let is_down = || sandbox.runs()[0]["state"] == "down";
    eventually("the environment is down", || is_down() && sandbox.processes().is_empty());
    sandbox.assert_nothing_left();
    assert_eq!(sandbox.open_entries(), [""; 0]);
}

#[test]
fn ls_and_status_tell_how_much_time_is_left() {
    let sandbox = Sandbox::with(REDIS);
    sandbox.recipe(["run", "-q", "--ttl", "8h", "recipe.rhai"]).success();
    for command in ["ls", "status"] {
        let text = sandbox.recipe([command]).success().stdout;
        assert!(text.to_lowercase().contains("ends in") && text.contains("479 m "), "{text}");
        let json = sandbox.recipe([command, "--output", "json"]).success().stdout;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["expires"].is_string() || json[0]["expires"].is_string(), "{json}");
    }
    sandbox.recipe(["down"]).success();
    assert!(sandbox.runs()[0]["expires"].is_null());
}

#[test]
fn without_a_time_it_stays() {
    let sandbox = Sandbox::with(REDIS);
    sandbox.recipe(["run", "-q", "recipe.rhai"]).success().never_says(&["by itself"]);
    assert!(!sandbox.recipe(["ls"]).success().stdout.contains("ENDS IN"));
    sandbox.recipe(["run", "--ttl", "10", "recipe.rhai"]).exits(2).says(&["did you mean \"10s\"?"]);
    sandbox.recipe(["down"]).success();
}
