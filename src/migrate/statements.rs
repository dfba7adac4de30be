//! Cuts SQL text into statements, as PostgreSQL's own lexer and psql see them.
//!
//! Only what is needed to find a statement's end is understood: strings, quoted names, dollar
//! quotes, comments, parentheses (rules hold `;` in them) and `BEGIN ATOMIC` bodies. Strings are
//! read with `standard_conforming_strings = on`, PostgreSQL's default.

use std::ops::Range;

use thiserror::Error;

/// One statement of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Bytes from the first token up to and with the `;`, if there is one.
    pub range: Range<usize>,
    pub terminated: bool,
    pub kind: Kind,
}

/// What a statement means for the one who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    /// `BEGIN` or `START TRANSACTION`, without modes.
    Begin,
    /// `COMMIT` or `END`, and nothing more.
    Commit,
    /// Any other statement that starts or ends a transaction.
    Transaction,
    /// `COPY .. FROM STDIN` or `COPY .. TO STDOUT`.
    CopyStream,
}

/// Text that cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{problem}")]
pub(super) struct SplitError {
    /// Byte where the offending token starts.
    pub offset: usize,
    pub problem: SplitProblem,
}

/// Why text cannot be cut into statements.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SplitProblem {
    /// A string, quoted name or comment without an end.
    #[error("this {0} is never closed")]
    Unterminated(&'static str),
    /// A backslash outside of a string.
    #[error("`{0}` is a command of psql, not SQL: put the SQL itself into the migration")]
    MetaCommand(String),
}

/// The statements of `text`; comments and empty statements are left out.
pub(super) fn split(text: &str) -> Result<Vec<Statement>, SplitError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut statements = Vec::new();
    let mut open: Option<Open> = None;
    while let Some((token, range)) = lexer.next_token()? {
        if token == Token::Semicolon && open.as_ref().is_none_or(Open::is_closed) {
            statements.extend(open.take().map(|open| open.close(range.end, true)));
            continue;
        }
        open.get_or_insert_with(|| Open::at(range.start)).take(token, range.end);
    }
    statements.extend(open.map(|open| {
        let end = open.end;
        open.close(end, false)
    }));
    Ok(statements)
}

/// A statement whose end has not been seen.
struct Open<'a> {
    start: usize,
    end: usize,
    /// The first words, and how many tokens there are in all.
    head: Vec<&'a str>,
    tokens: usize,
    previous: &'a str,
    parentheses: u32,
    /// Open `BEGIN ATOMIC` and `CASE` of a routine's body.
    blocks: u32,
    copy_stream: bool,
}

const HEAD: usize = 4;

impl<'a> Open<'a> {
    fn at(start: usize) -> Self {
        Self {
            start,
            end: start,
            head: Vec::with_capacity(HEAD),
            tokens: 0,
            previous: "",
            parentheses: 0,
            blocks: 0,
            copy_stream: false,
        }
    }

