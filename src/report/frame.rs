//! What the live display shows at one moment: the running steps, as rows.

use std::collections::HashMap;

use owo_colors::{OwoColorize, Style};
use unicode_width::UnicodeWidthStr;

use super::line::{clean, clip, count, duration, entry, indent, label};
use super::model::{Model, Progress, Step};
use crate::run::StepId;
use crate::run::event::StepKind;

/// One picture for each tenth of a second.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Columns of a progress bar.
const BAR: usize = 10;

/// The moment and the room that a frame is drawn for.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Milliseconds since the run began.
    pub(super) now_ms: f64,
    /// Width of the terminal.
    pub(super) columns: usize,
    /// Height of the terminal.
    pub(super) height: usize,
    /// Columns for the names of branches.
    pub(super) branch_width: usize,
}

/// The rows of a frame, each shorter than the terminal is wide, and at least
/// two fewer than it is high.
pub(super) fn frame(model: &Model, view: View) -> Vec<String> {
    let running = Running::of(model);
    let mut rows = Vec::new();
    let noisiest = running.leaves().filter(|step| step.lines > 0).max_by_key(|step| step.lines);
    for step in running.in_order() {
        let leaf = running.is_leaf(step);
        // A branch is named beside its steps; a group is its branches.
        let lane = matches!(step.kind, StepKind::Branch | StepKind::Task);
        if step.kind == StepKind::Group || lane && !leaf {
            continue;
        }
        rows.push(if leaf { busy(step, view) } else { around(model, step, view) });
    }
    let room = view.height.saturating_sub(2 + usize::from(noisiest.is_some())).max(1);
    if rows.len() > room {
        let hidden = rows.len() + 1 - room;
        rows.truncate(room - 1);
        rows.push(format!("  {}", format!("… and {} more", count(hidden)).dimmed()));
    }
    if let Some((step, line)) = noisiest.and_then(|step| Some((step, step.tail.back()?))) {
        let text = format!("  │ {}: {}", label(step), clean(line));
        rows.push(clip(&text, view.columns.saturating_sub(1)).dimmed().to_string());
    }
    rows
}

/// A step at work: how long, where, what, and what it waits for.
fn busy(step: &Step, view: View) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let turn = (view.now_ms.max(0.0) / 100.0) as usize % SPINNER.len();
    let elapsed = view.now_ms - step.start_ms;
    let mark = (SPINNER[turn], Style::new().cyan());
    let room = view.columns.saturating_sub(1 + indent(view.branch_width));
    let between_steps = matches!(step.kind, StepKind::Branch | StepKind::Task);
    let name = if between_steps { "script".to_owned() } else { clip(&label(step), room) };
    let state = match (step.waiting(), &step.progress) {
        (_, Some(progress)) if progress.total != Some(progress.done) => counted(progress),
        (Some(wait), _) => format!("waiting for {}", clean(&wait.what)),
        (None, Some(progress)) => counted(progress),
        (None, None) => String::new(),
    };
    let room = room.saturating_sub(name.width() + 2);
    let state = if room > 0 { format!("  {}", clip(&state, room).dimmed()) } else { String::new() };
    let text = format!("{name}{state}");
    entry(mark, Some(elapsed), (&step.branch, view.branch_width), &text)
}

/// A phase, or a primitive such as `retry`, around steps at work.
fn around(model: &Model, step: &Step, view: View) -> String {
    let elapsed = duration(view.now_ms - step.start_ms);
    let done = model.children(Some(step)).filter(|child| child.end_ms.is_some()).count();
    let done = if done > 0 { format!(", {} done", count(done)) } else { String::new() };
    let room = view.columns.saturating_sub(elapsed.len() + done.len() + 4);
    format!("{}  {}", clip(&label(step), room).bold(), format!("{elapsed}{done}").dimmed())
}

/// `━━━━╌╌╌╌╌╌ 12 / 30 files`, `4.1 / 12.0 MB`, `7 rows`.
fn counted(progress: &Progress) -> String {
    let Progress { done, total, unit } = progress;
    let Some(total) = *total else {
        return format!("{} {}", amount(*done, unit), name_of(unit));
    };
    let filled = u128::from(*done.min(&total)) * BAR as u128 / u128::from(total.max(1));
    let filled = usize::try_from(filled).unwrap_or(BAR);
    let bar = format!("{}{}", "━".repeat(filled), "╌".repeat(BAR - filled));
    format!("{bar} {} / {} {}", amount(*done, unit), amount(total, unit), name_of(unit))
}

