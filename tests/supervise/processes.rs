//! Starting, watching and stopping.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::{Signal as Sig, kill};
use nix::unistd::Pid;
use recipe::supervise::{
    Exit, Failure, Overlay, ProcessStatus, Signal, Spawn, StopPolicy, Supervisor, SupervisorError, User,
};

use super::harness::{Folder, RECIPE, shell, shut_down, spawn, within};

async fn refusal(supervisor: &Supervisor, spec: Spawn) -> Failure {
    match within("an answer", supervisor.spawn(spec)).await.err().expect("it is refused") {
        SupervisorError::Refused(failure) => failure,
        other => panic!("not a refusal: {other}"),
    }
}

#[tokio::test]
async fn output_goes_to_the_log_and_the_exit_is_told() {
    let folder = Folder::new();
    let supervisor = folder.supervisor().await;
    fs::write(folder.log(), "before\n").expect("it is ours");
    let process = spawn(&supervisor, shell("a", "echo out; echo err >&2; exit 3", &folder.log())).await;
    assert_eq!(within("its exit", process.exited()).await, Exit::Code(3));
    assert_eq!(fs::read_to_string(folder.log()).expect("it is there"), "before\nout\nerr\n");

    let log = folder.path().join("new log");
    let process = spawn(&supervisor, shell("a", "kill -USR1 $$", &log)).await;
    assert_eq!(within("its exit", process.exited()).await, Exit::Signal(Sig::SIGUSR1 as i32));
    assert_eq!(fs::metadata(log).expect("it was created").permissions().mode() & 0o777, 0o600);
    shut_down(&supervisor).await;
    assert!(!folder.run_dir().exists());
}

#[tokio::test]
async fn a_process_gets_its_own_environment_and_default_signals() {
    let folder = Folder::new();
    let supervisor = folder.supervisor().await;
    let mut spec = shell("a", "env; pwd; grep -E 'Sig(Blk|Ign)' /proc/self/status; cat", &folder.log());
    spec.env.insert("GREETING".into(), "good day".into());
    spec.cwd = folder.path().to_owned();
    let process = spawn(&supervisor, spec).await;
    assert_eq!(within("its exit", process.exited()).await, Exit::Code(0), "cat has nothing to read");
    let log = fs::read_to_string(folder.log()).expect("it is there");
    assert!(log.contains("GREETING=good day\n"), "{log}");
    assert!(log.contains(folder.path().to_str().expect("plain")), "{log}");
    assert!(!log.contains("CARGO"), "nothing is inherited: {log}");
    if cfg!(target_os = "linux") {
        // Signals 32 and 33 are libc's own, and out of reach.
        let masks =
            log.lines().filter_map(|line| u64::from_str_radix(line.strip_prefix("Sig")?.get(5..)?, 16).ok());
        let standard: Vec<_> = masks.map(|mask| mask & 0x7fff_ffff).collect();
        assert_eq!(standard, [0, 0], "none blocked, none ignored: {log}");
    }
    shut_down(&supervisor).await;
}

#[tokio::test]
async fn a_process_runs_as_the_user_that_was_asked_for() {
    let folder = Folder::new();
    let supervisor = folder.supervisor().await;
    let spec = shell("a", "id -u; id -g; id -G", &folder.log());
    if nix::unistd::geteuid().is_root() {
        let process = spawn(&supervisor, Spawn { user: Some(User { uid: 65534, gid: 65534 }), ..spec }).await;
        assert_eq!(within("its exit", process.exited()).await, Exit::Code(0));
        assert_eq!(fs::read_to_string(folder.log()).expect("it is there"), "65534\n65534\n65534\n");
    } else {
        let failure = refusal(&supervisor, Spawn { user: Some(User { uid: 0, gid: 0 }), ..spec }).await;
        assert!(matches!(failure, Failure::NotStarted { user: Some(_), .. }), "{failure}");
    }
    shut_down(&supervisor).await;
}

