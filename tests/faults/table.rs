//! Uses of what is outside of recipe against every fault, and the page that
//! tells what came of it. With `UPDATE_GOLDEN=1` it is written anew.

use std::fmt::Write;
use std::panic::RefUnwindSafe;
use std::path::Path;
use std::sync::Mutex;

use crate::drive::{FAULTS, Fault, Outcome, run};

/// Runs at a time: they mostly wait.
const AT_A_TIME: usize = 4;

/// A call of a primitive.
pub struct Case {
    pub primitive: &'static str,
    pub before: &'static str,
    pub call: &'static str,
    pub uses: &'static [Use],
}

/// The seam, which use of it, what for, and what comes of faults there.
pub type Use = (&'static str, usize, &'static str, Ends);

/// How a run ends.
#[derive(Clone, Copy)]
pub struct Ends {
    /// Exit codes when the use fails, hangs, is slow, and is where recipe dies.
    pub codes: [i32; 4],
    /// How often it is interrupted, where it hangs until then.
    pub interrupts: usize,
}

pub const FAILS: Ends = Ends { codes: [1, 130, 0, 137], interrupts: 1 };
/// What fails is tried again.
pub const MENDS: Ends = Ends { codes: [0, 130, 0, 137], interrupts: 1 };
/// Its thread hangs with it, and does not hear of a first Ctrl-C.
pub const BLOCKS: Ends = Ends { codes: [1, 130, 0, 137], interrupts: 2 };

/// A page of the docs, and what it tells of.
pub struct Table<'a> {
    pub page: &'static str,
    pub head: &'static str,
    /// Checks it.
    pub command: &'static str,
    pub target: &'static str,
    pub cases: &'static [Case],
    /// What a run has left beyond what it has on this machine.
    pub left: &'a (dyn Fn(&str) -> Vec<String> + Sync + RefUnwindSafe),
}

impl Table<'_> {
    /// Fails unless each use comes to what the page says.
    pub fn holds(&self) {
        let uses = self.cases.iter().flat_map(|case| case.uses.iter().map(move |of| (case, of)));
        let uses: Vec<_> = uses.collect();
        // Fault by fault, so that what takes long is not done at one time.
        let all = FAULTS.into_iter().flat_map(|fault| uses.iter().enumerate().map(move |of| (of, fault)));
        let next = Mutex::new(all);
        let outcomes = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    loop {
                        let Some(((number, (case, of)), fault)) = next.lock().unwrap().next() else { break };
                        // One that goes wrong has said so; the others are still worth seeing.
                        if let Ok(outcome) = std::panic::catch_unwind(|| run(self, case, of, fault)) {
                            outcomes.lock().unwrap().push((number, fault, outcome));
                        }
                    }
                });
            }
        });
        let mut outcomes = outcomes.into_inner().unwrap();
        assert_eq!(outcomes.len(), uses.len() * FAULTS.len(), "some went wrong; what, is said above");
        outcomes.sort_by_key(|(number, fault, _)| (*number, *fault as usize));
        let anew = format!("UPDATE_GOLDEN=1 {}", self.command);
        let mut page = format!("{}\n<!-- Written by `{anew}`. -->\n", self.head);
        page += "| primitive | uses | fault | exit code | a script catches | and people read | what to do | the branch beside it |\n";
        page += "|---|---|---|---|---|---|---|---|\n";
        for (number, fault, outcome) in &outcomes {
            let (case, of) = uses[*number];
            writeln!(page, "{}", row(case, of, *fault, outcome)).unwrap();
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.page);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        for (found, expected) in page.lines().zip(expected.lines().chain(std::iter::repeat(""))) {
            assert_eq!(found, expected, "where this is right: {anew}");
        }
        assert_eq!(page.lines().count(), expected.lines().count());
    }
}

fn row(case: &Case, (_, _, what, _): &Use, fault: Fault, outcome: &Outcome) -> String {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let cell = |text: &str| text.replace('|', "\\|");
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
        case.primitive,
        cell(what),
        fault.name(),
        outcome.code,
        code(&outcome.kind),
        cell(&outcome.told),
        cell(&outcome.hint),
        outcome.sibling
    )
}
