//! What a run has to tell a person, line by line: which events are worth a
//! line, and how it is worded. [`super::plain`] and [`super::live`] print it.

use std::collections::HashMap;
use std::time::Instant;

use owo_colors::{OwoColorize, Style};
use unicode_width::UnicodeWidthStr;

use super::Verbosity;
use super::line::{clean, entry, label, mark, plural};
use super::model::{Model, Step};
use super::shared::SharedModel;
use crate::run::event::{Level, StepKind};
use crate::run::{Event, EventKind, Outcome, StepId};

/// How long a step waits before a line says so; then twice as long, and so on.
const FIRST_REMINDER_MS: f64 = 5_000.0;

/// How many of its last lines a failed step shows.
const LAST_LINES: usize = 10;

/// Longest branch name that others are aligned with.
const BRANCH_WIDTH: usize = 24;

/// A run told so far.
pub(super) struct Narration {
    /// Is told of each event before.
    pub(super) model: SharedModel,
    verbosity: Verbosity,
    branch_width: usize,
    /// When to speak next of a step that waits.
    reminders: HashMap<StepId, f64>,
    /// A moment on the run's clock and on ours, to know the former without events.
    clock: Option<(f64, Instant)>,
}

impl Narration {
    pub(super) fn new(verbosity: Verbosity, model: &SharedModel) -> Self {
        let (model, reminders) = (model.clone(), HashMap::new());
        Self { model, verbosity, branch_width: 0, reminders, clock: None }
    }

    /// Milliseconds since the run began, also between events.
    pub(super) fn now_ms(&self) -> f64 {
        self.clock.map_or(0.0, |(ms, at)| ms + at.elapsed().as_secs_f64() * 1000.0)
    }

    /// Columns for the branch in an entry.
    pub(super) fn branch_width(&self) -> usize {
        self.branch_width
    }

    /// Takes in an event; gives the lines that it is worth.
    pub(super) fn hear(&mut self, event: &Event) -> Vec<String> {
        self.clock = Some((event.ms, Instant::now()));
        if let EventKind::StepStarted { branch, .. } = &event.kind {
            self.branch_width = self.branch_width.max(branch.width()).min(BRANCH_WIDTH);
        }
        self.model.read(|model| self.lines(model, event))
    }

    fn lines(&self, model: &Model, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        match (&event.kind, self.verbosity) {
            (EventKind::StepFinished { step, .. }, _) => self.finished(model, *step, &mut lines),
            (EventKind::Message { level: Level::Warning, branch, text }, _) => {
                self.say(WARNING, branch, &format!("warning: {text}"), &mut lines);
            }
            (EventKind::CancelBegan { reason }, _) => {
                let again = if reason.is_signal() { "; once more to kill what still runs" } else { "" };
                self.say(WARNING, "", &format!("cancelling: {reason}{again}"), &mut lines);
            }
            (EventKind::KillBegan, _) => self.say(WARNING, "", "killing what still runs", &mut lines),
            (EventKind::TeardownFinished { left: left @ 1.. }, _) => {
                let (left, run_id) = (plural(*left, "resource"), &model.run_id);
                let text = format!("warning: {left} left behind; try `recipe down {run_id}`");
                self.say(WARNING, "", &text, &mut lines);
            }
            (_, Verbosity::Quiet) => {}
            (EventKind::TestStarted { command }, _) => {
                lines.push(format!("{}  {}", "test".bold(), clean(&command.join(" ")).dimmed()));
            }
            (EventKind::TestFinished { .. }, _) => lines.extend(self.tested(model)),
            (EventKind::RunStarted { run_id, recipe, target, .. }, _) => {
                let title = format!("{} on {target}", recipe.bold());
                lines.push(format!("{title}  {}", format!("run {run_id}").dimmed()));
            }
            (EventKind::StepStarted { step, kind: StepKind::Phase, .. }, _) => {
                let title = model.steps.get(step).map(label).unwrap_or_default();
                lines.push(format!("{}", title.bold()));
            }
            (EventKind::Message { branch, text, .. }, _) => self.say(REMARK, branch, text, &mut lines),
            (EventKind::TeardownStarted, _) => lines.push(format!("{}", "teardown".bold())),
            (EventKind::TeardownFinished { .. }, _) => {
                let took = model.teardown_from_ms.map(|from_ms| event.ms - from_ms);
                lines.push(self.entry(mark(Some(Outcome::Succeeded), false), took, "", "nothing is left"));
            }
            (EventKind::StepOutput { step, line, .. }, Verbosity::Verbose) => {
                if let Some(step) = model.steps.get(step) {
                    let text = format!("{} {} {}", label(step), "│".dimmed(), clean(line));
                    lines.push(self.entry(PLAIN, None, &step.branch, &text));
                }
            }
            (EventKind::ResourceCreated { kind, name, detail }, Verbosity::Verbose) => {
                self.say(("+", Style::new().dimmed()), "", &format!("{kind} {name}: {detail}"), &mut lines);
            }
            (EventKind::ResourceRemoved { kind, name }, Verbosity::Verbose) => {
                self.say(("-", Style::new().dimmed()), "", &format!("{kind} {name}"), &mut lines);
            }
            _ => {}
        }
        lines
    }

