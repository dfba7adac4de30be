//! What a run can leave behind on Linux.

use std::collections::BTreeSet;

use super::harness::Sandbox;

/// The supervisor of the run of this sandbox, found faster than by `ps`.
pub fn supervisor(sandbox: &Sandbox) -> Option<i32> {
    let scratch = sandbox.scratch().to_str().unwrap();
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let mut supervisors = pids.filter(|pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).skip(1);
        words.next() == Some(b"__supervise")
            && words.next().is_some_and(|word| word.starts_with(scratch.as_bytes()))
    });
    supervisors.next()
}

/// What is left of the runs of this sandbox, if anything is.
pub fn of(sandbox: &Sandbox) -> Option<Vec<String>> {
    let mut left = sandbox.processes();
    left.extend(marked(sandbox));
    let scratch = std::fs::read_dir(sandbox.scratch()).unwrap();
    left.extend(scratch.map(|entry| entry.unwrap().path().display().to_string()));
    left.extend(sandbox.open_entries().into_iter().map(|entry| format!("{entry} in the journal")));
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let ours = sockets.lines().filter(|line| line.contains(sandbox.scratch().to_str().unwrap()));
    left.extend(ours.map(str::to_owned));
    let is_over = |state: &str| ["down", "failed"].contains(&state);
    let states = sandbox.runs().into_iter().map(|run| run["state"].as_str().unwrap().to_owned());
    left.extend(states.filter(|state| !is_over(state)).map(|state| format!("a run that {state}")));
    let marks = std::fs::read_dir(sandbox.path().join("state/open")).into_iter().flatten();
    left.extend(marks.map(|mark| format!("mark {}", mark.unwrap().path().display())));
    (!left.is_empty()).then_some(left)
}

/// Processes with the environment of a run, whatever they do and wherever.
fn marked(sandbox: &Sandbox) -> Vec<String> {
    let mark = format!("RECIPE_SCRATCH={}", sandbox.scratch().display()).into_bytes();
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let is_marked = |pid: &String| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&mark))
    };
    pids.filter(is_marked).map(|pid| format!("process {pid} with the mark of a run")).collect()
}

/// Shared memory that no process uses.
#[derive(Debug)]
pub struct SharedMemory(BTreeSet<String>);

impl SharedMemory {
    pub fn now() -> Self {
        let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let unused = segments.lines().skip(1).filter_map(|line| {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            (fields[6] == "0").then(|| format!("segment {}", fields[1]))
        });
        let files = std::fs::read_dir("/dev/shm").unwrap();
        let files = files.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        Self(unused.chain(files.filter(|name| name.starts_with("PostgreSQL."))).collect())
    }

    /// What was not there `before`.
    pub fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}
