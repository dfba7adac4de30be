//! The fault that `RECIPE_FAULT` names, and how often its seam was used. In
//! debug builds only.

use std::cell::RefCell;
use std::io::Write;
use std::marker::PhantomData;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, raise};

use super::{Fault, Seam};

/// Names the fault.
const VARIABLE: &str = "RECIPE_FAULT";

static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).ok()?;
    Some(Plan::parse(&text).unwrap_or_else(|| panic!("{VARIABLE} cannot be `{text}`")))
});

/// How often the seam was used.
static USES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Primitives that run on this thread, the innermost last. What others do
    /// meanwhile, also in the background, is not theirs, or the number of a use
    /// would be another one each time.
    static RUNNING: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug, PartialEq, Eq)]
struct Plan {
    text: String,
    primitive: Option<String>,
    seam: Seam,
    /// None where this process dies.
    fault: Option<Fault>,
    nth: usize,
    onwards: bool,
}

impl Plan {
    fn parse(text: &str) -> Option<Self> {
        let (primitive, rest) = match text.split_once('/') {
            Some((primitive, rest)) => (Some(primitive.to_owned()), rest),
            None => (None, text),
        };
        let mut words = rest.split(':');
        let (seam, fault, nth) = (words.next()?, words.next()?, words.next()?);
        let onwards = nth.ends_with('+');
        Some(Self {
            text: text.to_owned(),
            primitive,
            seam: match seam {
                "spawn" => Seam::Spawn,
                "server" => Seam::Server,
                "docker" => Seam::Docker,
                "kubernetes" => Seam::Kubernetes,
                "sql" => Seam::Sql,
                "redis" => Seam::Redis,
                "files" => Seam::Files,
                "clock" => Seam::Clock,
                _ => return None,
            },
            fault: match fault {
                "fail" => Some(Fault::Fail),
                "hang" => Some(Fault::Hang),
                "slow" => Some(Fault::Slow),
                "die" => None,
                _ => return None,
            },
            nth: nth.trim_end_matches('+').parse().ok().filter(|nth| *nth > 0)?,
            onwards,
        })
        .filter(|_| words.next().is_none())
    }

    fn comes_with(&self, uses: usize) -> bool {
        uses == self.nth || (self.onwards && uses > self.nth)
    }
}

/// Counts a use of `seam`, and says what is to happen to it.
pub(super) fn next(seam: Seam) -> Option<Fault> {
    let plan = PLAN.as_ref().filter(|plan| plan.seam == seam)?;
    let is_running = |wanted: &String| RUNNING.with_borrow(|running| running.contains(&wanted.as_str()));
    if !plan.primitive.as_ref().is_none_or(is_running) {
        return None;
    }
    let uses = USES.fetch_add(1, Ordering::Relaxed) + 1;
    if !plan.comes_with(uses) {
        return None;
    }
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "fault: {} at use {uses}", plan.text);
    if plan.fault.is_none() {
        let _ = raise(Signal::SIGKILL);
    }
    plan.fault
}

/// The time while a primitive runs, on its thread.
#[must_use]
pub struct During(PhantomData<*const ()>);

/// Faults of this primitive come on this thread until the value is dropped.
pub fn during(primitive: &'static str) -> During {
    RUNNING.with_borrow_mut(|running| running.push(primitive));
    During(PhantomData)
}

impl Drop for During {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(Vec::pop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_understands_and_nothing_else() {
        let plan = Plan::parse("migrate/sql:hang:2+").unwrap();
        assert_eq!((plan.primitive.as_deref(), plan.seam), (Some("migrate"), Seam::Sql));
        assert_eq!(plan.fault, Some(Fault::Hang));
        assert_eq!([1, 2, 3].map(|uses| plan.comes_with(uses)), [false, true, true]);
        let plan = Plan::parse("files:die:2").unwrap();
        assert_eq!((plan.primitive.as_deref(), plan.fault), (None, None));
        assert_eq!([1, 2, 3].map(|uses| plan.comes_with(uses)), [false, true, false]);
        for text in ["", "sql", "sql:fail", "sql:fail:0", "sql:fail:x", "sql:fail:1:2", "tape:fail:1"] {
            assert_eq!(Plan::parse(text), None, "{text}");
        }
    }
}
