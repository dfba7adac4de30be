//! Nothing outlives its owner, whoever is killed.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal as Sig, kill};
use nix::unistd::Pid;
use recipe::supervise::{Exit, Lease, ProcessId, Supervisor, SupervisorError};

use super::harness::{Folder, RECIPE, shell, shut_down, spawn, within};

/// A child, a grandchild, a daemon that has left group and session, one that
/// forks it twice, and all of them deaf to SIGTERM.
const FAMILY: &str = "
    trap '' TERM
    sh -c 'echo child; sh -c \"echo grandchild; sleep 1000; :\"; :' &
    setsid sh -c 'echo daemon; sleep 1000; :' &
    (setsid sh -c '(echo escaped; sleep 1000; :) &' &)
    echo parent; while :; do sleep 1000; done";
const HEARD: [&str; 6] = ["parent", "child", "grandchild", "daemon", "escaped", "guarded"];

/// This test program again, as the owner of a supervisor. `how` is what it does
/// when everything runs.
fn owner(how: &str, folder: &Folder) -> std::process::Child {
    Command::new(std::env::current_exe().expect("it runs"))
        .args(["--exact", "death::as_owner", "--nocapture"])
        .env("RECIPE_TEST_OWNER", how)
        .env("RECIPE_TEST_FOLDER", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("it can be run again")
}

/// Not a test: what [`owner`] runs.
#[tokio::test]
async fn as_owner() {
    let Ok(how) = std::env::var("RECIPE_TEST_OWNER") else { return };
    let folder = PathBuf::from(std::env::var("RECIPE_TEST_FOLDER").expect("they come together"));
    let log = folder.join("log");
    let supervisor = Supervisor::start(Path::new(RECIPE), &folder.join("run")).await.expect("it starts");
    spawn(&supervisor, shell("family", FAMILY, &log)).await;
    if how == "detach" {
        supervisor.detach(None).await.expect("it answers");
        return;
    }
    let own = std::fs::OpenOptions::new().append(true).open(&log).expect("it is being read");
    let mut guarded = Command::new("sh")
        .args(["-c", "trap '' TERM; read go; echo guarded; sleep 1000; :"])
        .stdin(Stdio::piped())
        .stdout(own)
        .process_group(0)
        .spawn()
        .expect("sh is everywhere");
    let leader = ProcessId::of(guarded.id().cast_signed()).expect("it runs");
    supervisor.guard(leader, false).await.expect("it answers");
    // From now on the owner may be killed.
    let mut go = guarded.stdin.take().expect("it is piped");
    writeln!(go, "go").expect("it reads");
    guarded.wait().expect("it is ours");
}

#[tokio::test]
async fn when_the_owner_is_killed_nothing_is_left() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let mut owner = owner("wait", &folder);
    witness.heard(&HEARD).await;
    let observer = Supervisor::connect(&folder.run_dir()).await.expect("it listens");
    owner.kill().expect("it is ours");
    owner.wait().expect("it is ours");
    witness.all_gone().await;
    within("the supervisor's end", observer.gone()).await;
    assert!(!folder.run_dir().exists());
}

#[tokio::test]
async fn when_the_owner_lets_go_nothing_is_left() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let observer = Supervisor::connect(&folder.run_dir()).await.expect("it listens");
    spawn(&supervisor, shell("family", FAMILY, &folder.log())).await;
    witness.heard(&HEARD[..5]).await;
    drop(supervisor);
    witness.all_gone().await;
    within("the supervisor's end", observer.gone()).await;
    assert!(!folder.run_dir().exists());
}

#[tokio::test]
async fn an_owner_that_dies_in_the_middle_of_a_shutdown_shortens_it() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let observer = Supervisor::connect(&folder.run_dir()).await.expect("it listens");
    let mut spec =
        shell("deaf", "trap 'echo deaf' TERM; echo up; while :; do sleep 1000 & wait; done", &folder.log());
    spec.stop.grace_ms = 1_000_000;
    spawn(&supervisor, spec).await;
    witness.heard(&["up"]).await;
    let shutdown = tokio::spawn(async move { supervisor.shutdown().await });
    witness.heard(&["deaf"]).await;
    shutdown.abort();
    witness.all_gone().await;
    within("the supervisor's end", observer.gone()).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn when_the_supervisor_is_killed_the_kernel_kills_its_children() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let spec = shell("a", "trap '' TERM; echo up; exec sleep 1000", &folder.log());
    let process = spawn(&supervisor, spec).await;
    witness.heard(&["up"]).await;
    kill(Pid::from_raw(supervisor.process().pid), Sig::SIGKILL).expect("it runs");
    witness.all_gone().await;

    assert_eq!(within("the news", process.exited()).await, Exit::Lost);
    assert_eq!(process.exit(), Some(Exit::Lost));
    within("the news", supervisor.gone()).await;
    let error = supervisor.status().await.expect_err("it is dead");
    assert!(matches!(&error, SupervisorError::Gone { how, .. } if how.contains("SIGKILL")), "{error}");
    assert!(folder.run_dir().exists(), "which is for gc to find");
}

#[tokio::test]
async fn what_is_detached_goes_on_until_it_is_shut_down() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let mut owner = owner("detach", &folder);
    witness.heard(&HEARD[..5]).await;
    assert!(owner.wait().expect("it is ours").success());

    let supervisor = Supervisor::connect(&folder.run_dir()).await.expect("it goes on");
    let status = supervisor.status().await.expect("it answers");
    assert!(status.detached);
    assert!(status.processes.iter().all(|process| process.ended.is_none()));
    // Deaf to SIGTERM, as they are.
    kill(Pid::from_raw(status.processes[0].process.pid), Sig::SIGKILL).expect("it runs");
    shut_down(&supervisor).await;
    witness.all_gone().await;
    assert!(!folder.run_dir().exists());
}

fn lease(ttl: Duration) -> Lease {
    Lease { ttl, successor: None }
}

#[tokio::test]
async fn a_lease_ends_and_can_be_renewed() {
    let folder = Folder::new();
    let supervisor = folder.supervisor().await;
    supervisor.detach(Some(lease(Duration::from_secs(100_000)))).await.expect("it answers");
    drop(supervisor);
    let supervisor = Supervisor::connect(&folder.run_dir()).await.expect("it goes on");
    supervisor.detach(Some(lease(Duration::ZERO))).await.expect("it answers");
    within("the end of the lease", supervisor.gone()).await;
    assert!(!folder.run_dir().exists());
}

/// Test runners and shells wait until all who have their pipes are gone.
#[tokio::test]
async fn the_supervisor_does_not_keep_files_that_are_not_its_own() {
    let folder = Folder::new();
    let (read, write) = nix::unistd::pipe().expect("there is room");
    let supervisor = folder.supervisor().await;
    drop(write);
    let end = tokio::task::spawn_blocking(move || {
        std::io::copy(&mut std::fs::File::from(read), &mut std::io::sink())
    });
    let copied = within("the end of the pipe", end).await.expect("no panic").expect("it can be read");
    assert_eq!(copied, 0);
    shut_down(&supervisor).await;
}
