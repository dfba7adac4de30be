//! Reports of stored records, and the files that a run leaves.
//!
//! `tests/fixtures/records` holds records of real runs by the first version of
//! the schema, which have to stay readable, and what each is rendered as.
//! `datastorage` also has the tests and the samples that came to it later.
//! `UPDATE_GOLDEN=1 cargo test --test reports` rewrites the latter; the records
//! themselves are never written again.

mod harness;

use std::path::{Path, PathBuf};

use harness::Sandbox;

/// Formats, and the ends of the golden files' names.
const FORMATS: [(&str, &str); 5] =
    [("text", "txt"), ("json", "json"), ("trace", "trace.json"), ("junit", "junit.xml"), ("svg", "svg")];

fn record(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records").join(name)
}

#[test]
fn records_of_the_first_schema() {
    let records = [
        ("shop", "✓ set up"),
        ("broken", "✗ failed"),
        ("stopped", "⊘ cancelled"),
        ("datastorage", "✓ set up"),
    ];
    for (name, told) in records {
        let events = record(&format!("{name}.jsonl"));
        let events = events.to_str().unwrap();
        for (format, end) in FORMATS {
            let found = Sandbox::new().recipe(["report", events, "--format", format]).success().stdout;
            let golden = record(&format!("{name}.{end}"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&golden, &found).unwrap();
            }
            let expected = std::fs::read_to_string(&golden).unwrap_or_default();
            assert!(found == expected, "{}: expected\n{expected}\nfound\n{found}", golden.display());
            assert!(format != "text" || found.starts_with(told), "{found}");
        }
    }
}

#[test]
fn the_readme_shows_lines_of_a_record() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let shop = std::fs::read_to_string(record("shop.jsonl")).unwrap();
    let shown = readme.split("```jsonl\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(
        shown.lines().count() == 3 && shown.lines().all(|line| shop.lines().any(|l| l == line)),
        "{shown}"
    );
}

const RECIPE: &str = r#"
parallel(#{
    quick: || sh("echo quick"),
    slow:  || sh("[ -e fine ] || { echo no such thing >&2; exit 3; }"),
});
"#;

/// What `recipe report` makes of a run or record.
fn report(sandbox: &Sandbox, run: &str, format: &str) -> String {
    sandbox.recipe(["report", run, "--format", format]).success().stdout
}

#[test]
fn a_run_leaves_the_files_it_was_asked_for() {
    for (sandbox, code) in [(Sandbox::with(RECIPE).file("fine", ""), 0), (Sandbox::with(RECIPE), 1)] {
        let flags = [
            "--trace",
            "run.trace.json",
            "--junit",
            "run.xml",
            "--record",
            "run.jsonl",
            "--report",
            "run.html",
        ];
        sandbox.recipe(["run", "--rm", "recipe.rhai"].into_iter().chain(flags)).exits(code);
        let run = sandbox.run_folder().file_name().unwrap().to_str().unwrap().to_owned();
        for (file, format) in [("run.trace.json", "trace"), ("run.xml", "junit")] {
            let written = std::fs::read_to_string(sandbox.path().join(file)).unwrap();
            assert_eq!(written, report(&sandbox, "run.jsonl", format));
            assert_eq!(written, report(&sandbox, &run, format));
        }
        let page = std::fs::read_to_string(sandbox.path().join("run.html")).unwrap();
        let kept = std::fs::read_to_string(sandbox.run_folder().join("report.html")).unwrap();
        assert!(kept == page, "every run has its page in its folder");
        assert!(page == report(&sandbox, &run, "html"), "the pages differ");
        // The texts of the recipe lie beside the record of the run only.
        let known = |page: &str| page.contains("\"sources\":{\"recipe.rhai\":");
        assert!(known(&page) && !known(&report(&sandbox, "run.jsonl", "html")));
        let newest = sandbox.recipe(["report"]).success().stdout;
        assert_eq!(newest, report(&sandbox, &run, "text"));
        assert_eq!(newest.contains("no such thing"), code == 1, "{newest}");
    }
}

#[test]
fn a_run_that_was_killed_is_still_told() {
    // The parent of the shell is recipe.
    let sandbox = Sandbox::with("sh(\"echo begun\");\nsh(\"kill -KILL $PPID\");");
    let old = "the results of another run";
    let sandbox = sandbox.file("run.xml", old);
    sandbox.recipe(["run", "--rm", "--junit", "run.xml", "recipe.rhai"]).exits(128 + 9);
    let text = sandbox.recipe(["report"]).success().stdout;
    assert!(text.starts_with("? unfinished after"), "{text}");
    assert!(text.contains("it ended without a word"), "{text}");
    let xml = sandbox.recipe(["report", "--format", "junit"]).success().stdout;
    assert!(xml.contains("failures=\"0\" errors=\"1\""), "{xml}");
    assert_eq!(std::fs::read_to_string(sandbox.path().join("run.xml")).unwrap(), "", "nothing old is left");
}

#[test]
fn a_file_out_of_reach_shows_before_the_run() {
    let sandbox = Sandbox::with("sh(\"touch begun\");");
    for flag in ["--trace", "--junit"] {
        sandbox.recipe(["run", "--rm", flag, "no/such/folder", "recipe.rhai"]).exits(2).says(&[
            "a report of the run cannot be written",
            "no/such/folder",
            "name a file in a folder that exists",
        ]);
    }
    assert!(sandbox.events().is_none() && !sandbox.path().join("begun").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_changes_nothing_about_the_run() {
    for (recipe, code) in [("sh(\"true\");", 0), ("sh(\"exit 3\");", 1)] {
        let sandbox = Sandbox::with(recipe);
        let args = ["run", "--rm", "--trace", "/dev/full", "--junit", "run.xml", "recipe.rhai"];
        sandbox.recipe(args).exits(code).says(&["warning: a report of this run is missing", "No space left"]);
        let xml = std::fs::read_to_string(sandbox.path().join("run.xml")).unwrap();
        assert!(xml.contains("</testsuites>"), "the other one is written: {xml}");
    }
}

#[test]
fn what_is_no_record_is_refused() {
    let shop = std::fs::read_to_string(record("shop.jsonl")).unwrap();
    let sandbox = Sandbox::with("print(1);\n")
        .file("newer.jsonl", &shop.replacen("\"schema\":1", "\"schema\":2", 1))
        .file("part.jsonl", shop.split_once('\n').unwrap().1)
        .file("unknown.jsonl", &shop.replacen("step_finished", "step_vanished", 1))
        .file("empty.jsonl", "");
    sandbox.recipe(["report"]).exits(1).says(&["there is no run yet", "recipe run RECIPE"]);
    for (name, code, what) in [
        ("nothing", 1, "there is no run and no file `nothing`"),
        (".", 1, "cannot read the record of the run"),
        ("recipe.rhai", 2, "recipe.rhai:1 is not an event of a recorded run"),
        ("newer.jsonl", 2, "newer.jsonl has schema 2, but this recipe reads schema 1"),
        ("unknown.jsonl", 2, "unknown variant `step_vanished`"),
        ("part.jsonl", 2, "part.jsonl does not begin with the beginning of a run"),
        ("empty.jsonl", 2, "empty.jsonl does not begin with the beginning of a run"),
    ] {
        sandbox.recipe(["report", name]).exits(code).says(&[what]);
    }
}
