//! `recipe env`.

use serde_json::{Map, Value};

use super::{Done, environment, terminal};
use crate::cli::{Output, RunName};
use crate::exit;

pub(super) fn env(args: &RunName) -> Done {
    let (folder, _) = environment::select(args.run.as_deref())?;
    let outputs = folder.outputs()?;
    match args.output {
        Output::Json => terminal::print_json(&outputs)?,
        Output::Text => {
            let lines = variables(&outputs).map(|(name, value)| format!("export {name}={}\n", quote(&value)));
            terminal::print(&lines.collect::<String>())?;
        }
    }
    Ok(exit::DONE)
}

/// The outputs as environment variables.
pub(super) fn variables(outputs: &Map<String, Value>) -> impl Iterator<Item = (String, String)> {
    outputs.iter().map(|(name, value)| (variable(name), text(value)))
}

/// The outputs as a file that shells, container engines and libraries read:
/// quotes, which not all of them take away, only where there is need.
pub(super) fn file(outputs: &Map<String, Value>) -> String {
    let plain = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || "_-+=@%:,./?".contains(c));
    let word = |value: String| if plain(&value) { value } else { quote(&value) };
    let lines = variables(outputs).map(|(name, value)| format!("{name}={}\n", word(value)));
    lines.collect()
}

/// An output's name as that of an environment variable: `DATABASE_URL`.
fn variable(name: &str) -> String {
    let upper = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    let digit = name.starts_with(|c: char| c.is_ascii_digit());
    (if digit { "_" } else { "" }).chars().chain(upper).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A word for any POSIX shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_a_shell_reads() {
        assert_eq!(variable("database-url"), "DATABASE_URL");
        assert_eq!(variable("2nd"), "_2ND");
        assert_eq!(quote("it's $x"), r"'it'\''s $x'");
        let outputs = serde_json::json!({"url": "http://[::1]:80/?a=b", "port": 80, "greeting": "it's"});
        let expected = "GREETING='it'\\''s'\nPORT=80\nURL='http://[::1]:80/?a=b'\n";
        assert_eq!(file(outputs.as_object().unwrap()), expected);
    }
}
