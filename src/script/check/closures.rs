//! Closures in the syntax tree: which run side by side, and what they capture.

use rhai::{AST, ASTNode, Expr, FnPtr, Position, ScriptFuncDef, Shared};

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

/// The closure that an expression is. One that captures is, in the tree, a
/// block that shares the variables and then curries the function with them.
fn closure(ast: &AST, expression: &Expr, label: String) -> Option<Closure> {
    let mut found: Option<(String, Vec<String>)> = None;
    let mut visit = |path: &[ASTNode<'_>]| {
        match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, _))) if call.name == "curry" => {
                if let Some(name) = call.args.first().and_then(function_name) {
                    let captured = call.args.iter().skip(1).filter_map(variable).collect();
                    found.get_or_insert((name, captured));
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
    let (name, captured) = found?;
    let function = ast.iter_fn_def().find(|function| function.name == name.as_str())?.clone();
    Some(Closure { label, function, captured })
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
