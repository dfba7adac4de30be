//! A `recipe` that runs while the test looks on: its events arrive through a
//! named pipe as they happen, so that a test waits for what it needs to see and
//! for nothing else.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use serde_json::Value;

use super::{Output, Sandbox};

/// Longer than anything takes here: a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running `recipe run`.
pub struct Live {
    child: Option<Child>,
    events: Receiver<Value>,
    seen: Vec<Value>,
}

impl Sandbox {
    /// Starts `recipe run ARGS recipe.rhai`.
    pub fn start(&self, args: &[&str]) -> Live {
        let pipe = self.path().join(format!("events-{}", self.counted()));
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let record = ["run", "--record", pipe.to_str().unwrap()];
        let child = self
            .command(record.iter().chain(args).chain(&["recipe.rhai"]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(File::open(pipe).unwrap()).lines();
            lines.map_while(Result::ok).try_for_each(|line| sender.send(serde_json::from_str(&line).unwrap()))
        });
        Live { child: Some(child), events, seen: Vec::new() }
    }

    fn counted(&self) -> usize {
        std::fs::read_dir(self.path()).unwrap().count()
    }
}

impl Live {
    pub fn pid(&self) -> i32 {
        self.child.as_ref().unwrap().id().cast_signed()
    }

    /// The first event, from the beginning, that `is` what the test waits for.
    #[track_caller]
    pub fn event(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        if let Some(event) = self.seen.iter().find(|event| is(event)) {
            return event.clone();
        }
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if is(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("no sign of {what} in {:#?}", self.seen),
                Err(RecvTimeoutError::Disconnected) => panic!("over without {what}: {:#?}", self.seen),
            }
        }
    }

    /// Waits until the output of a command or a message holds `text`.
    #[track_caller]
    pub fn says(&mut self, text: &str) -> String {
        let event = self.event(text, |event| {
            ["line", "text"].iter().any(|field| event[field].as_str().is_some_and(|line| line.contains(text)))
        });
        event["line"].as_str().or(event["text"].as_str()).unwrap().to_owned()
    }

    /// Waits until a step waits for something that holds `text`.
    #[track_caller]
    pub fn waits_for(&mut self, text: &str) {
        self.event(text, |event| event["what"].as_str().is_some_and(|what| what.contains(text)));
    }

    /// Waits for an event of this kind.
    #[track_caller]
    pub fn kind(&mut self, kind: &str) -> Value {
        self.event(kind, |event| event["event"] == kind)
    }

    /// The name of the run.
    #[track_caller]
    pub fn run_id(&mut self) -> String {
        self.kind("run_started")["run_id"].as_str().unwrap().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for the end of the command.
    pub fn end(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap().into()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `is` holds, for what nobody announces: the end of a process
/// that is not this test's child.
#[track_caller]
pub fn eventually(what: &str, is: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is() {
        assert!(std::time::Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process of this pid runs; a zombie does not.
pub fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
