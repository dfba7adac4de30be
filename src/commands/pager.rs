//! Long texts on a terminal, through the user's pager.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use super::terminal;
use crate::run::signal::Signals;
use crate::run::{Failure, Kind};

/// Writes text to standard output; through `$PAGER`, or `less`, where it is a
/// terminal with fewer lines. An empty `$PAGER` means none.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let stdout = std::io::stdout();
    let height = terminal_size::terminal_size_of(&stdout).map_or(0, |(_, height)| usize::from(height.0));
    if !stdout.is_terminal() || text.lines().count() < height {
        return terminal::print(text);
    }
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less -FRX".to_owned());
    if pager.trim().is_empty() {
        return terminal::print(text);
    }
    // Ctrl-C is the pager's: it would stay behind on a terminal that the shell
    // reads from, too.
    let runtime = super::runtime()?;
    let _entered = runtime.enter();
    let _signals = Signals::listen()
        .map_err(|error| Failure::new(Kind::Io, "signals cannot be listened for").cause(error))?;
    let child = Command::new("sh").args(["-c", &pager]).stdin(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return terminal::print(text) };
    if let Some(mut stdin) = child.stdin.take() {
        // A reader who has left early has seen enough.
        let _ = stdin.write_all(text.as_bytes());
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        // There is no such pager.
        _ => terminal::print(text),
    }
}
