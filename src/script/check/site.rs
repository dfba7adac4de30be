//! A call of a primitive, with what the text says of its arguments.

use std::collections::HashSet;

use rhai::{AST, Dynamic, Expr, Position};

use super::constants::Constants;
use super::tries;
use crate::script::host::Table;
use crate::script::primitive::{Primitive, Type};
use crate::script::syntax::{self, FunctionCall};
use crate::targets::Known;

/// A call of a primitive in a recipe.
pub struct Site {
    /// The primitive.
    pub primitive: &'static Primitive,
    /// Where it is called.
    pub at: Position,
    /// Whether the script catches what it fails with.
    pub is_tried: bool,
    values: Vec<Value>,
    /// Whether all options are in the text.
    has_all: bool,
}

/// An argument or option that the call gives.
struct Value {
    name: String,
    at: Position,
    /// None where it is computed.
    literal: Option<Dynamic>,
    known: Known,
}

impl Site {
    /// What a call of `primitive` says.
    fn of(primitive: &'static Primitive, call: &FunctionCall<'_>, constants: &Constants<'_>) -> Self {
        let before = usize::from(call.is_method);
        let (mut values, mut has_all) = (Vec::new(), true);
        let value = |name: &str, expression: &Expr| Value {
            name: name.to_owned(),
            at: expression.start_position(),
            literal: constants.literal(expression),
            known: constants.known(expression),
        };
        for (param, expression) in primitive.params.iter().skip(before).zip(call.arguments) {
            match constants.resolve(expression) {
                Expr::Map(map, _) if param.ty == Type::Options => {
                    // `()` means "as if left out".
                    let given = map.0.iter().filter(|(_, value)| !matches!(value, Expr::Unit(_)));
                    values.extend(given.map(|(key, expression)| value(&key.name, expression)));
                }
                _ => {
                    has_all &= param.ty != Type::Options;
                    values.push(value(param.name, expression));
                }
            }
        }
        Self { primitive, at: call.at, is_tried: false, values, has_all }
    }

    /// The literal value of a parameter or option, and its place.
    #[must_use]
    pub fn literal(&self, name: &str) -> Option<(&Dynamic, Position)> {
        let value = self.values.iter().find(|value| value.name == name)?;
        Some((value.literal.as_ref()?, value.at))
    }

    /// What is known of a parameter or option; none where it is left out.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<&Known> {
        match self.values.iter().find(|value| value.name == name) {
            Some(value) => Some(&value.known),
            None if self.has_all => None,
            None => Some(&Known::Unknown),
        }
    }

    /// Whether the call gives a parameter or option, or may.
    #[must_use]
    pub fn gives(&self, name: &str) -> bool {
        self.known(name).is_some()
    }

    /// A literal text, and its place.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<(String, Position)> {
        let (value, at) = self.literal(name)?;
        value.read_lock::<rhai::ImmutableString>().map(|text| (text.to_string(), at))
    }

    /// The literal text, or the default of an option that is left out.
    #[must_use]
    pub fn text_or_default(&self, name: &str) -> Option<(String, Position)> {
        if self.gives(name) {
            return self.text(name);
        }
        let option = self.primitive.options.iter().find(|option| option.name == name)?;
        option.default.map(|default| (default.to_owned(), self.at))
    }
}

/// All calls of primitives, in the order of the walk.
pub(in crate::script) fn sites(table: Table, ast: &AST) -> Vec<Site> {
    let constants = constants(table, ast);
    let mut sites = Vec::new();
    syntax::calls(ast, &mut |call| sites.extend(site(table, &constants, &call)));
    let tried = tries::tried(ast);
    for site in &mut sites {
        site.is_tried = tried.contains(&site.at);
    }
    sites
}

/// What the variables of a file are; primitives change none.
pub(super) fn constants(table: Table, ast: &AST) -> Constants<'_> {
    let primitives: HashSet<_> = (table.primitives)().map(|primitive| primitive.name).collect();
    Constants::of(ast, &|name| primitives.contains(name))
}

/// The call as one of a primitive, if it is one.
pub(super) fn site(table: Table, constants: &Constants<'_>, call: &FunctionCall<'_>) -> Option<Site> {
    if call.is_qualified || call.is_operator {
        return None;
    }
    let primitive = (table.primitives)().find(|primitive| primitive.name == call.name)?;
    Some(Site::of(primitive, call, constants))
}
