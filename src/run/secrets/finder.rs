//! Finds secrets in a text, in every form that programs give them: as they are,
//! in base64 and hex, quoted, escaped, and cut by the ends of lines.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::views;

/// Shorter secrets are found as words only, since they would riddle every text
/// with masks, and in no other form.
pub(super) const SHORTEST: usize = 6;
/// Even shorter ones are not looked for at all.
pub(super) const SHORTEST_WORD: usize = 3;
/// Longer ones, such as keys, are looked for as they are only.
const LONGEST_ENCODED: usize = 256;
/// So many bytes are taken for the beginning of a secret that goes on in the
/// next line.
pub(super) const HEAD: usize = 4;
/// No more of the end of a line is looked at.
const TAIL: usize = 1024;

/// The secrets of a run, ready to be looked for.
pub(super) struct Finder {
    automaton: AhoCorasick,
    /// Of each of its patterns, whether it has to be a word of its own.
    is_word: Vec<bool>,
    /// The other patterns, sorted.
    long: Vec<String>,
}

impl Finder {
    pub(super) fn of<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        let (short, long): (Vec<_>, Vec<_>) = secrets.partition(|secret| secret.len() < SHORTEST);
        let mut long: Vec<_> = long.into_iter().flat_map(forms).collect();
        long.sort_unstable();
        long.dedup();
        let automaton = AhoCorasick::builder()
            // What is built fastest: secrets are few, and texts are short.
            .kind(Some(AhoCorasickKind::NoncontiguousNFA))
            .build(short.iter().copied().chain(long.iter().map(String::as_str)))
            .unwrap_or_else(|_| unreachable!("billions of bytes of secrets"));
        let is_word = (0..short.len() + long.len()).map(|pattern| pattern < short.len()).collect();
        Self { automaton, is_word, long }
    }

    /// Where secrets are in `text`; the ranges may overlap.
    pub(super) fn hidden(&self, text: &str) -> Vec<Range<usize>> {
        let mut ranges: Vec<_> = self.found(text.as_bytes()).collect();
        for view in views::of(text) {
            ranges.extend(self.found(view.bytes()).map(|found| view.shown(found)));
        }
        ranges
    }

    fn found<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
        let found = self.automaton.find_overlapping_iter(text);
        found
            .filter(|found| !self.is_word[found.pattern().as_usize()] || is_word(text, found.range()))
            .map(|found| found.range())
    }

    /// Where the end of `text` begins that may be the beginning of a secret.
    pub(super) fn open_end(&self, text: &str) -> Option<usize> {
        let tail = text.len().saturating_sub(TAIL)..=text.len().checked_sub(HEAD)?;
        tail.filter(|at| text.is_char_boundary(*at)).find(|at| self.is_beginning(&text[*at..]))
    }

    fn is_beginning(&self, text: &str) -> bool {
        let next = self.long.partition_point(|form| form.as_str() <= text);
        self.long.get(next).is_some_and(|form| form.starts_with(text))
    }
}

fn is_word(text: &[u8], range: Range<usize>) -> bool {
    let goes_on = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let before = range.start.checked_sub(1).and_then(|at| text.get(at));
    !goes_on(before) && !goes_on(text.get(range.end))
}

/// What `secret` looks like where it is quoted or encoded. Escapes are not among
/// them: there are too many ways; [`views`] undo them instead.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        // In SQL, and in a shell.
        secret.replace('\'', "''"),
        secret.replace('"', "\"\""),
        secret.replace('\'', r"'\''"),
        secret.replace('\'', r#"'"'"'"#),
        // In forms of HTML.
        secret.replace(' ', "+"),
        // As the view without ends of lines has it.
        secret.lines().map(str::trim).collect(),
    ];
    if secret.len() <= LONGEST_ENCODED {
        let digits = secret.bytes().flat_map(|byte| [byte >> 4, byte & 15]);
        let lower: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
        forms.extend([lower.to_uppercase(), lower]);
        forms.extend((0..3).flat_map(|before| base64(secret.as_bytes(), before)));
    }
    forms
}

/// What base64 of a longer text, in which `secret` follows `before` bytes (of
/// each three), holds of it whatever the other bytes are. A digit has 6 bits.
fn base64(secret: &[u8], before: usize) -> [String; 2] {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    let digits = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)]
        .map(|encoded| encoded[digits.clone()].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_known_whatever_stands_around() {
        for before in 0..7 {
            for after in 0..7 {
                let text = format!("{}s3cret-w0rd>?{}", "b".repeat(before), "a".repeat(after));
                let finder = Finder::of(["s3cret-w0rd>?"].into_iter());
                for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    assert!(!finder.hidden(&encoded).is_empty(), "{text}: {encoded}");
                }
            }
        }
    }

    #[test]
    fn the_end_of_a_line_may_be_the_beginning_of_a_secret() {
        let finder = Finder::of(["hunter22", "hunting"].into_iter());
        assert_eq!(finder.open_end("a hunter2"), Some(2));
        assert_eq!(finder.open_end("a hunt"), Some(2));
        assert_eq!(finder.open_end("a hun"), None, "too little to tell");
        assert_eq!(finder.open_end("a hunter22"), None, "it is whole");
        assert_eq!(finder.open_end("hunter3"), None);
    }
}
