//! How an entry may go on: words that fit at its end, and what the call under
//! the cursor takes.

use std::path::{Path, PathBuf};

use super::commands::COMMANDS;
use crate::primitives;
use crate::script::tokens::{KEYWORDS, Token, Word, tokens};
use crate::script::{Interactive, Primitive, Type};

/// Where the word at the end of `text` begins, and what it may become.
pub(super) fn complete(script: &Interactive, text: &str) -> (usize, Vec<String>) {
    if let Some(rest) = text.strip_prefix(':') {
        return command(rest);
    }
    let words = tokens(text);
    if let Some(open) = words.last().filter(|last| last.word == Word::Text && !last.closed) {
        return file(&script.host().environment.workspace, text, open.at.start + 1);
    }
    let (start, path) = path(text, &words);
    let typed = &text[start..];
    let mut found = if !path.is_empty() {
        script.members(&path)
    } else if let Some(primitive) = options_of(text, &words) {
        primitive.options.iter().map(|option| format!("{}: ", option.name)).collect()
    } else if typed.is_empty() {
        Vec::new()
    } else {
        let mut names: Vec<String> = script.variables().into_iter().map(|variable| variable.name).collect();
        names.extend(script.functions().into_iter().map(|name| format!("{name}(")));
        names.extend(documented().map(|primitive| format!("{}(", primitive.name)));
        names.extend(KEYWORDS.iter().map(ToString::to_string));
        names
    };
    found.retain(|name| name.starts_with(typed));
    found.sort_unstable();
    found.dedup();
    (start, found)
}

/// The call that the cursor is in, as the reference shows it, when its bracket
/// has just been opened.
pub(super) fn hint(text: &str) -> Option<String> {
    let name = text.strip_suffix('(')?;
    let words = tokens(name);
    let last = words.last().filter(|last| last.word == Word::Name && last.at.end == name.len())?;
    let primitive = documented().find(|primitive| primitive.name == &name[last.at.clone()])?;
    let signature = primitive.signature();
    signature.strip_prefix(primitive.name)?.strip_prefix('(').map(str::to_owned)
}

fn documented() -> impl Iterator<Item = &'static Primitive> {
    primitives::all().filter(|primitive| !primitive.name.starts_with("test_"))
}

fn command(rest: &str) -> (usize, Vec<String>) {
    if let Some((name, argument)) = rest.split_once(' ') {
        let start = 1 + name.len() + 1;
        return match name {
            "load" | "save" => {
                let (_, files) = file(Path::new("."), argument, 0);
                let folder = argument.rfind('/').map_or(0, |slash| slash + 1);
                (start + folder, files)
            }
            "doc" => {
                let names = documented().map(|primitive| primitive.name.to_owned());
                (start, names.filter(|name| name.starts_with(argument)).collect())
            }
            _ => (start, Vec::new()),
        };
    }
    let names = COMMANDS.iter().map(|command| command.name.to_owned());
    (1, names.filter(|name| name.starts_with(rest)).collect())
}

/// `env.postgres.ur`: where `ur` begins, and the names before it.
fn path<'a>(text: &'a str, words: &[Token]) -> (usize, Vec<&'a str>) {
    let mut start = text.len();
    let mut rest = words;
    if let Some((last, before)) = rest.split_last()
        && matches!(last.word, Word::Name | Word::Keyword)
        && last.at.end == text.len()
    {
        (start, rest) = (last.at.start, before);
    }
    let mut path = Vec::new();
    while let [before @ .., name, dot] = rest
        && &text[dot.at.clone()] == "."
        && name.word == Word::Name
    {
        path.insert(0, &text[name.at.clone()]);
        rest = before;
    }
    (start, path)
}

/// The primitive whose options map the cursor is in, where a key may stand.
fn options_of(text: &str, words: &[Token]) -> Option<&'static Primitive> {
    let word = |token: &Token| &text[token.at.clone()];
    // A key follows the bracket or a comma, or is being typed.
    let mut last = words.len();
    if words.last().is_some_and(|last| last.word == Word::Name && last.at.end == text.len()) {
        last -= 1;
    }
    if !words[..last].last().is_some_and(|before| matches!(word(before), "{" | ",")) {
        return None;
    }
    let mut depth = 0_usize;
    let mut in_map = false;
    for i in (0..last).rev() {
        match word(&words[i]) {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" if depth > 0 => depth -= 1,
            "{" if i > 0 && word(&words[i - 1]) == "#" && !in_map => in_map = true,
            "(" if in_map => {
                let name = i.checked_sub(1).map(|i| word(&words[i]))?;
                let primitive = documented().find(|primitive| primitive.name == name)?;
                return primitive.params.iter().any(|param| param.ty == Type::Options).then_some(primitive);
            }
            "(" | "[" | "{" => return None,
            _ => {}
        }
    }
    None
}

/// Files that the text from `start` may become.
fn file(workspace: &Path, text: &str, start: usize) -> (usize, Vec<String>) {
    let typed = &text[start..];
    let (folder, name) = typed.rsplit_once('/').map_or(("", typed), |(folder, name)| (folder, name));
    let at = start + typed.len() - name.len();
    let folder: PathBuf =
        if typed.starts_with('/') { PathBuf::from(format!("/{folder}")) } else { workspace.join(folder) };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let mut file = entry.file_name().into_string().ok()?;
            if entry.path().is_dir() {
                file.push('/');
            }
            (file.starts_with(name) && (name.starts_with('.') || !file.starts_with('.'))).then_some(file)
        })
        .collect();
    names.sort_unstable();
    (at, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option_at(text: &str) -> Option<&'static str> {
        options_of(text, &tokens(text)).map(|primitive| primitive.name)
    }

    #[test]
    fn knows_whose_options_are_typed() {
        assert_eq!(option_at("deploy_redis(c, #{ "), Some("deploy_redis"));
        assert_eq!(option_at("deploy_redis(c, #{ name: \"a\", ti"), Some("deploy_redis"));
        assert_eq!(option_at("deploy_service(c, \"s\", #{ env: #{ A: \"1\" }, po"), Some("deploy_service"));
        assert_eq!(option_at("deploy_service(c, \"s\", #{ env: #{ A"), None);
        assert_eq!(option_at("deploy_redis(c, #{ name: "), None);
        assert_eq!(option_at("f(#{ "), None);
    }

    #[test]
    fn knows_the_names_before_a_dot() {
        let text = "print(env.postgres.ur";
        assert_eq!(path(text, &tokens(text)), (19, vec!["env", "postgres"]));
        let text = "pg.";
        assert_eq!(path(text, &tokens(text)), (3, vec!["pg"]));
        let text = "dep";
        assert_eq!(path(text, &tokens(text)), (0, vec![]));
    }

    #[test]
    fn a_new_bracket_shows_the_call() {
        assert_eq!(hint("let pg = migrate(").as_deref(), Some("postgres, dir, [#{..}]) -> Postgres"));
        assert_eq!(hint("unheard_of("), None);
    }
}
