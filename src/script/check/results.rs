//! Results that matter and that nobody uses.

use std::collections::HashSet;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::Finding;
use crate::script::syntax::{FunctionCall, call_of};

/// Primitives that are called for what they return, and what to do with it.
const MATTER: [(&str, &str); 6] = [
    (
        "build_image",
        "give it to `load_image` or to the option `image` of `deploy_service`, or do not build it",
    ),
    ("read_file", "use the text, or do not read the file"),
    ("env", "use the value, or do not ask for it"),
    ("random_port", "use the port, or do not reserve it"),
    ("random_password", "use the password, or do not make it"),
    ("param", "use the value, or remove the parameter"),
];

pub(super) fn findings(ast: &AST) -> Vec<Finding> {
    let mut used = HashSet::new();
    let mut bound: Vec<(String, Position, String)> = Vec::new();
    let mut found = Vec::new();
    ast.walk(&mut |path| {
        match path.last() {
            Some(ASTNode::Expr(Expr::Variable(variable, ..))) => {
                used.insert(variable.1.to_string());
            }
            Some(ASTNode::Stmt(Stmt::Var(declaration, ..))) => {
                if let Some(call) = call_of(&ASTNode::Expr(&declaration.1)).filter(|call| matters(call)) {
                    let name = declaration.0.name.to_string();
                    bound.push((name, declaration.0.pos, call.name.to_owned()));
                }
            }
            Some(ASTNode::Stmt(Stmt::Export(names, _))) => {
                used.insert(names.0.name.to_string());
            }
            _ => {}
        }
        true
    });
    // A module's variables may be read by whoever imports it.
    let exported: HashSet<_> = crate::script::syntax::exported_variables(ast).into_iter().collect();
    for (name, at, primitive) in bound {
        if !used.contains(&name) && !exported.contains(&name) {
            let what = format!("`{name}` is made by `{primitive}` and never used");
            found.push(told(&primitive, at, what));
        }
    }
    dropped(ast.statements(), true, &mut found);
    for function in ast.iter_fn_def() {
        dropped(function.body.statements(), false, &mut found);
    }
    found
}

/// Calls whose value is thrown away: statements that are not the last of their
/// block, and the last of the recipe.
fn dropped(statements: &[Stmt], whole: bool, found: &mut Vec<Finding>) {
    for (i, statement) in statements.iter().enumerate() {
        let is_value = i + 1 == statements.len() && !whole;
        if let Some(call) = call_of(&ASTNode::Stmt(statement)).filter(|call| matters(call) && !is_value) {
            // `param` may only declare, and check, what modules read.
            if call.name != "param" {
                let what = format!("what `{}` returns is not used", call.name);
                found.push(told(call.name, call.at, what));
            }
        }
    }
}

fn matters(call: &FunctionCall<'_>) -> bool {
    !call.is_qualified && MATTER.iter().any(|(name, _)| *name == call.name)
}

fn told(primitive: &str, at: Position, what: String) -> Finding {
    let hint = MATTER.iter().find(|(name, _)| *name == primitive).map_or("", |(_, hint)| hint);
    Finding::warning("unused", at, what).hint(hint)
}
