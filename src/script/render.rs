//! Diagnostics as text for a terminal: the places are marked by miette, what
//! belongs to the whole follows below.

use std::fmt;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use super::diagnostic::Diagnostic;
use super::sources::Source;
use crate::run::Excerpt;
use crate::run::event::SourcePosition;
use crate::run::failure::{offset_of, word_length};

/// A marked place in a text.
#[derive(Debug)]
pub(super) struct Mark {
    file: String,
    pub(super) text: Arc<str>,
    span: (usize, usize),
    /// What is said at the mark; none where the mark itself says it all.
    label: Option<String>,
}

impl Diagnostic {
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

impl Mark {
    /// Marks the word or string at `position` in its file.
    pub(super) fn word(source: &Source, position: &SourcePosition, label: Option<String>) -> Self {
        let span = word_at(&source.text, position.line, position.column);
        Self { file: source.display.to_string(), text: source.text.clone(), span, label }
    }
}

impl From<Excerpt> for Mark {
    fn from(excerpt: Excerpt) -> Self {
        Self { file: excerpt.file, text: excerpt.text, span: excerpt.span, label: Some(excerpt.label) }
    }
}

/// Byte offset and length of the word or string that begins at a line and
/// column, both from 1, the column in characters.
fn word_at(text: &str, line: usize, column: usize) -> (usize, usize) {
    let offset = offset_of(text, line, column);
    let rest = text[offset..].lines().next().unwrap_or_default();
    let length = match rest.chars().next() {
        Some(quote @ ('"' | '`' | '\'')) => rest[1..].find(quote).map_or(rest.len(), |end| end + 2),
        _ => word_length(rest),
    };
    (offset, length)
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
    fn severity(&self) -> Option<miette::Severity> {
        self.diagnostic.warning.then_some(miette::Severity::Warning)
    }

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