/// Only the process sees what is below, and it cannot change that.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_overlay_keeps_changes_apart_and_what_it_shows_locked() {
    let folder = Folder::new();
    let supervisor = folder.supervisor().await;
    let [entry, at, work] = ["entry", "run/at", "run/work"].map(|name| folder.path().join(name));
    let lower = entry.join("lower");
    for made in [&lower.join("deep"), &at, &work] {
        fs::create_dir_all(made).expect("it is ours");
    }
    fs::write(lower.join("deep/a"), "below").expect("it is ours");
    let overlay = Overlay { lower: lower.clone(), at: at.clone(), work: work.clone(), lock: entry.clone() };
    let script = format!("cd {}; cat deep/a; echo above > deep/a; echo new > b; read wait", at.display());
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("it is ours");
    let script = format!("({script}) < {}", fifo.display());
    let spec = Spawn { overlay: Some(overlay.clone()), ..shell("a", &script, &folder.log()) };
    let process = spawn(&supervisor, spec).await;
    // Opening waits for the reader, which is inside.
    let inside = fs::OpenOptions::new().write(true).open(&fifo).expect("it is read");
    let lock = fs::File::open(&entry).expect("it is there");
    assert!(lock.try_lock().is_err(), "somebody could remove it");
    drop(inside);
    within("its exit", process.exited()).await;
    assert_eq!(fs::read_to_string(folder.log()).expect("it is there"), "below");
    assert_eq!(fs::read_to_string(lower.join("deep/a")).expect("it is there"), "below");
    assert_eq!(fs::read_to_string(at.join("deep/a")).expect("it is there"), "above\n");
    assert!(at.join("b").exists() && !lower.join("b").exists());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("it is there");
    assert!(!mounts.contains(at.to_str().expect("UTF-8")), "{mounts}");

    let odd = Overlay { lower: folder.path().join("a:b"), ..overlay };
    let failure = refusal(&supervisor, Spawn { overlay: Some(odd), ..shell("b", "", &folder.log()) }).await;
    assert!(failure.to_string().contains("mount"), "{failure}");
    shut_down(&supervisor).await;
    assert!(lock.try_lock().is_ok());
    assert!(!folder.run_dir().exists());
}

#[tokio::test]
async fn what_cannot_be_started_is_told_with_its_reason() {
    let folder = Folder::new();
    let supervisor = folder.supervisor().await;
    let good = || shell("a", "exit 0", &folder.log());
    let script = folder.path().join("script");

    let failure = refusal(&supervisor, Spawn { program: "no-such-program".into(), ..good() }).await;
    assert!(matches!(failure, Failure::NoProgram { .. }), "{failure}");

    fs::write(&script, "#!/no/such/interpreter\n").expect("it is ours");
    let failure = refusal(&supervisor, Spawn { program: script.clone(), ..good() }).await;
    assert!(failure.to_string().contains("denied"), "it is no program: {failure}");

    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let failure = refusal(&supervisor, Spawn { program: script, ..good() }).await;
    assert!(matches!(failure, Failure::NoInterpreter { .. }), "{failure}");

    let failure = refusal(&supervisor, Spawn { cwd: "/no/such/folder".into(), ..good() }).await;
    assert!(matches!(failure, Failure::NoDirectory { .. }), "{failure}");

    let failure = refusal(&supervisor, Spawn { log: "/no/such/folder/log".into(), ..good() }).await;
    assert!(matches!(failure, Failure::NoLog { .. }), "{failure}");

    let running = spawn(&supervisor, shell("a", "sleep 1000", &folder.log())).await;
    let failure = refusal(&supervisor, good()).await;
    assert_eq!(failure, Failure::NameTaken { name: "a".into(), process: running.id() });
    shut_down(&supervisor).await;
}

#[tokio::test]
async fn a_process_is_asked_first_and_killed_after_its_grace() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let wait = "echo ready; sleep 1000 & wait";
    let polite = shell("polite", &format!("trap 'echo bye; exit 7' TERM; {wait}"), &folder.log());
    let mut stubborn = shell("stubborn", &format!("trap '' TERM; {wait}"), &folder.log());
    stubborn.stop.grace_ms = 1;

    let polite = spawn(&supervisor, polite).await;
    witness.heard(&["ready"]).await;
    assert_eq!(within("its stop", polite.stop()).await.expect("it stops"), Exit::Code(7));
    witness.heard(&["bye"]).await;

    let stubborn = spawn(&supervisor, stubborn).await;
    witness.heard(&["ready"]).await;
    assert_eq!(within("its stop", stubborn.stop()).await.expect("it stops"), Exit::Signal(9));
    assert_eq!(stubborn.exit(), Some(Exit::Signal(9)));
    assert_eq!(within("its stop", stubborn.stop()).await.expect("it was stopped"), Exit::Signal(9));
    // Their `sleep`s, too, although the supervisor lives.
    witness.all_gone().await;
    shut_down(&supervisor).await;
}

#[tokio::test]
async fn stopping_one_process_takes_its_daemons_and_nobody_elses() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let script = "setsid sh -c 'echo daemon; sleep 1000' & sleep 1000";
    let process = spawn(&supervisor, shell("a", script, &folder.log())).await;
    let other = spawn(&supervisor, shell("b", script, &folder.path().join("other log"))).await;
    witness.heard(&["daemon"]).await;
    within("its stop", process.stop()).await.expect("it stops");
    witness.all_gone().await;
    assert_eq!(other.exit(), None);
    shut_down(&supervisor).await;
}

