//! `recipe bench` and the history: what a set-up takes, and whether it takes
//! longer than it did.

mod harness;

use harness::Sandbox;
use serde_json::Value;

/// Two branches of the same length, beside which a process weighs little.
const RECIPE: &str = r#"
let time = param("time", "400ms");
parallel(#{ one: || sleep(time), two: || sleep("400ms") });
"#;

fn bench(sandbox: &Sandbox, flags: &[&str]) -> Value {
    let args = ["bench", "recipe.rhai", "-n", "3", "--output", "json"];
    let output = sandbox.recipe(args.iter().chain(flags)).success();
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn the_ways_take_turns_and_are_compared() {
    let sandbox = Sandbox::with(RECIPE);
    let found = bench(&sandbox, &[]);
    let modes = found["modes"].as_array().unwrap();
    let names: Vec<_> = modes.iter().map(|mode| mode["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["sequential", "parallel"], "no step has a cache");
    assert!(modes.iter().all(|mode| mode["runs_ms"].as_array().unwrap().len() == 3));
    let ratio = found["ratio"].as_f64().unwrap();
    assert!(ratio < 1.0, "side by side is faster: {found:#}");
    let steps = found["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert!(steps.iter().all(|step| step["medians_ms"]["parallel"].as_f64() >= Some(400.0)), "{found:#}");

    assert!(sandbox.runs().is_empty(), "the records of so many runs are nobody's");
    let history = std::fs::read_to_string(sandbox.path().join("state/history.jsonl")).unwrap();
    // Two that are not counted, and three each way.
    assert_eq!(history.lines().count(), 8);
    sandbox.assert_nothing_left();
}

#[test]
fn what_got_slower_fails_and_is_named() {
    let sandbox = Sandbox::with(RECIPE);
    std::fs::write(sandbox.path().join("base.json"), bench(&sandbox, &[]).to_string()).unwrap();
    // By much more than a busy machine makes of it.
    let sandbox =
        sandbox.file("recipe.rhai", &RECIPE.replace(r#"param("time", "400ms")"#, r#"param("time", "2s")"#));
    let compared = |base: &str, flags: &[&str]| {
        let line = ["bench", "recipe.rhai", "-n", "1", "--compare", base];
        sandbox.recipe(line.iter().chain(flags))
    };
    let output = compared("history", &["--fail-over", "20"]).exits(1);
    for text in [" runs of the history: ", "slower by more than 20 %", "one: sleep 2.00 s: "] {
        assert!(output.stdout.contains(text), "no `{text}` in {}", output.stdout);
    }
    let output = compared("base.json", &["--fail-over", "20%"]).exits(1);
    assert!(output.stdout.contains("compared with base.json: "), "{}", output.stdout);
    compared("base.json", &["--set", "time=400ms", "--fail-over", "900%"]).success();
}

#[test]
fn runs_with_other_parameters_are_not_compared_with() {
    let sandbox = Sandbox::with(RECIPE);
    let compared = |flags: &[&str]| {
        let line = ["bench", "recipe.rhai", "-n", "1", "--compare", "history"];
        sandbox.recipe(line.iter().chain(flags)).success()
    };
    sandbox.recipe(["run", "recipe.rhai", "--rm", "-q"]).success();
    compared(&["--set", "time=10ms"]).says(&["no runs of recipe.rhai with these parameters"]);
    let output = compared(&[]);
    assert!(output.stdout.contains("compared with 1 run of the history"), "{}", output.stdout);
}

#[test]
fn every_run_is_in_the_history_and_can_be_compared_with() {
    let sandbox = Sandbox::with(RECIPE);
    sandbox
        .recipe(["bench", "recipe.rhai", "-n", "1", "--fail-over", "5%"])
        .success()
        .says(&["no runs of recipe.rhai with these parameters to compare with yet"]);
    sandbox.recipe(["test", "recipe.rhai", "-q", "--", "sleep", "0.1"]).success();
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    let history = std::fs::read_to_string(sandbox.path().join("state/history.jsonl")).unwrap();
    let newest: Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
    assert_eq!(newest["run_id"], run.as_str());
    assert_eq!(
        newest["recipe"],
        sandbox.path().canonicalize().unwrap().join("recipe.rhai").to_str().unwrap()
    );
    assert!(newest["test_ms"].as_f64() >= Some(100.0) && newest["setup_ms"].as_f64() >= Some(400.0));
    let found = bench(&sandbox, &["--compare", &run]);
    assert_eq!(found["comparison"]["base"], run.as_str());
}

#[test]
fn what_cannot_be_measured_says_why() {
    let sandbox = Sandbox::with("sh(\"echo the reason; exit 3\");").file("wrong.json", "{}");
    sandbox.recipe(["bench", "recipe.rhai"]).exits(1).says(&[
        "a run failed",
        "the reason",
        "recipe run recipe.rhai",
    ]);
    let bench = |flags: &[&str]| sandbox.recipe(["bench", "recipe.rhai"].iter().chain(flags));
    bench(&["--compare", "wrong.json"])
        .exits(2)
        .says(&["is not what `recipe bench` printed", "--output json"]);
    bench(&["--compare", "nothing"]).exits(1).says(&["no file and no run `nothing` in the history"]);
    bench(&["--fail-over", "much"]).exits(2).says(&["write a percentage such as 20%"]);
    bench(&["-n", "0"]).exits(2);
}
