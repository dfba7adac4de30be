//! Measures what recipe itself costs, by the clock and in memory:
//!
//! - `recipe --version`, the least a command takes;
//! - `recipe check` of a recipe of 240 lines;
//! - 10,000 branches of a no-op.
//!
//! Whole processes, several times, medians. `cargo bench --bench cost`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const TIMES: usize = 11;

fn main() {
    let files = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for i in 0..80 {
        lines.push_str(&format!("let v{i} = param(\"p{i}\", {i});\n"));
        lines.push_str(&format!("if v{i} > 100 {{ log(`${{v{i}}} is much`); }}\n"));
        lines.push_str(&format!("fn f{i}(x) {{ x + {i} }}\n"));
    }
    std::fs::write(files.path().join("long.rhai"), lines).unwrap();
    let branches = "let items = []; items.pad(10000, 0); print(each(items, |n| n).len());";
    std::fs::write(files.path().join("branches.rhai"), branches).unwrap();

    println!("medians of {TIMES}\n");
    measure(files.path(), "recipe --version", &["--version"], 10.0, None);
    measure(files.path(), "check 240 lines", &["check", "long.rhai"], 20.0, None);
    measure(
        files.path(),
        "10,000 branches",
        &["run", "--rm", "--quiet", "branches.rhai"],
        1500.0,
        Some(250.0),
    );
}

/// Runs `recipe ARGS` several times. The goals are milliseconds and megabytes.
fn measure(directory: &Path, what: &str, args: &[&str], goal: f64, memory_goal: Option<f64>) {
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_recipe"))
            .args(args)
            .env("RECIPE_STATE_DIR", directory.join("state"))
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "recipe {} failed", args.join(" "));
        took.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    let median = took[TIMES / 2];
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    println!("{what:18} {median:8.1} ms   goal {goal:.0} ms: {}", verdict(median <= goal));
    if let Some(goal) = memory_goal {
        let peak = peak_of_children();
        println!("{:18} {peak:8.1} MB   goal {goal:.0} MB: {}", "  at its peak", verdict(peak <= goal));
    }
}

/// The largest resident set of any child so far, in megabytes.
fn peak_of_children() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    // Kilobytes on Linux, bytes on macOS.
    let unit = if cfg!(target_os = "macos") { 1e6 } else { 1e3 };
    #[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
    let peak = usage.max_rss() as f64 / unit;
    peak
}