#[tokio::test]
async fn waves_stop_one_after_the_other() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    for (wave, name) in [(1, "database"), (0, "service")] {
        let script = format!("trap 'echo {name} ends; exit' TERM; echo {name}; sleep 1000 & wait");
        let mut spec = shell(name, &script, &folder.log());
        spec.stop = StopPolicy { wave, ..spec.stop };
        spawn(&supervisor, spec).await;
    }
    witness.heard(&["database", "service"]).await;
    shut_down(&supervisor).await;
    assert_eq!(witness.line().await.as_deref(), Some("service ends"));
    assert_eq!(witness.line().await.as_deref(), Some("database ends"));
}

#[tokio::test]
async fn a_signal_reaches_the_process() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let script = "trap 'echo reloaded; exit' HUP; echo ready; sleep 1000 & wait";
    spawn(&supervisor, shell("a", script, &folder.log())).await;
    witness.heard(&["ready"]).await;
    supervisor.signal("a", Signal::Hup).await.expect("it runs");
    witness.heard(&["reloaded"]).await;
    let unknown = supervisor.signal("b", Signal::Hup).await.expect_err("there is none");
    assert_eq!(unknown.to_string(), "no process is called b");
    shut_down(&supervisor).await;
}

#[tokio::test]
async fn a_process_that_nobody_waits_for_any_more_is_stopped() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    {
        let spec = shell("a", "sleep 1000", &folder.log());
        let mut abandoned = std::pin::pin!(supervisor.spawn(spec));
        let asked = futures::poll!(&mut abandoned);
        assert!(asked.is_pending());
    }
    let mut processes: Vec<ProcessStatus> = Vec::new();
    within("its end", async {
        while !processes.iter().any(|process| process.ended.is_some()) {
            processes = supervisor.status().await.expect("it answers").processes;
        }
    })
    .await;
    witness.all_gone().await;
    shut_down(&supervisor).await;
}

#[tokio::test]
async fn a_hundred_processes_at_once_and_still_one_thread() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let names: Vec<_> = (0..100).map(|number| format!("p{number}")).collect();
    let spawned =
        names.iter().map(|name| spawn(&supervisor, shell(name, "sleep 1000 & wait", &folder.log())));
    let processes = futures::future::join_all(spawned).await;

    let second = Supervisor::connect(&folder.run_dir()).await.expect("it listens");
    let status = second.status().await.expect("it answers");
    assert_eq!(status.processes.len(), 100);
    assert!(status.processes.iter().all(|process| process.ended.is_none() && process.process.is_alive()));
    assert!(!status.detached);
    if cfg!(target_os = "linux") {
        let supervisor =
            fs::read_to_string(format!("/proc/{}/status", second.process().pid)).expect("it runs");
        assert!(
            supervisor.contains("Threads:\t1\n"),
            "the death signal is bound to the thread: {supervisor}"
        );
    }

    shut_down(&second).await;
    witness.all_gone().await;
    for process in processes {
        assert_eq!(within("its exit", process.exited()).await, Exit::Signal(Sig::SIGTERM as i32));
    }
    within("the owner to see it", supervisor.gone()).await;
    assert!(!folder.run_dir().exists());
}

#[tokio::test]
async fn the_supervisor_survives_ctrl_c_and_a_hangup_and_ends_in_order_when_terminated() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let script = "trap 'echo bye; exit' TERM; echo ready; sleep 1000 & wait";
    let process = spawn(&supervisor, shell("a", script, &folder.log())).await;
    witness.heard(&["ready"]).await;
    let pid = Pid::from_raw(supervisor.process().pid);
    assert_eq!(nix::unistd::getsid(Some(pid)), Ok(pid), "it has a session of its own");

    kill(pid, Sig::SIGINT).expect("it runs");
    kill(pid, Sig::SIGHUP).expect("it runs");
    supervisor.status().await.expect("it still answers");
    assert_eq!(process.exit(), None);

    kill(pid, Sig::SIGTERM).expect("it runs");
    witness.heard(&["bye"]).await;
    witness.all_gone().await;
    within("its end", supervisor.gone()).await;
    assert!(!folder.run_dir().exists());
}

#[tokio::test]
async fn a_supervisor_that_cannot_come_up_says_why() {
    let folder = Folder::new();
    fs::create_dir(folder.run_dir().join("supervisor.sock")).expect("it is ours");
    let error = Supervisor::start(Path::new(RECIPE), &folder.run_dir()).await.err().expect("no place");
    assert!(error.to_string().contains("ddress already in use"), "{error}");
    assert!(folder.run_dir().exists(), "it was not its own yet");

    let long = folder.path().join("x".repeat(90));
    let error = Supervisor::start(Path::new(RECIPE), &long).await.err().expect("too long");
    assert!(matches!(error, SupervisorError::LongPath { max: 87, .. }), "{error}");

    let error = Supervisor::connect(folder.path()).await.err().expect("nobody is there");
    assert!(matches!(error, SupervisorError::Connect { .. }), "{error}");
}
