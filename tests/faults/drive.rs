//! Runs a recipe into its fault, and looks at what is left.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Output, Sandbox};
use crate::table::{Case, Table, Use};

/// What happens to a use.
#[derive(Clone, Copy)]
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
#[derive(Default)]
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

/// Runs a case into a fault. Fails unless all that is not told in the outcome is
/// as it must be.
pub fn run(table: &Table<'_>, case: &Case, (seam, nth, _, ends): &Use, fault: Fault) -> Outcome {
    let code = ends.codes[fault as usize];
    let variable = format!("{}/{seam}:{}:{nth}", case.primitive, fault.name());
    let sandbox = sandbox(&recipe(case, code == 0));
    let child = sandbox
        .command(["run", "--rm", "--no-cache", "--timeout", "5m", "--output", "json", "recipe.rhai"])
        .args(["--target", table.target])
        .env("RECIPE_FAULT", &variable)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mark = format!("fault: {variable} at use ");
    let interrupts = if code == 130 { ends.interrupts } else { 0 };
    let output = to_its_end(child, &mark, interrupts);
    assert!(
        output.stderr.contains(&mark) || logs(&sandbox).contains(&mark),
        "did not come: {mark}{output:#?}"
    );
    assert_eq!(output.code, code, "{variable}: {output:#?}");
    sandbox.assert_nothing_left();
    if code == 137 {
        sandbox.recipe(["gc"]).success();
    }
    assert!(sandbox.open_entries().is_empty(), "{variable}: {:?}", sandbox.open_entries());
    let folder = sandbox.run_folder();
    let left = (table.left)(folder.file_name().unwrap().to_str().unwrap());
    assert!(left.is_empty(), "{variable}: left behind: {left:?}");
    if code == 137 {
        return Outcome { code, ..Outcome::default() };
    }
    let events = sandbox.events().unwrap();
    assert_eq!(events.last().unwrap()["event"], "run_finished", "{variable}");
    assert!(folder.join("report.html").is_file() && folder.join("logs").is_dir(), "{variable}");
    let summary: Value = serde_json::from_str(&output.stdout).unwrap();
    let outcome = match code {
        130 => "cancelled",
        0 => "succeeded",
        _ => "failed",
    };
    assert_eq!(summary["outcome"], outcome, "{variable}: {output:#?}");
    let caught = |field: &str| summary["outputs"][field].as_str().unwrap_or_default();
    Outcome {
        code,
        kind: caught("kind").to_owned(),
        told: without_names(&sandbox, caught("message")),
        hint: without_names(&sandbox, caught("hint")),
        sibling: if code == 0 { String::new() } else { beside(&events) },
    }
}

/// With all that a recipe of a table may name.
pub fn sandbox(recipe: &str) -> Sandbox {
    let mut sandbox = Sandbox::with(recipe)
        .file("program", "#!/bin/sh\n")
        .file("sql/001_fruit.sql", "CREATE TABLE fruit (name text);")
        .file("Dockerfile", "ARG BASE\nFROM $BASE\nCOPY program /program\n")
        .file("objects.yaml", OBJECTS);
    for (name, image) in images() {
        sandbox = sandbox.env(&format!("RECIPE_PARAM_{name}"), image);
    }
    sandbox
}

/// The images that `make test-kind` tells of, by the names of parameters.
fn images() -> [(&'static str, String); 3] {
    ["BASE", "POSTGRES", "REDIS"]
        .map(|name| (name, std::env::var(format!("RECIPE_TEST_{name}_IMAGE")).unwrap_or_default()))
}

const OBJECTS: &str = "\
---
{ apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: { name: \"{{ namespace }}\" }, rules: [] }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: one }, data: { a: b } }
---
{ apiVersion: v1, kind: Service, metadata: { name: two }, spec: { ports: [{ port: 80 }] } }
";

/// The branch beside it has begun, and waits for an hour where it is not waited
/// for.
fn recipe(case: &Case, succeeds: bool) -> String {
    let wait = if succeeds { "()" } else { "sleep(\"1h\")" };
    format!(
        "{}\nparallel(#{{\n    \
         beside: || step(\"beside\", || {{ test_barrier(\"both\", 2); {wait} }}),\n    hit: || {{\n        \
         test_barrier(\"both\", 2);\n        try {{ {}; }} catch (e) {{\n            \
         output(#{{ kind: e.kind, message: e.message, hint: e.hint }});\n            throw e;\n        }}\n    }},\n}});\n",
        case.before, case.call
    )
}

/// Interrupts it so often once the fault has come.
fn to_its_end(mut child: Child, mark: &str, interrupts: usize) -> Output {
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut stderr = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
        stderr.push_str(&line);
        stderr.push('\n');
        if line.contains(mark) {
            (0..interrupts).for_each(|_| kill(pid, Signal::SIGINT).unwrap());
        }
    }
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    Output { code: Output::code_of(child.wait().unwrap()), stdout, stderr }
}

/// What processes of the run's supervisor have said.
fn logs(sandbox: &Sandbox) -> String {
    let logs = std::fs::read_dir(sandbox.run_folder().join("logs")).unwrap();
    logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap()).collect()
}

/// How the branch beside it ended.
fn beside(events: &[Value]) -> String {
    let started = events.iter().find(|event| event["title"] == "beside").unwrap();
    let is_its = |event: &&Value| event["event"] == "step_finished" && event["step"] == started["step"];
    let finished = events.iter().find(is_its).and_then(|event| event["outcome"].as_str());
    finished.unwrap_or("under way").to_owned()
}

/// A text without what is another one each time, or on another machine.
fn without_names(sandbox: &Sandbox, text: &str) -> String {
    let mut text = text.to_owned();
    let here = std::fs::canonicalize(sandbox.path()).unwrap();
    let folder = sandbox.run_folder();
    let run = folder.file_name().unwrap().to_str().unwrap();
    for (name, stands_for) in [
        (env!("CARGO_BIN_EXE_recipe"), "recipe"),
        (sandbox.scratch().to_str().unwrap(), "SCRATCH"),
        (here.to_str().unwrap(), "WORKSPACE"),
        (sandbox.path().to_str().unwrap(), "WORKSPACE"),
        (run, "RUN"),
        // Names of what is a run's own end with the end of its name.
        (run.rsplit('-').next().unwrap(), "RUN"),
    ] {
        text = text.replace(name, stands_for);
    }
    for (variable, image) in images().into_iter().filter(|(_, image)| !image.is_empty()) {
        text = text.replace(&image, variable);
    }
    without_numbers(&text)
}

/// Ports, users, digests and where programs are: other ones on each machine.
fn without_numbers(text: &str) -> String {
    let mut text = text.to_owned();
    let marks = [
        ("127.0.0.1:", "127.0.0.1:PORT"),
        (" as uid ", ""),
        ("recipe.local/faults:", "recipe.local/faults:TAG"),
    ];
    for (mark, stands_for) in marks {
        let mut parts = text.split(mark);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            whole.push_str(stands_for);
            whole.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
        }
        text = whole;
    }
    let program = |word: &str| match word.split_once("/bin/") {
        Some((before, name)) => format!("{}{name}", if before.starts_with('`') { "`" } else { "" }),
        None => word.to_owned(),
    };
    text.split(' ').map(program).collect::<Vec<_>>().join(" ")
}
