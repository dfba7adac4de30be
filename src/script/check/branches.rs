//! Writes to variables that a branch has captured: it works on a snapshot, so
//! that they would be errors when it runs.

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::Finding;
use super::closures::{Closure, forks};
use crate::script::explain::SNAPSHOT;

/// Methods that change what they are called on.
const CHANGING: [&str; 15] = [
    "push", "pop", "shift", "insert", "remove", "clear", "append", "truncate", "splice", "retain", "drain",
    "sort", "reverse", "dedup", "mixin",
];

pub(super) fn findings(ast: &AST) -> Vec<Finding> {
    let forks = forks(ast);
    forks.iter().flat_map(|fork| &fork.closures).flat_map(writes).collect()
}

fn writes(closure: &Closure) -> Vec<Finding> {
    let mut own = Vec::new();
    let mut found = Vec::new();
    for statement in closure.function.body.statements() {
        statement.walk(&mut Vec::new(), &mut |path| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Var(declaration, ..))) => own.push(declaration.0.name.to_string()),
                Some(ASTNode::Stmt(Stmt::For(parts, _))) => own.push(parts.0.name.to_string()),
                Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => {
                    found.extend(root(&assignment.1.lhs).map(|(name, at)| (name, at, None)));
                }
                Some(ASTNode::Expr(Expr::Dot(pair, ..))) => {
                    if let Some(method) = changing(&pair.rhs) {
                        found.extend(root(&pair.lhs).map(|(name, at)| (name, at, Some(method))));
                    }
                }
                _ => {}
            }
            true
        });
    }
    let is_captured = |name: &String| closure.captured.contains(name) && !own.contains(name);
    let found = found.into_iter().filter(|(name, ..)| is_captured(name));
    let told = found.map(|(name, at, method)| {
        let what = match method {
            None => format!("`{name}` is captured from outside the branch and read-only in it"),
            Some(method) => {
                format!("`{method}` would change `{name}`, which is captured and read-only in a branch")
            }
        };
        Finding::error("captured", at, what).hint(SNAPSHOT)
    });
    told.collect()
}

/// The method at the end of a chain, if it changes its object.
fn changing(chain: &Expr) -> Option<String> {
    match chain {
        Expr::MethodCall(call, _) if CHANGING.contains(&call.name.as_str()) => Some(call.name.to_string()),
        Expr::Dot(pair, ..) => changing(&pair.rhs),
        _ => None,
    }
}

/// The variable that an assignment goes into.
fn root(target: &Expr) -> Option<(String, Position)> {
    match target {
        Expr::Variable(variable, _, at) => Some((variable.1.to_string(), *at)),
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => root(&pair.lhs),
        _ => None,
    }
}