    /// Lines about steps that have been waiting for long at `now_ms`.
    pub(super) fn reminders(&mut self, now_ms: f64) -> Vec<String> {
        if self.verbosity == Verbosity::Quiet {
            return Vec::new();
        }
        let (lines, still_due) = self.model.read(|model| self.due(model, now_ms));
        self.reminders = still_due;
        lines
    }

    fn due(&self, model: &Model, now_ms: f64) -> (Vec<String>, HashMap<StepId, f64>) {
        let mut lines = Vec::new();
        let mut still_due = HashMap::new();
        for step in model.steps.values().filter(|step| step.end_ms.is_none()) {
            let Some(wait) = step.waiting() else { continue };
            let mut due = self.reminders.get(&step.id).copied().unwrap_or_default();
            due = due.max(wait.from_ms + FIRST_REMINDER_MS);
            if now_ms >= due {
                let waited = now_ms - wait.from_ms;
                let text = format!("{}  still waiting for {}", label(step), clean(&wait.what));
                lines.push(self.entry(("…", Style::new().dimmed()), Some(waited), &step.branch, &text));
                due = now_ms + waited;
            }
            still_due.insert(step.id, due);
        }
        (lines, still_due)
    }

    fn finished(&self, model: &Model, step: StepId, lines: &mut Vec<String>) {
        let Some(step) = model.steps.get(&step) else { return };
        let failed = step.outcome == Some(Outcome::Failed);
        // What failed inside a step has been told already.
        let told = step.kind != StepKind::Primitive || failed && failed_inside(model, step);
        let worth = failed || step.is_leaf() && self.verbosity > Verbosity::Quiet;
        if told || !worth {
            return;
        }
        let note = match (&step.cache, step.outcome) {
            (_, Some(outcome @ (Outcome::Cancelled | Outcome::Skipped))) => format!("  {outcome}"),
            (Some(cache), Some(Outcome::Succeeded)) if cache.hit || self.verbosity == Verbosity::Verbose => {
                format!("  {}: {}", if cache.hit { "cached" } else { "not cached" }, clean(&cache.why))
            }
            _ => String::new(),
        };
        let name = if failed { Style::new().bold() } else { Style::new() };
        let text = format!("{}{}", label(step).style(name), note.dimmed());
        let took = Some(model.took(step));
        lines.push(self.entry(mark(step.outcome, step.was_cached()), took, &step.branch, &text));
        if let Some(error) = &step.error {
            lines.extend(
                error.lines().map(|line| self.entry(PLAIN, None, "", &clean(line).red().to_string())),
            );
        }
        if failed && self.verbosity < Verbosity::Verbose {
            let skip = step.tail.len().saturating_sub(LAST_LINES);
            let tail = step.tail.iter().skip(skip);
            lines.extend(
                tail.map(|line| self.entry(PLAIN, None, "", &format!("{} {}", "│".dimmed(), clean(line)))),
            );
        }
    }

    fn tested(&self, model: &Model) -> Option<String> {
        let tested = model.tested.as_ref()?;
        Some(self.entry(mark(tested.outcome(), false), tested.took(), "", &tested.told()))
    }

    fn say(&self, (mark, style): (&str, Style), branch: &str, text: &str, lines: &mut Vec<String>) {
        for (index, line) in text.lines().enumerate() {
            let mark = if index == 0 { mark } else { " " };
            lines.push(match branch {
                "" => format!("  {} {}", mark.style(style), clean(line)),
                _ => self.entry((mark, style), None, branch, &clean(line)),
            });
        }
    }

    fn entry(&self, mark: (&str, Style), ms: Option<f64>, branch: &str, text: &str) -> String {
        entry(mark, ms, (branch, self.branch_width), text)
    }
}

const PLAIN: (&str, Style) = (" ", Style::new());
const REMARK: (&str, Style) = ("·", Style::new());
const WARNING: (&str, Style) = ("!", Style::new().yellow().bold());

fn failed_inside(model: &Model, step: &Step) -> bool {
    model.children(Some(step)).any(|child| child.outcome == Some(Outcome::Failed))
}
