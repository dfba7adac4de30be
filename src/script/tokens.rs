//! The words of a script's text, for editors of lines: also of text that is
//! not complete yet, or never will compile.

use std::ops::Range;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// `// ..` or `/* .. */`.
    Comment,
    /// A text in any quotes, with them.
    Text,
    /// A number.
    Number,
    /// A word of the language.
    Keyword,
    /// Any other word.
    Name,
    /// One character of anything else that is not blank.
    Symbol,
}

/// A piece of text and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub word: Word,
    /// Where it is, in bytes.
    pub at: Range<usize>,
    /// Whether it ends; false for a comment or text that goes on.
    pub closed: bool,
}

/// The words of the language that recipes use.
pub const KEYWORDS: [&str; 24] = [
    "let", "const", "fn", "private", "if", "else", "for", "in", "while", "loop", "do", "until", "break",
    "continue", "return", "throw", "try", "catch", "import", "export", "as", "switch", "true", "false",
];

/// The tokens of `text`, in order; blanks between them are left out.
#[must_use]
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (word, length, closed) = token(rest, first);
        tokens.push(Token { word, at: at..at + length, closed });
        at += length;
    }
    tokens
}

fn token(rest: &str, first: char) -> (Word, usize, bool) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    if rest.starts_with("//") {
        return (Word::Comment, rest.find('\n').unwrap_or(rest.len()), true);
    }
    if rest.starts_with("/*") {
        let (length, closed) = block_comment(rest);
        return (Word::Comment, length, closed);
    }
    if matches!(first, '"' | '`' | '\'') {
        let (length, closed) = quoted(rest, first);
        return (Word::Text, length, closed);
    }
    if first.is_ascii_digit() {
        let is_number = |c: char| is_word(c) || c == '.';
        let end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
        // `0..4` is a range, and no number with two points.
        let end = rest[..end].find("..").unwrap_or(end);
        return (Word::Number, end, true);
    }
    if is_word(first) {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = if KEYWORDS.contains(&&rest[..end]) { Word::Keyword } else { Word::Name };
        return (word, end, true);
    }
    (Word::Symbol, first.len_utf8(), true)
}

/// Comments nest.
fn block_comment(rest: &str) -> (usize, bool) {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return (at, true);
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    (rest.len(), false)
}

/// A text with `${..}` in backticks may hold quotes of its own.
fn quoted(rest: &str, quote: char) -> (usize, bool) {
    let (mut at, mut depth) = (1, 0_usize);
    let mut escaped = false;
    for c in rest[1..].chars() {
        at += c.len_utf8();
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if quote == '`' && rest[..at].ends_with("${") {
            depth += 1;
        } else if c == '}' && depth > 0 {
            depth -= 1;
        } else if c == quote && depth == 0 {
            return (at, true);
        } else if c == '\n' && quote != '`' {
            return (at - 1, false);
        }
    }
    (rest.len(), false)
}

/// Whether `text` ends in a comment or a text of several lines that is not closed.
#[must_use]
pub fn ends_inside(text: &str) -> bool {
    tokens(text).last().is_some_and(|last| {
        !last.closed && (last.word == Word::Comment || text[last.at.clone()].starts_with('`'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_words() {
        let text = "let n = 0..40; // end\nf(`a ${g(\"b\")} c`, 1.5)";
        let found: Vec<_> = tokens(text).into_iter().map(|token| &text[token.at]).collect();
        let expected = [
            "let",
            "n",
            "=",
            "0",
            ".",
            ".",
            "40",
            ";",
            "// end",
            "f",
            "(",
            "`a ${g(\"b\")} c`",
            ",",
            "1.5",
            ")",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn knows_what_goes_on() {
        for (text, inside) in [
            ("let a = `one", true),
            ("/* a /* b */", true),
            ("/* a */", false),
            ("let a = \"one", false),
            ("`a`", false),
            ("// `a", false),
        ] {
            assert_eq!(ends_inside(text), inside, "{text}");
        }
    }
}
