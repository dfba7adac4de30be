//! `.dockerignore`: which files of a context are left out, as Docker decides.
//!
//! Patterns are tried in order on a path and on all its parents; the last one
//! that matches decides, so that `!` takes something in again, even below a
//! folder that is left out.

use regex::Regex;

/// The patterns of one file.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    /// Whether it takes in again what others have left out.
    exception: bool,
    /// Its components, for telling what it could match below a folder.
    components: Vec<String>,
    regex: Regex,
}

impl Ignore {
    /// Reads patterns, a line each.
    ///
    /// # Errors
    /// The number of the line that is wrong, from 1, and why.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut patterns = Vec::new();
        for (i, line) in text.trim_start_matches('\u{FEFF}').lines().enumerate() {
            // A comment begins in the first column.
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (exception, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if line.is_empty() {
                continue;
            }
            if pattern.is_empty() {
                return Err((i + 1, "`!` is followed by no pattern".to_owned()));
            }
            let cleaned = clean(pattern);
            // The context itself is never left out.
            if cleaned.is_empty() {
                continue;
            }
            let regex = Regex::new(&translate(&cleaned)).map_err(|error| (i + 1, error.to_string()))?;
            let components = cleaned.split('/').map(str::to_owned).collect();
            patterns.push(Pattern { exception, components, regex });
        }
        Ok(Self { patterns })
    }

    /// Whether a path, relative to the context and with `/` between its
    /// components, is left out.
    pub(super) fn leaves_out(&self, path: &str) -> bool {
        let mut left_out = false;
        for pattern in &self.patterns {
            // It could not change anything.
            if pattern.exception != left_out {
                continue;
            }
            let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
            if pattern.regex.is_match(path)
                || parents.into_iter().any(|parent| pattern.regex.is_match(parent))
            {
                left_out = !pattern.exception;
            }
        }
        left_out
    }

    /// Whether something below a folder that is left out may be taken in again.
    pub(super) fn may_take_in_below(&self, folder: &str) -> bool {
        self.patterns.iter().filter(|pattern| pattern.exception).any(|pattern| {
            let mut components = pattern.components.iter();
            for name in folder.split('/') {
                let Some(component) = components.next() else { return true };
                if component.contains("**") {
                    return true;
                }
                let fits = Regex::new(&translate(component)).is_ok_and(|regex| regex.is_match(name));
                if !fits {
                    return false;
                }
            }
            true
        })
    }
}

/// Without empty, `.` and `..` components, as Go's `filepath.Clean` leaves a
/// pattern.
fn clean(pattern: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in pattern.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            component => components.push(component),
        }
    }
    components.join("/")
}

/// The regular expression of a pattern: `*` and `?` stop at `/`, `**` does not.
fn translate(pattern: &str) -> String {
    let mut regex = String::from("(?s)^");
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => {
                let in_folder = rest.next_if_eq(&'/').is_some();
                regex.push_str(match (in_folder, rest.peek()) {
                    (true, Some(_)) => "(?:.*/)?",
                    _ => ".*",
                });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                regex.push('[');
                regex.extend(rest.next_if_eq(&'^'));
                // A class of Go has no nested ones and no set operations.
                while let Some(c) = rest.next() {
                    match c {
                        ']' => {
                            regex.push(']');
                            break;
                        }
                        '\\' => {
                            regex.push('\\');
                            regex.extend(rest.next());
                        }
                        '[' | '&' | '~' => regex.extend(['\\', c]),
                        c => regex.push(c),
                    }
                }
            }
            '\\' => regex.push_str(&regex::escape(&rest.next().unwrap_or('\\').to_string())),
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex.push('$');
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &str, left_out: &[&str], taken_in: &[&str]) {
        let ignore = Ignore::parse(patterns).unwrap();
        for path in left_out {
            assert!(ignore.leaves_out(path), "{path} is taken in by {patterns:?}");
        }
        for path in taken_in {
            assert!(!ignore.leaves_out(path), "{path} is left out by {patterns:?}");
        }
    }

    #[test]
    fn stars_stop_at_folders() {
        check("*.md", &["a.md"], &["a/b.md", "a.mdx"]);
        check("*/temp*", &["a/temp", "a/temporary.txt", "a/temp/below"], &["temp", "a/b/temp"]);
        check("*/*/temp*", &["a/b/temp.txt"], &["a/temp.txt"]);
        check("temp?", &["tempa"], &["temp", "tempab"]);
    }

    #[test]
    fn two_stars_do_not() {
        check("**/*.go", &["a.go", "a/b.go", "a/b/c.go"], &["a.got"]);
        check("**/node_modules", &["node_modules/x", "a/node_modules/b/c"], &["a/node_modules2"]);
        check("a/**/z", &["a/z", "a/b/z", "a/b/c/z/below"], &["b/z", "az"]);
        check("a/**", &["a/b", "a/b/c"], &["a", "ab"]);
        check("**", &["a", "a/b"], &[]);
        check("a**z", &["az", "a/b/z"], &["za"]);
    }

    #[test]
    fn the_last_match_decides() {
        check(
            "*\n!keep\n!src/*.rs\nsrc/b.rs",
            &["a", "src", "src/b.rs", "src/c.go"],
            &["keep/x", "src/a.rs"],
        );
        check("*.md\n!README*.md\nREADME-secret.md", &["x.md", "README-secret.md"], &["README.md"]);
        check("*.md\nREADME-secret.md\n!README*.md", &["x.md"], &["README-secret.md"]);
        check("!a\na", &["a"], &[]);
    }

    #[test]
    fn lines_are_trimmed_cleaned_and_commented() {
        check("\u{FEFF}  a  \n#b\n\n c \n", &["a", "c"], &["b", "#b"]);
        check("/a\n./b/\nc//d/../e", &["a/x", "b/x", "c/e"], &["x/a", "c/d"]);
        check(" #a", &["#a"], &["a"]);
        check("! a", &[], &["a"]);
        check(".\n/", &[], &["a"]);
    }

    #[test]
    fn other_characters_mean_themselves() {
        check("a.b+(c)|d$^", &["a.b+(c)|d$^"], &["aXb+(c)|d$^"]);
        check("[a-c]x\n[^d]y", &["ax", "cx", "ey"], &["dx", "dy"]);
        check("\\*\n\\!x", &["*", "!x"], &["a", "x"]);
        check("a[[]&&]", &[], &["a"]);
    }

    #[test]
    fn wrong_lines_are_named() {
        assert_eq!(Ignore::parse("a\n!\n").unwrap_err(), (2, "`!` is followed by no pattern".to_owned()));
        assert_eq!(Ignore::parse("a\n\n[b-a]").unwrap_err().0, 3);
    }

    #[test]
    fn folders_are_entered_only_where_something_may_be_taken_in() {
        let ignore = Ignore::parse("*\n!src/*/keep\n!docs\n!v?/a").unwrap();
        for (folder, entered) in [
            ("src", true),
            ("src/a", true),
            ("src/a/keep", true),
            ("target", false),
            ("docs", true),
            ("docs/deep", true),
            ("v1", true),
            ("v10", false),
        ] {
            assert_eq!(ignore.may_take_in_below(folder), entered, "{folder}");
        }
        assert!(Ignore::parse("*\n!**/x").unwrap().may_take_in_below("any/where"));
        assert!(!Ignore::parse("*").unwrap().may_take_in_below("any"));
    }
}
