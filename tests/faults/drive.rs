//! Runs a recipe into its fault, and looks at what is left.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cases::Use;
use crate::harness::{Output, Sandbox};

/// What happens to a use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Fail,
    Hang,
    Slow,
    Die,
}

pub const FAULTS: [Fault; 4] = [Fault::Fail, Fault::Hang, Fault::Slow, Fault::Die];

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Hang => "hang",
            Self::Slow => "slow",
            Self::Die => "die",
        }
    }
}

/// What came of it.
pub struct Outcome {
    pub code: i32,
    /// What a script that catches it is told.
    pub kind: String,
    /// The message.
    pub told: String,
    /// What to do about it.
    pub hint: String,
    /// What became of the branch beside it.
    pub sibling: String,
}

/// Runs `of` into `fault`. Fails unless all that is not told in the outcome is
/// as it must be.
pub fn run(of: &Use, fault: Fault) -> Outcome {
    let variable = format!("{}/{}:{}:{}", of.primitive, of.seam, fault.name(), of.nth);
    let ends = fault == Fault::Slow || (fault == Fault::Fail && of.mends);
    let sandbox = Sandbox::with(&recipe(of, ends))
        .file("program", "#!/bin/sh\n")
        .file("sql/001_fruit.sql", "CREATE TABLE fruit (name text);");
    let child = sandbox
        .command(["run", "--rm", "--no-cache", "--timeout", "2m", "--output", "json", "recipe.rhai"])
        .env("RECIPE_FAULT", &variable)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = to_its_end(child, &variable, fault == Fault::Hang, of.blocks);
    sandbox.assert_nothing_left();
    let is_as_it_must = match fault {
        Fault::Die => output.code == 128 + 9,
        Fault::Hang => output.code == 128 + 2,
        _ if ends => output.code == 0,
        _ => output.code == 1,
    };
    assert!(is_as_it_must, "{variable}: {output:#?}");
    if fault == Fault::Die {
        sandbox.recipe(["gc"]).success();
        assert!(sandbox.open_entries().is_empty(), "{variable}: {:?}", sandbox.open_entries());
        return Outcome {
            code: output.code,
            kind: String::new(),
            told: String::new(),
            hint: String::new(),
            sibling: String::new(),
        };
    }
    assert!(sandbox.open_entries().is_empty(), "{variable}: {:?}", sandbox.open_entries());
    let events = sandbox.events().unwrap();
    assert_eq!(events.last().unwrap()["event"], "run_finished", "{variable}");
    let folder = sandbox.run_folder();
    assert!(folder.join("report.html").is_file() && folder.join("logs").is_dir(), "{variable}");
    let summary: Value = serde_json::from_str(&output.stdout).unwrap();
    let outcome = match fault {
        Fault::Hang => "cancelled",
        _ if ends => "succeeded",
        _ => "failed",
    };
    assert_eq!(summary["outcome"], outcome, "{variable}: {output:#?}");
    let caught = |field: &str| summary["outputs"][field].as_str().unwrap_or_default();
    Outcome {
        code: output.code,
        kind: caught("kind").to_owned(),
        told: without_names(&sandbox, caught("message")),
        hint: without_names(&sandbox, caught("hint")),
        sibling: if ends { String::new() } else { beside(&events) },
    }
}

/// The branch beside it has begun, and waits for an hour where it is not waited
/// for.
fn recipe(of: &Use, ends: bool) -> String {
    let wait = if ends { "()" } else { "sleep(\"1h\")" };
    format!(
        "let c = create_cluster(\"c\");\n{}\nparallel(#{{\n    \
         beside: || step(\"beside\", || {{ test_barrier(\"both\", 2); {wait} }}),\n    hit: || {{\n        \
         test_barrier(\"both\", 2);\n        try {{ {}; }} catch (e) {{\n            \
         output(#{{ kind: e.kind, message: e.message, hint: e.hint }});\n            throw e;\n        }}\n    }},\n}});\n",
        of.before, of.call
    )
}

/// Interrupts it once the fault has come, if it hangs: once, or twice where it
/// does not hear the first one.
fn to_its_end(mut child: Child, variable: &str, hangs: bool, blocks: bool) -> Output {
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut stderr = String::new();
    let mut is_hit = false;
    for line in lines.by_ref() {
        stderr.push_str(&line);
        stderr.push('\n');
        if line.contains(&format!("fault: {variable} at use ")) {
            is_hit = true;
            break;
        }
    }
    if hangs {
        for _ in 0..=usize::from(blocks) {
            kill(pid, Signal::SIGINT).unwrap();
        }
    }
    stderr.extend(lines.map(|line| line + "\n"));
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert!(is_hit, "{variable} did not come:\n{stderr}\n{stdout}");
    Output { code: Output::code_of(child.wait().unwrap()), stdout, stderr }
}

/// How the branch beside it ended.
fn beside(events: &[Value]) -> String {
    let started = events.iter().find(|event| event["title"] == "beside").unwrap();
    let is_its = |event: &&Value| event["event"] == "step_finished" && event["step"] == started["step"];
    let finished = events.iter().find(is_its).and_then(|event| event["outcome"].as_str());
    finished.unwrap_or("under way").to_owned()
}

/// A text without what is another one each time.
fn without_names(sandbox: &Sandbox, text: &str) -> String {
    let mut text = text.to_owned();
    let here = std::fs::canonicalize(sandbox.path()).unwrap();
    let folder = sandbox.run_folder();
    for (name, stands_for) in [
        (sandbox.scratch(), "SCRATCH"),
        (&here, "WORKSPACE"),
        (sandbox.path(), "WORKSPACE"),
        (Path::new(folder.file_name().unwrap()), "RUN"),
    ] {
        text = text.replace(name.to_str().unwrap(), stands_for);
    }
    without_numbers(&text)
}

/// Ports, users and where programs are: other ones on each machine.
fn without_numbers(text: &str) -> String {
    let mut text = text.to_owned();
    for (mark, stands_for) in [("127.0.0.1:", "127.0.0.1:PORT"), (" as uid ", "")] {
        let mut parts = text.split(mark);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            whole.push_str(stands_for);
            whole.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        text = whole;
    }
    let program = |word: &str| match word.split_once("/bin/") {
        Some((before, name)) => format!("{}{name}", if before.starts_with('`') { "`" } else { "" }),
        None => word.to_owned(),
    };
    text.split(' ').map(program).collect::<Vec<_>>().join(" ")
}
