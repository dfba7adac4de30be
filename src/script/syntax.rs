//! Questions about the syntax tree of a script.

use rhai::{AST, ASTNode, Expr, Position, Stmt};

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
pub(super) fn calls(ast: &AST, visit: &mut dyn FnMut(FunctionCall<'_>)) {
    walk(ast, &mut |node| {
        let (call, at, is_method) = match node {
            ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at)) => {
                (call, *at, false)
            }
            ASTNode::Expr(Expr::MethodCall(call, at)) => (call, *at, true),
            _ => return,
        };
        visit(FunctionCall {
            name: &call.name,
            at,
            arguments: &call.args,
            is_method,
            is_qualified: !call.namespace.is_empty(),
            is_operator: call.is_operator_call(),
        });
    });
}

/// The literal paths of `import` statements.
pub(super) fn literal_imports(ast: &AST) -> Vec<(String, Position)> {
    let mut imports = Vec::new();
    walk(ast, &mut |node| {
        if let ASTNode::Stmt(Stmt::Import(import, _)) = node
            && let Expr::StringConstant(module, at) = &import.0
        {
            imports.push((module.to_string(), *at));
        }
    });
    imports
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

fn walk(ast: &AST, visit: &mut dyn FnMut(&ASTNode)) {
    ast.walk(&mut |path| {
        if let Some(node) = path.last() {
            visit(node);
        }
        true
    });
}
