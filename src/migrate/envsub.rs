//! Variables in the text of goose's `ENVSUB ON`: `$NAME`, `${NAME}`, `${NAME:-default}`,
//! `${NAME-default}`, `${NAME?message}` and `${NAME:offset:length}`, which may nest.
//!
//! `$$` and `\$` stand for one `$`, as in goose: a dollar quote must be written `$$$$` there.

use thiserror::Error;

/// A variable that cannot be put in.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvsubError {
    /// A `$` without a name, or a brace with a form that goose does not know.
    #[error("`{0}` is no variable: with `ENVSUB ON` write `$$` for a `$` sign")]
    Syntax(String),
    /// Defaults of defaults without end.
    #[error("variables are nested more than {DEEPEST} deep here")]
    TooDeep,
    /// `${NAME?message}` without `NAME`.
    #[error("environment variable `{name}` is {message}")]
    Required {
        /// The variable.
        name: String,
        /// The file's own message.
        message: String,
    },
}

/// Nested variables; nobody writes more than two, and each takes stack.
const DEEPEST: usize = 64;

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// `line` with its variables put in.
pub(super) fn expand(line: &str, env: Lookup<'_>) -> Result<String, EnvsubError> {
    let mut parser = Parser { rest: line, env, depth: 0 };
    parser.text(false)
}

struct Parser<'a> {
    rest: &'a str,
    env: Lookup<'a>,
    /// Braces around.
    depth: usize,
}

impl Parser<'_> {
    /// Reads to the end, or to the `}` of the brace around.
    fn text(&mut self, in_brace: bool) -> Result<String, EnvsubError> {
        let mut out = String::new();
        while let Some(next) = self.rest.chars().next() {
            if in_brace && next == '}' {
                break;
            }
            if self.takes(r"\\") {
                out.push_str(r"\\");
            } else if self.takes(r"\$") || self.takes("$$") {
                out.push('$');
            } else if self.takes("$(") {
                out.push_str("$(");
            } else if next == '$' && self.rest.len() > 1 {
                out.push_str(&self.variable()?);
            } else {
                out.push(next);
                self.rest = &self.rest[next.len_utf8()..];
            }
        }
        Ok(out)
    }

    fn variable(&mut self) -> Result<String, EnvsubError> {
        let whole = self.rest;
        let syntax = || EnvsubError::Syntax(whole.split_whitespace().next().unwrap_or_default().to_owned());
        let braced = self.takes("${");
        if self.depth == DEEPEST {
            return Err(EnvsubError::TooDeep);
        }
        if !braced {
            self.rest = &self.rest[1..];
        }
        let name = self.name().ok_or_else(syntax)?;
        let value = (self.env)(&name);
        if !braced {
            return Ok(value.unwrap_or_default());
        }
        self.depth += 1;
        let value = if self.rest.starts_with('}') {
            value.unwrap_or_default()
        } else if self.takes(":-") {
            let default = self.text(true)?;
            value.filter(|value| !value.is_empty()).unwrap_or(default)
        } else if self.takes("-") {
            let default = self.text(true)?;
            value.unwrap_or(default)
        } else if self.takes("?") {
            let message = self.text(true)?;
            let message = if message.is_empty() { "not set".to_owned() } else { message };
            value.ok_or(EnvsubError::Required { name, message })?
        } else if self.takes(":") {
            let (range, _) = self.rest.split_once('}').ok_or_else(syntax)?;
            self.rest = &self.rest[range.len()..];
            substring(&value.unwrap_or_default(), range).ok_or_else(syntax)?
        } else {
            return Err(syntax());
        };
        self.depth -= 1;
        if self.takes("}") { Ok(value) } else { Err(syntax()) }
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest;
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        self.rest = rest;
        name.starts_with(char::is_alphabetic).then(|| name.to_owned())
    }

    fn takes(&mut self, prefix: &str) -> bool {
        let after = self.rest.strip_prefix(prefix);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }
}

/// The part of `value` given by `offset` or `offset:length` in bytes; what is negative counts from
/// the end.
fn substring(value: &str, range: &str) -> Option<String> {
    let (offset, length) = match range.split_once(':') {
        Some((offset, length)) => (offset, Some(length.trim().parse::<isize>().ok()?)),
        None => (range, None),
    };
    let end = value.len().cast_signed();
    let clamp = |at: isize| at.clamp(0, end);
    let offset = offset.trim().parse::<isize>().ok()?;
    let from = clamp(if offset < 0 { end.saturating_add(offset) } else { offset });
    let to = match length {
        None => end,
        Some(length) if length < 0 => clamp(end.saturating_add(length)).max(from),
        Some(length) => clamp(from.saturating_add(length)),
    };
    value.get(from.cast_unsigned()..to.cast_unsigned()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(line: &str) -> Result<String, EnvsubError> {
        super::expand(line, &|name| match name {
            "USER" => Some("alice".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn puts_variables_in() {
        for (line, expected) in [
            ("name = '$USER';", "name = 'alice';"),
            ("${USER}_x ${NONE}|", "alice_x |"),
            ("${EMPTY:-d} ${EMPTY-d} ${NONE-d} ${NONE:-${USER}!}", "d  d alice!"),
            ("${USER:1:3} ${USER:-2} ${USER: -2} ${USER:0:-1} ${USER:9}", "lic alice ce alic "),
            (r"$$ \$ \\ $( a$", r"$ $ \\ $( a$"),
            ("${USER?needed} é", "alice é"),
        ] {
            assert_eq!(expand(line).as_deref(), Ok(expected), "{line}");
        }
    }

    #[test]
    fn refuses_what_goose_refuses() {
        assert_eq!(expand("SELECT $1;"), Err(EnvsubError::Syntax("$1;".to_owned())));
        assert_eq!(expand("${USER"), Err(EnvsubError::Syntax("${USER".to_owned())));
        assert_eq!(expand("${USER!}"), Err(EnvsubError::Syntax("${USER!}".to_owned())));
        assert_eq!(expand("${NONE?}").unwrap_err().to_string(), "environment variable `NONE` is not set");
    }
}
