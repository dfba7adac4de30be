//! Signals, kills and deadlines: the run ends, says so, and leaves nothing.

mod harness;

use harness::Sandbox;
use harness::live::{Live, eventually, runs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A hook of which a file tells, and which needs the environment to be up.
const HOOK: &str = "on_exit(|| write_file(\"hook\", \"called\"));\n";
const POSTGRES: &str = "let pg = deploy_postgres(create_cluster(\"c\"));\n";

/// A command whose child ignores SIGTERM and SIGINT, and says its pid.
const STUBBORN: &str =
    "trap '' TERM INT; sh -c 'trap \"\" TERM INT HUP; echo pid $$; while :; do sleep 100; done'";

/// Sends a signal once `reached`, and checks the end.
#[track_caller]
fn interrupted(script: &str, signal: Signal, reached: impl FnOnce(&mut Live)) {
    let sandbox =
        Sandbox::with(&format!("{HOOK}{script}")).file("slow/001_slow.sql", "SELECT pg_sleep(600);");
    let mut live = sandbox.start(&["--rm"]);
    reached(&mut live);
    live.signal(signal);
    live.end().exits(128 + signal as i32).says(&["cancelled after"]);
    sandbox.assert_failed_cleanly();
    assert!(sandbox.path().join("hook").exists(), "the hook was not called");
}

#[test]
fn during_initdb() {
    interrupted(POSTGRES, Signal::SIGINT, |live| live.waits_for("initdb"));
}

#[test]
fn initdb_that_is_stopped_leaks_no_shared_memory() {
    leaks_no_shared_memory(&[Signal::SIGINT], false);
}

#[test]
fn initdb_that_is_killed_by_a_second_signal_leaks_no_shared_memory() {
    leaks_no_shared_memory(&[Signal::SIGINT, Signal::SIGTERM], false);
}

#[test]
fn initdb_whose_run_is_killed_leaks_no_shared_memory() {
    leaks_no_shared_memory(&[Signal::SIGKILL], false);
}

#[test]
fn a_server_of_initdb_that_hangs_is_killed_and_leaks_no_shared_memory() {
    leaks_no_shared_memory(&[Signal::SIGINT, Signal::SIGTERM], true);
}

fn leaks_no_shared_memory(signals: &[Signal], hangs: bool) {
    let sandbox = Sandbox::with(POSTGRES);
    let mut live = sandbox.start(&["--rm"]);
    let data = sandbox.scratch().join(format!("recipe-{}/postgres/data", live.run_id()));
    // Its seventh line has the key and the id of the segment.
    let segment = || {
        let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        Some(text.lines().nth(6)?.split_whitespace().nth(1)?.to_owned())
    };
    // From now on the next server is the one that a signal would simply end.
    live.says("creating configuration files");
    eventually("the bootstrap server has shared memory", || segment().is_some());
    let segment = segment();
    if hangs {
        let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
        // Of a server that initdb runs, it is negative.
        let pid: i32 = text.lines().next().unwrap().parse().unwrap();
        kill(Pid::from_raw(pid.abs()), Signal::SIGSTOP).unwrap();
    }
    live.signal(signals[0]);
    for signal in &signals[1..] {
        live.kind("cancel_began");
        live.signal(*signal);
    }
    live.end();
    eventually("nothing is left", || is_empty(&sandbox));
    let segments = std::process::Command::new("ipcs").arg("-m").output().unwrap();
    let segments = String::from_utf8(segments.stdout).unwrap();
    let left = segments.lines().find(|line| line.split_whitespace().nth(1) == segment.as_deref());
    assert_eq!(left, None);
}

#[test]
fn during_a_migration() {
    let script = format!("{POSTGRES}migrate(pg, \"slow\");");
    interrupted(&script, Signal::SIGTERM, |live| live.waits_for("001_slow.sql"));
}

#[test]
fn during_a_command_of_branches() {
    let script = "parallel([|| sh(\"echo one; sleep 600\"), || sh(\"echo two; sleep 600\")]);";
    interrupted(script, Signal::SIGHUP, |live| {
        live.says("one");
        live.says("two");
    });
}

#[test]
fn during_a_wait() {
    let script = "let s = deploy_service(create_cluster(\"c\"), \"s\", #{ command: [\"sleep\", \"600\"], port: 80 });\n\
                  wait_ready(s, #{ timeout: \"10m\" });";
    interrupted(script, Signal::SIGINT, |live| live.waits_for("to accept connections"));
}

#[test]
fn during_an_endless_loop() {
    interrupted("print(\"looping\"); loop { }", Signal::SIGTERM, |live| drop(live.says("looping")));
}

#[test]
fn a_second_signal_ends_all_grace() {
    let sandbox = Sandbox::with(&format!("{HOOK}sh(\"{}\");", STUBBORN.replace('"', "\\\"")));
    let mut live = sandbox.start(&["--rm"]);
    let pid = stubborn_pid(&mut live);
    live.signal(Signal::SIGINT);
    live.kind("cancel_began");
    assert!(runs(pid), "it has grace");
    live.signal(Signal::SIGINT);
    live.kind("kill_began");
    live.end().exits(130);
    assert!(!runs(pid));
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_second_signal_also_ends_a_hook() {
    let sandbox =
        Sandbox::with("on_exit(|| sh(\"echo hooked; sleep 600\"));\nprint(\"ready\"); sleep(\"10m\");");
    let mut live = sandbox.start(&["--rm"]);
    live.says("ready");
    live.signal(Signal::SIGTERM);
    live.says("hooked");
    live.signal(Signal::SIGTERM);
    live.end().exits(143);
    sandbox.assert_failed_cleanly();
}

#[test]
fn after_a_third_signal_the_supervisor_cleans_up() {
    let sandbox = Sandbox::with(&format!("{POSTGRES}sh(\"{}\");", STUBBORN.replace('"', "\\\"")));
    let mut live = sandbox.start(&["--rm"]);
    let pid = stubborn_pid(&mut live);
    live.signal(Signal::SIGINT);
    live.kind("cancel_began");
    // Two that arrive at once would count as one.
    live.signal(Signal::SIGTERM);
    live.kind("kill_began");
    live.signal(Signal::SIGHUP);
    let code = live.end().code;
    assert!([129, 130].contains(&code), "{code}: it leaves at once, or was done before");
    eventually("everything is gone", || !runs(pid) && is_empty(&sandbox) && sandbox.processes().is_empty());
    sandbox.assert_nothing_left();
}

#[test]
fn a_killed_recipe_leaves_its_environment_to_the_supervisor() {
    let sandbox = Sandbox::with(&format!("{POSTGRES}sh(\"{}\");", STUBBORN.replace('"', "\\\"")));
    let mut live = sandbox.start(&[]);
    let pid = stubborn_pid(&mut live);
    let run = live.run_id();
    live.signal(Signal::SIGKILL);
    live.end().exits(128 + 9);
    eventually("everything is gone", || !runs(pid) && is_empty(&sandbox) && sandbox.processes().is_empty());
    sandbox.assert_nothing_left();

    assert_eq!(sandbox.runs()[0]["state"], "died");
    sandbox.recipe(["down"]).success().says(&[&format!("{run} is down")]);
    assert_eq!(sandbox.runs()[0]["state"], "down");
}

#[test]
fn down_finds_what_a_killed_supervisor_has_left() {
    // The service has a child in a group of its own, which nothing else binds
    // to the run but the environment that it inherits.
    let service = "setsid sleep 600 & echo $! > $FILES/pid; wait";
    let sandbox = Sandbox::with(&format!(
        "{POSTGRES}deploy_service(create_cluster(\"c\"), \"s\", #{{ command: [\"sh\", \"-c\", \"{service}\"] }});\n\
         deploy_redis(create_cluster(\"c\"));"
    ));
    sandbox.recipe(["run", "recipe.rhai"]).success();
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    let file = sandbox.scratch().join(format!("recipe-{run}/s/files/pid"));
    let read = || std::fs::read_to_string(&file).unwrap_or_default().trim().parse::<i32>().ok();
    eventually("the service has started its child", || read().is_some());
    let child = read().unwrap();

    let supervisor = format!("__supervise {}", sandbox.scratch().display());
    let supervisor = sandbox.processes().into_iter().find(|process| process.contains(&supervisor)).unwrap();
    let supervisor: i32 = supervisor.split_whitespace().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    eventually("the supervisor is gone", || !runs(supervisor));
    assert!(runs(child));

    assert_eq!(sandbox.runs()[0]["state"], "died");
    sandbox.recipe(["env"]).exits(1).says(&["no environment is up"]);
    sandbox.recipe(["down"]).success().says(&[&format!("{run} is down")]);
    assert!(!runs(child));
    sandbox.assert_nothing_left();
    assert_eq!(sandbox.runs()[0]["state"], "down");
}

#[test]
fn down_goes_on_when_the_supervisor_dies_under_it() {
    let service = "trap 'echo > $FILES/asked' TERM; echo > $FILES/ready; while :; do sleep 0.05; done";
    let sandbox = Sandbox::with(&format!(
        "let s = deploy_service(create_cluster(\"c\"), \"s\", #{{ command: [\"sh\", \"-c\", \"{service}\"] }});"
    ));
    sandbox.recipe(["run", "-q", "recipe.rhai"]).success();
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    let files = sandbox.scratch().join(format!("recipe-{run}/s/files"));
    eventually("the service listens to signals", || files.join("ready").exists());
    let supervisor = format!("__supervise {}", sandbox.scratch().display());
    let supervisor = sandbox.processes().into_iter().find(|process| process.contains(&supervisor)).unwrap();
    let supervisor: i32 = supervisor.split_whitespace().next().unwrap().parse().unwrap();

    let down = sandbox.command(["down"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    eventually("the supervisor stops the service", || files.join("asked").exists());
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    let down: harness::Output = down.wait_with_output().unwrap().into();
    down.success().says(&[&format!("{run} is down")]);
    sandbox.assert_nothing_left();
}

#[test]
fn down_takes_the_dead_along_with_the_one_that_is_up() {
    let sandbox =
        Sandbox::with("deploy_redis(create_cluster(\"c\")); if param(\"stay\", false) { sleep(\"10m\"); }");
    let mut dead = sandbox.start(&["--set", "stay=true"]);
    dead.waits_for("Redis to answer PING");
    dead.signal(Signal::SIGKILL);
    dead.end();
    sandbox.recipe(["run", "-q", "recipe.rhai"]).success();
    sandbox.recipe(["down"]).success();
    eventually("nothing is left", || is_empty(&sandbox));
    sandbox.recipe(["ls"]).success().says(&["no environment is up"]);
}

#[test]
fn down_ends_a_run_that_is_still_set_up() {
    let sandbox = Sandbox::with(&format!("{HOOK}{POSTGRES}sh(\"echo here; sleep 600\");"));
    let mut live = sandbox.start(&[]);
    live.says("here");
    sandbox.recipe(["down"]).success().says(&["is down"]);
    live.end().exits(143);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_deadline_fails_the_run() {
    let sandbox = Sandbox::with(&format!("{HOOK}{POSTGRES}sh(\"sleep 600\");"));
    sandbox
        .recipe(["run", "--rm", "--timeout", "3s", "recipe.rhai"])
        .exits(1)
        .says(&["the set-up was not done within 3", "the timeline above shows what was still going on"]);
    sandbox.assert_failed_cleanly();
    assert!(sandbox.path().join("hook").exists());
}

fn stubborn_pid(live: &mut Live) -> i32 {
    live.says("pid ").trim_start_matches("pid ").trim().parse().unwrap()
}

fn is_empty(sandbox: &Sandbox) -> bool {
    std::fs::read_dir(sandbox.scratch()).unwrap().count() == 0
}

/// A daemon: in a session of its own, and nobody's child.
const DAEMON: &str =
    "(setsid sh -c 'echo $$ > daemon; exec sleep 600' &); until [ -s daemon ]; do sleep 0.01; done";

fn daemon(sandbox: &Sandbox) -> i32 {
    std::fs::read_to_string(sandbox.path().join("daemon")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_daemon_of_a_command_goes_with_the_environment() {
    let sandbox = Sandbox::with(&format!("deploy_redis(create_cluster(\"c\"));\nsh(\"{DAEMON}\");"));
    sandbox.recipe(["run", "-q", "recipe.rhai"]).success();
    assert!(runs(daemon(&sandbox)), "it is part of the environment");
    sandbox.recipe(["down"]).success();
    assert!(!runs(daemon(&sandbox)));
}

#[test]
fn a_test_command_whose_recipe_is_killed_at_once_goes_with_its_daemons() {
    let sandbox = Sandbox::with("deploy_redis(create_cluster(\"c\"));");
    // As early as can be: perhaps before the supervisor has been told of it.
    let test = format!("echo $$ > test; {DAEMON}; kill -9 $PPID; sleep 600");
    sandbox.recipe(["test", "recipe.rhai", "--", "sh", "-c", &test]).exits(128 + 9);
    let test = std::fs::read_to_string(sandbox.path().join("test")).unwrap().trim().parse().unwrap();
    let is_gone = || !runs(daemon(&sandbox)) && !runs(test) && is_empty(&sandbox);
    eventually("all is gone", || is_gone() && sandbox.processes().is_empty());
}
