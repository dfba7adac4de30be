//! A call of a primitive, with what the text says of its arguments.

use rhai::{AST, Dynamic, Expr, Position};

use crate::script::host::Table;
use crate::script::primitive::{Primitive, Type};
use crate::script::syntax::{self, FunctionCall};

/// A call of a primitive in a recipe.
pub struct Site {
    /// The primitive.
    pub primitive: &'static Primitive,
    /// Where it is called.
    pub at: Position,
    values: Vec<Value>,
}

/// An argument or option that the call spells out.
struct Value {
    name: String,
    at: Position,
    /// None where it is computed.
    literal: Option<Dynamic>,
}

impl Site {
    /// What a call of `primitive` says.
    pub(super) fn of(primitive: &'static Primitive, call: &FunctionCall<'_>) -> Self {
        let before = usize::from(call.is_method);
        let mut values = Vec::new();
        for (param, expression) in primitive.params.iter().skip(before).zip(call.arguments) {
            match expression {
                Expr::Map(map, _) if param.ty == Type::Options => {
                    values.extend(map.0.iter().map(|(key, value)| Value {
                        name: key.name.to_string(),
                        at: value.start_position(),
                        literal: value.get_literal_value(None),
                    }));
                }
                _ => values.push(Value {
                    name: param.name.to_owned(),
                    at: expression.start_position(),
                    literal: expression.get_literal_value(None),
                }),
            }
        }
        Self { primitive, at: call.at, values }
    }

    /// The literal value of a parameter or option, and its place.
    #[must_use]
    pub fn literal(&self, name: &str) -> Option<(&Dynamic, Position)> {
        let value = self.values.iter().find(|value| value.name == name)?;
        Some((value.literal.as_ref()?, value.at))
    }

    /// Whether the call gives a parameter or option, literally or not.
    #[must_use]
    pub fn gives(&self, name: &str) -> bool {
        self.values.iter().any(|value| value.name == name)
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
    let mut sites = Vec::new();
    syntax::calls(ast, &mut |call| sites.extend(site(table, &call)));
    sites
}

/// The call as one of a primitive, if it is one.
pub(super) fn site(table: Table, call: &FunctionCall<'_>) -> Option<Site> {
    if call.is_qualified || call.is_operator {
        return None;
    }
    let primitive = (table.primitives)().find(|primitive| primitive.name == call.name)?;
    Some(Site::of(primitive, call))
}
