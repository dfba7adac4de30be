//! The lower end of a terminal, redrawn in place.
//!
//! Each draw is one write, so that nothing flickers and nothing gets between.
//! Rows end with a line break and are never padded: when a window changes its
//! width, terminals wrap what is too long, and each row stays for itself.

use std::fmt::Write as _;
use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// Rows on a terminal, below everything written before.
pub(super) struct Screen<W> {
    out: W,
    rows: Vec<String>,
}

impl<W: Write> Screen<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, rows: Vec::new() }
    }

    /// Writes `lines`, which stay, in place of the rows drawn before, and
    /// `rows` below them, on a terminal that is now `columns` wide.
    pub(super) fn draw(&mut self, lines: &[String], rows: Vec<String>, columns: usize) -> io::Result<()> {
        if lines.is_empty() && rows == self.rows {
            return Ok(());
        }
        let mut text = String::new();
        let height: usize = self.rows.iter().map(|row| height(row, columns)).sum();
        if height > 0 {
            // Up, to the first column, erase all below.
            let _ = write!(text, "\x1b[{height}A\r\x1b[J");
        }
        for line in lines.iter().chain(&rows) {
            text += line;
            text.push('\n');
        }
        self.rows = rows;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

/// How many lines `row` takes up once wrapped at `columns`.
fn height(row: &str, columns: usize) -> usize {
    let width = anstream::adapter::strip_str(row).map(UnicodeWidthStr::width).sum::<usize>();
    width.div_ceil(columns.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&str]) -> Vec<String> {
        rows.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_stay_and_rows_are_replaced() {
        let mut screen = Screen::new(Vec::new());
        screen.draw(&rows(&["done"]), rows(&["a", "b"]), 80).unwrap();
        screen.draw(&[], rows(&["a", "b"]), 80).unwrap();
        screen.draw(&rows(&["more"]), rows(&["c"]), 80).unwrap();
        screen.draw(&[], Vec::new(), 80).unwrap();
        let written = String::from_utf8(screen.out).unwrap();
        assert_eq!(written, "done\na\nb\n\x1b[2A\r\x1b[Jmore\nc\n\x1b[1A\r\x1b[J");
    }

    #[test]
    fn rows_wrapped_by_a_narrower_window_are_erased_whole() {
        let mut screen = Screen::new(Vec::new());
        screen.draw(&[], rows(&["\x1b[1m0123456789\x1b[0m", "", "データ"]), 80).unwrap();
        screen.draw(&[], Vec::new(), 4).unwrap();
        let written = String::from_utf8(screen.out).unwrap();
        assert!(written.ends_with("\x1b[6A\r\x1b[J"), "{written:?}");
    }
}
