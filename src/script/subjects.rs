//! The subjects of `switch` in a plan. Rhai takes the branch for all else where a
//! subject is of a type that it does not know, without a question that could be
//! answered. So a plan reads `switch x { .. }` as `switch known(x) { .. }`.
//!
//! The word gives way to another of the same length, so that everything keeps
//! its line and column: three tokens, of which the last is an operator that
//! binds less than any other.

use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext, Position, Token};

use super::tokens::{Word, tokens};
use super::unknown::readable;

const WORD: &str = "switch";
/// A token that no script can hold, which the parser is told is the word.
const SWITCH: &str = "@";
/// The operator. Its left side only makes it one.
const KNOWN: &str = "~";
const INSTEAD: &str = "@0~   ";
/// The parser takes 1 for what is no operator.
const LEAST: u8 = 2;

/// A text with `switch` as a plan reads it.
pub(super) fn read(text: &str) -> String {
    let mut read = text.to_owned();
    for token in tokens(text) {
        if token.word == Word::Keyword && &text[token.at.clone()] == WORD {
            read.replace_range(token.at, INSTEAD);
        }
    }
    read
}

/// Teaches the interpreter of a plan to read such a text.
pub(super) fn register(engine: &mut Engine) {
    #[expect(deprecated, reason = "Rhai marks what it calls volatile as deprecated; the version is pinned")]
    engine.on_parse_token(|token, _, _| match token {
        Token::Reserved(symbol) if *symbol == SWITCH => Token::Switch,
        token => token,
    });
    let registered = engine.register_custom_operator(KNOWN, LEAST);
    registered.unwrap_or_else(|why| unreachable!("{KNOWN} is free: {why}")).register_fn(KNOWN, known);
}

fn known(context: NativeCallContext, _: i64, subject: Dynamic) -> Result<Dynamic, Box<EvalAltResult>> {
    let at = context.call_position();
    let before = INSTEAD.find(KNOWN).unwrap_or_default();
    let word = at.line().zip(at.position()).map_or(at, |(line, column)| {
        let narrow = |number: usize| u16::try_from(number).unwrap_or_default();
        Position::new(narrow(line), narrow(column - before))
    });
    readable(subject, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_else_keeps_its_place_and_meaning() {
        let text =
            "let a = 2; // switch a\nlet b = switch a + 1 { 3 => \"switch\", _ => 0 };\nswitch(b) { _ => b }";
        let read = read(text);
        assert_eq!(read.len(), text.len());
        assert_eq!(read.matches(INSTEAD).count(), 2);
        let mut engine = Engine::new();
        register(&mut engine);
        assert_eq!(engine.eval::<String>(&read).unwrap(), "switch");
    }
}
