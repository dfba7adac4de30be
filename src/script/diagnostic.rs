//! Errors of a script, written for a person: what was wrong, the place in the
//! script, the branch, the calls that led there, the causes, and what to do.

use rhai::{EvalAltResult, Position};

use super::failure::failure_of;
use super::host::Host;
use super::malformed::parse_error;
use super::parallel::GroupFailure;
use super::render::Mark;
use super::sources::{CompileError, Sources};
use super::{explain, task};
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
    /// Other branches that failed by themselves, in another way.
    pub others: Vec<Diagnostic>,
    /// Other branches that failed by themselves, in the same way at the same place.
    pub alike: Vec<String>,
    /// Branches that were stopped because of it.
    pub cancelled: Vec<String>,
    /// The sort, where a primitive failed.
    pub kind: Option<Kind>,
    /// Whether it is only a warning.
    pub warning: bool,
    pub(super) marks: Vec<Mark>,
}

impl Diagnostic {
    /// Explains an error of a running script.
    pub(super) fn of(error: &EvalAltResult, host: &Host, main: &str) -> Self {
        Walk::new(host, main, String::new()).walk(error)
    }

    /// Replaces secrets, also in the excerpts of recipes that hold them.
    pub(crate) fn mask(&mut self, secrets: &Secrets) {
        let Self { message, hint, trace, causes, evidence, others, marks, .. } = self;
        let notes = trace.iter_mut().map(|(_, what)| what);
        let texts = causes.iter_mut().chain(hint).chain(notes);
        texts.chain([message]).for_each(|text| secrets.mask(text));
        secrets.mask_lines(evidence);
        for mark in marks {
            mark.text = secrets.covered(&mark.text).into();
        }
        for other in others {
            other.mask(secrets);
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

impl From<Failure> for Box<Diagnostic> {
    fn from(failure: Failure) -> Self {
        Self::new(failure.into())
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
            if diagnostic.position.is_none() && !error.position().is_none() {
                diagnostic.position = Some(sources.position(&self.source, error.position()));
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
        let label = (!self.branch.is_empty()).then(|| format!("in branch `{}`", self.branch));
        self.marks.push(Mark::word(&source, position, label));
    }

    /// Puts it where it is wrong in a file that the recipe names at `named`.
    pub(super) fn move_to(&mut self, place: Excerpt, named: SourcePosition) {
        let before = &place.text[..place.span.0];
        self.position = Some(SourcePosition {
            file: place.file.as_str().into(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
        });
        self.trace.push((named, format!("`{}` is named here", place.file)));
        self.marks.push(place.into());
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
