//! Output that comes line by line, and secrets that are spread over lines.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Secrets;
use super::finder::HEAD;
use crate::run::event::{StepId, Stream};

/// Output of steps that waits for what follows, since its end may be the
/// beginning of a secret. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::run) struct Lines(Arc<Mutex<HashMap<(StepId, Stream), Waiting>>>);

/// Lines of one stream that wait, masked as far as they are known.
#[derive(Default)]
struct Waiting {
    lines: Vec<String>,
    /// The end of what was handed on, too short to wait for more.
    before: String,
}

impl Lines {
    /// Takes the next line of a stream, and gives those that need not wait,
    /// masked.
    pub(in crate::run) fn next(&self, secrets: &Secrets, of: (StepId, Stream), line: String) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(of).or_default().next(secrets, line)
    }

    /// What waits of a step that is over.
    pub(in crate::run) fn rest(&self, step: StepId) -> Vec<(Stream, String)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let streams = [Stream::Stdout, Stream::Stderr].into_iter();
        let rest = streams.filter_map(|stream| Some((stream, all.remove(&(step, stream))?)));
        rest.flat_map(|(stream, waiting)| waiting.lines.into_iter().map(move |line| (stream, line))).collect()
    }
}

impl Waiting {
    fn next(&mut self, secrets: &Secrets, line: String) -> Vec<String> {
        self.lines.push(line);
        let text = secrets.masked(&format!("{}\n{}", self.before, self.lines.join("\n")));
        let mut lines = text.split('\n').map(str::to_owned);
        self.before = lines.next().unwrap_or_default();
        self.lines = lines.collect();
        let open = secrets.open_end(&format!("{}{}", self.before, self.lines.concat())).unwrap_or(usize::MAX);
        let ends = self.lines.iter().scan(self.before.len(), |end, line| {
            *end += line.len();
            Some(*end)
        });
        let done = ends.take_while(|end| *end <= open).count();
        let handed_on: Vec<_> = self.lines.drain(..done).collect();
        for line in &handed_on {
            self.before.push_str(line);
        }
        let end = self.before.len().saturating_sub(HEAD - 1);
        self.before.drain(..self.before.ceil_char_boundary(end));
        handed_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of lines, one after the other: those that are handed on with
    /// each, and the rest.
    fn handed_on(lines: &[&str]) -> Vec<Vec<String>> {
        let secrets = Secrets::default();
        secrets.add("correct-horse-battery");
        let mut waiting = Waiting::default();
        let mut all: Vec<_> = lines.iter().map(|line| waiting.next(&secrets, (*line).to_owned())).collect();
        all.push(waiting.lines);
        all
    }

    #[test]
    fn a_secret_in_two_lines_is_masked_in_both() {
        assert_eq!(handed_on(&["pw: correct-ho", "rse-battery!"]), [vec![], vec!["pw: ***", "***!"], vec![]]);
        assert_eq!(
            handed_on(&["correct-", "horse-", "", "  battery", "."]).concat(),
            ["***", "***", "", "  ***", "."],
            "also in more"
        );
        assert_eq!(handed_on(&["co", "rrect-horse-battery"]).concat(), ["co", "***"], "as much as can be");
        assert_eq!(handed_on(&["c", "o", "r", "rect-horse-battery"]).concat()[3], "***");
    }

    #[test]
    fn lines_wait_for_no_more_than_they_need() {
        assert_eq!(handed_on(&["one", "two"]), [vec!["one"], vec!["two"], vec![]]);
        assert_eq!(handed_on(&["is correct", "is not"]), [vec![], vec!["is correct", "is not"], vec![]]);
        assert_eq!(handed_on(&["is correct"]), [vec![], vec!["is correct"]], "to the end");
        assert_eq!(handed_on(&["correct-", "correct-"])[1], ["correct-"], "the second may begin one");
        assert_eq!(
            handed_on(&["corr", "ect-horse-battery corr", "ect-horse-battery"]).concat(),
            ["***", "*** ***", "***"]
        );
    }
}
