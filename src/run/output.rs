//! What a child process writes: handed on line by line, and kept for whoever
//! started it, within limits: a command that never stops writing must not take
//! the memory of the machine.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Bytes that are kept from the beginning of a stream.
const BEGINNING: usize = 16 << 20;
/// Bytes that are kept from the end of a longer one, where the reason of a
/// failure is.
const END: usize = 64 << 10;
/// Bytes that are handed on. Each line becomes an event, which costs as much as
/// `LINE_COST` bytes.
const HANDED_ON: usize = 4 << 20;
const LINE_COST: usize = 100;
/// The last line in place of all that are not handed on.
const NOTICE: &str = "[recipe does not show the rest of so much output]";
/// A longer line is handed on in pieces of this many bytes.
const LONGEST_LINE: usize = 64 << 10;

/// The reading end of a stream.
pub(super) type Pipe = Box<dyn AsyncRead + Send + Unpin>;

/// One stream of a child.
pub(super) struct Output {
    /// None at the end.
    pipe: Option<BufReader<Pipe>>,
    /// The line being read. Kept here and not in the future, so that nothing is
    /// lost when `select!` drops the future.
    line: Vec<u8>,
    beginning: Vec<u8>,
    end: Vec<u8>,
    left_out: usize,
    handed_on: usize,
}

impl Output {
    pub(super) fn new(pipe: Option<Pipe>) -> Self {
        Self {
            pipe: pipe.map(BufReader::new),
            line: Vec::new(),
            beginning: Vec::new(),
            end: Vec::new(),
            left_out: 0,
            handed_on: 0,
        }
    }

    /// The next line without its end, invalid UTF-8 replaced; none at the end
    /// of the stream. Past the limit lines are only kept.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            let Some(pipe) = &mut self.pipe else { return self.take_line() };
            let Ok(bytes @ [_, ..]) = pipe.fill_buf().await else {
                self.pipe = None;
                continue;
            };
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let wanted = newline.map_or(bytes.len(), |at| at + 1);
            let bytes = bytes[..wanted].to_vec();
            pipe.consume(wanted);
            self.keep(&bytes);
            if self.handed_on > HANDED_ON {
                continue;
            }
            self.line.extend_from_slice(&bytes);
            if newline.is_some() || self.line.len() >= LONGEST_LINE {
                self.handed_on += self.line.len() + LINE_COST;
                if self.handed_on > HANDED_ON {
                    self.line = NOTICE.into();
                }
                return self.take_line();
            }
        }
    }

    /// All of it, or its beginning and end, invalid UTF-8 replaced.
    pub(super) fn text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.beginning).into_owned();
        if self.left_out > 0 {
            text.push_str(&format!("\n[recipe left out {} bytes]\n", self.left_out));
        }
        text.push_str(&String::from_utf8_lossy(&self.end));
        text
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.beginning.len() < BEGINNING {
            self.beginning.extend_from_slice(bytes);
            return;
        }
        self.end.extend_from_slice(bytes);
        // Twice as much, so that it is not moved with each line.
        if self.end.len() > 2 * END {
            let surplus = self.end.len() - END;
            self.end.drain(..surplus);
            self.left_out += surplus;
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: Vec<u8>) -> (Vec<String>, String) {
        let mut output = Output::new(Some(Box::new(std::io::Cursor::new(text))));
        let mut lines = Vec::new();
        while let Some(line) = output.next().await {
            lines.push(line);
        }
        (lines, output.text())
    }

    #[tokio::test]
    async fn lines_lose_their_ends_and_nothing_else() {
        let (lines, text) = read(b"one\r\n\ntwo \xFF\nend".to_vec()).await;
        assert_eq!(lines, ["one", "", "two \u{FFFD}", "end"]);
        assert_eq!(text, "one\r\n\ntwo \u{FFFD}\nend");
    }

    #[tokio::test]
    async fn a_line_without_end_comes_in_pieces() {
        let (lines, text) = read(vec![b'x'; 3 * LONGEST_LINE]).await;
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() < 2 * LONGEST_LINE));
        assert_eq!(text.len(), 3 * LONGEST_LINE);
    }

    #[tokio::test]
    async fn too_many_lines_are_kept_but_not_handed_on() {
        let (lines, text) = read(b"y\n".repeat(HANDED_ON / 10)).await;
        assert!(lines.len() < HANDED_ON / LINE_COST);
        assert_eq!(lines.last().map(String::as_str), Some(NOTICE));
        assert_eq!(text.len(), 2 * (HANDED_ON / 10));
    }

    #[tokio::test]
    async fn the_middle_of_too_much_is_left_out() {
        let mut output = Output::new(None);
        output.keep(&vec![b'a'; BEGINNING]);
        for _ in 0..10 {
            output.keep(&vec![b'b'; END]);
        }
        output.keep(b"the reason");
        let text = output.text();
        assert!(text.starts_with('a') && text.ends_with("the reason") && text.len() < BEGINNING + 3 * END);
        assert!(text.contains(" bytes]\nb"));
    }
}
