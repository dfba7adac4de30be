//! Colours of an entry.

use owo_colors::{OwoColorize, Style};

use crate::primitives;
use crate::script::tokens::{Token, Word, tokens};

/// The text in colours.
pub(super) fn paint(text: &str) -> String {
    let mut painted = String::with_capacity(text.len() * 2);
    let mut end = 0;
    for token in tokens(text) {
        painted.push_str(&text[end..token.at.start]);
        let word = &text[token.at.clone()];
        match style(&token, word, &text[token.at.end..]) {
            Some(style) => painted.push_str(&word.style(style).to_string()),
            None => painted.push_str(word),
        }
        end = token.at.end;
    }
    painted.push_str(&text[end..]);
    painted
}

fn style(token: &Token, word: &str, after: &str) -> Option<Style> {
    match token.word {
        Word::Comment => Some(Style::new().dimmed()),
        Word::Text => Some(Style::new().green()),
        Word::Number => Some(Style::new().yellow()),
        Word::Keyword => Some(Style::new().magenta()),
        Word::Name if after.starts_with('(') && primitives::all().any(|known| known.name == word) => {
            Some(Style::new().cyan())
        }
        Word::Name | Word::Symbol => None,
    }
}
