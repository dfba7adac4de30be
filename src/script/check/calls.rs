//! Calls of what does not exist, and calls of primitives that do not fit their
//! entry in the table.

use std::collections::{HashMap, HashSet};

use rhai::{AST, Engine, Expr, Ident};

use super::Finding;
use crate::script::diagnostic::Diagnostic;
use crate::script::explain::functions;
use crate::script::host::Table;
use crate::script::primitive::{Primitive, Type};
use crate::script::sources::Sources;
use crate::script::syntax::FunctionCall;
use crate::script::{arguments, suggest, syntax};

/// Functions of the language itself, which are in no table.
const LANGUAGE: [&str; 10] =
    ["call", "curry", "Fn", "type_of", "is_shared", "is_def_var", "is_def_fn", "print", "debug", "eval"];

/// Problems of one file's calls as errors with their place. `known` are names
/// of functions that other files define for it.
pub(in crate::script) fn problems(
    engine: &Engine,
    sources: &Sources,
    table: Table,
    (key, ast): (&str, &AST),
    known: &HashSet<String>,
) -> Vec<Diagnostic> {
    super::diagnostics(sources, key, findings(engine, table, ast, known))
}

pub(super) fn findings(engine: &Engine, table: Table, ast: &AST, known: &HashSet<String>) -> Vec<Finding> {
    let native = functions(engine, None);
    let primitives: HashMap<_, _> =
        (table.primitives)().map(|primitive| (primitive.name, primitive)).collect();
    let mut own: HashSet<_> = ast.iter_functions().map(|function| function.name.to_owned()).collect();
    own.extend(known.iter().cloned());
    let mut found = Vec::new();
    syntax::calls(ast, &mut |call| {
        // A module's functions are looked at in its own file, and an own
        // function may have the name of a primitive.
        if call.is_qualified || call.is_operator || call.name.contains('$') || own.contains(call.name) {
            return;
        }
        if let Some(primitive) = primitives.get(call.name) {
            found.extend(misfits(engine, primitive, &call));
        } else if !call.is_method && !is_known(call.name, &native) {
            let candidates = native.iter().chain(&own).map(String::as_str);
            let mut finding = Finding::error("unknown", call.at, format!("unknown function `{}`", call.name));
            finding.hint = suggest::did_you_mean(call.name, candidates);
            found.push(finding);
        }
    });
    found
}

fn is_known(name: &str, native: &[String]) -> bool {
    LANGUAGE.contains(&name) || native.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
}

/// A wrong number of arguments, unknown options, and literal values that do
/// not fit what the table declares.
fn misfits(engine: &Engine, primitive: &'static Primitive, call: &FunctionCall<'_>) -> Vec<Finding> {
    let (least, most) = primitive.arity();
    let before = usize::from(call.is_method);
    let count = call.arguments.len() + before;
    let usage = format!("the call is {}", primitive.signature());
    if !(least..=most).contains(&count) {
        // A method of that name may belong to a value of another type.
        if call.is_method {
            return Vec::new();
        }
        let (name, plural) = (primitive.name, if count == 1 { "" } else { "s" });
        let message = format!("`{name}` cannot be called with {count} argument{plural}");
        return vec![Finding::error("arity", call.at, message).hint(usage)];
    }
    let mut found = Vec::new();
    for (param, expression) in primitive.params.iter().skip(before).zip(call.arguments) {
        match (param.ty, expression) {
            (Type::Options, Expr::Map(map, _)) => {
                found.extend(map.0.iter().filter_map(|(key, value)| misfit(engine, primitive, key, value)));
            }
            (ty, expression) => {
                let literal = expression.get_literal_value(None);
                if let Some(Err(why)) = literal.map(|value| arguments::check(ty, &value, engine)) {
                    let what = format!("{}: `{}` {why}", primitive.name, param.name);
                    found.push(Finding::error("type", expression.start_position(), what).hint(usage.clone()));
                }
            }
        }
    }
    found
}

/// What is wrong with an option, if it is.
fn misfit(engine: &Engine, primitive: &'static Primitive, key: &Ident, value: &Expr) -> Option<Finding> {
    let Some(option) = primitive.options.iter().find(|option| option.name == key.name.as_str()) else {
        let message = format!("{}: unknown option `{}`", primitive.name, key.name);
        let names = primitive.options.iter().map(|option| option.name);
        let mut finding = Finding::error("option", key.pos, message);
        finding.hint = suggest::hint(&key.name, names, "the options are");
        return Some(finding);
    };
    // `()` means "as if left out".
    let literal = value.get_literal_value(None).filter(|value| !value.is_unit())?;
    let why = arguments::check(option.ty, &literal, engine).err()?;
    let what = format!("{}: option `{}` {why}", primitive.name, key.name);
    Some(Finding::error("type", value.start_position(), what).hint(option.explain()))
}
