//! The order of the house: layers, sizes, and a README that is true.

use std::path::{Path, PathBuf};

/// Lines of a source file, at most.
const LONGEST: usize = 400;

/// A layer may name those to its right, and nothing else of the crate.
const LAYERS: [(&str, &[&str]); 7] = [
    ("primitives", &["migrate", "script", "targets", "run"]),
    ("script", &["targets", "run"]),
    ("targets", &["run", "supervise"]),
    ("run", &["supervise"]),
    ("supervise", &[]),
    ("migrate", &[]),
    ("report", &["run"]),
];

/// Outside crates and the one place that may use them.
const HOMES: &[(&str, &str)] = &[
    ("rhai::", "src/script src/primitives src/commands/session.rs src/lib.rs"),
    (
        "tokio_postgres::",
        "src/migrate src/targets src/primitives/database.rs src/primitives/migrating.rs src/primitives/reset.rs src/fault.rs",
    ),
    ("clap::", "src/cli.rs src/cli src/commands/mod.rs src/commands/shell.rs"),
    ("miette::", "src/script/diagnostic.rs src/script/render.rs"),
    ("reqwest::", "src/targets/http.rs src/primitives/web.rs"),
    ("strsim::", "src/script/suggest.rs"),
    ("quick_junit::", "src/report/junit.rs"),
    ("quick_xml::", "src/report/results.rs"),
    ("glob::", "src/report/results.rs"),
    ("chrono::", "src/report/junit.rs"),
    ("rustyline::", "src/commands/repl"),
    ("bollard::", "src/targets/engine"),
    ("tar::", "src/targets/engine"),
    ("aho_corasick::", "src/run/secrets"),
    ("sha2::", "src/targets/engine"),
    ("regex::", "src/targets/engine"),
    ("kube::", "src/targets/kubernetes"),
    ("k8s_openapi::", "src/targets/kubernetes"),
    ("minijinja::", "src/targets/kubernetes/template.rs src/targets/kubernetes/preview.rs"),
    ("clap_complete::", "src/cli.rs src/cli src/commands/shell.rs"),
    ("clap_mangen::", "src/commands/shell.rs"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(below: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(!files.is_empty(), "no sources below {below}");
    files
}

#[test]
fn layers_name_only_those_below_them() {
    let all: Vec<_> =
        LAYERS.iter().map(|(layer, _)| *layer).chain(["commands", "cli", "settings", "exit"]).collect();
    for (layer, allowed) in LAYERS {
        for (path, text) in sources(&format!("src/{layer}")) {
            for other in all.iter().filter(|other| **other != layer && !allowed.contains(other)) {
                let name = format!("crate::{other}");
                assert!(!text.contains(&name), "{} names {name}", path.display());
            }
        }
    }
}

#[test]
fn outside_crates_stay_at_home() {
    for (name, homes) in HOMES {
        for (path, text) in sources("src") {
            let at_home = homes.split(' ').any(|home| path.starts_with(home));
            assert!(at_home || !text.contains(&format!(" {name}")), "{} uses {name}", path.display());
        }
    }
}

#[test]
fn what_the_compiler_cannot_check_is_in_one_place() {
    for (path, text) in ["src", "examples", "benches", "tests"].into_iter().flat_map(sources) {
        let is_home = path.ends_with("src/supervise/unchecked.rs") || path.ends_with("tests/tidy.rs");
        assert!(is_home || !text.contains("unsafe "), "{} does what nobody checks", path.display());
    }
    let home = std::fs::read_to_string(root().join("src/supervise/unchecked.rs")).unwrap();
    let reasons = home.matches("// SAFETY: ").count();
    assert_eq!(home.matches("unsafe {").count(), reasons, "each has its reason");
    assert!(home.lines().count() < 100);
}

#[test]
fn faults_are_made_at_few_seams() {
    let mut files = 0;
    for (path, text) in sources("src") {
        let seams = text.lines().filter(|line| line.contains(" fault::") && !line.contains("use crate::"));
        let seams = seams.count();
        assert!(path.starts_with("src/fault.rs") || seams <= 3, "{} has many seams", path.display());
        files += usize::from(seams > 0);
    }
    assert!((8..=20).contains(&files), "{files} files have seams");
}

#[test]
fn files_are_short_and_finished() {
    for (path, text) in ["src", "tests", "examples", "benches"].into_iter().flat_map(sources) {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", path.display());
        let is_part_of_another = path.to_string_lossy().ends_with("_tests.rs");
        assert!(is_part_of_another || text.starts_with("//!"), "{} does not say what it is", path.display());
        if !path.ends_with("tidy.rs") {
            for word in ["todo!(", "unimplemented!(", "dbg!(", "FIXME", "TODO", "XXX"] {
                assert!(!text.contains(word), "{} holds {word}", path.display());
            }
        }
    }
}

#[test]
fn the_readme_lists_the_primitives() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let generated = std::process::Command::new(env!("CARGO_BIN_EXE_recipe"))
        .args(["doc", "--format", "markdown"])
        .output()
        .unwrap();
    let generated = String::from_utf8(generated.stdout).unwrap();
    assert!(readme.contains(&generated), "put this into README.md:\n{generated}");
}

#[test]
fn what_the_readme_says_of_accidents_is_tested() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("## What happens when\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut count = 0;
    for row in rows {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let mut file = "";
        for name in tests.split('`').skip(1).step_by(2).filter(|name| *name != "make test-kill") {
            let (before, test) = name.rsplit_once("::").unwrap_or((file, name));
            file = before;
            let text = std::fs::read_to_string(root().join(format!("tests/{file}.rs"))).unwrap();
            let heads = text.split("#[test]\n").skip(1).filter_map(|test| {
                // Those that need an engine are run by `make test-kind`.
                test.lines().find(|line| !line.starts_with("#[ignore"))
            });
            let call = format!("fn {test}(");
            assert!({ heads }.any(|line| line.starts_with(&call)), "there is no test {file}::{test}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn shipped_recipes_compile() {
    for recipe in ["recipes/datastorage.rhai", "recipes/lib/audit.rhai"] {
        let check = std::process::Command::new(env!("CARGO_BIN_EXE_recipe"))
            .args(["check", recipe])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}
