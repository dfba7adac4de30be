//! What the prompt knows of recipes: when an entry is complete, how it is
//! coloured, how it may go on.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::Context;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};

use super::complete::{complete, hint};
use super::paint::paint;
use crate::script::Interactive;
use crate::script::entry::is_complete;

/// Looks at the script, which nobody runs while there is a prompt.
pub(super) struct Helper {
    pub(super) script: Arc<Mutex<Interactive>>,
    pub(super) colour: bool,
    /// Whether an entry is asked for, not an answer to a question.
    pub(super) is_entry: bool,
}

impl rustyline::Helper for Helper {}

impl Helper {
    fn with<T>(&self, look: impl FnOnce(&Interactive) -> T) -> T {
        look(&self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Helper {
    /// An entry as the history may keep it.
    pub(super) fn masked(&self, entry: &str) -> String {
        self.with(|script| script.host().events.secrets().masked(entry))
    }
}

impl Validator for Helper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input();
        if !self.is_entry || text.trim_start().starts_with(':') {
            return Ok(ValidationResult::Valid(None));
        }
        let complete = self.with(|script| is_complete(&script.host().engine, text));
        // An empty line at the end means: run it, whatever is missing.
        if complete || text.ends_with("\n\n") {
            Ok(ValidationResult::Valid(None))
        } else {
            Ok(ValidationResult::Incomplete)
        }
    }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if !self.is_entry {
            return Ok((at, Vec::new()));
        }
        let (start, words) = self.with(|script| complete(script, &line[..at]));
        let pair = |word: String| Pair { display: word.clone(), replacement: word };
        Ok((start, words.into_iter().map(pair).collect()))
    }
}

impl Hinter for Helper {
    type Hint = Shown;

    fn hint(&self, line: &str, at: usize, _: &Context<'_>) -> Option<Shown> {
        (self.is_entry && at == line.len()).then(|| hint(line).map(Shown)).flatten()
    }
}

/// A hint is there to be read; there is nothing of it to take over.
pub(super) struct Shown(String);

impl rustyline::hint::Hint for Shown {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Highlighter for Helper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if self.colour && self.is_entry { Cow::Owned(paint(line)) } else { Cow::Borrowed(line) }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.colour { Cow::Owned(format!("\x1b[1;36m{prompt}\x1b[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colour { Cow::Owned(format!("\x1b[2m{hint}\x1b[0m")) } else { Cow::Borrowed(hint) }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.colour
    }
}
