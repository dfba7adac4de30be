//! Calls that a script tries: what they fail with, it catches.

use std::collections::{HashMap, HashSet};

use rhai::{AST, ASTNode, Expr, FnPtr, Position, Stmt};

use crate::script::syntax::call_of;

/// What the statements of a file, or of one of its functions, try.
#[derive(Default)]
struct Tries {
    /// Calls within `try`.
    calls: HashSet<Position>,
    /// Functions and closures that are named within `try`.
    functions: HashSet<String>,
}

/// The places of calls within `try`, also by way of functions.
pub(super) fn tried(ast: &AST) -> HashSet<Position> {
    let bodies: HashMap<_, _> =
        ast.iter_fn_def().map(|function| (function.name.as_str(), function.body.statements())).collect();
    let mut all = tries(ast.statements(), false);
    for body in bodies.values() {
        let own = tries(body, false);
        all.calls.extend(own.calls);
        all.functions.extend(own.functions);
    }
    let mut waiting: Vec<_> = all.functions.iter().cloned().collect();
    while let Some(name) = waiting.pop() {
        let Some(body) = bodies.get(name.as_str()) else { continue };
        let own = tries(body, true);
        all.calls.extend(own.calls);
        waiting.extend(own.functions.into_iter().filter(|name| all.functions.insert(name.clone())));
    }
    all.calls
}

/// `whole` where all of the statements are tried.
fn tries(statements: &[Stmt], whole: bool) -> Tries {
    let mut found = Tries::default();
    for statement in statements {
        statement.walk(&mut Vec::new(), &mut |path| {
            let is_try = |node: &ASTNode<'_>| matches!(node, ASTNode::Stmt(Stmt::TryCatch(..)));
            if !whole && !path.iter().any(is_try) {
                return true;
            }
            let Some(node) = path.last() else { return true };
            if let Some(call) = call_of(node) {
                found.calls.insert(call.at);
                found.functions.insert(call.name.to_owned());
            } else if let ASTNode::Expr(Expr::DynamicConstant(value, _)) = node
                && let Some(closure) = value.read_lock::<FnPtr>()
            {
                found.functions.insert(closure.fn_name().to_owned());
            }
            true
        });
    }
    found
}
