//! The interpreter's own errors, in the words of recipes.

use std::sync::Arc;

use rhai::{AST, Engine, EvalAltResult, FnAccess, ScriptFnMetadata};

use super::host::Host;
use super::malformed::parse_error;
use super::primitive::Primitive;
use super::sources::{Sources, key};
use super::{limits, suggest, syntax};

/// Said where a module is missing.
pub(super) const RELATIVE: &str = "imports are relative to the file that imports";

/// Said where a branch would change what it has captured.
pub(super) const SNAPSHOT: &str = "a branch works on a snapshot of the variables around it; \
     let it return its result and use the value of `parallel`, `each` or `join`";

/// What is known where an error happened.
pub(super) struct Known<'a> {
    engine: &'a Engine,
    sources: &'a Sources,
    /// Key of the file.
    file: &'a str,
    ast: Option<Arc<AST>>,
    primitives: fn() -> Box<dyn Iterator<Item = &'static Primitive>>,
}

impl<'a> Known<'a> {
    pub(super) fn of(host: &'a Host, file: &'a str) -> Self {
        let ast = host.sources.get(file).and_then(|source| source.ast);
        let primitives = host.table.primitives;
        Self { engine: &host.engine, sources: &host.sources, file, ast, primitives }
    }

    fn declares_constant(&self, name: &str) -> bool {
        self.ast.as_deref().is_some_and(|ast| syntax::declares_constant(ast, name))
    }

    /// How a function is called, if it is a primitive or the file's own.
    fn call_of(&self, name: &str) -> Option<String> {
        let own = self.ast.iter().flat_map(|ast| ast.iter_functions());
        let own = own.filter(|function| function.name == name).map(|function| declared_as(&function));
        let primitive = (self.primitives)().find(|primitive| primitive.name == name);
        own.last().or_else(|| primitive.map(|primitive| format!("the call is {}", primitive.signature())))
    }
}

