//! What editors need to know: a definition file for Rhai's language server, a
//! TextMate grammar, and snippets of VS Code.

use serde_json::{Value, json};

use crate::script::tokens::KEYWORDS;
use crate::script::{Primitive, Type};

/// A Rhai definition file, `recipe.d.rhai`: a function for each number of
/// arguments that a primitive takes.
pub(super) fn definitions(chosen: &[&Primitive]) -> String {
    let mut text = "module static;\n".to_owned();
    for primitive in chosen {
        let (least, most) = primitive.arity();
        for count in least..=most {
            text.push('\n');
            for line in primitive.doc.lines() {
                text.push_str(format!("/// {line}").trim_end());
                text.push('\n');
            }
            if primitive.params.iter().take(count).any(|param| param.ty == Type::Options) {
                text.push_str("///\n/// Options:\n");
                for option in primitive.options {
                    text.push_str(&format!("/// - {}\n", option.explain()));
                }
            }
            let params: Vec<_> = primitive
                .params
                .iter()
                .take(count)
                .map(|param| format!("{}: {}", param.name, rhai_type(param.ty)))
                .collect();
            let returns = match primitive.returns {
                "" => "()".to_owned(),
                "any" => "?".to_owned(),
                name if name.contains(' ') => container(name).to_owned(),
                name => name.to_owned(),
            };
            text.push_str(&format!("fn {}({}) -> {returns};\n", primitive.name, params.join(", ")));
        }
    }
    text
}

/// A type as definition files spell it.
fn rhai_type(ty: Type) -> String {
    match ty {
        Type::Any | Type::OneOf(_) | Type::Duration | Type::Factor => "?".to_owned(),
        Type::String | Type::Choice(_) => "String".to_owned(),
        Type::Count | Type::Positive | Type::Port => "int".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Array | Type::Strings => "Array".to_owned(),
        Type::StringMap | Type::PortMap | Type::Map | Type::Options => "Map".to_owned(),
        Type::Closure => "Fn".to_owned(),
        Type::Handle(name) => name.to_owned(),
    }
}

/// `array of maps` and the like.
fn container(name: &str) -> &'static str {
    match name.split(' ').next() {
        Some("array") => "Array",
        Some("map") => "Map",
        _ => "?",
    }
}

/// As Rhai writes them.
const NUMBER: &str =
    r"\b(0x[0-9A-Fa-f_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*(\.[0-9][0-9_]*)?([eE][+-]?[0-9]+)?)\b";

/// A TextMate grammar, which VS Code and others read as it is.
pub(super) fn grammar(chosen: &[&Primitive]) -> Value {
    let words = |words: &[&str]| format!("\\b({})\\b", words.join("|"));
    let names: Vec<_> = chosen.iter().map(|primitive| primitive.name).collect();
    let rule = |name: &str, pattern: &str| json!({ "name": format!("{name}.rhai"), "match": pattern });
    let text = |name: &str, quote: &str, inside: Value| json!({ "name": format!("string.quoted.{name}.rhai"), "begin": quote, "end": quote, "patterns": inside });
    let escape = json!([{ "name": "constant.character.escape.rhai", "match": "\\\\." }]);
    let inside = json!([{
        "name": "meta.interpolation.rhai", "begin": "\\$\\{", "end": "\\}", "patterns": [{ "include": "$self" }],
    }]);
    json!({
        "$schema": "https://raw.githubusercontent.com/martinring/tmlanguage/master/tmlanguage.json",
        "name": "recipe", "scopeName": "source.rhai", "fileTypes": ["rhai"],
        // They nest.
        "repository": { "comment": {
            "name": "comment.block.rhai", "begin": "/\\*", "end": "\\*/", "patterns": [{ "include": "#comment" }],
        } },
        "patterns": [
            rule("comment.line.double-slash", "//.*$"),
            json!({ "include": "#comment" }),
            text("double", "\"", escape),
            text("template", "`", inside),
            rule("string.quoted.single", "'(\\\\[^']+|[^'\\\\])'"),
            // So that a map within `${..}` does not end it.
            json!({ "begin": "\\{", "end": "\\}", "patterns": [{ "include": "$self" }] }),
            rule("constant.numeric", NUMBER),
            rule("keyword.control", &words(&KEYWORDS)),
            rule("support.function", &format!("{}(?=\\s*\\()", words(&names))),
            rule("entity.name.function", "\\b[A-Za-z_][A-Za-z0-9_]*(?=\\s*\\()"),
            rule("variable.other.property", "\\b[A-Za-z_][A-Za-z0-9_]*(?=\\s*:(?!:))"),
        ],
    })
}

/// Snippets of VS Code: each primitive with its parameters to fill in.
pub(super) fn snippets(chosen: &[&Primitive]) -> Value {
    let snippet = |primitive: &&Primitive| {
        let required = primitive.params.iter().filter(|param| param.required).enumerate();
        let params: Vec<_> = required.map(|(i, param)| format!("${{{}:{}}}", i + 1, param.name)).collect();
        let body = format!("{}({})$0", primitive.name, params.join(", "));
        let doc = json!({ "prefix": primitive.name, "body": body, "description": primitive.summary() });
        (primitive.name.to_owned(), doc)
    };
    Value::Object(chosen.iter().map(snippet).collect())
}
