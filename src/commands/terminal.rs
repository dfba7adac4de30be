//! What commands write to the terminal.

use std::io::{IsTerminal, Write};

use crate::run::{Failure, Kind};
use crate::script::Diagnostic;
use crate::tell::tell;

/// Columns of the terminal, or of a page where there is none.
pub(super) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(100, |(width, _)| usize::from(width.0))
}

/// Whether standard error shows colours.
pub(super) fn colour() -> bool {
    let stderr = std::io::stderr();
    stderr.is_terminal() && anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never
}

/// Writes an error to standard error.
pub(super) fn show(diagnostic: &Diagnostic) {
    tell!("{}", diagnostic.render(colour(), columns().min(110)).trim_end());
}

/// Writes text to standard output as it is.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_to(std::io::stdout().lock(), text)
}

/// Writes text to standard output, in colours only where they are shown.
pub(super) fn print_coloured(text: &str) -> Result<(), Failure> {
    print_to(anstream::stdout().lock(), text)
}

/// A reader who has gone away is no error.
fn print_to(mut stdout: impl Write, text: &str) -> Result<(), Failure> {
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Kind::Io, "standard output cannot be written").cause(error))
        }
        _ => Ok(()),
    }
}

/// Writes a value to standard output as JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Kind::Bug, "the result has no form in JSON").cause(error))?;
    print(&format!("{text}\n"))
}
