//! Errors of a script, written for a person: what was wrong, the place in the
//! script, the branch, the calls that led there, the causes, and what to do.

use std::fmt;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use rhai::{EvalAltResult, Position};

use super::failure::failure_of;
use super::host::Host;
use super::malformed::parse_error;
use super::parallel::GroupFailure;
use super::sources::{CompileError, Sources};
use super::{explain, task};
use crate::run::event::SourcePosition;
use crate::run::{Excerpt, Failure, Kind, failure};

/// One error with everything that belongs to it.
#[derive(Debug, Default)]
pub struct Diagnostic {
    /// What was wrong.
    pub message: String,
    /// What sort: `sql`, `syntax`, `usage`. See [`Kind`].
    pub code: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The place.
    pub position: Option<SourcePosition>,
    /// The branch it happened in, empty for the main script.
    pub branch: String,
    /// Calls that led to the place, innermost first: where, and what was called.
    pub trace: Vec<(SourcePosition, String)>,
    /// What it was caused by, outermost first.
    pub causes: Vec<String>,
    /// Log lines and the like.
    pub evidence: Vec<String>,
    /// Other branches that failed by themselves, in another way.
    pub others: Vec<Diagnostic>,
    /// Other branches that failed by themselves, in the same way at the same place.
    pub alike: Vec<String>,
    /// Branches that were stopped because of it.
    pub cancelled: Vec<String>,
    /// The sort, where a primitive failed.
    pub kind: Option<Kind>,
    pub(super) marks: Vec<Mark>,
}

/// A marked place in a text.
#[derive(Debug)]
pub(super) struct Mark {
    file: String,
    text: Arc<str>,
    span: (usize, usize),
    /// What is said at the mark; none where the mark itself says it all.
    label: Option<String>,
}

impl Diagnostic {
    /// Explains an error of a running script.
    pub(super) fn of(error: &EvalAltResult, host: &Host, main: &str) -> Self {
        Walk::new(host, main, String::new()).walk(error)
    }

    /// Without trace and excerpt: what a JSON summary or a list shows.
    #[must_use]
    pub fn headline(&self) -> String {
        let place = self.position.as_ref().map(|position| format!(" ({position})")).unwrap_or_default();
        format!("{}{place}", self.message)
    }

    /// The whole text, several lines, for a terminal `width` columns wide.
    #[must_use]
    pub fn render(&self, colour: bool, width: usize) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(width.max(60)).with_links(false);
        let mut text = String::new();
        let view = View { diagnostic: self, mark: self.marks.first(), main: true };
        // Writing to a string cannot fail.
        let _ = handler.render_report(&mut text, &view);
        for mark in self.marks.iter().skip(1) {
            let view = View { diagnostic: self, mark: Some(mark), main: false };
            let _ = handler.render_report(&mut text, &view);
        }
        self.append_notes(&mut text, colour, width);
        text
    }

    fn append_notes(&self, text: &mut String, colour: bool, width: usize) {
        let list = |text: &mut String, title: &str, lines: &[String]| {
            if !lines.is_empty() {
                text.push_str(&format!("  {title}:\n"));
                for line in lines {
                    text.push_str(&format!("    {line}\n"));
                }
            }
        };
        let names = |text: &mut String, title: &str, names: &[String]| {
            if !names.is_empty() {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                text.push_str(&format!("  {title}: {}\n", names.join(", ")));
            }
        };
        let places: Vec<_> = self.trace.iter().map(|(at, _)| at.to_string()).collect();
        let widest = places.iter().map(|place| place.chars().count()).max().unwrap_or_default();
        let calls = places.iter().zip(&self.trace);
        let calls: Vec<_> = calls.map(|(place, (_, what))| format!("{place:widest$}  {what}")).collect();
        list(text, "last output", &self.evidence);
        list(text, "called from", &calls);
        names(text, "failed in the same way", &self.alike);
        names(text, "cancelled because of it", &self.cancelled);
        for other in &self.others {
            text.push_str(&format!("\n  branch `{}` failed as well:\n", other.branch));
            text.push_str(&other.render(colour, width));
        }
    }
}

impl From<Failure> for Diagnostic {
    fn from(failure: Failure) -> Self {
        let (message, causes) = (failure.to_string(), failure.causes());
        let failure = failure::Parts::from(failure);
        let mut diagnostic = Self {
            message,
            code: failure.kind.name().to_owned(),
            kind: Some(failure.kind),
            causes,
            position: failure.position,
            hint: failure.hint,
            evidence: failure.evidence,
            branch: failure.branch.to_string(),
            ..Self::default()
        };
        diagnostic.marks.extend(failure.excerpt.map(Mark::from));
        diagnostic
    }
}