    fn is_closed(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn take(&mut self, token: Token<'a>, end: usize) {
        self.end = end;
        self.tokens += 1;
        match token {
            Token::Open => self.parentheses += 1,
            Token::Close => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(word) => self.word(word),
            Token::Semicolon | Token::Other => {}
        }
        self.previous = if let Token::Word(word) = token { word } else { "" };
    }

    fn word(&mut self, word: &'a str) {
        if self.head.len() < HEAD {
            self.head.push(word);
        }
        let follows = |before: &str, this: &str| is(self.previous, before) && is(word, this);
        if follows("BEGIN", "ATOMIC") && self.is_routine() {
            self.blocks = 1;
        } else if self.blocks > 0 && is(word, "CASE") {
            self.blocks += 1;
        } else if self.blocks > 0 && is(word, "END") {
            self.blocks -= 1;
        }
        if follows("FROM", "STDIN") || follows("TO", "STDOUT") {
            self.copy_stream = is(self.head[0], "COPY");
        }
    }

    fn is_routine(&self) -> bool {
        let what = if self.head.get(1).is_some_and(|word| is(word, "OR")) { 3 } else { 1 };
        is(self.head[0], "CREATE")
            && self.head.get(what).is_some_and(|word| is(word, "FUNCTION") || is(word, "PROCEDURE"))
    }

    fn close(self, end: usize, terminated: bool) -> Statement {
        Statement { range: self.start..end, terminated, kind: self.kind() }
    }

    fn kind(&self) -> Kind {
        let word = |at: usize| self.head.get(at).copied().unwrap_or("");
        let noise = |at: usize| is(word(at), "WORK") || is(word(at), "TRANSACTION");
        let nothing_after = |words: usize| self.tokens == words;
        let alone = nothing_after(1) || (nothing_after(2) && noise(1));
        match word(0).to_ascii_uppercase().as_str() {
            "COPY" if self.copy_stream => Kind::CopyStream,
            "BEGIN" if alone => Kind::Begin,
            "START" if nothing_after(2) && is(word(1), "TRANSACTION") => Kind::Begin,
            "COMMIT" | "END" if alone => Kind::Commit,
            "ROLLBACK" if is(word(1), "TO") || (noise(1) && is(word(2), "TO")) => Kind::Ordinary,
            "PREPARE" if !is(word(1), "TRANSACTION") => Kind::Ordinary,
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "PREPARE" => Kind::Transaction,
            _ => Kind::Ordinary,
        }
    }
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword or unquoted name.
    Word(&'a str),
    Semicolon,
    Open,
    Close,
    /// A string, a quoted name, a number, an operator.
    Other,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn next_token(&mut self) -> Result<Option<(Token<'a>, Range<usize>)>, SplitError> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(&first) = self.rest().as_bytes().first() else {
            return Ok(None);
        };
        let token = match first {
            b';' => self.single(Token::Semicolon),
            b'(' => self.single(Token::Open),
            b')' => self.single(Token::Close),
            b'\'' => self.string()?,
            b'"' => self.quoted(b'"', "quoted name")?,
            b'$' => self.dollar()?,
            b'\\' => {
                let command = self.rest().split_whitespace().next().unwrap_or_default();
                return Err(SplitError {
                    offset: start,
                    problem: SplitProblem::MetaCommand(command.to_owned()),
                });
            }
            b'0'..=b'9' => {
                self.skip_while(|byte| is_name_byte(byte) || byte == b'.');
                Token::Other
            }
            byte if is_name_byte(byte) => {
                self.skip_while(|byte| is_name_byte(byte) || byte == b'$');
                let word = &self.text[start..self.at];
                if is(word, "E") && self.rest().starts_with('\'') {
                    self.escape_string(start)?
                } else {
                    Token::Word(word)
                }
            }
            _ => self.single(Token::Other),
        };
        Ok(Some((token, start..self.at)))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn single(&mut self, token: Token<'a>) -> Token<'a> {
        self.at += 1;
        token
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        let rest = self.rest().as_bytes();
        self.at += rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
    }

    /// Skips white space and comments.
    fn skip_blanks(&mut self) -> Result<(), SplitError> {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace() || byte == 0x0b);
            if self.rest().starts_with("--") {
                self.skip_while(|byte| byte != b'\n' && byte != b'\r');
            } else if self.rest().starts_with("/*") {
                self.block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn block_comment(&mut self) -> Result<(), SplitError> {
        let start = self.at;
        let mut depth = 0_u32;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else if let Some(next) = rest.chars().next() {
                self.at += next.len_utf8();
            } else {
                return Err(unterminated(start, "comment"));
            }
        }
    }

    fn string(&mut self) -> Result<Token<'a>, SplitError> {
        self.quoted(b'\'', "string")
    }

    /// Reads a quoted token in which the quote is written twice.
    fn quoted(&mut self, quote: u8, what: &'static str) -> Result<Token<'a>, SplitError> {
        let start = self.at;
        self.at += 1;
        loop {
            self.skip_while(|byte| byte != quote);
            match self.rest().as_bytes() {
                [_, next, ..] if *next == quote => self.at += 2,
                [_, ..] => return Ok(self.single(Token::Other)),
                [] => return Err(unterminated(start, what)),
            }
        }
    }

    /// Reads the quoted part of `E'..'`, and what continues it on a later line.
    fn escape_string(&mut self, start: usize) -> Result<Token<'a>, SplitError> {
        self.at += 1;
        loop {
            self.skip_while(|byte| byte != b'\'' && byte != b'\\');
            match self.rest().as_bytes() {
                [b'\\', _, ..] | [b'\'', b'\'', ..] => {
                    let skipped = self.rest().chars().take(2).map(char::len_utf8).sum::<usize>();
                    self.at += skipped;
                }
                [b'\'', ..] => {
                    self.at += 1;
                    if !self.continues() {
                        return Ok(Token::Other);
                    }
                }
                _ => return Err(unterminated(start, "string")),
            }
        }
    }

    /// Whether a string goes on after a line break, as in `E'a' ⏎ 'b'`; if so, steps into it.
    fn continues(&mut self) -> bool {
        let rest = self.rest();
        let next = rest.trim_ascii_start();
        let goes_on = next.starts_with('\'') && rest[..rest.len() - next.len()].contains(['\n', '\r']);
        if goes_on {
            self.at += rest.len() - next.len() + 1;
        }
        goes_on
    }

    /// Reads `$tag$ .. $tag$`, or the `$` of a parameter.
    fn dollar(&mut self) -> Result<Token<'a>, SplitError> {
        let start = self.at;
        let rest = self.rest();
        let tag = rest[1..].bytes().take_while(|&byte| is_name_byte(byte)).count();
        let delimiter = 1 + tag;
        if rest.as_bytes().get(delimiter) != Some(&b'$') || rest.as_bytes()[1].is_ascii_digit() {
            return Ok(self.single(Token::Other));
        }
        let (opening, body) = rest.split_at(delimiter + 1);
        let Some(length) = body.find(opening) else {
            return Err(unterminated(start, "dollar-quoted string"));
        };
        self.at += opening.len() + length + opening.len();
        Ok(Token::Other)
    }
}

fn unterminated(offset: usize, what: &'static str) -> SplitError {
    SplitError { offset, problem: SplitProblem::Unterminated(what) }
}

/// Letters, digits, `_`, and every byte of a character outside ASCII.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

#[cfg(test)]
#[path = "statements_tests.rs"]
mod tests;
