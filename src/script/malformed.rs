//! What is wrong with the text of a script, in the words of recipes.

use rhai::{LexError, ParseErrorType};

use super::explain::fragment;
use super::{suggest, syntax};

/// Message and hint for an error in `text`.
pub(super) fn parse_error(kind: &ParseErrorType, text: &str) -> (String, Option<String>) {
    use ParseErrorType as P;
    let (message, hint) = match kind {
        P::VariableUndefined(name) => {
            let near = suggest::did_you_mean(name, syntax::names(text));
            return (format!("unknown variable `{name}`"), near);
        }
        P::ModuleUndefined(name) => {
            let import = format!("import it first: import \"{name}\" as {name};");
            return (format!("unknown module `{name}`"), Some(import));
        }
        P::Reserved(word) => return (format!("`{word}` is a reserved word"), Some(instead_of(word))),
        P::UnexpectedEOF => ("the script ends too early".to_owned(), "a bracket or brace is not closed"),
        P::ExprTooDeep => (
            "the expression is nested too deeply".to_owned(),
            "name an inner part with `let`, or make it a function",
        ),
        P::BadInput(LexError::ImproperSymbol(word, _)) if word == "eval" => (
            "`eval` is disabled".to_owned(),
            "a text that is run cannot be checked; write a closure, or a module to import",
        ),
        P::BadInput(LexError::MalformedChar(_)) => {
            ("single quotes are for one character".to_owned(), "a text stands in double quotes or backticks")
        }
        P::BadInput(LexError::UnterminatedString) => {
            ("the text has no closing quote".to_owned(), "a text of several lines stands in backticks")
        }
        P::MissingToken(token, _) if token == "," => {
            (fragment(&kind.to_string()), "put a comma here, or close the bracket before it")
        }
        P::MissingToken(token, _) if token == ";" => {
            (fragment(&kind.to_string()), "a statement ends with `;`, a block with `}`")
        }
        other => return (fragment(&other.to_string()), None),
    };
    (message, Some(hint.to_owned()))
}

/// What to write where a word cannot stand.
fn instead_of(word: &str) -> String {
    match word {
        "spawn" | "async" | "go" | "thread" => {
            "to run something beside the script write start(\"name\", || ..)".to_owned()
        }
        "await" => "write task.join()".to_owned(),
        "print" | "debug" | "type_of" => format!("to hand it on write |value| {word}(value)"),
        _ => format!("choose another name; as the key of a map it can be quoted: #{{\"{word}\": ..}}"),
    }
}
