//! The timeline as a picture, for pages that show no scripts: READMEs, pull
//! requests, wikis. Light or dark as its reader likes it.

use std::fmt::Write;

use super::critical_path::{CriticalPath, sequential_ms};
use super::html::escaped;
use super::line::{clip, duration, mark};
use super::model::Model;
use super::outline::{Row, outline};
use crate::run::Outcome;
use crate::run::event::StepKind;

const WIDTH: f64 = 960.0;
/// Where bars may be.
const AXIS: (f64, f64) = (330.0, 860.0);
const TOP: f64 = 74.0;
const ROW: f64 = 22.0;
/// Letters of a name.
const LONGEST_NAME: usize = 38;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1c2733}\
.title{font-size:19px;font-weight:700}.soft{fill:#5a6878}.end{text-anchor:end}\
.page{fill:#fff}.line{stroke:#dfe4ea}.path{fill:#1c5fce}.beside{fill:#93a1b3}.group{fill:#c6cdd6}\
.failed{fill:#c03a12}.cached{fill:#0b7d62}.wait{fill:#fff;opacity:.38}.bold{font-weight:600}\
@media(prefers-color-scheme:dark){text{fill:#e3e9f0}.soft{fill:#93a3b5}.page{fill:#0d1218}.line{stroke:#27313c}\
.path{fill:#6ba4ff}.beside{fill:#5c6c7f}.group{fill:#3a4654}.failed{fill:#ff8a66}.cached{fill:#35c4a0}.wait{fill:#0d1218}}";

/// Draws the timeline of a run.
#[must_use]
pub fn svg(model: &Model) -> String {
    let path = CriticalPath::of(model);
    let (rows, hidden) = outline(model, &path);
    #[expect(clippy::cast_precision_loss, reason = "some tens of rows")]
    let bottom = TOP + ROW * (rows.len() + usize::from(hidden > 0)) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n",
        height = bottom + 14.0
    );
    text(&mut svg, "title", 18.0, 30.0, &headline(model));
    text(&mut svg, "soft", 18.0, 50.0, &below(model));
    for (share, ms) in [(0.0, 0.0), (0.5, model.setup_ms() / 2.0), (1.0, model.setup_ms())] {
        let x = AXIS.0 + share * (AXIS.1 - AXIS.0);
        let _ = writeln!(svg, "<path class=\"line\" d=\"M{x:.1} {:.1}V{bottom:.1}\"/>", TOP - 4.0);
        text(&mut svg, "soft end", x, TOP - 8.0, &if ms > 0.0 { duration(ms) } else { "0".to_owned() });
    }
    let mut y = TOP;
    for row in &rows {
        draw(&mut svg, model, row, y);
        y += ROW;
    }
    if hidden > 0 {
        text(&mut svg, "soft", 34.0, y + 15.0, &format!("… {hidden} more"));
    }
    svg + "</svg>\n"
}

fn headline(model: &Model) -> String {
    let took = duration(model.setup_ms());
    match model.setup_outcome() {
        Some(Outcome::Succeeded) => format!("✓ set up in {took}"),
        Some(outcome) => format!("{} {outcome} after {took}", mark(Some(outcome), false).0),
        None => format!("? ended without a word after {took}"),
    }
}

fn below(model: &Model) -> String {
    let mut text = format!("{} on {}", model.recipe, model.target);
    if model.setup_outcome() == Some(Outcome::Succeeded) && !model.sequential {
        let _ = write!(text, ", {} one after the other", duration(sequential_ms(model)));
    }
    if let Some(tested) = &model.tested {
        let _ = write!(text, ", tests: {}", tested.told());
    }
    text
}

fn draw(svg: &mut String, model: &Model, row: &Row<'_>, y: f64) {
    let Row { step, depth, name, critical } = row;
    #[expect(clippy::cast_precision_loss, reason = "a few levels")]
    let x = 34.0 + 14.0 * *depth as f64;
    if *critical {
        let _ = writeln!(svg, "<circle class=\"path\" cx=\"22\" cy=\"{:.1}\" r=\"3.5\"/>", y + ROW / 2.0);
    }
    let weight = if *critical { "bold" } else { "name" };
    text(svg, weight, x, y + 15.0, &clip(name, LONGEST_NAME.saturating_sub(2 * depth)));
    let is_work = step.is_leaf();
    let class = match step.outcome {
        Some(Outcome::Failed) => "failed",
        _ if step.was_cached() => "cached",
        _ if is_work && *critical => "path",
        _ if is_work => "beside",
        _ => "group",
    };
    let height = if is_work { 12.0 } else { 4.0 };
    bar(svg, class, (model, step.start_ms, model.end_of(step)), (y, height));
    let waits = step.waits.iter().map(|wait| (wait.from_ms, wait.to_ms.unwrap_or(model.end_of(step))));
    let joins = (step.kind == StepKind::Join).then(|| (step.start_ms, model.end_of(step)));
    for (from_ms, to_ms) in waits.filter(|_| is_work).chain(joins) {
        bar(svg, "wait", (model, from_ms, to_ms), (y, height / 2.0));
    }
    text(
        svg,
        if *critical { "bold end" } else { "soft end" },
        WIDTH - 18.0,
        y + 15.0,
        &duration(model.took(step)),
    );
}

fn bar(svg: &mut String, class: &str, (model, from_ms, to_ms): (&Model, f64, f64), (y, height): (f64, f64)) {
    let all = model.setup_ms().max(f64::MIN_POSITIVE);
    let at = |ms: f64| AXIS.0 + (ms / all).clamp(0.0, 1.0) * (AXIS.1 - AXIS.0);
    let (x, width) = (at(from_ms), (at(to_ms) - at(from_ms)).max(1.5));
    let top = y + (ROW - height) / 2.0;
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height}\" rx=\"2\"/>"
    );
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};

    #[test]
    fn nothing_a_run_says_becomes_markup() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", StepKind::Primitive, "sh <script>alert(1)</script> & more");
        run.end(4.0, 1);
        run.finish(5.0, Outcome::Succeeded);
        let svg = svg(&Model::of(&run.events));
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script"), "{svg}");
    }

    #[test]
    fn every_row_has_its_bar_and_its_time() {
        let picture = svg(&Model::of(&sample::environment()));
        assert!(picture.contains(">✓ set up in 1.24 s<") && picture.contains("1.58 s one after the other"));
        assert_eq!(picture.matches("<circle").count(), 5, "the critical path");
        let line = picture.lines().position(|line| line.contains("migrate")).unwrap();
        let drawn: Vec<_> = picture.lines().skip(line).take(3).collect();
        assert!(drawn[1].contains("class=\"path\"") && drawn[2].ends_with(">80 ms</text>"), "{drawn:?}");
    }
}