/// Names of all functions that a script can call without a module.
pub(super) fn functions(engine: &Engine, ast: Option<&AST>) -> Vec<String> {
    let own = ast.into_iter().flat_map(|ast| ast.iter_functions().map(|function| function.name.to_owned()));
    let mut names: Vec<_> = native(engine).into_iter().chain(own).filter(|name| is_word(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Names of all properties of values of registered types.
fn properties(engine: &Engine) -> Vec<String> {
    native(engine).iter().filter_map(|name| name.strip_prefix("get$")).map(str::to_owned).collect()
}

fn native(engine: &Engine) -> Vec<String> {
    engine.collect_fn_metadata(None, |info| Some(info.metadata.name.to_string()), true)
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Message and hint for an error of a running script that no primitive made.
pub(super) fn script_error(
    error: &EvalAltResult,
    known: &Known<'_>,
    in_branch: bool,
) -> (String, Option<String>) {
    use EvalAltResult as E;
    match error {
        E::ErrorFunctionNotFound(signature, _) => function_not_found(signature, known),
        E::ErrorAssignmentToConstant(name, _) if in_branch && !known.declares_constant(name) => (
            format!("`{name}` is captured from outside the branch and read-only in it"),
            Some(SNAPSHOT.to_owned()),
        ),
        E::ErrorNonPureMethodCallOnConstant(method, _) if in_branch => (
            format!("`{method}` would change a captured variable, which is read-only in a branch"),
            Some(SNAPSHOT.to_owned()),
        ),
        E::ErrorVariableNotFound(name, _) => (message(error), known.near_constant(name)),
        E::ErrorParsing(kind, _) => {
            let text = known.sources.get(known.file).map(|source| source.text).unwrap_or_default();
            parse_error(kind, &text)
        }
        E::ErrorDotExpr(why, _) => (
            message(error),
            unknown_property(why).and_then(|(name, ty)| {
                let near =
                    || suggest::did_you_mean(name, properties(known.engine).iter().map(String::as_str));
                if ty == "()" {
                    Some("`()` is what a function gives that returns nothing".to_owned())
                } else {
                    near()
                }
            }),
        ),
        E::ErrorPropertyNotFound(name, _) => (
            message(error),
            Some(format!("where a key may be missing, write .get(\"{name}\"), which gives `()` then")),
        ),
        E::ErrorUnboundThis(_) => {
            (message(error), Some("name it before the closure: let me = this;".to_owned()))
        }
        E::ErrorDataRace(..) => (
            message(error),
            Some("copy it first, and use the copy in the closure: let copy = list;".to_owned()),
        ),
        other => (message(other), None),
    }
}

/// An error in one line without its position.
pub(super) fn message(error: &EvalAltResult) -> String {
    use EvalAltResult as E;
    match error {
        E::ErrorRuntime(value, _) if value.is_string() => value.to_string(),
        E::ErrorRuntime(value, _) => format!("the script threw {value:?}"),
        E::ErrorParsing(kind, _) => parse_error(kind, "").0,
        E::ErrorFunctionNotFound(signature, _) => signature_not_found(signature),
        E::ErrorVariableNotFound(name, _) => format!("unknown variable `{name}`"),
        E::ErrorPropertyNotFound(name, _) => format!("the map has no key `{name}`"),
        E::ErrorAssignmentToConstant(name, _) => format!("`{name}` is a constant"),
        E::ErrorNonPureMethodCallOnConstant(method, _) => format!("`{method}` would change a constant"),
        E::ErrorModuleNotFound(why, _) => why.clone(),
        E::ErrorStackOverflow(_) => "functions call each other too deeply (64 levels)".to_owned(),
        E::ErrorUnboundThis(_) => "`this` is not visible in a closure".to_owned(),
        E::ErrorDataRace(..) => "a variable is used inside a method call on itself".to_owned(),
        E::ErrorTerminated(..) => "cancelled".to_owned(),
        E::ErrorDataTooLarge(what, _) if what.contains("string") => {
            format!("this text would be longer than {}", limits::megabytes(limits::TEXT as u64))
        }
        E::ErrorDataTooLarge(..) => format!("this would have more than {} items", limits::ITEMS),
        E::ErrorDotExpr(why, _) => match unknown_property(why) {
            Some((name, "()")) => format!("`{name}` is read of nothing, `()`"),
            Some((name, ty)) => format!("a {ty} has no property `{name}`"),
            None => fragment(why),
        },
        other => {
            let text = other.to_string();
            let end = text.rfind(" (line ").unwrap_or(text.len());
            fragment(&text[..end])
        }
    }
}

/// Property and type in Rhai's "Unknown property 'x' - a getter is not registered for type 'T'".
fn unknown_property(why: &str) -> Option<(&str, &str)> {
    let mut quoted = why.strip_prefix("Unknown property ")?.split('\'');
    Some((quoted.nth(1)?, quoted.nth(1)?))
}

/// A sentence of the interpreter as part of a larger one.
pub(super) fn fragment(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain([second]).chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// `name (type, type)` as Rhai writes it, in parts.
fn split_signature(signature: &str) -> (&str, String) {
    let (name, types) = signature.split_once(" (").unwrap_or((signature, ""));
    let types = types
        .trim_end_matches(')')
        .replace("&str | ImmutableString | String", "string")
        .replace("i64", "int")
        .replace("f64", "float")
        .replace("Fn", "closure");
    (name, types)
}

fn signature_not_found(signature: &str) -> String {
    let (name, types) = split_signature(signature);
    if name.starts_with("anon$") {
        let count = if types.is_empty() { 0 } else { types.split(", ").count() };
        format!("a closure was called with {count} argument{}", if count == 1 { "" } else { "s" })
    } else if is_word(name) || name.contains("::") {
        format!("unknown function `{name}`")
    } else {
        format!("`{name}` does not work on ({types})")
    }
}

fn function_not_found(signature: &str, known: &Known<'_>) -> (String, Option<String>) {
    let (name, types) = split_signature(signature);
    let simply = signature_not_found(signature);
    if name.starts_with("anon$") {
        let hint = "it declares another number of parameters between its bars, `|x| ..`";
        return (simply, Some(hint.to_owned()));
    }
    if let Some((module, function)) = name.rsplit_once("::") {
        return known.not_exported(module, function).unwrap_or((simply, None));
    }
    if !is_word(name) {
        let text = types.contains("string");
        return (
            simply,
            text.then(|| "to put values into a text write `text ${value} text`, in backticks".to_owned()),
        );
    }
    let functions = functions(known.engine, known.ast.as_deref());
    if !functions.iter().any(|function| function == name) {
        return (simply, suggest::did_you_mean(name, functions.iter().map(String::as_str)));
    }
    let given = if types.is_empty() { "without arguments".to_owned() } else { format!("with ({types})") };
    (format!("`{name}` cannot be called {given}"), known.call_of(name))
}

impl Known<'_> {
    /// The file that this one imports under an alias.
    fn module(&self, alias: &str) -> Option<Arc<AST>> {
        let imports = syntax::literal_imports(self.ast.as_deref()?);
        let import = imports.into_iter().find(|import| import.alias == alias)?;
        self.sources.get(&key(&self.sources.module_path(Some(self.file), &import.path)))?.ast
    }

    /// Why a module does not have this function for a script that imports it.
    fn not_exported(&self, alias: &str, name: &str) -> Option<(String, Option<String>)> {
        let module = self.module(alias)?;
        let functions: Vec<_> = module.iter_functions().filter(|function| is_word(function.name)).collect();
        match functions.iter().find(|function| function.name == name) {
            Some(private) if private.access == FnAccess::Private => {
                Some((format!("`{name}` is private to the module `{alias}`"), None))
            }
            Some(other) => {
                let message = format!("`{alias}::{name}` takes another number of arguments");
                Some((message, Some(declared_as(other))))
            }
            None => {
                let public = functions.iter().filter(|function| function.access == FnAccess::Public);
                let near = suggest::did_you_mean(name, public.map(|function| function.name));
                Some((format!("the module `{alias}` has no function `{name}`"), near))
            }
        }
    }

    /// The exported constant that a misspelt `module::NAME` may mean.
    fn near_constant(&self, name: &str) -> Option<String> {
        let (alias, name) = name.rsplit_once("::")?;
        let exported = syntax::exported_variables(&*self.module(alias)?);
        suggest::did_you_mean(name, exported.iter().map(String::as_str))
    }
}

fn declared_as(function: &ScriptFnMetadata<'_>) -> String {
    format!("it is declared as {}({})", function.name, function.params.join(", "))
}

#[cfg(test)]
mod tests {
    use rhai::Position;

    use super::*;

    #[test]
    fn speaks_the_language_of_recipes() {
        let at = Position::NONE;
        let cases = [
            (
                EvalAltResult::ErrorFunctionNotFound("anon$ab (i64)".into(), at),
                "a closure was called with 1 argument",
            ),
            (
                EvalAltResult::ErrorFunctionNotFound("anon$ab ()".into(), at),
                "a closure was called with 0 arguments",
            ),
            (
                EvalAltResult::ErrorFunctionNotFound("- (&str | ImmutableString | String, i64)".into(), at),
                "`-` does not work on (string, int)",
            ),
            (
                EvalAltResult::ErrorDotExpr(
                    "Unknown property 'urll' - a getter is not registered for type 'Redis'".into(),
                    at,
                ),
                "a Redis has no property `urll`",
            ),
            (EvalAltResult::ErrorArithmetic("Division by zero: 1 / 0".into(), at), "division by zero: 1 / 0"),
        ];
        for (error, expected) in cases {
            assert_eq!(message(&error), expected);
        }
    }
}
