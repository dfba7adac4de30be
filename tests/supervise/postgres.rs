//! A real PostgreSQL leaves nothing behind in shared memory.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use nix::sys::signal::{Signal as Sig, kill};
use nix::unistd::Pid;
use recipe::supervise::{Exit, Signal, Spawn, StopPolicy, Supervisor, User};

use super::harness::{Folder, Witness, shut_down, spawn, within};

fn binary(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(debian.map(|version| version.path().join("bin")))
        .map(|folder| folder.join(name))
        .find(|program| program.exists())
        .unwrap_or_else(|| panic!("this test needs {name}: apt-get install postgresql"))
}

/// PostgreSQL does not run as root.
fn user() -> Option<User> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user = nix::unistd::User::from_name("postgres").expect("users can be read");
    let user = user.expect("this test needs a user postgres: apt-get install postgresql");
    Some(User { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}

fn program(name: &str, args: &[&str], folder: &Folder) -> Spawn {
    Spawn {
        name: name.to_owned(),
        program: binary(name),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
        cwd: "/".into(),
        user: user(),
        log: folder.log(),
        stop: StopPolicy { signal: Signal::Quit, grace_ms: 60_000, wave: 1 },
        on_supervisor_death: Signal::Quit,
        overlay: None,
    }
}

/// A server with a connected client, and what it has in shared memory.
struct Server {
    segment: String,
    shared_files: Vec<PathBuf>,
    _client: tokio_postgres::Client,
}

impl Server {
    async fn start(folder: &Folder, supervisor: &Supervisor, witness: &mut Witness) -> Self {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let data = folder.run_dir().join("pg");
        fs::create_dir(&data).expect("it is ours");
        if let Some(User { uid, gid }) = user() {
            chown(&data, Some(uid), Some(gid)).expect("we are root");
        }
        let data = data.to_str().expect("plain");
        let args = ["-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--no-locale", "-E", "UTF8"];
        let initdb = spawn(supervisor, program("initdb", &args, folder)).await;
        assert_eq!(within("initdb", initdb.exited()).await, Exit::Code(0));
        let args = ["-D", data, "-k", data, "-c", "listen_addresses=", "-c", "fsync=off"];
        let process = spawn(supervisor, program("postgres", &args, folder)).await;
        witness.heard(&["ready to accept connections"]).await;

        let mut config = tokio_postgres::Config::new();
        let config = config.host_path(data).user("postgres").dbname("postgres");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("it is ready");
        tokio::spawn(connection);

        let pid_file = fs::read_to_string(format!("{data}/postmaster.pid")).expect("it runs");
        let segment = pid_file.lines().nth(6).expect("line 7").split_ascii_whitespace().nth(1);
        let maps = fs::read_to_string(format!("/proc/{}/maps", process.pid())).expect("it runs");
        let shared = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
        let shared_files = shared.filter(|path| path.starts_with("/dev/shm/")).map(PathBuf::from).collect();
        let segment = segment.expect("key and id").to_owned();
        let server = Self { segment, shared_files, _client: client };
        assert!(server.has_segment() && !server.shared_files.is_empty(), "else this test tests nothing");
        server
    }

    fn has_segment(&self) -> bool {
        let segments = fs::read_to_string("/proc/sysvipc/shm").expect("/proc is mounted");
        segments.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some(&self.segment))
    }

    fn assert_no_trace(&self) {
        assert!(!self.has_segment(), "segment {} is left", self.segment);
        let left: Vec<_> = self.shared_files.iter().filter(|file| file.exists()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test]
async fn postgres_leaves_no_trace_when_all_is_shut_down() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let server = Server::start(&folder, &supervisor, &mut witness).await;
    shut_down(&supervisor).await;
    witness.all_gone().await;
    server.assert_no_trace();
    assert!(!folder.run_dir().exists());
}

#[tokio::test]
async fn postgres_leaves_no_trace_when_its_owner_dies() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let observer = Supervisor::connect(&folder.run_dir()).await.expect("it listens");
    let server = Server::start(&folder, &supervisor, &mut witness).await;
    drop(supervisor);
    witness.all_gone().await;
    server.assert_no_trace();
    within("the supervisor's end", observer.gone()).await;
    assert!(!folder.run_dir().exists());
}

#[tokio::test]
async fn postgres_leaves_no_trace_when_its_supervisor_dies() {
    let folder = Folder::new();
    let mut witness = folder.witness();
    let supervisor = folder.supervisor().await;
    let server = Server::start(&folder, &supervisor, &mut witness).await;
    kill(Pid::from_raw(supervisor.process().pid), Sig::SIGKILL).expect("it runs");
    witness.all_gone().await;
    server.assert_no_trace();
    assert!(folder.run_dir().exists(), "which is for gc to find");
}
