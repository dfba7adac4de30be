//! A real PostgreSQL for tests: one server for each test binary, a database for each test.
//!
//! The server is the child of a small shell, whose input is a pipe held by the test process. When
//! that process ends, however it ends, the pipe closes, and the shell stops the server with SIGQUIT
//! and removes its files.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::unistd::{Gid, Uid, User, chown};
use tokio_postgres::{Client, NoTls};

const INSTALL: &str = "PostgreSQL's server programs are needed: apt-get install postgresql";

/// The shell that owns the server: `sh -c GUARD sh DIRECTORY POSTGRES ARGUMENTS..`.
const GUARD: &str = r#"
exec 3<&0
directory=$1
shift
"$@" >"$directory/log" 2>&1 3<&- &
server=$!
(
    cat <&3 >/dev/null
    kill -QUIT $server
    while kill -0 $server; do sleep 0.01; done
    rm -rf "$directory"
) 2>/dev/null &
wait $server
"#;

/// The server of this test binary.
pub struct Server {
    bin: PathBuf,
    directory: PathBuf,
    /// Never taken: its end of the pipe keeps the server alive.
    _guard: Child,
}

/// A database of one test.
pub struct Database {
    server: &'static Server,
    name: String,
}

impl Server {
    /// Starts the server with the first call.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Self::start)
    }

    fn start() -> Self {
        let bin = bin();
        let user = unprivileged_user();
        let base = Path::new("/dev/shm");
        let base = if base.is_dir() { base.to_owned() } else { env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("recipe-pg-").tempdir_in(base).unwrap().keep();
        if let Some((uid, gid)) = user {
            chown(&directory, Some(uid), Some(gid)).unwrap();
        }
        let command = |program: &OsStr| {
            let mut command = Command::new(program);
            command.current_dir("/").env_remove("PGDATA").stdin(Stdio::null());
            if let Some((uid, gid)) = user {
                command.uid(uid.as_raw()).gid(gid.as_raw());
            }
            command
        };
        let data = directory.join("data");
        let initdb = command(bin.join("initdb").as_os_str())
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));

        let mut guard = command(OsStr::new("sh"))
            .args(["-c", GUARD, "sh"])
            .args([&directory, &bin.join("postgres")])
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&directory)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A Ctrl-C of the terminal is for the test process alone.
            .process_group(0)
            .spawn()
            .unwrap();
        wait_until_ready(&mut guard, &bin, &directory);
        Self { bin, directory, _guard: guard }
    }

    /// Creates a database. `name` is that of the test.
    pub async fn database(&'static self, name: &str) -> Database {
        let maintenance = Database { server: self, name: "postgres".to_owned() };
        let client = maintenance.connect().await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        Database { server: self, name: name.to_owned() }
    }

    /// A program of the server's own version, such as `pg_dump`.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.current_dir("/");
        command
    }
}

impl Database {
    /// Connects to it, as superuser.
    pub async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.conninfo(), NoTls).await.unwrap();
        // Ends with the client.
        tokio::spawn(connection);
        client
    }

    /// Keywords and values, as libpq and Go's drivers take them.
    pub fn conninfo(&self) -> String {
        format!("host={} user=postgres dbname={}", self.server.directory.display(), self.name)
    }

    /// The schema as SQL, without the tables whose names match `without`.
    pub fn schema(&self, without: &str) -> String {
        let output = self
            .server
            .program("pg_dump")
            .args(["--schema-only", "--no-owner", "--exclude-table", without, "--dbname", &self.conninfo()])
            .output()
            .unwrap();
        assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
        // Newer versions put a random key around the dump.
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|line| !line.contains("restrict ")).collect::<Vec<_>>().join("\n")
    }
}

/// The directory of `initdb` and `postgres`: Debian keeps them out of `PATH`.
fn bin() -> PathBuf {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<f32>().ok();
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| version(path).is_some() && path.join("bin/initdb").exists())
        .collect();
    versions.sort_by(|a, b| version(a).partial_cmp(&version(b)).unwrap());
    let in_path = || {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).find(|directory| directory.join("initdb").exists())
    };
    versions.pop().map(|path| path.join("bin")).or_else(in_path).expect(INSTALL)
}

/// PostgreSQL refuses to run as root.
fn unprivileged_user() -> Option<(Uid, Gid)> {
    if !Uid::effective().is_root() {
        return None;
    }
    let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).unwrap());
    let user = user.expect("as root, a user `postgres` or `nobody` is needed to run PostgreSQL");
    Some((user.uid, user.gid))
}

/// Fails as soon as the server has died, with what it said.
fn wait_until_ready(guard: &mut Child, bin: &Path, directory: &Path) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let answer = Command::new(bin.join("psql"))
            .current_dir("/")
            .args(["-XAtqc", "SELECT 1", "-U", "postgres", "-h"])
            .arg(directory)
            .output()
            .unwrap();
        if answer.status.success() {
            return;
        }
        let died = guard.try_wait().unwrap().is_some();
        let log = || fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(!died, "the server has died: {}", log());
        assert!(Instant::now() < deadline, "the server does not answer: {}", log());
        std::thread::sleep(Duration::from_millis(5));
    }
}
