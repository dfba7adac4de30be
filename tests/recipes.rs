//! Golden recipes: each `tests/recipes/AREA/CASE.rhai` is run by the real
//! binary, and what it says must be `CASE.out`: its messages in order, then its
//! exit code and error, whole, as a person reads it.
//!
//! Files in folders below an area are modules of its cases. A first line
//! `// recipe run --timeout 1s` gives flags. What branches print would come in
//! any order, so cases return values and print afterwards; that branches are
//! alive together is proven with barriers, never with clocks.
//!
//! `UPDATE_GOLDEN=1 cargo test --test recipes` rewrites the expectations.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Output, Sandbox};

mod harness;

/// The flags of a case stand behind these words in its first line.
const FLAGS: &str = "// recipe run ";

#[test]
fn branches() {
    check("branches");
}

#[test]
fn captures() {
    check("captures");
}

#[test]
fn control() {
    check("control");
}

#[test]
fn databases() {
    check("databases");
}

#[test]
fn errors() {
    check("errors");
}

#[test]
fn limits() {
    check("limits");
}

#[test]
fn modules() {
    check("modules");
}

#[test]
fn options() {
    check("options");
}

#[test]
fn stopping() {
    check("stopping");
}

#[test]
fn syntax() {
    check("syntax");
}

#[test]
fn tasks() {
    check("tasks");
}

/// Not golden, since either may be the first.
#[test]
fn two_branches_that_fail_at_once() {
    let sandbox = Sandbox::with(
        r#"parallel(#{
            database: || fail("no room for the database"),
            queue: || fail("no room for the queue"),
            web: || sleep("1h"),
            cache: || sleep("1h"),
        });
        // Nothing can stop a branch between the barrier and its `throw`.
        fn fail(why) { test_barrier("both", 2); throw why; }"#,
    );
    let output = sandbox.run().exits(1).says(&[
        "× no room for the database",
        "in branch `database`",
        "× no room for the queue",
        "in branch `queue`",
        "failed as well:",
        "cancelled because of it: `cache`, `web`",
    ]);
    let first = output.stderr.find("cancelled because of it").unwrap();
    assert!(first < output.stderr.find("failed as well").unwrap(), "{}", output.stderr);
}

#[test]
fn branches_that_fail_in_the_same_way_are_told_once() {
    let sandbox =
        Sandbox::with(r#"each(["a", "b", "c"], |name| { test_barrier("all", 3); throw "no room"; });"#);
    let output = sandbox.run().exits(1).says(&["× no room", "failed in the same way: `"]);
    assert_eq!(output.stderr.matches("× no room").count(), 1, "{}", output.stderr);
}

#[test]
fn what_does_not_exist_shows_without_running() {
    let sandbox = Sandbox::with("import \"lib/net\" as net;\nprint(\"never\");\nnet::up();")
        .file("lib/net.rhai", "fn up() { paralel([|| 1]) }");
    sandbox.recipe(["check", "recipe.rhai"]).exits(2).never_says(&["never"]).says(&[
        "unknown function `paralel`",
        "lib/net.rhai:1:11",
        "did you mean `parallel`?",
    ]);
    assert!(sandbox.events().is_none(), "a check is no run");
}

#[track_caller]
fn check(area: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipes").join(area);
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = String::new();
    for case in cases(&folder) {
        let (found, golden) = (run(&folder, &case), case.with_extension("out"));
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if found == expected {
            continue;
        }
        if update {
            std::fs::write(&golden, found).unwrap();
        } else {
            let name = case.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display();
            write!(wrong, "\n=== {name}: expected\n{expected}\n=== found\n{found}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nwhere this is right: UPDATE_GOLDEN=1 cargo test --test recipes");
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (mut cases, others): (Vec<_>, Vec<_>) =
        entries.filter(|path| path.is_file()).partition(|path| path.extension().is_some_and(|e| e == "rhai"));
    cases.sort();
    for golden in others {
        assert!(golden.with_extension("rhai").is_file(), "{} belongs to no recipe", golden.display());
    }
    assert!(!cases.is_empty(), "{} has no recipes", folder.display());
    cases
}

/// Runs a case in a copy of its area, and describes what came of it.
fn run(area: &Path, case: &Path) -> String {
    let sandbox = Sandbox::new().folder(area);
    let text = std::fs::read_to_string(case).unwrap();
    let flags = text.lines().next().and_then(|line| line.strip_prefix(FLAGS)).unwrap_or_default();
    let mut args = vec!["run", "--rm"];
    args.extend(flags.split_whitespace());
    args.push(case.file_name().unwrap().to_str().unwrap());
    let output = sandbox.recipe(args);
    let found = match sandbox.events() {
        Some(events) => tell(&events, &output),
        // It did not come to a run: all there is to read is on the terminal.
        None => format!("exit {}\n\n{}", output.code, plain(&output.stderr)),
    };
    sandbox.assert_nothing_left();
    found
}

fn tell(events: &[Value], output: &Output) -> String {
    let mut told = String::new();
    for event in events.iter().filter(|event| event["event"] == "message") {
        let mark = if event["level"] == "warning" { "! " } else { "" };
        let branch = event["branch"].as_str().unwrap();
        let from = if branch.is_empty() { String::new() } else { format!("[{branch}] ") };
        writeln!(told, "{mark}{from}{}", event["text"].as_str().unwrap()).unwrap();
    }
    if !told.is_empty() {
        told.push('\n');
    }
    writeln!(told, "exit {}", output.code).unwrap();
    if let Some(error) = events.last().and_then(|finished| finished["error"].as_str()) {
        write!(told, "\n{}", plain(error)).unwrap();
    }
    told
}

/// Without blanks at the ends of lines, which editors remove.
fn plain(text: &str) -> String {
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
