//! What the variables of a file are, where its text says it: those that are
//! declared once, by something that is known, and that nothing changes.
//!
//! Names are looked at, not scopes: one that means two things means nothing.

use std::collections::{HashMap, HashSet};

use rhai::{AST, ASTNode, Array, Dynamic, Expr, Ident, Map, Stmt};

use super::closures::{captures, function_of};
use crate::script::json::to_json;
use crate::script::syntax::call_of;
use crate::targets::Known;

/// Functions of the language that leave what they are called on as it is.
const PURE: [&str; 23] = [
    "all",
    "contains",
    "ends_with",
    "filter",
    "find",
    "get",
    "index_of",
    "is_empty",
    "is_shared",
    "keys",
    "len",
    "map",
    "print",
    "some",
    "split",
    "starts_with",
    "sub_string",
    "to_debug",
    "to_json",
    "to_lower",
    "to_string",
    "to_upper",
    "type_of",
];

/// How many names are followed to what they stand for.
const DEEPEST: usize = 32;

/// Primitives that return what their closure does.
const PASSING: [&str; 3] = ["step", "retry", "timeout"];

/// The variables of one file that are known.
pub(in crate::script) struct Constants<'a> {
    ast: &'a AST,
    known: HashMap<String, Expr>,
}

impl<'a> Constants<'a> {
    /// `changes_nothing` tells functions that take values only, as primitives do.
    pub(in crate::script) fn of(ast: &'a AST, changes_nothing: &dyn Fn(&str) -> bool) -> Self {
        let captures = captures(ast);
        let mut declared: HashMap<String, Option<Expr>> = HashMap::new();
        let mut declare = |name: &str, value: Option<&Expr>| {
            let known = (!declared.contains_key(name)).then(|| value.cloned()).flatten();
            declared.insert(name.to_owned(), known);
        };
        for function in ast.iter_fn_def() {
            let captured = captures.get(function.name.as_str());
            let own = function
                .params
                .iter()
                .filter(|name| !captured.is_some_and(|all| all.iter().any(|known| known == name.as_str())));
            own.for_each(|name| declare(name, None));
        }
        let mut changed = HashSet::new();
        ast.walk(&mut |path| {
            let Some(node) = path.last() else { return true };
            match node {
                ASTNode::Stmt(Stmt::Var(declaration, ..)) => {
                    declare(&declaration.0.name, Some(&declaration.1));
                }
                ASTNode::Stmt(Stmt::For(parts, _)) => {
                    std::iter::once(&parts.0).chain(&parts.1).for_each(|name| declare(&name.name, None));
                }
                ASTNode::Stmt(Stmt::TryCatch(parts, _)) => {
                    changed.extend(root(&parts.expr).map(ToString::to_string));
                }
                ASTNode::Stmt(Stmt::Assignment(assignment)) => {
                    changed.extend(root(&assignment.1.lhs).map(ToString::to_string));
                }
                ASTNode::Expr(Expr::Dot(pair, ..))
                    if method(&pair.rhs)
                        .is_some_and(|name| !PURE.contains(&name) && !changes_nothing(name)) =>
                {
                    changed.extend(root(&pair.lhs).map(ToString::to_string));
                }
                _ => {
                    // Native functions take their first argument by reference.
                    let call = call_of(node).filter(|call| !call.is_method && !call.is_operator);
                    let first = call.filter(|call| {
                        let is_own = || ast.iter_fn_def().any(|own| own.name == call.name);
                        call.name != "curry"
                            && !PURE.contains(&call.name)
                            && !changes_nothing(call.name)
                            && !is_own()
                    });
                    changed.extend(
                        first.and_then(|call| call.arguments.first().and_then(root)).map(ToString::to_string),
                    );
                }
            }
            true
        });
        let known = declared.into_iter().filter(|(name, _)| !changed.contains(name));
        Self { ast, known: known.filter_map(|(name, value)| Some((name, value?))).collect() }
    }

    /// What an expression comes to: itself, where it is not known.
    pub(in crate::script) fn resolve<'e>(&'e self, expression: &'e Expr) -> &'e Expr {
        self.follow(expression, DEEPEST).unwrap_or(expression)
    }