fn amount(number: u64, unit: &str) -> String {
    if unit == "bytes" {
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let megabytes = number as f64 / 1e6;
        return format!("{megabytes:.1}");
    }
    count(usize::try_from(number).unwrap_or(usize::MAX))
}

fn name_of(unit: &str) -> &str {
    if unit == "bytes" { "MB" } else { unit }
}

/// The steps that run, as a tree.
struct Running<'m> {
    model: &'m Model,
    steps: Vec<&'m Step>,
    /// How many steps run within each.
    inside: HashMap<StepId, usize>,
}

impl<'m> Running<'m> {
    fn of(model: &'m Model) -> Self {
        let steps: Vec<&Step> = model.steps.values().filter(|step| step.end_ms.is_none()).collect();
        let mut inside = HashMap::new();
        for parent in steps.iter().filter_map(|step| step.parent) {
            *inside.entry(parent).or_default() += 1;
        }
        Self { model, steps, inside }
    }

    /// Whether no step runs within `step`.
    fn is_leaf(&self, step: &Step) -> bool {
        !self.inside.contains_key(&step.id)
    }

    fn leaves(&self) -> impl Iterator<Item = &'m Step> {
        self.steps.iter().copied().filter(|step| self.is_leaf(step))
    }

    /// Each step after the one it is part of, siblings in order of start.
    fn in_order(&self) -> Vec<&'m Step> {
        let is_running = |step: &&Step| step.end_ms.is_none();
        let mut ordered = Vec::new();
        let mut stack: Vec<&Step> = self.steps.iter().rev().copied().collect();
        stack.retain(|step| self.model.parent(step).is_none_or(|parent| parent.end_ms.is_some()));
        while let Some(step) = stack.pop() {
            ordered.push(step);
            stack.extend(self.model.children(Some(step)).filter(is_running).rev());
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};

    fn drawn(model: &Model, now_ms: f64, columns: usize, height: usize) -> String {
        let rows = frame(model, View { now_ms, columns, height, branch_width: 12 });
        assert!(rows.len() <= height - 2);
        let rows = rows.iter().map(|row| anstream::adapter::strip_str(row).to_string());
        let rows: Vec<String> = rows.inspect(|row| assert!(row.width() < columns, "{row}")).collect();
        rows.iter().map(|row| row.trim_end()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn branches_side_by_side() {
        let model = Model::of(&sample::environment()[..16]);
        insta::assert_snapshot!(drawn(&model, 7_432.0, 80, 24), @r"
        ⠼    7.43 s  image         build_image datastorage
        ⠼    7.42 s  env/image     join image
        ⠼    7.42 s  env/postgres  deploy_postgres postgres  waiting for PostgreSQL …
        │ build_image datastorage:    Compiling datastorage v0.1.0
        ");
        insta::assert_snapshot!(drawn(&model, 67_432.0, 50, 5), @r"
        ⠼  1 m 07 s  image         build_image datasto…
        … and 2 more
        │ build_image datastorage:    Compiling datast…
        ");
    }

    #[test]
    fn a_phase_around_counted_work() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", StepKind::Phase, "step Fill the database");
        run.start(1.0, 2, 1, "", StepKind::Primitive, "migrate migrations");
        run.end(2.0, 2);
        for (step, done, total, unit) in
            [(3, 12, Some(30), "files"), (4, 4_100_000, Some(12_000_000), "bytes"), (5, 1_980, None, "rows")]
        {
            run.start(3.0, step, 1, "", StepKind::Primitive, "sql seed.sql");
            let unit = unit.into();
            run.push(4.0, crate::run::EventKind::StepProgress { step: StepId(step), done, total, unit });
        }
        insta::assert_snapshot!(drawn(&Model::of(&run.events), 1_000.0, 80, 24), @r"
        Fill the database  1.00 s, 1 done
          ⠋    997 ms                sql seed.sql  ━━━━╌╌╌╌╌╌ 12 / 30 files
          ⠋    997 ms                sql seed.sql  ━━━╌╌╌╌╌╌╌ 4.1 / 12.0 MB
          ⠋    997 ms                sql seed.sql  1,980 rows
        ");
    }

    #[test]
    fn nothing_runs() {
        assert_eq!(drawn(&Model::of(&sample::environment()), 2_000.0, 80, 24), "");
    }
}