impl From<Excerpt> for Mark {
    fn from(excerpt: Excerpt) -> Self {
        Self { file: excerpt.file, text: excerpt.text, span: excerpt.span, label: Some(excerpt.label) }
    }
}

/// Collects what the frames of an error say on the way to its innermost part.
struct Walk<'a> {
    host: &'a Host,
    /// Key of the file that the next position is in.
    source: String,
    /// The innermost call so far: some errors of the interpreter have no position.
    nearest: Option<SourcePosition>,
    diagnostic: Diagnostic,
}

impl<'a> Walk<'a> {
    fn new(host: &'a Host, source: &str, branch: String) -> Self {
        let diagnostic = Diagnostic { branch, ..Diagnostic::default() };
        Self { host, source: source.to_owned(), nearest: None, diagnostic }
    }

    fn walk(mut self, error: &EvalAltResult) -> Diagnostic {
        match error {
            EvalAltResult::ErrorInFunctionCall(callee, source, inner, at) => {
                self.enter(callee, *at);
                if !source.is_empty() {
                    self.source.clone_from(source);
                }
                self.walk(inner)
            }
            EvalAltResult::ErrorInModule(module, inner, at) => {
                self.push(*at, "import".to_owned());
                self.source.clone_from(module);
                self.walk(inner)
            }
            inner => self.finish(inner),
        }
    }

    fn push(&mut self, at: Position, what: String) {
        if !at.is_none() {
            self.diagnostic.trace.push((self.host.sources.position(&self.source, at), what));
        }
    }

    fn enter(&mut self, callee: &str, at: Position) {
        if !at.is_none() {
            self.nearest = Some(self.host.sources.position(&self.source, at));
        }
        if let Some(group) = self.host.take_group(callee) {
            self.push(at, format!("{}, branch `{}`", group.primitive, group.first));
            self.enter_group(group);
        } else if let Some(task) = task::Frame::parse(callee) {
            self.push(at, callee.to_owned());
            task.path.clone_into(&mut self.diagnostic.branch);
        } else if !callee.starts_with("anon$") {
            self.push(at, format!("{callee}(..)"));
        }
    }

    fn enter_group(&mut self, group: GroupFailure) {
        let GroupFailure { first, others, cancelled, .. } = group;
        let parent = std::mem::take(&mut self.diagnostic.branch);
        let path = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
        self.diagnostic.cancelled.extend(cancelled.iter().map(|name| path(name)));
        for (name, error) in others {
            self.diagnostic.others.push(Walk::new(self.host, &self.source, path(&name)).walk(&error));
        }
        self.diagnostic.branch = path(&first);
    }

    fn finish(mut self, error: &EvalAltResult) -> Diagnostic {
        self.diagnostic.trace.reverse();
        let sources = &self.host.sources;
        if let Some(failure) = failure_of(error) {
            let Diagnostic { trace, others, cancelled, branch, .. } = self.diagnostic;
            let mut diagnostic = Diagnostic { trace, others, cancelled, ..Diagnostic::from(failure) };
            if diagnostic.branch.is_empty() {
                diagnostic.branch = branch;
            }
            // The place in the script comes before places in other files.
            let elsewhere = std::mem::take(&mut diagnostic.marks);
            diagnostic.mark_position(sources);
            diagnostic.marks.extend(elsewhere);
            return diagnostic.gather_alike();
        }
        let diagnostic = &mut self.diagnostic;
        let known = explain::Known::of(self.host, &self.source);
        let in_branch = !diagnostic.branch.is_empty();
        (diagnostic.message, diagnostic.hint) = explain::script_error(error, &known, in_branch);
        "script".clone_into(&mut diagnostic.code);
        diagnostic.position = match error.position() {
            at if at.is_none() => self.nearest,
            at => Some(sources.position(&self.source, at)),
        };
        diagnostic.mark_position(sources);
        self.diagnostic.gather_alike()
    }
}

