//! Progress in the log of GitHub Actions: the lines of [`super::plain`], those
//! of each phase in a group to unfold, and what went wrong as annotations, which
//! GitHub shows beside the recipe.

use std::io::Write;

use super::Verbosity;
use super::line::{clean, label};
use super::model::{Model, Step};
use super::narration::Narration;
use super::shared::SharedModel;
use crate::run::event::{Level, StepKind};
use crate::run::{Event, EventKind, Outcome, Reporter, StepId};

/// Writes lines and the commands of workflows.
pub struct GitHub<W> {
    narration: Narration,
    /// The phase whose group is open. Groups do not nest.
    open: Option<StepId>,
    out: W,
}

impl<W: Write> GitHub<W> {
    /// Writes to `out`, with colours.
    pub fn new(out: W, verbosity: Verbosity, model: &SharedModel) -> Self {
        Self { narration: Narration::new(verbosity, model), open: None, out }
    }

    fn lines(&mut self, event: &Event) -> Vec<String> {
        let mut lines = self.narration.hear(event);
        match &event.kind {
            EventKind::StepStarted { step, parent: None, kind: StepKind::Phase, .. } if !lines.is_empty() => {
                // In place of the title.
                lines.clear();
                lines.extend(self.close());
                let title =
                    self.narration.model.read(|model| model.steps.get(step).map(label)).unwrap_or_default();
                lines.push(format!("::group::{}", data(&title)));
                self.open = Some(*step);
            }
            EventKind::StepFinished { step, .. } if self.open == Some(*step) => lines.extend(self.close()),
            EventKind::Message { level: Level::Warning, text, .. } => {
                lines = vec![format!("::warning title=recipe::{}", data(text))];
            }
            // The group would hide them.
            EventKind::TestStarted { .. } | EventKind::TeardownStarted => {
                lines.splice(0..0, self.close());
            }
            EventKind::RunFinished { outcome: Outcome::Failed, error, .. } => {
                lines.extend(self.close());
                let error = error.as_deref().unwrap_or("the recipe failed");
                lines.push(self.narration.model.read(|model| Self::failure(model, error)));
            }
            EventKind::RunFinished { .. } => lines.extend(self.close()),
            _ => {}
        }
        lines
    }

    fn close(&mut self) -> Option<String> {
        self.open.take().map(|_| "::endgroup::".to_owned())
    }

    /// At the call that failed first.
    fn failure(model: &Model, error: &str) -> String {
        let failed = model.steps.values().filter(|step| step.outcome == Some(Outcome::Failed));
        let first = failed.filter(|step| step.children.is_empty()).min_by(|a, b| {
            let end = |step: &Step| step.end_ms.unwrap_or(f64::MAX);
            end(a).total_cmp(&end(b))
        });
        let place = first
            .and_then(|step| step.position.as_ref())
            .map(|at| format!("file={},line={},col={},", property(&at.file), at.line, at.column));
        let title =
            first.map_or_else(|| "the recipe failed".to_owned(), |step| format!("{} failed", label(step)));
        format!("::error {}title={}::{}", place.unwrap_or_default(), property(&title), data(error.trim()))
    }
}

/// Text as the value of a command.
fn data(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(clean).collect();
    lines.join("\n").replace('%', "%25").replace('\n', "%0A")
}

/// Text as a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

impl<W: Write + Send> Reporter for GitHub<W> {
    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        let lines = self.lines(event);
        if !lines.is_empty() {
            self.out.write_all((lines.join("\n") + "\n").as_bytes())?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn tick(&mut self) {
        let now_ms = self.narration.now_ms();
        let lines = self.narration.reminders(now_ms);
        if !lines.is_empty() {
            // A broken pipe shows with the next event.
            let _ = self.out.write_all((lines.join("\n") + "\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use crate::run::event::SourcePosition;

    fn told(events: &[Event]) -> String {
        let mut model = SharedModel::default();
        let mut github = GitHub::new(Vec::new(), Verbosity::Normal, &model);
        for event in events {
            model.event(event).unwrap();
            github.event(event).unwrap();
        }
        let text = String::from_utf8(github.out).unwrap();
        let text = anstream::adapter::strip_str(&text).to_string();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn phases_are_groups() {
        let told = told(&sample::environment());
        let tail: Vec<_> = told.lines().skip_while(|line| !line.starts_with("::group::")).collect();
        assert_eq!(tail[0], "::group::service");
        assert!(tail[1].contains("deploy_service") && tail[2].contains("wait_ready"), "{told}");
        assert_eq!(tail[3], "::endgroup::");
    }

    #[test]
    fn what_went_wrong_is_at_its_place() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", StepKind::Phase, "step 100% sure");
        run.start(0.0, 2, 1, "", StepKind::Primitive, "sh false, really");
        if let Some(Event { kind: EventKind::StepStarted { position, .. }, .. }) = run.events.last_mut() {
            *position = Some(SourcePosition { file: "a,b.rhai".into(), line: 3, column: 7 });
        }
        run.say(1.0, Level::Warning, "", "mind\nthe gap");
        run.end_as(2.0, 2, Outcome::Failed, Some("no"));
        run.end_as(2.0, 1, Outcome::Failed, Some("no"));
        run.finish(3.0, Outcome::Failed);
        if let Some(Event { kind: EventKind::RunFinished { error, .. }, .. }) = run.events.last_mut() {
            *error = Some("\n  × it was 50% wrong\n  help: none\n".to_owned());
        }
        let told = told(&run.events);
        assert!(told.contains("::group::100%25 sure\n::warning title=recipe::mind%0Athe gap\n"), "{told}");
        let error = "::endgroup::\n::error file=a%2Cb.rhai,line=3,col=7,title=sh false%2C really failed::× it was 50%25 wrong%0A  help: none";
        assert!(told.ends_with(error), "{told}");
    }
}
