//! Questions about the syntax tree of a script.

use rhai::{AST, ASTNode, Expr, FnCallExpr, Position, Stmt};

/// A function call in a script.
pub(super) struct FunctionCall<'a> {
    pub name: &'a str,
    pub at: Position,
    pub arguments: &'a [Expr],
    /// `value.name(..)`: the value counts as the first argument.
    pub is_method: bool,
    /// `module::name(..)`.
    pub is_qualified: bool,
    pub is_operator: bool,
}

/// Visits all function calls.
pub(super) fn calls<'a>(ast: &'a AST, visit: &mut dyn FnMut(FunctionCall<'a>)) {
    let mut tell = |call: &'a FnCallExpr, at: Position, is_method: bool| {
        visit(FunctionCall {
            name: &call.name,
            at,
            arguments: &call.args,
            is_method,
            is_qualified: !call.namespace.is_empty(),
            is_operator: call.is_operator_call(),
        });
    };
    walk(ast, &mut |node| match node {
        ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at)) => tell(call, *at, false),
        ASTNode::Expr(Expr::MethodCall(call, at)) => tell(call, *at, true),
        _ => {}
    });
}

/// Whether the script declares `const name`.
pub(super) fn declares_constant(ast: &AST, name: &str) -> bool {
    let mut found = false;
    walk(ast, &mut |node| {
        if let ASTNode::Stmt(Stmt::Var(declaration, flags, _)) = node {
            found |= declaration.0.name == name && flags.intersects(rhai::ASTFlags::CONSTANT);
        }
    });
    found
}

/// `AST::walk` lends each node for the call only, although it borrows from the
/// tree; this visits the statements of the tree itself and keeps the borrow.
fn walk<'a>(ast: &'a AST, visit: &mut dyn FnMut(&ASTNode<'a>)) {
    let functions = ast.iter_fn_def().flat_map(|function| function.body.iter());
    for statement in ast.statements().iter().chain(functions) {
        statement.walk(&mut Vec::new(), &mut |path| {
            if let Some(node) = path.last() {
                visit(node);
            }
            true
        });
    }
}