impl Diagnostic {
    /// Marks the word at the position in its file.
    pub(super) fn mark_position(&mut self, sources: &Sources) {
        let Some(position) = self.position.as_ref().filter(|position| position.line > 0) else { return };
        let Some(source) = sources.get(&sources.key_of(position)) else { return };
        let span = word_at(&source.text, position.line, position.column);
        let label = (!self.branch.is_empty()).then(|| format!("in branch `{}`", self.branch));
        let mark = Mark { file: source.display.to_string(), text: source.text, span, label };
        self.marks.push(mark);
    }

    /// Makes a list of the branches that failed just as this one did.
    fn gather_alike(mut self) -> Self {
        let (alike, others): (Vec<_>, _) = std::mem::take(&mut self.others)
            .into_iter()
            .partition(|other| other.message == self.message && other.position == self.position);
        self.alike = alike.into_iter().map(|other| other.branch).collect();
        self.others = others;
        self
    }
}

/// Explains why a recipe does not compile.
pub(super) fn compile(sources: &Sources, error: &CompileError) -> Diagnostic {
    let text = sources.get(&error.file).map(|source| source.text).unwrap_or_default();
    let (message, hint) = match &*error.error {
        EvalAltResult::ErrorParsing(kind, _) => parse_error(kind, &text),
        EvalAltResult::ErrorModuleNotFound(why, at) => {
            let is_recipe = at.is_none();
            let hint = if is_recipe {
                "name an existing recipe, such as recipes/datastorage.rhai"
            } else {
                explain::RELATIVE
            };
            (why.clone(), Some(hint.to_owned()))
        }
        other => (explain::message(other), None),
    };
    let at = error.error.position();
    let mut diagnostic = Diagnostic {
        message,
        hint,
        code: "syntax".to_owned(),
        position: (!at.is_none()).then(|| sources.position(&error.file, at)),
        trace: error
            .imports
            .iter()
            .rev()
            .map(|(file, at)| (sources.position(file, *at), "import".to_owned()))
            .collect(),
        ..Diagnostic::default()
    };
    diagnostic.mark_position(sources);
    diagnostic
}

/// Byte offset and length of the word or string that begins at a line and
/// column, both from 1, the column in characters.
fn word_at(text: &str, line: usize, column: usize) -> (usize, usize) {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let this = text[start..].lines().next().unwrap_or_default();
    let column = this.char_indices().nth(column.saturating_sub(1)).map_or(this.len(), |(i, _)| i);
    let rest = &this[column..];
    let length = match rest.chars().next() {
        Some(quote @ ('"' | '`' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
        Some(first) => {
            let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            word.max(first.len_utf8())
        }
        None => 0,
    };
    (start + column, length)
}

/// A diagnostic as miette wants to see it, at one of its marks.
struct View<'a> {
    diagnostic: &'a Diagnostic,
    mark: Option<&'a Mark>,
    main: bool,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl fmt::Display for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.main {
            return f.write_str("in this file");
        }
        f.write_str(&self.diagnostic.message)?;
        self.diagnostic.causes.iter().try_for_each(|cause| write!(f, "\ncaused by: {cause}"))
    }
}

impl std::error::Error for View<'_> {}

impl miette::Diagnostic for View<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic
            .hint
            .as_ref()
            .filter(|_| self.main)
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.mark.map(|mark| mark as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let mark = self.mark?;
        Some(Box::new(std::iter::once(LabeledSpan::new(mark.label.clone(), mark.span.0, mark.span.1))))
    }
}

impl SourceCode for Mark {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let contents = self.text.as_ref().read_span(span, before, after)?;
        let named = miette::MietteSpanContents::new_named(
            self.file.clone(),
            contents.data(),
            *contents.span(),
            contents.line(),
            contents.column(),
            contents.line_count(),
        );
        Ok(Box::new(named))
    }
}

#[cfg(test)]
mod tests {
    use super::word_at;

    fn marked(text: &str, line: usize, column: usize) -> &str {
        let (start, length) = word_at(text, line, column);
        &text[start..start + length]
    }

    #[test]
    fn marks_the_word_or_string_at_a_position() {
        let text = "let größe = 1;\nimport \"a b\" as é;\nx + 'y\n";
        assert_eq!(marked(text, 1, 5), "größe");
        assert_eq!(marked(text, 1, 11), "=");
        assert_eq!(marked(text, 2, 8), "\"a b\"");
        assert_eq!(marked(text, 2, 17), "é");
        assert_eq!(marked(text, 3, 5), "'y");
        // The end of a line, and of the text.
        assert_eq!(marked(text, 2, 40), "");
        assert_eq!(marked(text, 9, 1), "");
    }
}
