//! The text of an entry: whether it is complete, and what it is in a recipe.

use rhai::{AST, ASTNode, Engine, Expr, ParseError, ParseErrorType, Stmt};

use super::syntax::{FunctionCall, call_of};
use super::tokens::ends_inside;

/// Whether `text` can be run, or would compile if it went on.
#[must_use]
pub fn is_complete(engine: &Engine, text: &str) -> bool {
    if ends_inside(text) {
        return false;
    }
    engine.compile(text).err().is_none_or(|error| !goes_on(&error, text))
}

/// Whether more text could mend an error: it is one of something missing, at
/// the end of what there is.
fn goes_on(error: &ParseError, text: &str) -> bool {
    let is_at_end = error.position().is_none() || {
        let (line, column) = (error.position().line(), error.position().position());
        let at = crate::run::failure::offset_of(text, line.unwrap_or(1), column.unwrap_or(1));
        text[at.min(text.len())..].trim().is_empty()
    };
    match &*error.0 {
        ParseErrorType::UnexpectedEOF => true,
        ParseErrorType::MissingToken(..)
        | ParseErrorType::MissingSymbol(_)
        | ParseErrorType::PropertyExpected
        | ParseErrorType::VariableExpected
        | ParseErrorType::ExprExpected(_)
        | ParseErrorType::FnMissingName
        | ParseErrorType::FnMissingParams(_)
        | ParseErrorType::FnMissingBody(_) => is_at_end,
        _ => false,
    }
}

/// Whether an entry only asks for values: a recipe has nothing from it.
pub(super) fn only_looks(ast: &AST) -> bool {
    let mut looks = !ast.has_functions();
    ast.walk(&mut |path| {
        let is_value =
            matches!(path, [ASTNode::Stmt(Stmt::Expr(_) | Stmt::FnCall(..) | Stmt::Noop(_))] | [_, .., _]);
        looks &= is_value && path.last().and_then(call_of).is_none_or(|call| changes_nothing(&call));
        true
    });
    looks
}

/// Whether a call leaves everything as it is: what people do to see whether it
/// works. A `SELECT` may call functions, which may do anything.
fn changes_nothing(call: &FunctionCall<'_>) -> bool {
    let given = call.arguments.len() + usize::from(call.is_method);
    match call.name {
        _ if call.is_operator => true,
        _ if call.is_qualified => false,
        "logs" => true,
        "http" => given == 1,
        "sql" => match call.arguments.get(1 - usize::from(call.is_method)) {
            Some(Expr::StringConstant(text, _)) => {
                let text = text.trim_start().to_ascii_lowercase();
                text.starts_with("select ") && !text.replace("count(*)", "").contains('(')
            }
            _ => false,
        },
        _ => false,
    }
}

/// An entry so that others can follow it in a recipe.
pub(super) fn terminated(engine: &Engine, text: &str) -> String {
    let text = text.trim_end();
    let mut followed = text.to_owned() + "\nlet next = 1;";
    if engine.compile(&followed).is_ok() {
        return text.to_owned();
    }
    followed = text.to_owned() + ";";
    followed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_goes_on() {
        let engine = Engine::new();
        for (text, complete) in [
            ("let a = 1;", true),
            ("let a =", false),
            ("fn f(a) {", false),
            ("fn f(a) {\n  a\n}", true),
            ("f(#{ a: 1,", false),
            ("f(#{ a: 1,\n})", true),
            ("let text = `one", false),
            ("let text = \"one", true),
            ("foo(1 2)", true),
            ("parallel([\n  || 1,", false),
            ("a.", false),
            ("/* why", false),
            ("if true { 1 }", true),
            ("1 +", false),
            ("x +\n", false),
            (")", true),
        ] {
            assert_eq!(is_complete(&engine, text), complete, "{text}");
        }
    }

    #[test]
    fn knows_what_only_looks() {
        let engine = Engine::new();
        for (text, looks) in [
            ("1 + 2", true),
            ("svc.url", true),
            ("logs(svc)", true),
            ("http(svc.url + \"/items\").json", true),
            ("http(svc.url, #{ method: \"POST\" })", false),
            ("sql(pg, \"SELECT count(*) FROM items\")[0].count", true),
            ("pg.sql(\"select * from items\")", true),
            ("sql(pg, \"SELECT create_partition('2026-01-01')\")", false),
            ("sql(pg, \"DELETE FROM items\")", false),
            ("let a = logs(svc);", false),
            ("wait_ready(svc)", false),
            ("logs(deploy_redis(cluster))", false),
        ] {
            assert_eq!(only_looks(&engine.compile(text).unwrap()), looks, "{text}");
        }
    }

    #[test]
    fn entries_can_follow_each_other() {
        let engine = Engine::new();
        for (text, expected) in
            [("1 + 1", "1 + 1;"), ("let a = 1;", "let a = 1;"), ("fn f() {}\n", "fn f() {}")]
        {
            assert_eq!(terminated(&engine, text), expected);
        }
    }
}
