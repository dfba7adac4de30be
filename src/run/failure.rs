//! What a person or a script is told when a primitive fails.

use std::error::Error;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::event::SourcePosition;

/// What sort of failure, for scripts (`e.kind`) and for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The script called a primitive with something it does not take.
    Usage,
    /// A file, folder or named thing is not there.
    NotFound,
    /// A command ended with a code other than 0.
    Command,
    /// A process that should stay up ended.
    Exited,
    /// Time ran out.
    Timeout,
    /// PostgreSQL refused a statement.
    Sql,
    /// Redis refused a command.
    Redis,
    /// The API of Kubernetes refused something.
    Kubernetes,
    /// Something answered wrongly or not at all.
    Unreachable,
    /// A port on this machine is in use.
    PortTaken,
    /// The target cannot do this at all.
    Unsupported,
    /// The target lacks what it needs; exit code 3.
    TargetUnusable,
    /// Reading or writing failed.
    Io,
    /// A script took more than it may.
    Limit,
    /// A recipe that is not trusted asked for more than its environment.
    Untrusted,
    /// A branch wrote to a captured variable and the like: rules of the script.
    Script,
    /// A bug in recipe; exit code 70.
    Bug,
}

impl Kind {
    /// The name scripts compare with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Command => "command",
            Self::Exited => "exited",
            Self::Timeout => "timeout",
            Self::Sql => "sql",
            Self::Redis => "redis",
            Self::Kubernetes => "kubernetes",
            Self::Unreachable => "unreachable",
            Self::PortTaken => "port_taken",
            Self::Unsupported => "unsupported",
            Self::TargetUnusable => "target",
            Self::Io => "io",
            Self::Limit => "limit",
            Self::Untrusted => "untrusted",
            Self::Script => "script",
            Self::Bug => "bug",
        }
    }
}

/// A place in a file that is not a recipe, shown under the failure.
#[derive(Debug, Clone)]
pub struct Excerpt {
    /// The file's name for people.
    pub file: String,
    /// Its whole text.
    pub text: Arc<str>,
    /// Byte offset and length of what is marked.
    pub span: (usize, usize),
    /// What is said at the mark.
    pub label: String,
}

/// The byte offset of a line and column of `text`, both from 1, the column in
/// characters; the end of the line where it has fewer.
#[must_use]
pub fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let this = text[start..].lines().next().unwrap_or_default();
    start + this.char_indices().nth(column.saturating_sub(1)).map_or(this.len(), |(i, _)| i)
}

/// The length in bytes of the word that `rest` begins with, else of its first
/// character.
#[must_use]
pub fn word_length(rest: &str) -> usize {
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    word.max(rest.chars().next().map_or(0, char::len_utf8))
}

/// A failed primitive. Boxed, since it is the error of nearly every function;
/// its parts are read and set as fields.
#[derive(Debug, Clone)]
pub struct Failure(Box<Parts>);

/// Everything a person or a script needs to know about a failure.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What sort.
    pub kind: Kind,
    /// What was wrong, where and why.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Evidence, such as the last lines of a log.
    pub evidence: Vec<String>,
    /// A marked place in another file.
    pub excerpt: Option<Excerpt>,
    /// The primitive that failed; filled in by the host.
    pub primitive: Arc<str>,
    /// The branch it failed in, empty for the main script; filled in by the host.
    pub branch: Arc<str>,
    /// The call, or the very option that was wrong; filled in by the host.
    pub position: Option<SourcePosition>,
    /// What it was caused by.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure without a place yet.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            hint: None,
            evidence: Vec::new(),
            excerpt: None,
            primitive: "".into(),
            branch: "".into(),
            position: None,
            cause: None,
        }))
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what it was caused by.
    #[must_use]
    pub fn cause(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// Adds evidence, a line each.
    #[must_use]
    pub fn evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }

    /// The messages of the causes, outermost first.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut next = self.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        causes
    }
}

impl Deref for Failure {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl From<Failure> for Parts {
    fn from(failure: Failure) -> Self {
        *failure.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.primitive.is_empty() {
            write!(f, "{}", self.message)
        } else {
            write!(f, "{}: {}", self.primitive, self.message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_begin_and_end_at_characters() {
        let text = "é = 1;\n€ big_word";
        assert_eq!(
            [offset_of(text, 1, 2), offset_of(text, 2, 1), offset_of(text, 2, 99)],
            [2, 8, text.len()]
        );
        assert_eq!(word_length("€ x"), "€".len());
        assert_eq!([word_length("big_word("), word_length("")], [8, 0]);
    }
}
