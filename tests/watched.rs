//! Programs that look on while a run goes on, and the log of GitHub Actions.

mod harness;

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use harness::{Output, Sandbox};

const RECIPE: &str = "step(\"1 greet\", || sh(\"echo hello\"));";

/// `recipe run --rm --events-socket socket recipe.rhai`.
fn watched(sandbox: &Sandbox) -> std::process::Child {
    let mut command = sandbox.command(["run", "--rm", "--events-socket", "socket", "recipe.rhai"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_socket_gets_the_record_as_it_is_written() {
    let sandbox = Sandbox::with(RECIPE);
    let listener = UnixListener::bind(sandbox.path().join("socket")).unwrap();
    let child = watched(&sandbox);
    let mut seen = String::new();
    listener.accept().unwrap().0.read_to_string(&mut seen).unwrap();
    Output::from(child.wait_with_output().unwrap()).success();
    assert_eq!(seen, std::fs::read_to_string(sandbox.run_folder().join("events.jsonl")).unwrap());
}

#[test]
fn a_reader_who_goes_away_is_told_of_and_missed_by_nobody() {
    let sandbox = Sandbox::with("sh(\"for i in 1 2 3; do echo $i; sleep 0.2; done\");");
    let listener = UnixListener::bind(sandbox.path().join("socket")).unwrap();
    let child = watched(&sandbox);
    drop(listener.accept().unwrap());
    let output = Output::from(child.wait_with_output().unwrap()).success();
    output.says(&["the program that read the events has gone away"]);
}

#[test]
fn a_reader_who_stands_still_holds_up_nobody() {
    // More than a reader may be behind, from commands that each show 4 MB.
    let sandbox = Sandbox::with("for n in 0..3 { sh(\"yes a long line of output | head -c 5000000\"); }");
    let listener = UnixListener::bind(sandbox.path().join("socket")).unwrap();
    let child = watched(&sandbox);
    let reader = listener.accept().unwrap();
    let output = Output::from(child.wait_with_output().unwrap()).success();
    output.says(&["does not keep up, and gets no more of them"]);
    drop(reader);
    sandbox.assert_nothing_left();
}

#[test]
fn a_descriptor_is_closed_when_the_run_is_over() {
    let sandbox =
        Sandbox::with("deploy_service(create_cluster(\"c\"), \"s\", #{ command: [\"sleep\", \"600\"] });");
    let recipe = sandbox.command(["run", "-q", "--events-fd", "5", "recipe.rhai"]);
    let mut shell = Command::new("sh");
    // `cat` ends when nobody holds the other end of the pipe any more.
    shell
        .args(["-c", "\"$0\" \"$@\" 5>&1 > /dev/null | cat"])
        .arg(recipe.get_program())
        .args(recipe.get_args());
    shell.current_dir(sandbox.path());
    shell.envs(recipe.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = Output::from(shell.stdin(Stdio::null()).output().unwrap()).success();
    assert_eq!(sandbox.runs()[0]["state"], "up");
    assert_eq!(output.stdout, std::fs::read_to_string(sandbox.run_folder().join("events.jsonl")).unwrap());
    sandbox.recipe(["down"]).success();
}

#[test]
fn who_cannot_be_reached_shows_before_the_run() {
    let sandbox = Sandbox::with(RECIPE);
    let run = |flag: &str, value: &str| sandbox.recipe(["run", flag, value, "recipe.rhai"]).exits(2);
    run("--events-socket", "nobody")
        .says(&["nobody can be reached at the socket nobody", "listens there first"]);
    run("--events-fd", "77").says(&["the file descriptor 77 is not open", "77> FILE"]);
    run("--events-fd", "1").says(&["3"]);
    assert!(sandbox.events().is_none());
}

#[test]
fn github_shows_groups_and_failures_at_their_place() {
    let sandbox = Sandbox::with("step(\"1 fail\", || sh(\"exit 3\"));").env("GITHUB_ACTIONS", "true");
    let output = sandbox.recipe(["run", "--rm", "recipe.rhai"]).exits(1);
    assert!(output.stderr.contains("\n::group::1 fail\n"), "{}", output.stderr);
    let error = "\n::error file=recipe.rhai,line=1,col=19,title=sh exit 3 failed::";
    assert!(output.stderr.contains(error), "{}", output.stderr);
}
