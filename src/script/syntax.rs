//! Questions about the syntax tree of a script.

use rhai::{AST, ASTFlags, ASTNode, Expr, Position, Stmt};

use super::tokens::{Word, tokens};

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
    walk(ast, &mut |node| call_of(node).into_iter().for_each(&mut *visit));
}

/// The call that a node is.
pub(super) fn call_of<'a>(node: &ASTNode<'a>) -> Option<FunctionCall<'a>> {
    let (call, at, is_method) = match node {
        ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at)) => (call, *at, false),
        ASTNode::Expr(Expr::MethodCall(call, at)) => (call, *at, true),
        _ => return None,
    };
    Some(FunctionCall {
        name: &call.name,
        at,
        arguments: &call.args,
        is_method,
        is_qualified: !call.namespace.is_empty(),
        is_operator: call.is_operator_call(),
    })
}

/// An `import` of a literal path.
pub(super) struct Import {
    pub path: String,
    pub alias: String,
    /// The path in the text.
    pub at: Position,
}

/// The `import` statements with literal paths.
pub(super) fn literal_imports(ast: &AST) -> Vec<Import> {
    let mut imports = Vec::new();
    walk(ast, &mut |node| {
        if let ASTNode::Stmt(Stmt::Import(import, _)) = node
            && let Expr::StringConstant(path, at) = &import.0
        {
            imports.push(Import { path: path.to_string(), alias: import.1.name.to_string(), at: *at });
        }
    });
    imports
}

/// The literal imports in a text that may not compile: where the path stands, and the path.
pub(super) fn imports_of_text(text: &str) -> Vec<(Position, String)> {
    let words = tokens(text);
    let mut found = Vec::new();
    for pair in words.windows(2) {
        let (import, path) = (&text[pair[0].at.clone()], &text[pair[1].at.clone()]);
        if import == "import" && pair[1].word == Word::Text && path.len() > 2 {
            let before = &text[..pair[1].at.start];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let at = u16::try_from(line).ok().zip(u16::try_from(column).ok());
            if let Some((line, column)) = at {
                found.push((Position::new(line, column), path[1..path.len() - 1].to_owned()));
            }
        }
    }
    found
}

/// Whether the script declares `const name`.
pub(super) fn declares_constant(ast: &AST, name: &str) -> bool {
    let mut found = false;
    walk(ast, &mut |node| {
        if let ASTNode::Stmt(Stmt::Var(declaration, flags, _)) = node {
            found |= declaration.0.name == name && flags.intersects(ASTFlags::CONSTANT);
        }
    });
    found
}

/// The names that the script exports.
pub(super) fn exported_variables(ast: &AST) -> Vec<String> {
    let mut names = Vec::new();
    walk(ast, &mut |node| {
        if let ASTNode::Stmt(Stmt::Var(declaration, flags, _)) = node
            && flags.intersects(ASTFlags::EXPORTED)
        {
            names.push(declaration.0.name.to_string());
        }
    });
    names
}

/// The names in a text that may be variables: words outside of comments and
/// strings that nothing is called by. For a text that does not compile.
pub(super) fn names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' || first == '`' {
            rest[1..].find(first).map_or(rest.len(), |end| end + 2)
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if !first.is_numeric() && !rest[end..].starts_with('(') {
                names.push(&rest[..end]);
            }
            end
        } else {
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    names
}

fn walk(ast: &AST, visit: &mut dyn FnMut(&ASTNode)) {
    ast.walk(&mut |path| {
        if let Some(node) = path.last() {
            visit(node);
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn finds_names_outside_of_comments_strings_and_calls() {
        let text = "let port = 80; // of the server\nfn run(host) { print(\"host name\" + `${port}`) }";
        assert_eq!(names(text), ["let", "port", "fn", "host"]);
        assert_eq!(names("\"not closed"), Vec::<&str>::new());
    }
}
