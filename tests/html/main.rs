//! The HTML report in a real browser: runs of the real binary are rendered,
//! and `check.mjs` opens, clicks, searches and zooms them in headless Chromium.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "../harness/mod.rs"]
mod harness;

use harness::Sandbox;
use recipe::report::{html, read};

/// Phases, branches, a task that is waited for, and what must not become markup.
const GOOD: &str = r#"
let notes = start("notes", || sh("sleep 0.3; echo notes"));
step("1 prepare", || sh("echo '<script>hostile()</script>'"));
step("2 side by side", || parallel(#{
    long: || sh("sleep 0.9; for i in 1 2 3; do echo line $i; done"),
    short: || sh("echo short"),
}));
step("3 finish", || notes.join());
log("all is </script> well");
output(#{ url: "http://127.0.0.1:8080/?a=<b>" });
"#;

/// The one does not fail before the other has begun, or there would be nothing
/// that was cancelled.
const FAILED: &str = r#"
parallel(#{
    broken: || sh("until [ -e begun ]; do sleep 0.01; done; echo 'FATAL: <img src=x onerror=hostile()>'; exit 3"),
    patient: || sh("touch begun; sleep 60"),
});
"#;

const TWO_THOUSAND_STEPS: &str = r#"
let all = [];
for i in range(0, 50) { all.push(i); }
each(all, |branch| { for n in range(0, 40) { sh("true"); } });
"#;

/// Runs `recipe` and writes the page of its run; gives the record as well.
fn render(pages: &Path, name: &str, recipe: &str, code: i32) -> PathBuf {
    let sandbox = Sandbox::with(recipe);
    let record = pages.join(format!("{name}.jsonl"));
    let output = sandbox.recipe(["run", "--rm", "-q", "--record", record.to_str().unwrap(), "recipe.rhai"]);
    assert_eq!(output.code, code, "{}", output.stderr);
    write(pages, name, &record, recipe);
    record
}

fn write(pages: &Path, name: &str, record: &Path, recipe: &str) {
    let sources = BTreeMap::from([("recipe.rhai".into(), recipe.into())]);
    let page = html(&read(record).unwrap(), &sources);
    std::fs::write(pages.join(format!("{name}.html")), page).unwrap();
}

#[test]
#[ignore = "needs Node.js and Chromium: run `make test-html`"]
fn the_report_works_in_a_browser() {
    let pages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("html");
    std::fs::create_dir_all(&pages).unwrap();
    let good = render(&pages, "good", GOOD, 0);
    render(&pages, "failed", FAILED, 1);
    render(&pages, "large", TWO_THOUSAND_STEPS, 0);

    let events = std::fs::read_to_string(good).unwrap();
    let cut: String = events.split_inclusive('\n').take(12).collect();
    let died = pages.join("died.jsonl");
    std::fs::write(&died, cut).unwrap();
    write(&pages, "died", &died, GOOD);

    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/html/check.mjs");
    let ended = Command::new("node").arg(check).arg(&pages).status();
    let ended = ended.expect("Node.js is needed: apt-get install nodejs npm chromium");
    assert!(ended.success(), "the pages are in {}", pages.display());
}
