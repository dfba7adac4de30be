//! Variables that a function names and does not have. The compiler tells where
//! it is strict; in a session it sees one entry at a time and cannot be.

use rhai::{AST, ASTNode, Expr, ScriptFuncDef, Stmt};

use super::Finding;
use crate::script::diagnostic::Diagnostic;
use crate::script::sources::Sources;
use crate::script::suggest;

/// Warnings for the functions of one file. `session` are the variables that
/// the functions do not see.
pub(in crate::script) fn warnings(
    sources: &Sources,
    (key, ast): (&str, &AST),
    session: &[String],
) -> Vec<Diagnostic> {
    // A closure's parameters and captures are settled where it stands.
    let named = ast.iter_fn_def().filter(|function| !function.name.starts_with("anon$"));
    let found = named.flat_map(|function| findings(function, session)).collect();
    super::diagnostics(sources, key, found)
}

fn findings(function: &ScriptFuncDef, session: &[String]) -> Vec<Finding> {
    let mut own: Vec<String> = function.params.iter().map(ToString::to_string).collect();
    let mut used = Vec::new();
    for statement in function.body.statements() {
        statement.walk(&mut Vec::new(), &mut |path| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Var(declaration, ..))) => own.push(declaration.0.name.to_string()),
                Some(ASTNode::Stmt(Stmt::For(parts, _))) => {
                    own.extend(std::iter::once(&parts.0).chain(&parts.1).map(|name| name.name.to_string()));
                }
                Some(ASTNode::Stmt(Stmt::TryCatch(parts, _))) => {
                    if let Expr::Variable(caught, ..) = &parts.expr {
                        own.push(caught.1.to_string());
                    }
                }
                Some(ASTNode::Stmt(Stmt::Import(import, _))) => own.push(import.1.name.to_string()),
                Some(ASTNode::Expr(Expr::Variable(variable, _, at))) if variable.2.is_empty() => {
                    used.push((variable.1.to_string(), *at));
                }
                _ => {}
            }
            true
        });
    }
    used.retain(|(name, _)| !own.contains(name));
    let told = used.into_iter().map(|(name, at)| {
        let finding =
            Finding::warning("unknown", at, format!("unknown variable `{name}` in `{}`", function.name));
        if session.contains(&name) {
            return finding.hint("a function sees its parameters only; give it the variable as one");
        }
        Finding { hint: suggest::did_you_mean(&name, own.iter().map(String::as_str)), ..finding }
    });
    told.collect()
}
