//! Looks for secrets wherever a run could have left them.

use std::path::{Path, PathBuf};

use crate::harness::{Output, Sandbox};
use crate::reveals::Readings;

/// Makes a run write all reports that there are.
pub const REPORTS: [&str; 8] =
    ["--record", "record.jsonl", "--report", "report.html", "--trace", "trace.json", "--junit", "junit.xml"];

#[track_caller]
pub fn hides(place: &str, text: &str, secrets: &[&str]) {
    let readings = Readings::of(text);
    if let Some(secret) = secrets.iter().find(|secret| readings.reveal(secret)) {
        let lines: Vec<_> = text.lines().filter(|line| Readings::of(line).reveal(secret)).take(3).collect();
        panic!("{place} reveals {secret}:\n{}", lines.join("\n"));
    }
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

/// Looks at all that a run with [`REPORTS`] has said and left behind, and at what
/// commands say about it. It may put out what is `asked_for`.
#[track_caller]
pub fn hides_all(sandbox: &Sandbox, output: &Output, secrets: &[&str], asked_for: &[&str]) {
    hides("stdout", &output.stdout, secrets);
    let secrets = &[secrets, asked_for].concat();
    hides("stderr", &output.stderr, secrets);
    let folder = sandbox.run_folder();
    let id = folder.file_name().unwrap().to_str().unwrap();
    for format in ["text", "html", "svg", "json", "trace", "junit"] {
        let report = sandbox.recipe(["report", id, "--format", format]).success();
        hides(format, &report.stdout, secrets);
    }
    for command in [&["logs", "-n", "10000", id][..], &["status", id], &["ls", "--all", "--output", "json"]] {
        let shown = sandbox.recipe(command).success();
        assert!(!shown.stdout.is_empty(), "{command:?}");
        hides(command[0], &(shown.stdout + &shown.stderr), secrets);
    }
    for report in ["record.jsonl", "report.html", "trace.json", "junit.xml", "state/history.jsonl"] {
        hides(report, &std::fs::read_to_string(sandbox.path().join(report)).unwrap(), secrets);
    }
    for file in files(&folder) {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        hides(file.to_str().unwrap(), &text, secrets);
    }
}