    fn follow<'e>(&'e self, expression: &'e Expr, deepest: usize) -> Option<&'e Expr> {
        let deepest = deepest.checked_sub(1)?;
        match expression {
            Expr::Variable(named, ..) if named.2.is_empty() => {
                self.follow(self.known.get(named.1.as_str())?, deepest)
            }
            Expr::Dot(pair, ..) => self.member(&pair.lhs, &pair.rhs, deepest),
            Expr::FnCall(call, _) if PASSING.contains(&call.name.as_str()) => {
                self.follow(self.returned(call.args.last()?)?, deepest)
            }
            other => Some(other),
        }
    }

    /// `of.chain`, where `of` is a map, or branches that return values.
    fn member<'e>(&'e self, of: &'e Expr, chain: &'e Expr, deepest: usize) -> Option<&'e Expr> {
        let (property, rest) = match chain {
            Expr::Property(property, _) => (property, None),
            Expr::Dot(pair, ..) => match &pair.lhs {
                Expr::Property(property, _) => (property, Some(&pair.rhs)),
                _ => return None,
            },
            _ => return None,
        };
        let key = |map: &'e [(Ident, Expr)]| {
            map.iter().find(|(key, _)| key.name == property.2.as_str()).map(|(_, value)| value)
        };
        let value = match self.follow(of, deepest)? {
            Expr::Map(map, _) => key(&map.0)?,
            Expr::FnCall(call, _) if call.name == "parallel" => match call.args.first()? {
                Expr::Map(map, _) => self.returned(key(&map.0)?)?,
                _ => return None,
            },
            _ => return None,
        };
        match rest {
            None => self.follow(value, deepest),
            Some(rest) => self.member(value, rest, deepest),
        }
    }

    /// The value that a closure ends with, where it can return no other.
    fn returned(&self, expression: &Expr) -> Option<&'a Expr> {
        let statements = function_of(self.ast, expression)?.body.statements();
        let mut returns = false;
        for statement in statements {
            statement.walk(&mut Vec::new(), &mut |path| {
                returns |= matches!(path.last(), Some(ASTNode::Stmt(Stmt::Return(..))));
                true
            });
        }
        match statements.last()? {
            Stmt::Expr(value) if !returns => Some(value),
            _ => None,
        }
    }

    /// The whole value of an expression.
    pub(in crate::script) fn literal(&self, expression: &Expr) -> Option<Dynamic> {
        let resolved = self.resolve(expression);
        match resolved {
            Expr::InterpolatedString(parts, _) => {
                let parts: Option<Vec<_>> = parts.iter().map(|part| self.literal(part)).collect();
                let text: String = parts?.iter().map(ToString::to_string).collect();
                Some(text.into())
            }
            Expr::FnCall(call, _) if call.name == "+" && call.args.len() == 2 => {
                let sides = [self.literal(&call.args[0])?, self.literal(&call.args[1])?];
                let [left, right] = sides.map(|side| side.into_immutable_string().ok());
                Some(Dynamic::from(left? + right?))
            }
            Expr::Map(map, _) => {
                let fields =
                    map.0.iter().map(|(key, value)| Some((key.name.as_str().into(), self.literal(value)?)));
                fields.collect::<Option<Map>>().map(Dynamic::from)
            }
            Expr::Array(items, _) => {
                items.iter().map(|item| self.literal(item)).collect::<Option<Array>>().map(Dynamic::from)
            }
            other => other.get_literal_value(None),
        }
    }

    /// As much of the value as is known.
    pub(in crate::script) fn known(&self, expression: &Expr) -> Known {
        if let Some(value) = self.literal(expression) {
            return Known::Value(to_json(&value));
        }
        match self.resolve(expression) {
            Expr::Map(map, _) => Known::Map(
                map.0.iter().map(|(key, value)| (key.name.to_string(), self.known(value))).collect(),
            ),
            Expr::Array(items, _) => Known::List(items.iter().map(|item| self.known(item)).collect()),
            _ => Known::Unknown,
        }
    }
}

/// The variable that an expression is, or is a part of.
fn root(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Variable(variable, ..) => Some(variable.1.as_str()),
        Expr::Dot(pair, ..) | Expr::Index(pair, ..) => root(&pair.lhs),
        _ => None,
    }
}

/// The method that a chain ends with.
fn method(chain: &Expr) -> Option<&str> {
    match chain {
        Expr::MethodCall(call, _) => Some(&call.name),
        Expr::Dot(pair, ..) => method(&pair.lhs).or_else(|| method(&pair.rhs)),
        _ => None,
    }
}
