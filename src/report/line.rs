//! What the lines of every report have in common: durations, marks, labels,
//! and text cut to columns.
//!
//! Text is coloured always; whoever prints it strips the colours where they
//! are not wanted (`anstream`). Nothing is said by colour alone.

use owo_colors::{OwoColorize, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::model::Step;
use crate::run::Outcome;
use crate::run::event::StepKind;

/// A duration for people: `3 ms`, `420 ms`, `1.24 s`, `12.3 s`, `1 m 07 s`.
/// At most 9 columns below 100 hours.
#[must_use]
pub fn duration(ms: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and years fit"
    )]
    let seconds = (ms.max(0.0) / 1000.0).round() as u64;
    // The limits are where rounding would reach the next unit.
    match ms {
        ..0.5 => "<1 ms".to_owned(),
        ..999.5 => format!("{ms:.0} ms"),
        ..9_995.0 => format!("{:.2} s", ms / 1000.0),
        ..59_950.0 => format!("{:.1} s", ms / 1000.0),
        _ if seconds < 3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => {
            let minutes = seconds.saturating_add(30) / 60;
            format!("{} h {:02} m", minutes / 60, minutes % 60)
        }
    }
}

/// Columns that [`duration`] needs at most.
pub(super) const DURATION_WIDTH: usize = 9;

/// A number with its thousands apart: `1,980`.
pub(super) fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 step`, `3 steps`.
pub(super) fn plural(number: usize, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// One column that says how a step ended, and its colour.
pub(super) fn mark(outcome: Option<Outcome>, cached: bool) -> (&'static str, Style) {
    match outcome {
        Some(Outcome::Succeeded) if cached => ("↺", Style::new().green()),
        Some(Outcome::Succeeded) => ("✓", Style::new().green()),
        Some(Outcome::Failed) => ("✗", Style::new().red().bold()),
        Some(Outcome::Cancelled) => ("⊘", Style::new().yellow()),
        Some(Outcome::Skipped) => ("–", Style::new().dimmed()),
        None => ("?", Style::new().yellow()),
    }
}

/// What a step is called: `migrate migrations`, the title of a phase, the
/// name of a branch.
pub(super) fn label(step: &Step) -> String {
    let title = match (&*step.title, step.kind) {
        ("", StepKind::Branch | StepKind::Task) => step.branch.rsplit('/').next().unwrap_or_default(),
        (title, _) => title,
    };
    let title = clean(title);
    match step.kind {
        _ if title.is_empty() || title == *step.primitive => step.primitive.to_string(),
        StepKind::Phase | StepKind::Branch => title,
        StepKind::Task => format!("task {title}"),
        StepKind::Primitive | StepKind::Group | StepKind::Join => format!("{} {title}", step.primitive),
    }
}

/// An aligned line about something that happened in a branch, of whose names
/// the longest has `branch_width` columns.
pub(super) fn entry(
    (mark, style): (&str, Style),
    ms: Option<f64>,
    (branch, branch_width): (&str, usize),
    text: &str,
) -> String {
    let took = ms.map(duration).unwrap_or_default();
    let gap = if branch_width > 0 { "  " } else { "" };
    let branch = fit(branch, branch_width);
    format!("  {} {took:>DURATION_WIDTH$}  {}{gap}{text}", mark.style(style), branch.cyan())
}

/// Columns before the text of an [`entry`].
pub(super) fn indent(branch_width: usize) -> usize {
    let branch = if branch_width > 0 { branch_width + 2 } else { 0 };
    2 + 1 + 1 + DURATION_WIDTH + 2 + branch
}

/// `text` on one line, without anything that moves the cursor or colours.
pub(super) fn clean(text: &str) -> String {
    let plain = anstream::adapter::strip_str(text).to_string();
    plain.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `text` cut to at most `width` columns, with `…` where something is missing.
pub(super) fn clip(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut clipped = String::new();
    let mut room = width.saturating_sub(1);
    for c in text.chars() {
        let Some(left) = room.checked_sub(c.width().unwrap_or(0)) else { break };
        room = left;
        clipped.push(c);
    }
    if width > 0 {
        clipped.push('…');
    }
    clipped
}

/// `text` cut or filled to exactly `width` columns.
pub(super) fn fit(text: &str, width: usize) -> String {
    let mut fitted = clip(text, width);
    fitted.extend(std::iter::repeat_n(' ', width - fitted.width()));
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_three_figures() {
        let cases = [
            (0.2, "<1 ms"),
            (3.0, "3 ms"),
            (420.0, "420 ms"),
            (999.4, "999 ms"),
            (999.7, "1.00 s"),
            (1240.0, "1.24 s"),
            (9_996.0, "10.0 s"),
            (12_340.0, "12.3 s"),
            (59_960.0, "1 m 00 s"),
            (67_000.0, "1 m 07 s"),
            (3_599_700.0, "1 h 00 m"),
            (90_000_000.0, "25 h 00 m"),
        ];
        for (ms, text) in cases {
            assert_eq!(duration(ms), text);
            assert!(text.width() <= DURATION_WIDTH);
        }
    }

    #[test]
    fn text_is_cut_by_columns_not_by_letters() {
        assert_eq!(clip("postgres", 8), "postgres");
        assert_eq!(clip("postgres", 5), "post…");
        assert_eq!(clip("データベース", 6), "デー…");
        assert_eq!(fit("データ", 4), "デ… ");
        assert_eq!(clip("x", 0), "");
    }

    #[test]
    fn child_output_cannot_move_the_cursor() {
        assert_eq!(clean("\u{1b}[2K\u{1b}[31mred\u{1b}[0m\tand\rback\n"), "red and back");
    }

    #[test]
    fn numbers_have_thousands() {
        assert_eq!([count(7), count(980), count(1980), count(1_234_567)], ["7", "980", "1,980", "1,234,567"]);
    }
}
