//! Errors of a script, written for a person: what was wrong, the place in the
//! script, the branch, the calls that led there, the causes, and what to do.

use std::fmt;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};
use rhai::{EvalAltResult, ParseErrorType, Position};

use super::failure::failure_of;
use super::host::Host;
use super::parallel::GroupFailure;
use super::sources::{CompileError, Sources};
use super::{explain, suggest};
use crate::run::event::SourcePosition;
use crate::run::{Excerpt, Failure, Kind, Secrets, failure};

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
    /// Other branches that failed by themselves.
    pub others: Vec<Diagnostic>,
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
    label: String,
}

impl Diagnostic {
    /// Explains an error of a running script.
    pub(super) fn of(error: &EvalAltResult, host: &Host, main: &str) -> Self {
        Walk { host, source: main.to_owned(), diagnostic: Self::default() }.walk(error)
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

    /// Replaces secrets, also in the excerpts of recipes that hold them.
    pub(crate) fn mask(&mut self, secrets: &Secrets) {
        let Self { message, hint, trace, causes, evidence, others, marks, .. } = self;
        let notes = trace.iter_mut().map(|(_, what)| what);
        let texts = causes.iter_mut().chain(evidence).chain(hint).chain(notes);
        texts.chain([message]).for_each(|text| secrets.mask(text));
        for mark in marks {
            mark.text = secrets.covered(&mark.text).into();
        }
        for other in others {
            other.mask(secrets);
        }
    }

    fn append_notes(&self, text: &mut String, colour: bool, width: usize) {
        let list = |text: &mut String, title: &str, lines: &[String]| {
            if !lines.is_empty() {
                text.push_str(&format!("  {title}\n"));
                for line in lines {
                    text.push_str(&format!("    {line}\n"));
                }
            }
        };
        let trace: Vec<_> = self.trace.iter().map(|(at, what)| format!("{at}  {what}")).collect();
        list(text, "last output:", &self.evidence);
        list(text, "called from:", &trace);
        if !self.cancelled.is_empty() {
            let names: Vec<_> = self.cancelled.iter().map(|name| format!("`{name}`")).collect();
            let title = format!("cancelled because of it: {}", names.join(", "));
            text.push_str(&format!("  {title}\n"));
        }
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
        Self { file: excerpt.file, text: excerpt.text, span: excerpt.span, label: excerpt.label }
    }
}

/// Collects what the frames of an error say on the way to its innermost part.
struct Walk<'a> {
    host: &'a Host,
    /// Key of the file that the next position is in.
    source: String,
    diagnostic: Diagnostic,
}

impl Walk<'_> {
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
        if let Some(group) = self.host.take_group(callee) {
            self.push(at, format!("in branch `{}`", group.first));
            let GroupFailure { first, others, cancelled } = group;
            let path = |name: &str| {
                let parent = &self.diagnostic.branch;
                if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") }
            };
            self.diagnostic.cancelled.extend(cancelled.iter().map(|name| path(name)));
            for (name, error) in others {
                let mut other = Diagnostic::of(&error, self.host, &self.source);
                other.branch = path(&name);
                self.diagnostic.others.push(other);
            }
            self.diagnostic.branch = path(&first);
        } else if callee.starts_with("task `") {
            self.push(at, format!("in {callee}"));
        } else if !callee.starts_with("anon$") {
            self.push(at, format!("in `{callee}`"));
        }
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
            return diagnostic;
        }
        let in_branch = !self.diagnostic.branch.is_empty();
        let known = explain::Known::of(&self.host.engine, sources, &self.source);
        (self.diagnostic.message, self.diagnostic.hint) = explain::script_error(error, &known, in_branch);
        "script".clone_into(&mut self.diagnostic.code);
        if !error.position().is_none() {
            self.diagnostic.position = Some(sources.position(&self.source, error.position()));
        }
        self.diagnostic.mark_position(sources);
        self.diagnostic
    }
}

impl Diagnostic {
    /// Marks the word at the position in its file.
    pub(super) fn mark_position(&mut self, sources: &Sources) {
        let Some(position) = self.position.as_ref().filter(|position| position.line > 0) else { return };
        let Some(source) = sources.get(&sources.key_of(position)) else { return };
        let span = word_at(&source.text, position.line, position.column);
        let mark = Mark { file: source.display.to_string(), text: source.text, span, label: self.label() };
        self.marks.push(mark);
    }

    fn label(&self) -> String {
        if self.branch.is_empty() { "here".to_owned() } else { format!("in branch `{}`", self.branch) }
    }
}

/// Explains why a recipe does not compile.
pub(super) fn compile(sources: &Sources, error: &CompileError) -> Diagnostic {
    let (message, hint) = match &*error.error {
        EvalAltResult::ErrorParsing(kind, _) => explain::parse_error(kind),
        EvalAltResult::ErrorModuleNotFound(why, _)
            if error.imports.is_empty() && error.error.position().is_none() =>
        {
            (why.clone(), Some("name an existing recipe, such as recipes/datastorage.rhai".to_owned()))
        }
        EvalAltResult::ErrorModuleNotFound(why, _) => {
            (why.clone(), Some("imports are relative to the file that imports".to_owned()))
        }
        EvalAltResult::ErrorRuntime(why, _) => (why.to_string(), None),
        other => (other.to_string(), None),
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

/// An error in one line without its position.
pub(super) fn message(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorRuntime(value, _) if value.is_string() => value.to_string(),
        EvalAltResult::ErrorParsing(kind, _) => match kind {
            ParseErrorType::UnexpectedEOF => "the script ends too early".to_owned(),
            kind => kind.to_string(),
        },
        other => {
            let text = other.to_string();
            let end = text.rfind(" (line ").unwrap_or(text.len());
            text[..end].to_owned()
        }
    }
}

/// Byte offset and length of the word that begins at a line and column, both
/// from 1, the column in characters.
fn word_at(text: &str, line: usize, column: usize) -> (usize, usize) {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let this = text[start..].lines().next().unwrap_or_default();
    let column = this.char_indices().nth(column.saturating_sub(1)).map_or(this.len(), |(i, _)| i);
    let rest = &this[column..];
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    (start + column, word.max(usize::from(!rest.is_empty())))
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
        Some(Box::new(std::iter::once(LabeledSpan::new(Some(mark.label.clone()), mark.span.0, mark.span.1))))
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

/// `suggest` for what does not exist.
pub(super) fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> (String, Option<String>) {
    let hint = suggest::nearest(name, known).map(|near| format!("did you mean `{near}`?"));
    (format!("unknown {what} `{name}`"), hint)
}
