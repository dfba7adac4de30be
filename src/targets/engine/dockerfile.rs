//! What recipe reads of a Dockerfile itself: the images it starts from, and
//! the lines of its instructions. The engine reads all the rest.

use std::collections::{BTreeMap, BTreeSet};

/// One instruction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// In capitals, as in `FROM`.
    pub word: String,
    /// What follows, continued lines joined.
    pub rest: String,
    /// Byte offset and length in the text, without the continued lines.
    pub span: (usize, usize),
    /// The line that it begins on, from 1.
    pub line: usize,
}

/// The instructions of a Dockerfile, in order.
pub(super) fn instructions(text: &str) -> Vec<Instruction> {
    let escape = escape_character(text);
    let mut all: Vec<Instruction> = Vec::new();
    let mut continues = false;
    let mut heredocs: Vec<String> = Vec::new();
    let mut offset = 0;
    for (i, whole) in text.split_inclusive('\n').enumerate() {
        let start = offset;
        offset += whole.len();
        let line = whole.trim();
        if let Some(end) = heredocs.first() {
            if line == end {
                heredocs.remove(0);
            }
            continue;
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (body, more) = match line.strip_suffix(escape) {
            Some(body) => (body.trim_end(), true),
            None => (line, false),
        };
        if continues && let Some(last) = all.last_mut() {
            last.rest.push(' ');
            last.rest.push_str(body);
        } else {
            let (word, rest) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
            let indent = whole.len() - whole.trim_start().len();
            all.push(Instruction {
                word: word.to_ascii_uppercase(),
                rest: rest.trim().to_owned(),
                span: (start + indent, line.len()),
                line: i + 1,
            });
        }
        continues = more;
        if let Some(last) = all.last().filter(|last| !more && matches!(&*last.word, "RUN" | "COPY" | "ADD")) {
            heredocs = heredocs_of(&last.rest);
        }
    }
    all
}

/// `\`, or what the directive `# escape=` on top says.
fn escape_character(text: &str) -> char {
    let directives = text.lines().map(str::trim).take_while(|line| line.starts_with('#'));
    let mut escapes = directives.filter_map(|line| {
        let (name, value) = line.trim_start_matches('#').split_once('=')?;
        name.trim().eq_ignore_ascii_case("escape").then(|| value.trim().chars().next())?
    });
    escapes.next().unwrap_or('\\')
}

/// The words that end the here-documents of an instruction, as in `<<EOF`.
fn heredocs_of(rest: &str) -> Vec<String> {
    let words = rest.split_whitespace().filter_map(|word| word.strip_prefix("<<"));
    let names = words.map(|word| word.trim_start_matches('-').trim_matches(['"', '\'']));
    names
        .filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'))
        .map(str::to_owned)
        .collect()
}

/// The images that the stages start from or copy from, without those that the
/// Dockerfile makes itself.
pub(super) fn bases(instructions: &[Instruction], args: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut known = BTreeMap::new();
    let mut stages: BTreeSet<String> = BTreeSet::from(["scratch".to_owned()]);
    let mut bases = BTreeSet::new();
    let mut before_stages = true;
    for instruction in instructions {
        let words = instruction.rest.split_whitespace();
        match instruction.word.as_str() {
            "ARG" if before_stages => {
                for word in words {
                    let (name, default) = word.split_once('=').unwrap_or((word, ""));
                    let value = args.get(name).map_or(default, String::as_str);
                    known.insert(name.to_owned(), value.trim_matches(['"', '\'']).to_owned());
                }
            }
            "FROM" => {
                before_stages = false;
                let words: Vec<_> = words.filter(|word| !word.starts_with("--")).collect();
                let Some(image) = words.first().and_then(|word| substitute(word, &known)) else { continue };
                if !stages.contains(&image.to_ascii_lowercase()) {
                    bases.insert(image);
                }
                if let [_, word, name] = words[..]
                    && word.eq_ignore_ascii_case("as")
                {
                    stages.insert(name.to_ascii_lowercase());
                }
            }
            "COPY" => {
                let from = words.filter_map(|word| word.strip_prefix("--from="));
                let images = from.filter(|name| {
                    !stages.contains(&name.to_ascii_lowercase()) && name.parse::<usize>().is_err()
                });
                bases.extend(images.filter(|name| !name.contains('$')).map(str::to_owned));
            }
            _ => {}
        }
    }
    bases
}

/// `$NAME`, `${NAME}` and `${NAME:-default}` replaced. None when a variable has
/// no value: whatever is wrong with it, the engine says it better.
fn substitute(word: &str, known: &BTreeMap<String, String>) -> Option<String> {
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, default) = if let Some(inner) = rest.strip_prefix('{') {
            let (inner, after) = inner.split_once('}')?;
            rest = after;
            inner.split_once(":-").unwrap_or((inner, ""))
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let name = &rest[..end];
            rest = &rest[end..];
            (name, "")
        };
        let value = known.get(name).map(String::as_str).filter(|value| !value.is_empty()).unwrap_or(default);
        if value.is_empty() {
            return None;
        }
        text.push_str(value);
    }
    text.push_str(rest);
    Some(text)
}

