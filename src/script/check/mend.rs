//! A statement that does not parse, taken out of the text so that what follows
//! it can be looked at. All else keeps its line and column.

use std::collections::HashSet;
use std::ops::Range;

use crate::script::tokens::{Token, Word, tokens};

/// Words that begin a statement: at the start of a line nothing else can stand
/// before them that goes on.
const BEGIN: [&str; 11] =
    ["let", "const", "fn", "private", "import", "export", "for", "while", "loop", "return", "throw"];

/// What is left of a text, and what it had declared there.
pub(super) struct Mended {
    pub text: String,
    /// Up to where it was changed, in bytes.
    pub end: usize,
    /// Variables and functions that the statement declared.
    pub declared: HashSet<String>,
}

/// Blanks the statement that has the error at `fault`, a byte of `text`. Of a
/// declaration the name stays.
pub(super) fn blank(text: &str, fault: usize) -> Option<Mended> {
    let words: Vec<_> = tokens(text).into_iter().filter(|token| token.word != Word::Comment).collect();
    let at = statement(text, &words, fault)?;
    let inside: Vec<_> =
        words.iter().filter(|word| at.contains(&word.at.start)).map(|word| &text[word.at.clone()]).collect();
    let declared = inside.windows(2).filter(|pair| matches!(pair[0], "let" | "const" | "fn" | "for"));
    let declared = declared.map(|pair| pair[1].to_owned()).collect();
    // The names of a declaration that is wrong after its name are used below.
    let name = words.iter().skip_while(|word| word.at.start < at.start).nth(1);
    let name = name.filter(|name| {
        matches!(inside.first(), Some(&("let" | "const"))) && name.word == Word::Name && name.at.end <= fault
    });
    let kept = name.map_or(at.start, |name| name.at.end);
    let mut blanked: String =
        text[kept..at.end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
    if name.is_some() {
        blanked.pop();
        blanked.push(';');
    }
    let mended = [&text[..kept], &blanked, &text[at.end..]].concat();
    Some(Mended { text: mended, end: kept + blanked.len(), declared })
}

/// Ends the statement before `fault`, where that begins on a line of its own.
pub(super) fn terminate(text: &str, fault: usize) -> Option<Mended> {
    let words = tokens(text).into_iter().filter(|token| token.word != Word::Comment);
    let end = words.map(|word| word.at.end).take_while(|end| *end <= fault).last()?;
    if !text[end..fault].contains('\n') {
        return None;
    }
    let mended = [&text[..end], ";", &text[end..]].concat();
    Some(Mended { text: mended, end, declared: HashSet::new() })
}

/// A block that is open.
struct Block {
    /// Where its present statement begins; none before its first word.
    start: Option<usize>,
    /// Brackets that are open in the statement.
    brackets: Vec<char>,
}

/// The innermost statement around `fault`. A `;` and a word that begins a
/// statement end it whatever brackets it has left open.
fn statement(text: &str, words: &[Token], fault: usize) -> Option<Range<usize>> {
    let mut blocks = vec![Block { start: None, brackets: Vec::new() }];
    // How deep the fault is, once it is passed, and where its statement begins.
    let mut found: Option<(usize, usize)> = None;
    let mut before = 0;
    for (i, word) in words.iter().enumerate() {
        let written = &text[word.at.clone()];
        let next = words.get(i + 1).map(|next| &text[next.at.clone()]);
        let is_first = i == 0 || text[before..word.at.start].contains('\n');
        let begins = is_first && BEGIN.contains(&written);
        let depth = blocks.len();
        let block = blocks.last_mut()?;
        if let Some((start, at)) = found
            && (depth < at || depth == at && (begins || written == "}" && block.brackets.is_empty()))
        {
            return Some(start..before);
        }
        let is_fault = found.is_none() && word.at.end > fault;
        if is_fault && (begins || written == "}" && !block.brackets.contains(&'{')) {
            // What is wrong is that the statement before has no end.
            return Some(block.start.map_or(word.at.clone(), |start| start..before));
        }
        if begins {
            *block = Block { start: None, brackets: Vec::new() };
        }
        let start = *block.start.get_or_insert(word.at.start);
        if is_fault {
            found = Some((start, depth));
        }
        let mut ends = word.word == Word::Text && !word.closed && !written.starts_with('`');
        match written {
            ";" => ends = true,
            "(" | "[" => block.brackets.push(written.chars().next()?),
            ")" | "]" => drop(block.brackets.pop()),
            // The map of options is an expression, any other brace a block.
            "{" if i > 0 && &text[words[i - 1].at.clone()] == "#" => block.brackets.push('{'),
            "{" => blocks.push(Block { start: None, brackets: Vec::new() }),
            "}" if block.brackets.contains(&'{') => while block.brackets.pop() != Some('{') {},
            "}" if depth > 1 => {
                blocks.pop();
                let outer = blocks.last()?;
                let goes_on = matches!(
                    next,
                    Some("else" | "catch" | "while" | "until" | "." | ")" | "]" | "," | ";" | "+" | "=")
                );
                ends = outer.brackets.is_empty() && !goes_on;
            }
            _ => {}
        }
        before = word.at.end;
        if ends {
            if let Some((start, at)) = found
                && blocks.len() <= at
            {
                return Some(start..before);
            }
            *blocks.last_mut()? = Block { start: None, brackets: Vec::new() };
        }
    }
    found.map(|(start, _)| start..before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanked(text: &str, fault: &str) -> String {
        blank(text, text.find(fault).unwrap()).unwrap().text
    }

    #[test]
    fn a_declaration_keeps_its_name() {
        assert_eq!(blanked("let a = f(;\nlet b = 2;", ";"), "let a     ;\nlet b = 2;");
        assert_eq!(blanked("let a = [1, 2\nlet b = 2;", "let b"), "let a       ;\nlet b = 2;");
        assert_eq!(blanked("log(1);\nlet spawn = 2;\nlog(2);", "spawn"), "log(1);\n              \nlog(2);");
    }

    #[test]
    fn it_is_the_innermost_statement() {
        let text = "parallel([|| { sleep(1); sleep(; }, || 1]);\nlog(1);";
        assert_eq!(blanked(text, "; }"), "parallel([|| { sleep(1);         }, || 1]);\nlog(1);");
        let text = "if a { b(1 } else { c() }\nlog(1);";
        assert_eq!(blanked(text, "} else"), "if a {     } else { c() }\nlog(1);");
        let text = "fn f(a { log(a) }\nfn g() { 1 }";
        assert_eq!(blanked(text, "{ log"), "                 \nfn g() { 1 }");
        let text = "f(#{ a: 1, b });\ng();";
        assert_eq!(blanked(text, "})"), "                \ng();");
    }

    #[test]
    fn a_text_that_is_not_closed_ends_with_its_line() {
        assert_eq!(blanked("log(\"abc);\nlog(1);", "\""), "          \nlog(1);");
    }

    #[test]
    fn a_missing_semicolon_is_put_in_on_another_line_only() {
        let text = "let a = f() // of it\nlet b = 2;";
        let mended = terminate(text, text.find("let b").unwrap()).unwrap();
        assert_eq!(mended.text, "let a = f(); // of it\nlet b = 2;");
        assert!(terminate("let a = f() b;", 12).is_none());
    }
}
