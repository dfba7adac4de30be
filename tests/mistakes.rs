//! Typical mistakes: each `tests/mistakes/CASE.rhai` is checked by the real
//! binary beside the files in `tests/mistakes/files`, and all it says must be
//! `CASE.out`. `docs/mistakes.md` shows them side by side.
//!
//! `UPDATE_GOLDEN=1 cargo test --test mistakes` rewrites both.

mod harness;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use harness::Sandbox;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes")
}

fn cases() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "rhai")).collect();
    cases.sort();
    assert!(cases.len() >= 20);
    cases
}

fn sandbox(case: &Path) -> Sandbox {
    Sandbox::with(&std::fs::read_to_string(case).unwrap()).folder(&folder().join("files"))
}

/// Writes or compares; gives what is wrong.
fn compare(path: &Path, found: &str) -> String {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == found {
        return String::new();
    }
    format!("\n=== {}: expected\n{expected}\n=== found\n{found}", path.display())
}

#[test]
fn each_is_told_in_full() {
    let mut wrong = String::new();
    for case in cases() {
        let sandbox = sandbox(&case);
        let output = sandbox.recipe(["check", "recipe.rhai"]);
        let here = std::fs::canonicalize(sandbox.path()).unwrap();
        let said = output.stderr.replace(here.to_str().unwrap(), "WORKSPACE");
        let said: String = said.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        wrong += &compare(&case.with_extension("out"), &format!("exit {}\n\n{said}", output.code));
        assert!(sandbox.events().is_none(), "a check is no run");
    }
    assert!(wrong.is_empty(), "{wrong}\nwhere this is right: UPDATE_GOLDEN=1 cargo test --test mistakes");
}

#[test]
fn the_table_in_the_docs_is_what_check_says() {
    let mut table = "# Mistakes, and what `recipe check` says\n\n\
        All of a recipe's problems are told at once, each with its place, its reason and what to do. `recipe run` \
        refuses unknown names, calls and options before it begins, too.\n\
        `--output json` gives the same to programs, `--output github` as annotations in a pull request.\n\n\
        <!-- Written by `cargo test --test mistakes`. -->\n\
        | the recipe says | check says | and what to do |\n|---|---|---|\n"
        .to_owned();
    for case in cases() {
        let sandbox = sandbox(&case);
        let found = sandbox.recipe(["check", "--output", "json", "recipe.rhai"]).stdout;
        let here = std::fs::canonicalize(sandbox.path()).unwrap();
        let found = found.replace(here.to_str().unwrap(), "WORKSPACE");
        let problems: Vec<Value> = serde_json::from_str(&found).unwrap();
        assert!(!problems.is_empty(), "{}", case.display());
        for problem in problems {
            let file = problem["file"].as_str().unwrap();
            let text = std::fs::read_to_string(sandbox.path().join(file)).unwrap();
            let place = if file == "recipe.rhai" { String::new() } else { format!("{file}:") };
            let line = usize::try_from(problem["line"].as_u64().unwrap()).unwrap();
            let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
            let message =
                format!("{place}{line}:{} {}", problem["column"], problem["message"].as_str().unwrap());
            let hint = problem["hint"].as_str().unwrap_or_default();
            let source = text.lines().nth(line - 1).unwrap_or_default().trim();
            writeln!(table, "| `` {} `` | {} | {} |", cell(source), cell(&message), cell(hint)).unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mistakes.md");
    let wrong = compare(&path, &table);
    assert!(wrong.is_empty(), "{wrong}\nwhere this is right: UPDATE_GOLDEN=1 cargo test --test mistakes");
}

#[test]
fn github_gets_annotations() {
    let sandbox = Sandbox::with("let port = random_port();\nslep(1);\nmigrate(1);");
    let output = sandbox.recipe(["check", "--output", "github", "recipe.rhai"]).exits(2);
    assert_eq!(
        output.stdout,
        "::warning file=recipe.rhai,line=1,col=5,title=recipe check (unused)::`port` is made by `random_port` \
         and never used%0Ause the port, or do not reserve it\n\
         ::error file=recipe.rhai,line=2,col=1,title=recipe check (unknown)::unknown function `slep`%0Adid you \
         mean `sleep`?\n\
         ::error file=recipe.rhai,line=3,col=1,title=recipe check (arity)::`migrate` cannot be called with 1 \
         argument%0Athe call is migrate(postgres, dir, [#{..}]) -> Postgres\n"
    );
}

#[test]
fn warnings_alone_do_not_fail() {
    let sandbox = Sandbox::with("let port = random_port();");
    sandbox.recipe(["check", "recipe.rhai"]).success().says(&["1 warning"]);
}

#[test]
fn files_beside_a_broken_one_are_checked_too() {
    let sandbox = Sandbox::with("import \"a\" as a;\nimport \"b\" as b;\nnope();")
        .file("a.rhai", "let x = ;")
        .file("b.rhai", "fn f() { slep(1) }");
    sandbox.recipe(["check", "recipe.rhai"]).exits(2).says(&["a.rhai:1:9", "b.rhai:1:10", "recipe.rhai:3:1"]);
}
