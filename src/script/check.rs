//! Problems of a recipe that show without running it: calls of what does not
//! exist, and calls of primitives that do not fit their entry in the table.

use std::collections::{HashMap, HashSet};

use rhai::{Engine, Expr, Position};

use super::diagnostic::Diagnostic;
use super::explain::functions;
use super::host::Table;
use super::primitive::{Primitive, Type};
use super::sources::Sources;
use super::syntax::FunctionCall;
use super::{suggest, syntax};

/// Functions of the language itself, which are in no table.
const LANGUAGE: [&str; 10] =
    ["call", "curry", "Fn", "type_of", "is_shared", "is_def_var", "is_def_fn", "print", "debug", "eval"];

/// All problems of the recipe and its modules, in the order of the text.
pub(super) fn problems(engine: &Engine, sources: &Sources, table: Table) -> Vec<Diagnostic> {
    let native = functions(engine, None);
    let primitives: HashMap<_, _> =
        (table.primitives)().map(|primitive| (primitive.name, primitive)).collect();
    let mut problems = Vec::new();
    for (key, ast) in sources.trees() {
        let own: HashSet<_> = ast.iter_functions().map(|function| function.name.to_owned()).collect();
        let mut found = Vec::new();
        syntax::calls(&ast, &mut |call| {
            // A module's functions are looked at in its own file, and an own
            // function may have the name of a primitive.
            if call.is_qualified || call.is_operator || call.name.contains('$') || own.contains(call.name) {
                return;
            }
            if let Some(primitive) = primitives.get(call.name) {
                found.extend(misfits(primitive, &call));
            } else if !call.is_method && !is_known(call.name, &native) {
                let candidates = native.iter().chain(&own).map(String::as_str);
                let hint = suggest::did_you_mean(call.name, candidates);
                found.push((call.at, format!("unknown function `{}`", call.name), hint));
            }
        });
        found.sort_by_key(|(at, ..)| (at.line(), at.position()));
        for (at, message, hint) in found {
            let position = Some(sources.position(&key, at));
            let mut problem = Diagnostic { message, hint, position, ..Diagnostic::default() };
            problem.mark_position(sources);
            problems.push(problem);
        }
    }
    problems
}

fn is_known(name: &str, native: &[String]) -> bool {
    LANGUAGE.contains(&name) || native.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
}

type Problem = (Position, String, Option<String>);

/// A wrong number of arguments, and unknown keys of options spelt out at the call.
fn misfits(primitive: &Primitive, call: &FunctionCall<'_>) -> Vec<Problem> {
    let (least, most) = primitive.arity();
    let before = usize::from(call.is_method);
    let count = call.arguments.len() + before;
    if !(least..=most).contains(&count) {
        // A method of that name may belong to a value of another type.
        if call.is_method {
            return Vec::new();
        }
        let (name, plural) = (primitive.name, if count == 1 { "" } else { "s" });
        let message = format!("`{name}` cannot be called with {count} argument{plural}");
        return vec![(call.at, message, Some(format!("the call is {}", primitive.signature())))];
    }
    let place = primitive.params.iter().position(|param| param.ty == Type::Options);
    let options =
        place.and_then(|place| place.checked_sub(before)).and_then(|place| call.arguments.get(place));
    let Some(Expr::Map(map, _)) = options else { return Vec::new() };
    let known = |name: &str| primitive.options.iter().any(|option| option.name == name);
    let unknown = map.0.iter().map(|(key, _)| key).filter(|key| !known(&key.name));
    let names = || primitive.options.iter().map(|option| option.name);
    unknown
        .map(|key| {
            let message = format!("{}: unknown option `{}`", primitive.name, key.name);
            (key.pos, message, suggest::hint(&key.name, names(), "the options are"))
        })
        .collect()
}
