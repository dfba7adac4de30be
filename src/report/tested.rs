//! What became of the test command that an environment was set up for.

use super::line::plural;
use crate::run::Outcome;
use crate::run::event::TestResults;

/// A test command. Times are milliseconds since the run began.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// When it began.
    pub from_ms: f64,
    /// When it ended; none while it runs.
    pub to_ms: Option<f64>,
    /// Its exit code, 128 + n when signal n ended it; none while it runs.
    pub code: Option<i32>,
    /// What its JUnit files say.
    pub results: Option<TestResults>,
}

impl Tested {
    pub(super) fn begun(ms: f64, command: &[String]) -> Self {
        Self { command: command.to_vec(), from_ms: ms, to_ms: None, code: None, results: None }
    }

    pub(super) fn end(&mut self, ms: f64, code: i32, results: Option<TestResults>) {
        (self.to_ms, self.code, self.results) = (Some(ms), Some(code), results);
    }

    /// How long it took, if it has ended.
    #[must_use]
    pub fn took(&self) -> Option<f64> {
        self.to_ms.map(|to_ms| to_ms - self.from_ms)
    }

    /// How it went; none while it runs.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.code.map(|code| if code == 0 { Outcome::Succeeded } else { Outcome::Failed })
    }

    /// `41 passed, 1 failed`, else `exit code 3`.
    pub(super) fn told(&self) -> String {
        let code = match self.code {
            None => return "it had not ended when the record did".to_owned(),
            Some(0) => String::new(),
            Some(code) => format!("exit code {code}"),
        };
        let results = self.results.as_ref().map(counts);
        let parts: Vec<String> = results.into_iter().chain((!code.is_empty()).then_some(code)).collect();
        if parts.is_empty() { "passed".to_owned() } else { parts.join(", ") }
    }
}

fn counts(results: &TestResults) -> String {
    let TestResults { passed, failed, errors, skipped, pending } = *results;
    let errors = (errors > 0).then(|| plural(usize::try_from(errors).unwrap_or(usize::MAX), "error"));
    let count = |number: u64, word: &str| (number > 0).then(|| format!("{number} {word}"));
    let parts = [
        Some(format!("{passed} passed")),
        count(failed, "failed"),
        errors,
        count(skipped, "skipped"),
        count(pending, "pending"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_it_went() {
        let mut tested = Tested::begun(10.0, &["cargo".to_owned(), "test".to_owned()]);
        assert_eq!(tested.told(), "it had not ended when the record did");
        tested.end(30.0, 0, None);
        assert_eq!((tested.told().as_str(), tested.took()), ("passed", Some(20.0)));
        let results = TestResults { passed: 41, failed: 1, errors: 2, skipped: 0, pending: 3 };
        tested.end(30.0, 101, Some(results));
        assert_eq!(tested.told(), "41 passed, 1 failed, 2 errors, 3 pending, exit code 101");
    }
}