/// What of a Dockerfile only BuildKit understands; none when any builder does.
pub(super) fn needs_buildkit(instructions: &[Instruction]) -> Option<&Instruction> {
    instructions.iter().find(|instruction| {
        let mut flags = instruction.rest.split_whitespace().take_while(|word| word.starts_with("--"));
        let flag = flags.any(|flag| {
            let name = flag.split('=').next().unwrap_or(flag);
            matches!(
                name,
                "--mount" | "--network" | "--security" | "--link" | "--chmod" | "--parents" | "--exclude"
            )
        });
        flag || (matches!(&*instruction.word, "RUN" | "COPY" | "ADD")
            && !heredocs_of(&instruction.rest).is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# syntax=docker/dockerfile:1\n\
        ARG VERSION=12\n\
        ARG KIND\n\
        FROM debian:${VERSION}-${KIND:-slim} AS Build\n\
        \n\
        RUN one \\\n  # said in between\n  && two \\\n\n  && three\n\
        from build as second\n\
        copy --from=build --chown=1:1 /a /b\n\
        COPY --from=busybox:1 /bin/sh /sh\n\
        COPY --from=0 /x /y\n\
        RUN <<EOF\nFROM nothing\nEOF\n\
        FROM scratch\n";

    #[test]
    fn instructions_keep_their_lines() {
        let all = instructions(TEXT);
        let words: Vec<_> = all.iter().map(|one| (one.word.as_str(), one.line)).collect();
        let expected = [
            ("ARG", 2),
            ("ARG", 3),
            ("FROM", 4),
            ("RUN", 6),
            ("FROM", 11),
            ("COPY", 12),
            ("COPY", 13),
            ("COPY", 14),
            ("RUN", 15),
            ("FROM", 18),
        ];
        assert_eq!(words, expected);
        assert_eq!(all[3].rest, "one && two && three");
        assert_eq!(&TEXT[all[3].span.0..][..all[3].span.1], "RUN one \\");
        assert_eq!(&TEXT[all[4].span.0..][..all[4].span.1], "from build as second");
    }

    #[test]
    fn another_escape_character_is_heeded() {
        let all = instructions("# escape=`\nRUN a `\n b\nCOPY c:\\ d\\\nFROM x\n");
        assert_eq!(all.iter().map(|one| one.rest.as_str()).collect::<Vec<_>>(), ["a b", "c:\\ d\\", "x"]);
    }

    #[test]
    fn bases_are_those_of_others() {
        let all = instructions(TEXT);
        let none = BTreeMap::new();
        assert_eq!(bases(&all, &none), BTreeSet::from(["busybox:1".into(), "debian:12-slim".into()]));
        let args = BTreeMap::from([("KIND".into(), "full".into()), ("VERSION".into(), "13".into())]);
        assert!(bases(&all, &args).contains("debian:13-full"));
        assert_eq!(bases(&instructions("ARG X\nFROM $X\n"), &none), BTreeSet::new());
    }

    #[test]
    fn finds_what_needs_buildkit() {
        let needs = |text: &str| needs_buildkit(&instructions(text)).is_some();
        assert!(needs("FROM a\nRUN --mount=type=cache,target=/x make"));
        assert!(needs("FROM a\nCOPY --link a b"));
        assert!(needs("FROM a\nRUN <<EOF\nls\nEOF"));
        assert!(!needs("FROM a\nRUN make --mount\nCOPY --chown=1 --from=x a b\nRUN cat << EOF"));
    }
}
