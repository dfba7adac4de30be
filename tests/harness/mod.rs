//! Drives the real `recipe` binary in a sandbox: a directory of its own for
//! recipes, records and scratch, so that tests run side by side and what they
//! leave behind is seen.

#![expect(dead_code, reason = "each test binary uses a part of it")]

pub mod live;
pub mod terminal;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What `tests/kind/machine` tells, which `make test-kind` reads.
#[track_caller]
pub fn told(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run these tests by `make test-kind`"))
}

/// A place to run `recipe` in.
pub struct Sandbox {
    files: TempDir,
    /// In memory where possible, and with a short path for sockets.
    scratch: TempDir,
    env: Vec<(String, String)>,
}

/// What a command left.
#[derive(Debug)]
pub struct Output {
    /// As a shell gives it: 128 + n when signal n ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let scratch = tempfile::Builder::new().prefix("rt").tempdir_in(base).unwrap();
        // Unprivileged servers must be able to pass through.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(scratch.path(), open).unwrap();
        Self { files: tempfile::tempdir().unwrap(), scratch, env: Vec::new() }
    }

    /// A sandbox with `recipe.rhai` in it.
    pub fn with(recipe: &str) -> Self {
        Self::new().file("recipe.rhai", recipe)
    }

    /// Adds a file; folders are made as needed.
    pub fn file(self, name: &str, text: &str) -> Self {
        let path = self.files.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Adds a copy of all that is in `folder`.
    pub fn folder(self, folder: &Path) -> Self {
        let copied = Command::new("cp").arg("-R").arg(folder.join(".")).arg(self.files.path()).status();
        assert!(copied.unwrap().success(), "{} cannot be copied", folder.display());
        self
    }

    /// Sets an environment variable for every command.
    pub fn env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_str().unwrap().to_owned()));
        self
    }

    pub fn path(&self) -> &Path {
        self.files.path()
    }

    /// Where scratch directories of runs are made.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The command `recipe ARGS`, to be started as the test likes.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recipe"));
        command
            .args(args)
            .current_dir(self.files.path())
            .env("RECIPE_STATE_DIR", self.files.path().join("state"))
            .env("RECIPE_CACHE_DIR", self.files.path().join("cache"))
            .env("RECIPE_RUN_DIR", self.scratch.path())
            .env("NO_COLOR", "1")
            .env_remove("RECIPE_TARGET")
            .env_remove("GITHUB_ACTIONS")
            .env_remove("RUST_BACKTRACE")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        // What cargo tells a test would make a cargo that a recipe runs build
        // some crates anew.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_")) {
            if !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&name.as_str()) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs `recipe ARGS` to its end.
    pub fn recipe<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.command(args).output().unwrap().into()
    }

    /// Runs `recipe.rhai` and takes everything down.
    pub fn run(&self) -> Output {
        self.recipe(["run", "--rm", "recipe.rhai"])
    }

    /// Runs `recipe.rhai`, takes everything down, and gives the JSON summary.
    pub fn summary(&self) -> (Output, serde_json::Value) {
        let output = self.recipe(["run", "--rm", "--output", "json", "recipe.rhai"]);
        let summary =
            serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:#?}"));
        (output, summary)
    }

    /// The folder of the only run, or of the newest.
    pub fn run_folder(&self) -> PathBuf {
        let runs = std::fs::read_dir(self.files.path().join("state/runs")).unwrap();
        let mut runs: Vec<_> = runs.map(|run| run.unwrap().path()).collect();
        runs.sort_by_key(|run| run.metadata().unwrap().modified().unwrap());
        runs.pop().expect("a run was made")
    }

    /// The events of the newest run; none if nothing was run.
    pub fn events(&self) -> Option<Vec<serde_json::Value>> {
        self.files.path().join("state/runs").is_dir().then(|| {
            let record = std::fs::read_to_string(self.run_folder().join("events.jsonl")).unwrap();
            record.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        })
    }

    /// Fails if a run has left a scratch directory or a process behind. The
    /// supervisor, which ends last, may take its moment.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !self.processes().is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let left: Vec<_> =
            std::fs::read_dir(self.scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let processes = self.processes();
        assert!(processes.is_empty(), "left behind: {processes:?}");
    }

    /// Fails unless the newest run is told to have failed, has left its records,
    /// and nothing else.
    #[track_caller]
    pub fn assert_failed_cleanly(&self) {
        self.assert_nothing_left();
        let folder = self.run_folder();
        assert!(
            folder.join("events.jsonl").is_file() && folder.join("logs").is_dir(),
            "{}",
            folder.display()
        );
        let runs = self.runs();
        let newest = runs.iter().find(|run| folder.ends_with(run["run_id"].as_str().unwrap()));
        assert_eq!(newest.map(|run| &run["state"]), Some(&"failed".into()), "{runs:#?}");
    }

    /// All runs as `recipe ls` lists them.
    pub fn runs(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.recipe(["ls", "--all", "--output", "json"]).success().stdout).unwrap()
    }

    /// The pid of the supervisor of a run of this sandbox.
    pub fn supervisor(&self) -> Option<i32> {
        let supervisor = format!("__supervise {}", self.scratch().display());
        let found = self.processes().into_iter().find(|process| process.contains(&supervisor))?;
        found.split_whitespace().next().unwrap().parse().ok()
    }

    /// What journals tell of that nobody has removed.
    pub fn open_entries(&self) -> Vec<String> {
        let runs = std::fs::read_dir(self.files.path().join("state/runs")).into_iter().flatten();
        runs.flat_map(|run| open_entries(&run.unwrap().path())).collect()
    }

    /// Running processes whose directory or arguments point into this sandbox.
    pub fn processes(&self) -> Vec<String> {
        let ours = [self.scratch.path().to_str().unwrap(), self.files.path().to_str().unwrap()];
        let listing = Command::new("ps").args(["-eo", "pid=,stat=,args="]).output().unwrap();
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        let is_ours = |line: &&str| {
            let pid = line.split_whitespace().next().unwrap_or_default();
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            ours.iter().any(|path| line.contains(path) || cwd.starts_with(path))
        };
        listing.lines().filter(is_ours).map(str::to_owned).collect()
    }
}

fn open_entries(run: &Path) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let journal = std::fs::read_to_string(run.join("journal.jsonl")).unwrap_or_default();
    for entry in journal.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let thing = format!("{} {} of {}", entry["kind"], entry["name"], run.display());
        match entry["change"].as_str().unwrap() {
            "creating" => open.push(thing),
            "removed" => open.retain(|known| *known != thing),
            _ => {}
        }
    }
    open
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A failed test must not leave servers behind.
        let _ = self.command(["down", "--all"]).output();
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: Self::code_of(output.status),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Output {
    /// As a shell gives it.
    pub fn code_of(status: std::process::ExitStatus) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        status.code().or(status.signal().map(|signal| 128 + signal)).unwrap()
    }

    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The error output holds each of these texts, whatever the line breaks.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        let flat = flatten(&self.stderr);
        for text in texts {
            assert!(flat.contains(&flatten(text)), "`{text}` is not in\n{}", self.stderr);
        }
        self
    }

    /// The error output holds none of these texts.
    #[track_caller]
    pub fn never_says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                !self.stderr.contains(text) && !self.stdout.contains(text),
                "`{text}` is in\n{}",
                self.stderr
            );
        }
        self
    }
}

/// Words with single blanks between, without the bars that frame long messages.
fn flatten(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| *word != "│");
    words.collect::<Vec<_>>().join(" ")
}
