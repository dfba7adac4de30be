//! The interpreter's own errors, in the words of recipes.

use rhai::{Engine, EvalAltResult, ParseErrorType};

use super::diagnostic::{message, unknown};
use super::sources::Sources;
use super::syntax;

/// What is known where an error happened.
pub(super) struct Known {
    functions: Vec<String>,
    ast: Option<std::sync::Arc<rhai::AST>>,
}

impl Known {
    pub(super) fn of(engine: &Engine, sources: &Sources, file: &str) -> Self {
        let ast = sources.get(file).and_then(|source| source.ast);
        Self { functions: functions(engine, ast.as_deref()), ast }
    }

    fn declares_constant(&self, name: &str) -> bool {
        self.ast.as_deref().is_some_and(|ast| syntax::declares_constant(ast, name))
    }
}

/// Names of all functions that a script can call without a module.
pub(super) fn functions(engine: &Engine, ast: Option<&rhai::AST>) -> Vec<String> {
    let native = engine.collect_fn_metadata(None, |info| Some(info.metadata.name.to_string()), true);
    let own = ast.into_iter().flat_map(|ast| ast.iter_functions().map(|function| function.name.to_owned()));
    let mut names: Vec<_> = native.into_iter().chain(own).filter(|name| is_word(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Message and hint for an error of a running script that no primitive made.
pub(super) fn script_error(
    error: &EvalAltResult,
    known: &Known,
    in_branch: bool,
) -> (String, Option<String>) {
    use EvalAltResult as E;
    match error {
        E::ErrorFunctionNotFound(signature, _) => function_not_found(signature, known),
        E::ErrorVariableNotFound(name, _) => (format!("unknown variable `{name}`"), None),
        E::ErrorAssignmentToConstant(name, _) if in_branch && !known.declares_constant(name) => {
            captured(name)
        }
        E::ErrorNonPureMethodCallOnConstant(method, _) if in_branch => (
            format!("`{method}` would change a captured variable, which is read-only in a branch"),
            Some(SNAPSHOT.to_owned()),
        ),
        E::ErrorAssignmentToConstant(name, _) => (format!("`{name}` is a constant"), None),
        E::ErrorParsing(kind, _) => parse_error(kind),
        E::ErrorModuleNotFound(why, _) => {
            (why.clone(), Some("imports are relative to the file that imports".to_owned()))
        }
        E::ErrorStackOverflow(_) => ("functions call each other too deeply (64 levels)".to_owned(), None),
        E::ErrorRuntime(value, _) if value.is_string() => (value.to_string(), None),
        E::ErrorRuntime(value, _) => (format!("the script threw {value:?}"), None),
        E::ErrorTerminated(..) => ("cancelled".to_owned(), None),
        other => (message(other), None),
    }
}

const SNAPSHOT: &str = "a branch works on a snapshot of the variables around it; \
     let it return its result and use the value of `parallel`, `each` or `join`";

fn captured(name: &str) -> (String, Option<String>) {
    (format!("`{name}` is captured from outside the branch and read-only in it"), Some(SNAPSHOT.to_owned()))
}

fn function_not_found(signature: &str, known: &Known) -> (String, Option<String>) {
    let (name, arguments) = signature.split_once(" (").unwrap_or((signature, ""));
    let arguments = arguments.trim_end_matches(')');
    let readable = |types: &str| {
        types
            .replace("&str | ImmutableString | String", "string")
            .replace("i64", "int")
            .replace("f64", "float")
    };
    if name.starts_with("anon$") {
        let count = if arguments.is_empty() { 0 } else { arguments.split(", ").count() };
        let message =
            format!("a closure was called with {count} argument{}", if count == 1 { "" } else { "s" });
        return (
            message,
            Some("it declares another number of parameters between its bars, `|x| ..`".to_owned()),
        );
    }
    if name.contains("::") || !known.functions.iter().any(|function| function == name) {
        return unknown("function", name, known.functions.iter().map(String::as_str));
    }
    let given = readable(arguments);
    let given = if given.is_empty() { "without arguments".to_owned() } else { format!("with ({given})") };
    (
        format!("`{name}` cannot be called {given}"),
        Some(format!("`recipe doc {name}` shows how it is called")),
    )
}

/// Message and hint for an error in the text of a script.
pub(super) fn parse_error(kind: &ParseErrorType) -> (String, Option<String>) {
    match kind {
        ParseErrorType::VariableUndefined(name) => (format!("unknown variable `{name}`"), None),
        ParseErrorType::ModuleUndefined(name) => (
            format!("unknown module `{name}`"),
            Some(format!("import it first: import \"{name}\" as {name};")),
        ),
        ParseErrorType::Reserved(word) => (
            format!("`{word}` is a reserved word"),
            Some(match word.as_str() {
                "spawn" | "async" | "go" | "thread" => {
                    "to run something beside the script write start(\"name\", || ..)".to_owned()
                }
                "await" => "write task.join()".to_owned(),
                _ => {
                    format!("choose another name; as the key of a map it can be quoted: #{{\"{word}\": ..}}")
                }
            }),
        ),
        ParseErrorType::UnexpectedEOF => {
            ("the script ends too early".to_owned(), Some("a bracket or brace is not closed".to_owned()))
        }
        other => (other.to_string(), None),
    }
}
