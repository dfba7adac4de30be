//! The fault that `RECIPE_FAULT` names, and how often its seam was used. In
//! debug builds only.

use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::sys::signal::{Signal, raise};

use super::{Fault, Seam};

/// Names the fault.
const VARIABLE: &str = "RECIPE_FAULT";

static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).ok()?;
    Some(Plan::parse(&text).unwrap_or_else(|| panic!("{VARIABLE} cannot be `{text}`")))
});

static PROGRESS: Mutex<Progress> = Mutex::new(Progress { uses: 0, running: Vec::new() });

struct Progress {
    /// How often the seam was used.
    uses: usize,
    /// Primitives that run just now.
    running: Vec<&'static str>,
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
    let uses = {
        let mut progress = PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
        if plan.primitive.as_ref().is_some_and(|wanted| !progress.running.contains(&wanted.as_str())) {
            return None;
        }
        progress.uses += 1;
        progress.uses
    };
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

/// The time while a primitive runs.
#[must_use]
pub struct During(&'static str);

/// Faults of this primitive come until the value is dropped.
pub fn during(primitive: &'static str) -> During {
    PROGRESS.lock().unwrap_or_else(PoisonError::into_inner).running.push(primitive);
    During(primitive)
}

impl Drop for During {
    fn drop(&mut self) {
        let mut progress = PROGRESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = progress.running.iter().position(|running| *running == self.0) {
            progress.running.swap_remove(at);
        }
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
