//! Every primitive against every fault, and the page that tells what came of
//! it. `UPDATE_GOLDEN=1 cargo test --test faults` writes it anew.

use std::fmt::Write;
use std::path::Path;
use std::sync::Mutex;

use crate::cases::{USES, Use};
use crate::drive::{FAULTS, Fault, Outcome, run};

/// Runs at a time: they mostly wait.
const AT_A_TIME: usize = 4;

const HEAD: &str = "# Faults, and what becomes of a run\n\n\
    Each line is a run on the target `local` with a real PostgreSQL and a real Redis, in which one use of something \
    outside of recipe was made to fail, to hang, to be slow, or to be the moment in which recipe is killed. Beside \
    the primitive another branch waits for an hour. Whatever happens, afterwards no process, directory or open entry \
    of the journal is left (after a kill, with one `recipe gc`), and records, logs and report are there. What hangs \
    is interrupted by Ctrl-C; where a thread hangs in the system, by two.\n\n\
    <!-- Written by `UPDATE_GOLDEN=1 cargo test --test faults`. -->\n";

#[test]
fn every_fault_of_every_primitive_has_the_outcome_in_the_docs() {
    let all: Vec<_> = USES.iter().flat_map(|of| FAULTS.map(|fault| (of, fault))).collect();
    let next = Mutex::new(0..all.len());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(number) = next.lock().unwrap().next() else { break };
                    let (of, fault) = all[number];
                    // One that goes wrong has said so; the others are still worth seeing.
                    if let Ok(outcome) = std::panic::catch_unwind(|| run(of, fault)) {
                        outcomes.lock().unwrap().push((number, outcome));
                    }
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    assert_eq!(outcomes.len(), all.len(), "some went wrong; what, is said above");
    outcomes.sort_by_key(|(number, _)| *number);
    let mut page = HEAD.to_owned();
    page += "| primitive | uses | fault | exit code | a script catches | and people read | what to do | the branch beside it |\n";
    page += "|---|---|---|---|---|---|---|---|\n";
    for (number, outcome) in &outcomes {
        let (of, fault) = all[*number];
        writeln!(page, "{}", row(of, fault, outcome)).unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (found, expected) in page.lines().zip(expected.lines().chain(std::iter::repeat(""))) {
        assert_eq!(found, expected, "where this is right: UPDATE_GOLDEN=1 cargo test --test faults");
    }
    assert_eq!(page.lines().count(), expected.lines().count());
}

fn row(of: &Use, fault: Fault, outcome: &Outcome) -> String {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let cell = |text: &str| text.replace('|', "\\|");
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
        of.primitive,
        cell(of.what),
        fault.name(),
        outcome.code,
        code(&outcome.kind),
        cell(&outcome.told),
        cell(&outcome.hint),
        outcome.sibling
    )
}
