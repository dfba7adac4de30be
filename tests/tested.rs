//! `recipe test`: the command has the outputs, the terminal and the last word.

mod harness;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use harness::live::{eventually, runs};
use harness::terminal::Terminal;
use harness::{Output, Sandbox};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Something that is up, and outputs of all sorts.
const RECIPE: &str = r#"
deploy_service(create_cluster("c"), "patient", #{ command: ["sleep", "600"] });
on_exit(|| write_file("hook", "called"));
output(#{ url: "http://127.0.0.1:1/?a='b'", "max-users": 3, secret: random_password() });
"#;

/// `recipe test recipe.rhai FLAGS -- sh -c SCRIPT`.
fn test(sandbox: &Sandbox, flags: &[&str], script: &str) -> Output {
    let command = ["--", "sh", "-c", script];
    sandbox.recipe(["test", "recipe.rhai"].iter().chain(flags).chain(&command))
}

#[test]
fn the_command_has_outputs_and_its_code_is_passed() {
    let sandbox = Sandbox::with(RECIPE);
    let script = r#"echo "$URL $MAX_USERS ${#SECRET} $RECIPE_RUN"; cat .env; [ ! -e hook ] && exit 7"#;
    let output = test(&sandbox, &["--env-file", ".env"], script).exits(7);
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    let mut lines = output.stdout.lines();
    assert_eq!(lines.next(), Some(format!("http://127.0.0.1:1/?a='b' 3 24 {run}").as_str()));
    let file: Vec<&str> = lines.collect();
    assert_eq!([file[0], file[2]], ["MAX_USERS=3", r"URL='http://127.0.0.1:1/?a='\''b'\'''"]);
    let written = sandbox.path().join(".env").metadata().unwrap();
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    assert!(sandbox.path().join("hook").exists(), "hooks run after the tests");
    output.says(&["tests: exit code 7", "set-up", "test", "teardown"]);
    assert_eq!(sandbox.runs()[0]["state"], "down");
    sandbox.assert_nothing_left();
}

#[test]
fn a_signal_that_ends_the_command_is_its_code() {
    let sandbox = Sandbox::with(RECIPE);
    test(&sandbox, &[], "kill -SEGV $$").exits(128 + 11);
    test(&sandbox, &["--quiet"], "true").success();
    let missing = sandbox.recipe(["test", "recipe.rhai", "--", "no-such-program"]);
    missing.exits(127).says(&["the test command `no-such-program` cannot be executed", "after `--`"]);
    sandbox.assert_nothing_left();
}

#[test]
fn its_input_is_the_terminals() {
    let sandbox = Sandbox::with(RECIPE);
    let mut command = sandbox.command(["test", "recipe.rhai", "-q", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from outside").unwrap();
    assert_eq!(Output::from(child.wait_with_output().unwrap()).success().stdout, "from outside");
}

#[test]
fn a_set_up_that_fails_is_not_tested() {
    let sandbox = Sandbox::with("sh(\"exit 3\");");
    test(&sandbox, &[], "touch tested").exits(1).says(&["ended with exit code 3", "the tests were not run"]);
    assert!(!sandbox.path().join("tested").exists());
    sandbox.recipe(["test", "recipe.rhai"]).exits(2).says(&["CMD"]);
}

#[test]
fn results_are_read_from_files_of_these_tests() {
    let sandbox = Sandbox::with(RECIPE).file("old.xml", "<testsuite><testcase/></testsuite>");
    let case = |inner: &str| format!("<testcase name=\"x\">{inner}</testcase>");
    let xml = [case(""), case("<failure/>"), case("<error/>"), case("<skipped/>"), case("")].concat();
    let script =
        format!("mkdir out; echo '<testsuite>{xml}</testsuite>' | tee out/a.xml > out/b.xml; exit 1");
    let output = test(&sandbox, &["--results", "out/*.xml", "--output", "json"], &script).exits(1);
    let summary: Value = serde_json::from_str(&output.stdout).unwrap();
    let tested = &summary["test"];
    assert_eq!(
        tested["results"],
        serde_json::json!({"passed": 4, "failed": 2, "errors": 2, "skipped": 2, "pending": 0})
    );
    assert_eq!((&summary["outcome"], &tested["outcome"]), (&"succeeded".into(), &"failed".into()));
    assert_eq!((&tested["code"], &tested["command"][1]), (&1.into(), &"-c".into()));
    assert!(tested["wall_ms"].as_f64() > Some(0.0));
    output.says(&["tests: 4 passed, 2 failed, 2 errors, 2 skipped, exit code 1"]);

    let old = test(&sandbox, &["--results", "old.xml"], "sleep 0.1").success();
    old.says(&["warning: there are no results of the tests: old.xml is of an earlier test", "tests: passed"]);
    test(&sandbox, &["--results", "none.xml"], "true").success().says(&["has not written none.xml"]);
    let html = test(&sandbox, &["--results", "x.xml"], "echo '<html/>' > x.xml").success();
    html.says(&["x.xml is no JUnit XML"]);
}

#[test]
fn what_failed_is_kept_for_a_look() {
    let sandbox = Sandbox::with(RECIPE);
    test(&sandbox, &["--keep", "on-failure"], "exit 0").success();
    sandbox.assert_nothing_left();
    let output = test(&sandbox, &["--keep", "on-failure"], "exit 4").exits(4);
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    output.says(&[&format!("{run} was kept"), &format!("recipe logs {run}"), &format!("recipe down {run}")]);
    assert_eq!(sandbox.runs()[0]["state"], "kept");
    assert!(sandbox.recipe(["env"]).success().stdout.contains("export MAX_USERS='3'"));
    sandbox.recipe(["down"]).success();
    sandbox.assert_nothing_left();
}

#[test]
fn what_the_command_leaves_running_is_stopped() {
    let sandbox = Sandbox::with(RECIPE);
    let output = test(&sandbox, &[], "sleep 600 & echo $!").success();
    let left: i32 = output.stdout.trim().parse().unwrap();
    eventually("it is gone", || !runs(left));
    output.says(&["warning: the test command has left processes running"]);
}

/// A command that says so when it is ready, and when it gets a signal.
const TRAPPED: &str = "trap 'echo told; exit 5' TERM INT; echo ready; while :; do sleep 0.05; done";

#[test]
fn signals_are_passed_on() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let sandbox = Sandbox::with(RECIPE);
        let mut command = sandbox.command(["test", "recipe.rhai", "-q", "--", "sh", "-c", TRAPPED]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        let output = Output::from(child.wait_with_output().unwrap()).exits(code);
        assert_eq!(output.stdout, "told\n");
        assert!(sandbox.path().join("hook").exists());
        sandbox.assert_nothing_left();
    }
}

#[test]
fn a_second_signal_kills_the_command() {
    let sandbox = Sandbox::with(RECIPE);
    let stubborn = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut command = sandbox.command(["test", "recipe.rhai", "--", "sh", "-c", stubborn]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let pid = Pid::from_raw(child.id().cast_signed());
    let told = |what: &str| {
        let events = sandbox.events().unwrap_or_default();
        events.iter().any(|event| event["event"] == what)
    };
    kill(pid, Signal::SIGTERM).unwrap();
    eventually("the first is noticed", || told("cancel_began"));
    kill(pid, Signal::SIGTERM).unwrap();
    let output = Output::from(child.wait_with_output().unwrap()).exits(143);
    output.says(&["killing what still runs", "exit code 137"]);
    sandbox.assert_nothing_left();
}

#[test]
fn a_killed_recipe_takes_its_command_along() {
    let sandbox = Sandbox::with(RECIPE);
    let script = "echo $$; sleep 600";
    let mut command = sandbox.command(["test", "recipe.rhai", "-q", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut pid = String::new();
    let mut stdout = child.stdout.take().unwrap();
    while !pid.ends_with('\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        pid.push(byte[0].into());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let pid = pid.trim().parse().unwrap();
    eventually("all is gone", || !runs(pid) && sandbox.processes().is_empty());
}

/// `recipe test` in the foreground of a terminal.
fn on_terminal(sandbox: &Sandbox, script: &str) -> Terminal {
    sandbox.terminal(&["test", "recipe.rhai", "-q", "--", "sh", "-c", script])
}

#[test]
fn control_c_is_the_commands() {
    let sandbox = Sandbox::with(RECIPE);
    let mut terminal = on_terminal(&sandbox, TRAPPED);
    terminal.says("ready");
    terminal.keys("\x03");
    terminal.says("told");
    assert_eq!(terminal.end(), 5, "its own code, for recipe was not asked to end");
    assert_eq!(sandbox.runs()[0]["state"], "down");
    sandbox.assert_nothing_left();
}

#[test]
fn control_c_that_ends_the_command_leads_to_the_teardown() {
    let sandbox = Sandbox::with(RECIPE);
    // A `sh` that gets the signal just before it starts a command waits for the
    // end of that command; one that loops does not wait for long.
    let script = "trap 'trap - INT; kill -INT $$' INT; echo ready; while :; do sleep 0.05; done";
    let mut terminal = on_terminal(&sandbox, script);
    terminal.says("ready");
    terminal.keys("\x03");
    assert_eq!(terminal.end(), 130);
    assert!(sandbox.path().join("hook").exists());
    sandbox.assert_nothing_left();
}

#[test]
fn the_command_can_read_the_terminal() {
    let sandbox = Sandbox::with(RECIPE);
    let mut terminal = on_terminal(&sandbox, "echo ready; read -r line < /dev/tty; echo \"<$line>\"; exit 9");
    terminal.says("ready");
    terminal.keys("typed\n");
    terminal.says("<typed>");
    assert_eq!(terminal.end(), 9);
}

#[test]
fn control_z_gives_the_shell_its_prompt_and_fg_goes_on() {
    let sandbox = Sandbox::with(RECIPE);
    let mut shell = sandbox.shell();
    shell.says("shell> ");
    let script = "echo ready $((1 + 1)); read -r line; echo \\<$line\\>; exit 9";
    shell.enter(&format!("$RECIPE test recipe.rhai -q -- sh -c '{script}'"));
    // What was typed is on the screen, too, but not this.
    shell.says("ready 2");
    shell.keys("\x1a");
    shell.says("Stopped");
    shell.says("shell> ");
    shell.enter("echo $((40 + 2))");
    shell.says("42");
    shell.enter("fg");
    shell.says("$RECIPE test");
    shell.enter("typed");
    shell.says("<typed>");
    shell.enter("exit $?");
    assert_eq!(shell.end(), 9);
    assert_eq!(sandbox.runs()[0]["state"], "down");
    sandbox.assert_nothing_left();
}
