//! The text timeline printed at the end of a run: where the time went, which
//! work ran side by side, and which steps would have to be faster.
//!
//! Coloured always, readable without; print it through [`anstream`].

use std::collections::HashSet;
use std::fmt::Write;

use owo_colors::{OwoColorize, Style};
use unicode_width::UnicodeWidthStr;

use super::critical_path::{CriticalPath, Segment, sequential_ms};
use super::line::{DURATION_WIDTH, clip, count, duration, fit, label, mark};
use super::model::{Model, Step};
use super::outline::{Row, outline};
use super::split::split;
use crate::run::event::StepKind;
use crate::run::{Outcome, StepId};

/// Steps of the critical path named at most.
const MOST_NAMED: usize = 8;

/// Columns of a step's name within the critical path.
const LONGEST_NAME: usize = 32;

/// Narrower terminals get lines that wrap.
const NARROWEST: usize = 40;

/// Bars need this many columns to say anything.
const SHORTEST_AXIS: usize = 16;

/// Draws the timeline of a run for a terminal with `columns`.
#[must_use]
pub fn timeline(model: &Model, columns: usize) -> String {
    let path = CriticalPath::of(model);
    let (rows, hidden) = outline(model, &path);
    let mut text = headline(model) + "\n";
    if rows.is_empty() {
        return text + split(model).as_str();
    }
    let columns = Columns::new(&rows, columns.max(NARROWEST));
    text += "\n";
    text += &columns.axis(model.setup_ms());
    for row in &rows {
        text += &columns.row(model, row);
    }
    if hidden > 0 {
        let _ = writeln!(text, "  {}", format!("… {} more", count(hidden)).dimmed());
    }
    if path.steps().next().is_some() {
        text += "\n";
        text += &critical_line(model, &path, columns.all);
        // What a run would have taken that did not get to its end, nobody knows.
        if model.setup_outcome() == Some(Outcome::Succeeded) {
            text += &speed_line(model);
        }
    }
    text + split(model).as_str()
}

/// Where things are on a line: mark of the critical path, name, bar,
/// duration, mark of the outcome.
struct Columns {
    all: usize,
    name: usize,
    axis: usize,
}

