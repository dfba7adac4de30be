//! `recipe gc`, and the start of the next run: what a dead run has left goes,
//! and nothing else.

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use harness::Sandbox;
use harness::live::{eventually, runs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server that hides its environment, one with shared memory, and a service
/// whose child is bound to the run by nothing but the environment it inherits.
const SERVERS: &str = "let c = create_cluster(\"c\");\n\
    parallel([|| deploy_postgres(c), || deploy_redis(c), || deploy_service(c, \"s\", #{ command: [\"sh\", \"-c\", \
    \"setsid sleep 600 & echo $! > $FILES/pid; wait\"] })]);\n";

fn kill_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    eventually("it is gone", || !runs(pid));
}

fn only_run(sandbox: &Sandbox) -> String {
    sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned()
}

/// Leaves a run of `recipe.rhai` dead: its recipe has ended, its supervisor is
/// killed. Returns its scratch directory.
fn dead(sandbox: &Sandbox) -> PathBuf {
    sandbox.recipe(["run", "-q", "recipe.rhai"]).success();
    let scratch = sandbox.scratch().join(format!("recipe-{}", only_run(sandbox)));
    let file = scratch.join("s/files/pid");
    if scratch.join("s").exists() {
        eventually("the service has started its child", || {
            std::fs::read_to_string(&file).is_ok_and(|text| !text.trim().is_empty())
        });
    }
    kill_hard(sandbox.supervisor().unwrap());
    scratch
}

#[track_caller]
fn nothing_is_left(sandbox: &Sandbox) {
    sandbox.assert_nothing_left();
    assert_eq!(sandbox.open_entries(), [""; 0]);
    assert_eq!(sandbox.runs()[0]["state"], "down");
    sandbox.recipe(["gc"]).success().says(&["dead runs have left nothing"]);
}

#[test]
fn gc_clears_a_dead_run() {
    let sandbox = Sandbox::with(SERVERS);
    let scratch = dead(&sandbox);
    let child = std::fs::read_to_string(scratch.join("s/files/pid")).unwrap();
    let child: i32 = child.trim().parse().unwrap();

    let id = only_run(&sandbox);
    sandbox.recipe(["gc", "--dry-run"]).success().says(&[
        &format!("{id}: its supervisor has died; would remove directory scratch: {}", scratch.display()),
        "process postgres",
        &format!("a process that it has started (pid {child})"),
        "nothing was removed",
    ]);
    assert!(runs(child) && scratch.exists());
    assert_eq!(sandbox.runs()[0]["state"], "died");

    sandbox.recipe(["gc"]).success().says(&[&format!("{id}: its supervisor has died; cleared")]);
    assert!(!runs(child));
    nothing_is_left(&sandbox);
}

#[test]
fn gc_clears_a_run_that_was_killed_while_it_set_up() {
    let sandbox = Sandbox::with(&format!("{SERVERS}sh(\"setsid sh -c 'echo here; sleep 600' & wait\");"));
    let mut live = sandbox.start(&[]);
    live.says("here");
    let supervisor = sandbox.supervisor().unwrap();
    // In this order nobody is left to clean up.
    kill(Pid::from_raw(supervisor), Signal::SIGSTOP).unwrap();
    live.signal(Signal::SIGKILL);
    live.end();
    kill_hard(supervisor);
    assert!(!sandbox.processes().is_empty());
    sandbox.recipe(["gc"]).success().says(&["died while it set up; cleared"]);
    nothing_is_left(&sandbox);
}

#[test]
fn the_next_run_clears_a_dead_one_and_says_so() {
    let sandbox = Sandbox::with(SERVERS).file("next.rhai", "print(1);");
    let scratch = dead(&sandbox);
    let id = only_run(&sandbox);
    let next = sandbox.recipe(["run", "--rm", "next.rhai"]).success();
    let told = format!("cleared what {id} had left, which has died");
    assert_eq!(next.stderr.matches(&told).count(), 1, "{}", next.stderr);
    assert!(!scratch.exists());
    sandbox.recipe(["run", "--rm", "next.rhai"]).success().never_says(&["cleared what"]);
    nothing_is_left(&sandbox);
}

#[test]
fn gc_leaves_what_is_up_alone() {
    let sandbox = Sandbox::with("deploy_redis(create_cluster(\"c\"));");
    sandbox.recipe(["run", "-q", "recipe.rhai"]).success();
    sandbox.recipe(["gc"]).success().says(&["dead runs have left nothing"]);
    assert_eq!(sandbox.runs()[0]["state"], "up");
    assert!(sandbox.supervisor().is_some());
    sandbox.recipe(["down"]).success();
    nothing_is_left(&sandbox);
}

/// A process that is none of recipe's.
struct Stranger(Child);

