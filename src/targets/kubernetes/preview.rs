//! Manifests rendered before a run, with what is known of their variables.
//!
//! What only a run knows is stood in for. Where rendering fails because of that,
//! nothing is said: an alarm that is false is worse than none.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::ErrorKind;
use minijinja::value::{Enumerator, Object, ObjectRepr, Serde, Value};
use serde_json::Value as Json;

use super::template::{environment, parse, unrenderable};
use crate::run::{Excerpt, Failure, Kind};
use crate::targets::Known;

/// Stands for a value that only a run knows.
const OPEN: &str = "known-in-the-run";

/// The variables of a manifest before a run.
#[derive(Default)]
pub struct Variables {
    /// By name, as far as they are known.
    pub known: BTreeMap<String, Known>,
    /// Whether there are no others.
    pub is_complete: bool,
}

/// A manifest as it is before a run.
pub struct Preview {
    name: String,
    source: Arc<str>,
    text: String,
    /// The documents in it that hold anything.
    pub documents: Vec<Json>,
}

/// A value that only a run knows.
#[derive(Debug)]
struct Open {
    /// Whether a template has gone one way or another by such a value.
    decided: Arc<AtomicBool>,
}

impl Object for Open {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_dyn_object(self.clone()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.decided.store(true, Ordering::Relaxed);
        Enumerator::NonEnumerable
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.decided.store(true, Ordering::Relaxed);
        true
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(OPEN)
    }
}

/// Renders the manifest at `path`, which the recipe calls `name`; none where
/// that shows in a run only.
///
/// # Errors
/// When it would be refused whatever the run knows, with the place in it.
pub fn preview(path: &Path, name: &str, variables: &Variables) -> Result<Option<Preview>, Failure> {
    let source: Arc<str> = fs_err::read_to_string(path)
        .map_err(|error| {
            Failure::new(Kind::NotFound, format!("the manifest {name} cannot be read")).cause(error)
        })?
        .into();
    let decided = Arc::new(AtomicBool::new(false));
    let values: BTreeMap<_, _> =
        variables.known.iter().map(|(name, known)| (name.clone(), value(known, &decided))).collect();
    let environment = environment()?;
    let rendered = environment
        .template_from_named_str(name, &source)
        .and_then(|template| template.render(Value::from(values)));
    let text = match rendered {
        Ok(text) => text,
        Err(error) => {
            let is_certain = match error.kind() {
                ErrorKind::SyntaxError => true,
                ErrorKind::UndefinedError => variables.is_complete && !decided.load(Ordering::Relaxed),
                _ => variables.is_complete && variables.known.values().all(Known::is_whole),
            };
            let known: Vec<_> = variables.known.keys().cloned().collect();
            return if is_certain { Err(unrenderable(name, &source, &known, &error)) } else { Ok(None) };
        }
    };
    // What is a line of its own may be any YAML.
    if text.lines().any(|line| line.trim().trim_start_matches("- ") == OPEN) {
        return Ok(None);
    }
    let mut preview = Preview { name: name.to_owned(), source, text, documents: Vec::new() };
    match parse(name, &preview.text) {
        Ok(objects) => {
            let documents = objects.iter().map(serde_json::to_value);
            preview.documents = documents.collect::<Result<_, _>>().unwrap_or_default();
            Ok(Some(preview))
        }
        Err(mut failure) => {
            let line = match &failure.excerpt {
                Some(rendered) => preview.text[..rendered.span.0].matches('\n').count(),
                // It is YAML, but for what the run puts into it.
                None if Preview::is_open(&preview.text) => return Ok(None),
                None => preview.first_refused(),
            };
            failure.excerpt = Some(preview.excerpt(line));
            Err(failure)
        }
    }
}

fn value(known: &Known, decided: &Arc<AtomicBool>) -> Value {
    match known {
        Known::Value(value) => Value::from(Serde(value)),
        Known::List(items) => items.iter().map(|item| value(item, decided)).collect(),
        Known::Map(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), value(field, decided))).collect()
        }
        Known::Unknown => Value::from_object(Open { decided: decided.clone() }),
    }
}

impl Preview {
    /// Whether a text of the manifest is one that only a run knows, or holds one.
    #[must_use]
    pub fn is_open(text: &str) -> bool {
        text.contains(OPEN)
    }

    /// Where a word stands in a document, or that document begins.
    #[must_use]
    pub fn place(&self, document: usize, word: &str) -> Excerpt {
        // Those of a List have no lines of their own.
        let lines = match self.lines().into_iter().nth(document) {
            Some(lines) => lines,
            None => (0..self.text.lines().count()).collect(),
        };
        let has = |line: &usize| {
            let line = self.text.lines().nth(*line).unwrap_or_default();
            line.split([' ', '"', '\'', ',', '{', '}', '[', ']']).any(|found| found == word)
        };
        // The last one: a port is declared before it is led to.
        let line = lines.iter().copied().rfind(has).or_else(|| lines.first().copied());
        self.excerpt(line.unwrap_or_default())
    }

    /// The lines, from 0, of each document that holds anything.
    fn lines(&self) -> Vec<Vec<usize>> {
        let (mut documents, mut lines) = (Vec::new(), Vec::new());
        for (index, line) in self.text.lines().enumerate() {
            if line.starts_with("---") {
                documents.push(std::mem::take(&mut lines));
            } else if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                lines.push(index);
            }
        }
        documents.push(lines);
        documents.retain(|lines| !lines.is_empty());
        documents
    }

    /// The line of the first document that is no object.
    fn first_refused(&self) -> usize {
        let all: Vec<_> = self.text.lines().collect();
        let is_refused = |lines: &Vec<usize>| {
            let text: String = lines.iter().flat_map(|line| [all[*line], "\n"]).collect();
            parse(&self.name, &text).is_err()
        };
        self.lines().into_iter().find(is_refused).and_then(|lines| lines.first().copied()).unwrap_or_default()
    }

    /// A line of the rendered text, from 0, at its place in the manifest: by
    /// itself where it was there before, else by the nearest one above that was.
    fn excerpt(&self, line: usize) -> Excerpt {
        let rendered: Vec<_> = self.text.lines().collect();
        let source: Vec<_> = self.source.lines().collect();
        let written = rendered.get(line).copied().unwrap_or_default();
        let known = (0..=line.min(rendered.len().saturating_sub(1))).rev().find_map(|above| {
            let mut same = (0..source.len()).filter(|index| source[*index] == rendered[above]);
            let at = same.next().filter(|_| same.next().is_none() && !rendered[above].trim().is_empty())?;
            Some((at, line - above))
        });
        let (at, below) = if self.text == *self.source { (line, 0) } else { known.unwrap_or((0, 0)) };
        // Lines of blocks leave nothing.
        let is_block = |line: &str| line.trim_start().starts_with("{%") && line.trim_end().ends_with("%}");
        let at = (at..source.len()).filter(|index| !is_block(source[*index])).nth(below).unwrap_or(at);
        let here = source.get(at).copied().unwrap_or_default();
        let start: usize = self.source.split_inclusive('\n').take(at).map(str::len).sum();
        let indent = here.len() - here.trim_start().len();
        let label =
            if here == written { "here".to_owned() } else { format!("here, as `{}`", written.trim()) };
        Excerpt {
            file: self.name.clone(),
            text: self.source.clone(),
            span: (start + indent, here.trim().len()),
            label,
        }
    }
}
