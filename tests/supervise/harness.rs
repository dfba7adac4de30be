//! A run directory with a supervisor, and a witness of who is still alive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;
use recipe::supervise::{Process, Signal, Spawn, StopPolicy, Supervisor};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::unix::pipe;

pub const RECIPE: &str = env!("CARGO_BIN_EXE_recipe");

/// Waits, but not for ever.
pub async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(Duration::from_mins(1), wait).await else {
        panic!("waited in vain for {what}")
    };
    value
}

/// A folder with the run directory and what must outlive it.
pub struct Folder {
    folder: TempDir,
}

impl Folder {
    pub fn new() -> Self {
        let folder = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::create_dir(folder.run_dir()).expect("it is ours");
        folder
    }

    pub fn run_dir(&self) -> PathBuf {
        self.path().join("run")
    }

    pub fn log(&self) -> PathBuf {
        self.path().join("log")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub async fn supervisor(&self) -> Supervisor {
        within("a supervisor", Supervisor::start(Path::new(RECIPE), &self.run_dir()))
            .await
            .expect("it starts")
    }

    /// Creates a pipe to be the log of processes.
    pub fn witness(&self) -> Witness {
        nix::unistd::mkfifo(&self.log(), Mode::S_IRUSR | Mode::S_IWUSR).expect("it is ours");
        let lines = pipe::OpenOptions::new().open_receiver(self.log()).expect("it is there");
        // Until processes have it open, somebody must.
        let writer = pipe::OpenOptions::new().open_sender(self.log()).expect("it is being read");
        Witness { lines: BufReader::new(lines).lines(), writer: Some(writer) }
    }
}

/// The reading end of a pipe that is the log of processes: it sees their words
/// in order, and its end when the last one that inherited it is gone.
pub struct Witness {
    lines: Lines<BufReader<pipe::Receiver>>,
    writer: Option<pipe::Sender>,
}

impl Witness {
    pub async fn line(&mut self) -> Option<String> {
        within("a line", self.lines.next_line()).await.expect("it can be read")
    }

    /// Waits until each of these has been said, in any order.
    pub async fn heard(&mut self, words: &[&str]) {
        let mut missing: Vec<_> = words.to_vec();
        while !missing.is_empty() {
            let line =
                self.line().await.unwrap_or_else(|| panic!("all are gone, but not heard: {missing:?}"));
            missing.retain(|word| !line.contains(word));
        }
    }

    /// Waits until all processes are gone.
    pub async fn all_gone(&mut self) {
        self.writer = None;
        while self.line().await.is_some() {}
    }
}

/// A shell that runs `script` and is asked to stop by SIGTERM.
pub fn shell(name: &str, script: &str, log: &Path) -> Spawn {
    Spawn {
        name: name.to_owned(),
        program: "sh".into(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").expect("there is a PATH"))]),
        cwd: "/".into(),
        user: None,
        log: log.to_owned(),
        stop: StopPolicy { signal: Signal::Term, grace_ms: 60_000, wave: 0 },
        on_supervisor_death: Signal::Kill,
        overlay: None,
    }
}

pub async fn spawn(supervisor: &Supervisor, spec: Spawn) -> Process {
    within("a process to start", supervisor.spawn(spec)).await.expect("it starts")
}

pub async fn shut_down(supervisor: &Supervisor) {
    within("the shutdown", supervisor.shutdown()).await.expect("all can be stopped");
}