impl Columns {
    fn new(rows: &[Row<'_>], all: usize) -> Self {
        let longest = rows.iter().map(|row| 2 * row.depth + row.name.width()).max().unwrap_or_default();
        let fixed = 2 + 2 + 1 + DURATION_WIDTH + 2;
        let name = longest.min(all.saturating_sub(fixed + SHORTEST_AXIS)).min(all * 2 / 5);
        Self { all, name, axis: all - fixed - name }
    }

    fn axis(&self, setup_ms: f64) -> String {
        let end = duration(setup_ms);
        let room = self.axis.saturating_sub(1);
        format!("  {}  {}\n", fit("", self.name), format!("0{end:>room$}").dimmed())
    }

    fn row(&self, model: &Model, row: &Row<'_>) -> String {
        let Row { step, depth, name, critical } = row;
        let critical_mark = if *critical { "●" } else { " " };
        let name = fit(&format!("{:indent$}{name}", "", indent = 2 * depth), self.name);
        let (mark, colour) = mark(step.outcome, step.was_cached());
        let style = match (step.outcome, step.is_leaf()) {
            (Some(Outcome::Failed), _) => Style::new().red(),
            (_, true) if *critical => Style::new().bold(),
            (_, true) => Style::new(),
            (_, false) => Style::new().dimmed(),
        };
        let bar = self.bar(step, model.end_of(step), model.setup_ms());
        let took = duration(model.took(step));
        format!(
            "{} {}  {} {:>DURATION_WIDTH$} {}\n",
            critical_mark.green().bold(),
            name.style(style),
            bar.style(if *critical { style.green() } else { style }),
            took.style(style),
            mark.style(colour)
        )
    }

    /// The time from the step's start to `end_ms` on the axis, to half a column.
    fn bar(&self, step: &Step, end_ms: f64, setup_ms: f64) -> String {
        let halves = 2 * self.axis;
        let at = |ms: f64| {
            #[expect(clippy::cast_precision_loss, reason = "a number of columns")]
            let place = ms / setup_ms.max(f64::MIN_POSITIVE) * halves as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the axis")]
            let place = place.clamp(0.0, 1e6).round() as usize;
            place.min(halves)
        };
        let from = at(step.start_ms).min(halves - 1);
        let to = at(end_ms).clamp(from + 1, halves);
        let [left, right, both] = match step.kind {
            StepKind::Join => ["┄"; 3],
            _ if step.is_leaf() => ["╸", "╺", "━"],
            _ => ["╴", "╶", "─"],
        };
        let covered = |half: usize| (from..to).contains(&half);
        let cell = |column: usize| match (covered(2 * column), covered(2 * column + 1)) {
            (true, true) => both,
            (true, false) => left,
            (false, true) => right,
            (false, false) => " ",
        };
        (0..self.axis).map(cell).collect()
    }
}

fn headline(model: &Model) -> String {
    let took = duration(model.setup_ms());
    let outcome = model.setup_outcome();
    let (mark, style) = mark(outcome, false);
    let outcome = match outcome {
        Some(Outcome::Succeeded) => format!("set up in {took}"),
        Some(outcome) => format!("{outcome} after {took}"),
        None => format!("unfinished after {took}"),
    };
    let mut text = format!("{} {}", mark.style(style), outcome.bold());
    let _ = write!(text, "  {} on {}", model.recipe, model.target);
    if let Some(finished) = model.finished.as_ref().filter(|finished| finished.teardown_ms > 0.0) {
        let _ = write!(text, ", torn down in {}", duration(finished.teardown_ms));
    }
    let _ = write!(text, "  {}", format!("run {}", model.run_id).dimmed());
    text
}

/// `critical path: a 12 ms → b 420 ms; script 3 ms`, wrapped at `columns`.
fn critical_line(model: &Model, path: &CriticalPath, columns: usize) -> String {
    let mut text = format!("{} critical path:", "●".green().bold());
    let mut used = "● critical path:".width();
    let steps = path_steps(model, path).into_iter().enumerate();
    let steps = steps.map(|(index, step)| (if index == 0 { " " } else { " → " }, step));
    let script = ("; ", format!("script {}", duration(path.script_ms())));
    for (before, part) in steps.chain([script]) {
        if used + before.width() + part.width() > columns {
            text = text + before.trim_end() + "\n    ";
            used = 4;
        } else {
            text += before;
            used += before.width();
        }
        used += part.width();
        text += &part;
    }
    text + "\n"
}

/// The longest steps of the path, in order of time, with `…` for others.
fn path_steps(model: &Model, path: &CriticalPath) -> Vec<String> {
    let mut longest: Vec<&Segment> = path.segments.iter().filter(|s| s.step.is_some()).collect();
    longest.sort_by(|a, b| b.took().total_cmp(&a.took()));
    let named: HashSet<StepId> = longest.iter().take(MOST_NAMED).filter_map(|segment| segment.step).collect();
    let mut parts: Vec<String> = Vec::new();
    for segment in &path.segments {
        let Some(step) = segment.step.and_then(|step| model.steps.get(&step)) else { continue };
        if named.contains(&step.id) {
            parts.push(format!("{} {}", clip(&label(step), LONGEST_NAME), duration(segment.took())));
        } else if parts.last().is_none_or(|last| last != "…") {
            parts.push("…".to_owned());
        }
    }
    parts
}

/// How much work there was, and how much faster it was done side by side.
fn speed_line(model: &Model) -> String {
    let (work_ms, wall_ms) = (sequential_ms(model), model.setup_ms());
    let (work, wall) = (duration(work_ms), duration(wall_ms));
    let forked = model.steps.values().any(|step| matches!(step.kind, StepKind::Branch | StepKind::Task));
    if forked && !model.sequential && wall_ms > 0.0 {
        format!("  sequential {work}, parallel {wall}: {:.1} x\n", work_ms / wall_ms)
    } else {
        format!("  steps {work} of {wall}, one after the other\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};

    fn drawn(model: &Model, columns: usize) -> String {
        let text = anstream::adapter::strip_str(&timeline(model, columns)).to_string();
        let widest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
        assert!(widest <= columns, "{widest} > {columns}:\n{text}");
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn at_80_columns() {
        insta::assert_snapshot!(drawn(&Model::of(&sample::environment()), 80), @r"
        ✓ set up in 1.24 s  recipes/datastorage.rhai on local  run calm-otter

                                            0                         1.24 s
          task image: build_image datasto…  ━━━━━━━━                            308 ms ↺
        ● create_cluster datastorage-e2e    ╸                                    12 ms ✓
          parallel                          ╶────────────╴                      501 ms ✓
            image                           ╶───────╴                           307 ms ✓
              join image                    ┄┄┄┄┄┄┄┄                            295 ms ✓
              load_image datastorage                ╸                            12 ms ✓
            postgres                        ╶────────────╴                      500 ms ✓
        ●     deploy_postgres postgres      ╺━━━━━━━━━━                         420 ms ✓
        ●     migrate migrations                       ━━╸                       80 ms ✓
            redis: deploy_redis redis       ╺                                    32 ms ✓
          service                                        ╶──────────────────    719 ms ✓
        ●   deploy_service datastorage                   ╺                       24 ms ✓
        ●   wait_ready datastorage                        ━━━━━━━━━━━━━━━━━━    695 ms ✓

        ● critical path: create_cluster datastorage-e2e 12 ms →
            deploy_postgres postgres 420 ms → migrate migrations 80 ms →
            deploy_service datastorage 24 ms → wait_ready datastorage 695 ms;
            script 10 ms
          sequential 1.58 s, parallel 1.24 s: 1.3 x
        ");
    }

    #[test]
    fn at_120_columns() {
        insta::assert_snapshot!(drawn(&Model::of(&sample::environment()), 120), @r"
        ✓ set up in 1.24 s  recipes/datastorage.rhai on local  run calm-otter

                                               0                                                              1.24 s
          task image: build_image datastorage  ━━━━━━━━━━━━━━━━━╸                                                       308 ms ↺
        ● create_cluster datastorage-e2e       ━                                                                         12 ms ✓
          parallel                              ───────────────────────────╴                                            501 ms ✓
            image                               ─────────────────                                                       307 ms ✓
              join image                        ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄                                                       295 ms ✓
              load_image datastorage                            ╺                                                        12 ms ✓
            postgres                            ───────────────────────────╴                                            500 ms ✓
        ●     deploy_postgres postgres          ━━━━━━━━━━━━━━━━━━━━━━━                                                 420 ms ✓
        ●     migrate migrations                                       ━━━━╸                                             80 ms ✓
            redis: deploy_redis redis           ━╸                                                                       32 ms ✓
          service                                                          ╶───────────────────────────────────────╴    719 ms ✓
        ●   deploy_service datastorage                                     ╺━                                            24 ms ✓
        ●   wait_ready datastorage                                           ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸    695 ms ✓

        ● critical path: create_cluster datastorage-e2e 12 ms → deploy_postgres postgres 420 ms → migrate migrations 80 ms →
            deploy_service datastorage 24 ms → wait_ready datastorage 695 ms; script 10 ms
          sequential 1.58 s, parallel 1.24 s: 1.3 x
        ");
    }

    #[test]
    fn a_failure() {
        insta::assert_snapshot!(drawn(&Model::of(&sample::failure()), 80), @r"
        ✗ failed after 132 ms  recipes/datastorage.rhai on local  run calm-otter

                                            0                         132 ms
        ● create_cluster e2e                ━━╸                                   9 ms ✓
          parallel                            ╶─────────────────────────────    121 ms ✗
        ●   postgres: deploy_postgres pos…    ╺━━━━━━━━━━━━━━━━╸                 70 ms ✗
            redis: deploy_redis redis         ╺━━━━━━━━━━━━━━━━━━━━━━━━━━━━╸    120 ms ⊘

        ● critical path: create_cluster e2e 9 ms → deploy_postgres postgres 70 ms;
            script 53 ms
        ");
    }

    #[test]
    fn a_run_that_died() {
        let events = sample::environment();
        insta::assert_snapshot!(drawn(&Model::of(&events[..18]), 80), @r"
        ? unfinished after 310 ms  recipes/datastorage.rhai on local  run calm-otter

                                            0                         310 ms
          task image: build_image datasto…  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    308 ms ↺
        ● create_cluster datastorage-e2e    ━╸                                   12 ms ✓
          parallel                           ╶──────────────────────────────    296 ms ?
            image                            ╶──────────────────────────────    295 ms ?
              join image                     ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄    295 ms ?
        ●   postgres: deploy_postgres pos…   ╺━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━    295 ms ?
            redis: deploy_redis redis        ╺━━━                                32 ms ✓

        ● critical path: create_cluster datastorage-e2e 12 ms →
            deploy_postgres postgres 295 ms; script 4 ms
        ");
    }

    #[test]
    fn a_run_without_steps() {
        insta::assert_snapshot!(drawn(&Model::of(&Sample::new().events), 80), @r"
        ? unfinished after <1 ms  recipes/datastorage.rhai on local  run calm-otter
        ");
    }

    #[test]
    fn two_thousand_steps_are_folded() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", StepKind::Primitive, "create_cluster e2e");
        run.end(30.0, 1);
        run.start(
            30.0,
            2,
            0,
            "",
            StepKind::Phase,
            "step Fill the database with very many rows from the archive",
        );
        for id in 0..2_000_u32 {
            let from = 30.0 + f64::from(id);
            run.start(from, u64::from(id) + 3, 2, "", StepKind::Primitive, "sql insert");
            run.end(from + 0.5 + f64::from(id % 7) / 16.0, u64::from(id) + 3);
        }
        run.end(2030.0, 2);
        run.finish(2031.0, Outcome::Succeeded);
        let text = drawn(&Model::of(&run.events), 100);
        assert!(text.lines().count() < 60);
        let (head, tail) = (text.lines().take(6), text.lines().skip_while(|line| !line.contains("more")));
        insta::assert_snapshot!(head.chain(tail).collect::<Vec<_>>().join("\n"), @r"
        ✓ set up in 2.03 s  recipes/datastorage.rhai on local  run calm-otter

                                                    0                                     2.03 s
        ● create_cluster e2e                        ╸                                                30 ms ✓
          Fill the database with very many rows f…  ╶───────────────────────────────────────────    2.00 s ✓
        ●   sql insert                               ╸                                                1 ms ✓
          … 1,962 more

        ● critical path: create_cluster e2e 30 ms → … → sql insert 1 ms → … → sql insert 1 ms → … →
            sql insert 1 ms → … → sql insert 1 ms → … → sql insert 1 ms → … → sql insert 1 ms → … →
            sql insert 1 ms → …; script 626 ms
          steps 1.40 s of 2.03 s, one after the other
        ");
    }
}
