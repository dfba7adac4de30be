//! A text as it reads without its escapes, or without the ends of its lines.

use std::ops::Range;

/// What a text stands for, with the way back to how it is shown.
pub(super) struct View {
    bytes: Vec<u8>,
    seams: Vec<Seam>,
}

/// Where a view goes on after something that stands for something else.
struct Seam {
    /// The place in the view.
    at: usize,
    /// Where in the text that ends which is before it.
    ends: usize,
    /// Where in the text that begins which follows it.
    begins: usize,
}

/// Reads what the beginning of a text stands for, and its length there.
type Read = fn(&[u8]) -> Option<(Vec<u8>, usize)>;

/// The views of `text` that differ from it.
pub(super) fn of(text: &str) -> impl Iterator<Item = View> {
    let views: [(char, Read); 3] = [('%', percent), ('\\', backslash), ('\n', line_end)];
    views
        .into_iter()
        .filter(|(sign, _)| text.contains(*sign))
        .map(|(_, read)| View::new(text.as_bytes(), read))
}

/// A part of a URL without its escapes.
pub(super) fn unescaped(text: &str) -> String {
    String::from_utf8_lossy(&View::new(text.as_bytes(), percent).bytes).into_owned()
}

impl View {
    fn new(text: &[u8], read: Read) -> Self {
        let mut view = Self { bytes: Vec::with_capacity(text.len()), seams: Vec::new() };
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let Some((stands_for, length)) = read(&text[at..]) else {
                view.bytes.push(*byte);
                at += 1;
                continue;
            };
            view.bytes.extend_from_slice(&stands_for);
            let begins = at + length;
            // What stands for nothing is no part of what is before it.
            let ends = if stands_for.is_empty() { at } else { begins };
            view.seams.push(Seam { at: view.bytes.len(), ends, begins });
            at = begins;
        }
        view
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The place in the text of a place in the view.
    pub(super) fn shown(&self, range: Range<usize>) -> Range<usize> {
        let shown = |at, before: usize| match before.checked_sub(1).map(|last| &self.seams[last]) {
            Some(seam) => seam.begins + (at - seam.at),
            None => at,
        };
        let start = shown(range.start, self.seams.partition_point(|seam| seam.at <= range.start));
        let before = self.seams.partition_point(|seam| seam.at < range.end);
        let end = match self.seams.get(before).filter(|seam| seam.at == range.end) {
            Some(seam) => seam.ends,
            None => shown(range.end, before),
        };
        start..end
    }
}

fn percent(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let [b'%', high, low, ..] = text else { return None };
    Some((vec![hex(&[*high, *low])?.try_into().ok()?], 3))
}

/// As in JSON, in the languages of C's family, and in a shell.
fn backslash(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let [b'\\', sign, rest @ ..] = text else { return None };
    let character = |code: Option<u32>, length| {
        let character = code.and_then(char::from_u32)?;
        Some((character.to_string().into_bytes(), length))
    };
    let digits = |count: usize| rest.get(..count).and_then(hex);
    match sign {
        b'u' if rest.first() == Some(&b'{') => {
            let end = rest.iter().take(8).position(|byte| *byte == b'}')?;
            character(hex(&rest[1..end]), end + 3)
        }
        b'u' => character(digits(4), 6),
        b'x' => character(digits(2), 4),
        b'n' => Some((vec![b'\n'], 2)),
        b'r' => Some((vec![b'\r'], 2)),
        b't' => Some((vec![b'\t'], 2)),
        b'\n' => Some((Vec::new(), 2)),
        // A character of several bytes stands for itself: the rest follows.
        sign => Some((vec![*sign], 2)),
    }
}

/// With the spaces that begin the next line, which are for the eye.
fn line_end(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let length = match text {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => return None,
    };
    let spaces = text[length..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    Some((Vec::new(), length + spaces))
}

fn hex(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of `needle` in the views of `text`, as they are shown.
    fn shown<'t>(text: &'t str, needle: &str) -> Vec<&'t str> {
        let find = |view: View| {
            let at = view.bytes().windows(needle.len()).position(|part| part == needle.as_bytes());
            at.map(|at| &text[view.shown(at..at + needle.len())])
        };
        of(text).filter_map(find).collect()
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(shown("a%20%70%C3%A9b", "pé"), ["%70%C3%A9"]);
        assert_eq!(shown(r#"{"a": "\u0070\/\"\\é"}"#, r#"p/"\é"#), [r#"\u0070\/\"\\é"#]);
        assert_eq!(shown(r"x\u{e9}\x41!", "éA"), [r"\u{e9}\x41"]);
        assert_eq!(shown("100 % of \\", "of"), ["of", "of"]);
    }

    #[test]
    fn lines_are_joined() {
        assert_eq!(shown("one\n  two\nthree", "netwo"), ["ne\n  two"]);
        assert_eq!(shown("one\n\ntwo\r\nthree", "two"), ["two"]);
        assert_eq!(shown("one\n\ntwo", "one"), ["one"]);
        assert_eq!(shown("one\n\ntwo", "onetwo"), ["one\n\ntwo"]);
    }
}
