//! What `recipe bench` tells people.

use std::fmt::Write;

use owo_colors::OwoColorize;
use unicode_width::UnicodeWidthStr;

use super::bench::{Bench, Comparison, StepMedians};
use super::line::{duration, fit};

/// Columns of a step's name.
const LONGEST_NAME: usize = 48;

/// Steps that took a smaller share of the set-up in every mode are not listed.
const LEAST: f64 = 0.01;

/// Medians, ratio and where the time went. Coloured always.
#[must_use]
pub fn bench_text(bench: &Bench) -> String {
    let rounds = if bench.rounds == 1 { "1 round".to_owned() } else { format!("{} rounds", bench.rounds) };
    let mut text = format!("{} on {}, {rounds}\n\n", bench.recipe.display().bold(), bench.target);
    let _ = writeln!(
        text,
        "{}",
        format!("  {:12}{:>9}   {:23}{:>9}", "", "set-up", "middle half", "teardown").dimmed()
    );
    for mode in &bench.modes {
        let spread = mode.setup_ms;
        let half = format!("{} to {}", duration(spread.low), duration(spread.high));
        let (setup, teardown) = (duration(spread.median), duration(mode.teardown_ms.median));
        let _ = writeln!(text, "  {:12}{:>9}   {half:23}{teardown:>9}", mode.name, setup.bold());
    }
    let _ = writeln!(text, "\n  parallel / sequential: {}", format!("{:.2}", bench.ratio).bold());
    text += &steps(bench);
    for warning in &bench.warnings {
        let _ = writeln!(text, "  {} {warning}", "!".yellow().bold());
    }
    text
}

fn steps(bench: &Bench) -> String {
    let floor = LEAST * bench.modes.iter().map(|mode| mode.setup_ms.median).fold(f64::MAX, f64::min);
    let is_shown = |step: &&StepMedians| step.medians_ms.values().any(|ms| *ms >= floor);
    let shown: Vec<&StepMedians> = bench.steps.iter().filter(is_shown).collect();
    let width = shown.iter().map(|step| step.name.width()).max().unwrap_or_default().clamp(20, LONGEST_NAME);
    let names: Vec<&str> = bench.modes.iter().map(|mode| &*mode.name).collect();
    let mut text = format!("\n  {}", fit("where the time went", width));
    for name in &names {
        let _ = write!(text, "{name:>12}");
    }
    text = format!("{}\n", text.dimmed());
    for step in shown {
        let mark = if step.critical { "●" } else { " " };
        let _ = write!(text, "{} {}", mark.green().bold(), fit(&step.name, width));
        for name in &names {
            let ms = step.medians_ms.get(*name).map_or_else(|| "-".to_owned(), |ms| duration(*ms));
            let _ = write!(text, "{ms:>12}");
        }
        text.push('\n');
    }
    text + "\n"
}

/// How it compares with an earlier one; `limit` is that of `--fail-over`.
#[must_use]
pub fn comparison_text(comparison: &Comparison, limit: Option<f64>) -> String {
    let Comparison { base, base_ms, now_ms, change, beyond_noise, slower } = comparison;
    let change = 100.0 * change;
    let mut text = format!(
        "  compared with {base}: {} then, {} now, {change:+.0} %",
        duration(*base_ms),
        duration(*now_ms)
    );
    match limit {
        Some(limit) if comparison.is_slower(limit) => {
            let _ = write!(text, ", {}", format!("slower by more than {:.0} %", 100.0 * limit).red().bold());
        }
        Some(limit) if change > 100.0 * limit && !beyond_noise => {
            text += ", but runs differ as much among themselves: too noisy to tell";
        }
        _ => {}
    }
    text.push('\n');
    if *beyond_noise {
        for step in slower {
            let (then, now) = (duration(step.base_ms), duration(step.now_ms));
            let _ = writeln!(text, "    {}: {then} then, {now} now", step.name);
        }
    }
    text
}
