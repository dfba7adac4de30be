//! Closures in the syntax tree: which run side by side, and what they capture.

use std::collections::HashMap;

use rhai::{AST, ASTNode, Expr, FnCallExpr, FnPtr, Position, ScriptFuncDef, Shared};

use crate::script::syntax::{self, FunctionCall};

/// Primitives whose closures work on a snapshot.
pub(super) const FORKS: [&str; 4] = ["parallel", "each", "start", "on_exit"];

/// A closure given to a primitive.
pub(super) struct Closure {
    /// The key, index or name of its branch.
    pub label: String,
    /// The function that it is.
    pub function: Shared<ScriptFuncDef>,
    /// Names that it captures.
    pub captured: Vec<String>,
}

/// A call of a primitive that forks, with its closures.
pub(super) struct Fork {
    pub primitive: String,
    pub at: Position,
    pub closures: Vec<Closure>,
}

/// The closures of a call, if it forks.
pub(super) fn fork(ast: &AST, call: &FunctionCall<'_>) -> Option<Fork> {
    if !FORKS.contains(&call.name) || call.is_qualified {
        return None;
    }
    let mut closures = Vec::new();
    for argument in call.arguments {
        match argument {
            Expr::Map(map, _) => {
                for (key, value) in &map.0 {
                    closures.extend(closure(ast, value, key.name.to_string()));
                }
            }
            Expr::Array(items, _) => {
                let items = items.iter().enumerate();
                closures.extend(items.filter_map(|(i, item)| closure(ast, item, i.to_string())));
            }
            other => closures.extend(closure(ast, other, call.name.to_owned())),
        }
    }
    Some(Fork { primitive: call.name.to_owned(), at: call.at, closures })
}

fn closure(ast: &AST, expression: &Expr, label: String) -> Option<Closure> {
    let (name, captured) = closed(expression)?;
    let function = function(ast, &name)?.clone();
    Some(Closure { label, function, captured })
}

/// The function that a closure is.
pub(super) fn function_of<'a>(ast: &'a AST, expression: &Expr) -> Option<&'a ScriptFuncDef> {
    function(ast, &closed(expression)?.0).map(AsRef::as_ref)
}

fn function<'a>(ast: &'a AST, name: &str) -> Option<&'a Shared<ScriptFuncDef>> {
    ast.iter_fn_def().find(|function| function.name == name)
}

/// The name of the function that a closure is, and what it captures. One that
/// captures is, in the tree, a block that shares the variables and then curries
/// the function with them.
fn closed(expression: &Expr) -> Option<(String, Vec<String>)> {
    let mut found: Option<(String, Vec<String>)> = None;
    let mut visit = |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, _))) => {
                if let Some(curried) = curried(call) {
                    found.get_or_insert(curried);
                }
            }
            Some(ASTNode::Expr(expression)) => {
                if let Some(name) = function_name(expression) {
                    found.get_or_insert((name, Vec::new()));
                }
            }
            _ => {}
        }
        true
    };
    match expression {
        Expr::DynamicConstant(..) | Expr::Stmt(_) => expression.walk(&mut Vec::new(), &mut visit),
        _ => return None,
    };
    found
}

/// The function that is curried, and the variables that it is curried with.
fn curried(call: &FnCallExpr) -> Option<(String, Vec<String>)> {
    let name = call.args.first().filter(|_| call.name == "curry").and_then(function_name)?;
    Some((name, call.args.iter().skip(1).filter_map(variable).collect()))
}

/// What each closure of a file captures, by the name of its function.
pub(super) fn captures(ast: &AST) -> HashMap<String, Vec<String>> {
    let mut captures = HashMap::new();
    ast.walk(&mut |path| {
        if let Some(ASTNode::Expr(Expr::FnCall(call, _))) = path.last() {
            captures.extend(curried(call));
        }
        true
    });
    captures
}

fn function_name(expression: &Expr) -> Option<String> {
    match expression {
        Expr::DynamicConstant(value, _) => value.read_lock::<FnPtr>().map(|f| f.fn_name().to_owned()),
        _ => None,
    }
}

fn variable(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Variable(variable, ..) => Some(variable.1.to_string()),
        _ => None,
    }
}

/// All forks of a file.
pub(super) fn forks(ast: &AST) -> Vec<Fork> {
    let mut forks = Vec::new();
    syntax::calls(ast, &mut |call| forks.extend(fork(ast, &call)));
    forks
}