impl Stranger {
    fn start(cwd: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("sleep");
        Self(command.arg("600").current_dir(cwd).process_group(0).spawn().unwrap())
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn gc_leaves_a_process_alone_that_has_got_the_pid_of_a_dead_one() {
    let sandbox = Sandbox::with("deploy_redis(create_cluster(\"c\"));");
    dead(&sandbox);
    let mut stranger = Stranger::start(Path::new("/"));
    let journal = sandbox.run_folder().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let pid = text.split("\"pid\":").nth(1).unwrap().split(',').next().unwrap();
    let reused = text.replace(&format!("\"pid\":{pid},"), &format!("\"pid\":{},", stranger.0.id()));
    assert_ne!(reused, text);
    std::fs::write(&journal, reused).unwrap();
    // Redis got its signal from the kernel.
    sandbox.recipe(["gc"]).success().says(&["cleared"]);
    assert!(stranger.runs());
    nothing_is_left(&sandbox);
}

#[test]
fn gc_leaves_a_person_alone_who_looks_around_in_the_directory() {
    let sandbox = Sandbox::with(SERVERS);
    let scratch = dead(&sandbox);
    let mut visitor = Stranger::start(&scratch);
    sandbox.recipe(["gc"]).success().says(&["cleared"]);
    assert!(visitor.runs());
}

#[test]
fn gc_clears_scratch_directories_whose_records_are_gone() {
    let sandbox = Sandbox::with(SERVERS);
    let scratch = dead(&sandbox);
    // One that only has the name, and a copy, whose label is that of another.
    let mut left = Vec::new();
    for other in ["recipe-holiday-abcdef", "recipe-copy-abcdef"] {
        left.push(sandbox.scratch().join(other));
        std::fs::create_dir(left.last().unwrap()).unwrap();
    }
    std::fs::copy(scratch.join(".recipe.json"), left[1].join(".recipe.json")).unwrap();

    let told = format!("{}: the records of its run are gone", scratch.display());
    let others = ["holiday", "copy"];
    // Its records are there: it is a dead run like others.
    sandbox.recipe(["gc", "--dry-run"]).success().never_says(&[&told]).never_says(&others);
    std::fs::remove_dir_all(sandbox.path().join("state")).unwrap();
    sandbox.recipe(["gc", "--dry-run"]).success().says(&[&told]).never_says(&others);
    assert!(scratch.exists());
    sandbox.recipe(["gc"]).success().says(&[&told]).never_says(&others);
    assert!(!scratch.exists() && left.iter().all(|other| other.exists()));
    for other in &left {
        std::fs::remove_dir_all(other).unwrap();
    }
    sandbox.assert_nothing_left();
}

#[cfg(target_os = "linux")]
#[test]
fn gc_frees_the_shared_memory_of_a_server_that_was_killed() {
    let sandbox = Sandbox::with("deploy_postgres(create_cluster(\"c\"));");
    sandbox.recipe(["run", "-q", "recipe.rhai"]).success();
    let scratch = sandbox.scratch().join(format!("recipe-{}", only_run(&sandbox)));
    let pid_file = std::fs::read_to_string(scratch.join("postgres/data/postmaster.pid")).unwrap();
    let server: i32 = pid_file.lines().next().unwrap().trim().parse().unwrap();
    let segment = pid_file.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let has_segment = || {
        let listing = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
        listing.lines().any(|line| line.split_whitespace().nth(1) == Some(&segment))
    };
    kill(Pid::from_raw(sandbox.supervisor().unwrap()), Signal::SIGSTOP).unwrap();
    kill_hard(server);
    kill_hard(sandbox.supervisor().unwrap());
    assert!(has_segment(), "the system keeps it");
    sandbox.recipe(["gc"]).success().says(&["cleared"]);
    assert!(!has_segment());
    nothing_is_left(&sandbox);
}

#[test]
fn gc_clears_folders_of_runs_that_were_killed_before_they_began() {
    let sandbox = Sandbox::with("print(1);");
    let runs = sandbox.path().join("state/runs");
    let (old, young) = (runs.join("recipe-aaaaaa"), runs.join("recipe-bbbbbb"));
    for folder in [&old, &young] {
        std::fs::create_dir_all(folder.join("logs")).unwrap();
    }
    let hour = std::time::Duration::from_hours(1);
    let then = std::time::SystemTime::now() - hour;
    std::fs::File::open(&old).unwrap().set_modified(then).unwrap();
    sandbox.recipe(["gc", "--dry-run"]).success().says(&["recipe-aaaaaa", "would remove"]);
    assert!(old.exists());
    sandbox.recipe(["gc"]).success().says(&["recipe-aaaaaa", "removed"]).never_says(&["bbbbbb"]);
    assert!(!old.exists() && young.exists());
}
