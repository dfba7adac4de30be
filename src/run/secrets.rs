//! Values that must never be shown, and their masking.
//!
//! A secret is masked however it is written: in base64 or hex, quoted, with
//! escapes, or spread over lines; and passwords in URLs are, whether they are
//! known or not.

mod finder;
mod kept;
mod lines;
mod named;
mod views;

use std::ops::Range;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use self::finder::{Finder, SHORTEST, SHORTEST_WORD};
pub(super) use self::lines::Lines;
use super::event::EventKind;
use super::failure::{Failure, Kind};

/// What is shown in place of a secret.
pub const MASK: &str = "***";

/// The run's secrets; cheap to clone, shared.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    secrets: Vec<Box<str>>,
    /// Made when it is needed: secrets come several at a time.
    finder: OnceLock<Finder>,
    /// Where they are kept for later commands about the run.
    kept: Option<kept::Kept>,
}

/// How well a secret can be hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hidden {
    /// Wherever and however it is written.
    Everywhere,
    /// Only where it stands as a word: it is so short that other words hold it.
    AsWord,
    /// Not at all: one or two characters are everywhere.
    Nowhere,
}

impl Secrets {
    /// Masks `secret` from now on, and its lines, and the password in it where it
    /// is a URL. Says how well that can be done.
    pub fn add(&self, secret: &str) -> Hidden {
        let lines = secret.contains('\n').then(|| secret.lines().map(str::trim)).into_iter().flatten();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for part in [secret].into_iter().chain(lines.filter(|line| line.len() >= SHORTEST)) {
            known.add(part);
        }
        drop(known);
        if url_passwords(secret).next().is_some() {
            self.add_password_of(secret);
        }
        match secret.len() {
            SHORTEST.. => Hidden::Everywhere,
            SHORTEST_WORD.. => Hidden::AsWord,
            _ => Hidden::Nowhere,
        }
    }

    /// Masks the password in a URL, also where it stands alone, and as it is
    /// without escapes.
    pub fn add_password_of(&self, url: &str) {
        for range in url_passwords(url) {
            self.add(&url[range.clone()]);
            self.add(&views::unescaped(&url[range]));
        }
    }

    /// Whether nothing is secret so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known().secrets.is_empty()
    }

    /// Replaces every known secret in `text`.
    pub fn mask(&self, text: &mut String) {
        let hidden = self.hidden(text);
        if !hidden.is_empty() {
            *text = replaced(text, &hidden, |_| MASK.to_owned());
        }
    }

    /// `text` with every known secret replaced.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        self.mask(&mut text);
        text
    }

    /// `text` with every known secret replaced by as many bytes, for texts in
    /// which places are marked.
    #[must_use]
    pub fn covered(&self, text: &str) -> String {
        replaced(text, &self.hidden(text), |part| "*".repeat(part.len()))
    }

    /// Replaces secrets in the lines of a text, also where they are spread over
    /// several.
    pub fn mask_lines(&self, lines: &mut [String]) {
        let masked = self.masked(&lines.join("\n"));
        // A line that has lines itself is masked on its own.
        if masked.split('\n').count() == lines.len() {
            lines.iter_mut().zip(masked.split('\n')).for_each(|(line, masked)| masked.clone_into(line));
        } else {
            for line in lines {
                self.mask(line);
            }
        }
    }

    /// Masks strings, numbers and names anywhere in a JSON value.
    pub fn mask_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.mask(text),
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            serde_json::Value::Object(fields) => {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, mut field)| {
                        self.mask_json(&mut field);
                        (self.masked(&name), field)
                    })
                    .collect();
            }
            serde_json::Value::Number(number) => {
                let text = number.to_string();
                if !self.hidden(&text).is_empty() {
                    *value = self.masked(&text).into();
                }
            }
            serde_json::Value::Null | serde_json::Value::Bool(_) => {}
        }
    }

    /// Masks all texts of an event but the lines of output, which [`Lines`] does.
    pub(super) fn mask_event(&self, kind: &mut EventKind) {
        match kind {
            EventKind::StepStarted { title: text, branch, .. } | EventKind::Message { text, branch, .. } => {
                self.mask(text);
                if !self.hidden(branch).is_empty() {
                    *branch = self.masked(branch).into();
                }
            }
            EventKind::ResourceCreated { name, detail, .. } => {
                self.mask(name);
                self.mask(detail);
            }
            EventKind::StepFinished { cache, error, .. } => {
                for text in cache.iter_mut().map(|cache| &mut cache.why).chain(error) {
                    self.mask(text);
                }
            }
            EventKind::StepOutput { line: text, .. }
            | EventKind::StepWaiting { what: text, .. }
            | EventKind::StepTimes { what: text, .. }
            | EventKind::ResourceRemoved { name: text, .. }
            | EventKind::RunFinished { error: Some(text), .. } => self.mask(text),
            EventKind::OutputSet { value, .. } => self.mask_json(value),
            EventKind::TestStarted { command } => command.iter_mut().for_each(|word| self.mask(word)),
            _ => {}
        }
    }

    /// Where the end of `text` begins that may be the beginning of a secret.
    fn open_end(&self, text: &str) -> Option<usize> {
        self.known().finder()?.open_end(text)
    }

    /// Where secrets are in `text`, in order, without overlaps.
    fn hidden(&self, text: &str) -> Vec<Range<usize>> {
        let known = self.known();
        let mut found = known.finder().map(|finder| finder.hidden(text)).unwrap_or_default();
        found.extend(url_passwords(text));
        found.sort_unstable_by_key(|range| range.start);
        found.dedup_by(|next, range| {
            let overlap = next.start < range.end;
            if overlap {
                range.end = range.end.max(next.end);
            }
            overlap
        });
        found
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn add(&mut self, secret: &str) {
        if secret.len() < SHORTEST_WORD || self.secrets.iter().any(|known| **known == *secret) {
            return;
        }
        if let Some(kept) = &mut self.kept {
            kept.add(secret);
        }
        self.secrets.push(secret.into());
        self.finder = OnceLock::new();
    }

    /// None where there is nothing to find.
    fn finder(&self) -> Option<&Finder> {
        let make = || Finder::of(self.secrets.iter().map(|secret| &**secret));
        (!self.secrets.is_empty()).then(|| self.finder.get_or_init(make))
    }
}

/// Where in a text passwords stand as in `scheme://user:password@host`.
fn url_passwords(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("://").filter_map(|(at, sign)| {
        let begin = at + sign.len();
        let rest = &text[begin..];
        let ends = |c: char| c.is_whitespace() || "/?#'\"`<>\\".contains(c);
        let authority = &rest[..rest.find(ends).unwrap_or(rest.len())];
        let (credentials, _) = authority.rsplit_once('@')?;
        let (user, password) = credentials.split_once(':')?;
        // What is still to be put in is none.
        let is_one = !password.is_empty() && !password.starts_with(['$', '{']) && password != MASK;
        let start = begin + user.len() + 1;
        is_one.then_some(start..start + password.len())
    })
}

/// `text` with `hidden` replaced, of which each line has its own replacement.
fn replaced(text: &str, hidden: &[Range<usize>], replacement: impl Fn(&str) -> String) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut end = 0;
    for range in hidden {
        shown.push_str(&text[end..range.start]);
        for line in text[range.clone()].split_inclusive('\n') {
            let part = line.trim_matches([' ', '\t', '\r', '\n']);
            let indent = line.len() - line.trim_start_matches([' ', '\t', '\r', '\n']).len();
            shown.push_str(&line[..indent]);
            if !part.is_empty() {
                shown.push_str(&replacement(part));
            }
            shown.push_str(&line[indent + part.len()..]);
        }
        end = range.end;
    }
    shown.push_str(&text[end..]);
    shown
}

/// A random word of `length` letters and digits, for passwords.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random(length: usize) -> Result<String, Failure> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ab";
    let mut bytes = vec![0_u8; length];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Kind::Io, format!("the system gives no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_secrets_in_text_and_json() {
        let secrets = Secrets::default();
        secrets.add("hunter22");
        assert_eq!(secrets.masked("pw=hunter22 abc"), "pw=*** abc");
        secrets.add("hunter22-and-more");
        assert_eq!(secrets.masked("pw=hunter22-and-more"), "pw=***", "no end of it is left");
        assert_eq!(secrets.covered("pw=hunter22 abc"), "pw=******** abc");
        secrets.add("22-and-less");
        assert_eq!(secrets.masked("hunter22-and-less"), "***", "nor of one that overlaps");
        secrets.add("1234567");
        let mut value = serde_json::json!({"hunter22": ["x hunter22", 1_234_567, 8], "b": true});
        secrets.mask_json(&mut value);
        assert_eq!(value, serde_json::json!({"***": ["x ***", "***", 8], "b": true}));
    }

    #[test]
    fn masks_what_is_encoded_or_escaped() {
        let secrets = Secrets::default();
        assert_eq!(secrets.add("s3cr'et \"x\" /é"), Hidden::Everywhere);
        for text in [
            "czNjcidldCAieCIgL8Op",
            "73336372276574202278222 02fc3a9".replace(' ', "").as_str(),
            "73336372276574202278222 02FC3A9".replace(' ', "").as_str(),
            "s3cr''et \"x\" /é",
            r#"s3cr'\''et "x" /é"#,
            r#"s3cr'et \"x\" \/\u00e9"#,
            r#"s3cr\'et\ \"x\"\ /é"#,
            "s3cr%27et%20%22x%22%20%2f%C3%A9",
            "s3cr'et+\"x\"+/%c3%a9",
            "s3cr'et \n\"x\" /é",
        ] {
            let masked = secrets.masked(&format!("<{text}>"));
            assert!(["<***>", "<*** \n***>"].contains(&masked.as_str()), "{text}: {masked}");
        }
    }

    #[test]
    fn a_short_one_is_a_word_or_nothing() {
        let secrets = Secrets::default();
        assert_eq!(secrets.add("abc"), Hidden::AsWord);
        assert_eq!(secrets.masked("abc=abcd, dabc, abc_ (abc)"), "***=abcd, dabc, abc_ (***)");
        assert_eq!(secrets.add("x"), Hidden::Nowhere);
        assert_eq!(secrets.masked("x"), "x");
    }

    #[test]
    fn passwords_of_urls_need_not_be_known() {
        let secrets = Secrets::default();
        for (text, masked) in [
            ("see postgres://app:p%40ss@h:1/d?x=a@b", "see postgres://app:***@h:1/d?x=a@b"),
            ("redis://:pw@h, amqp://u:a:b@c@h", "redis://:***@h, amqp://u:***@h"),
            ("http://h:80/a:b@c http://u@h", "http://h:80/a:b@c http://u@h"),
            ("postgres://u:${pw}@h postgres://u:$(PW)@h", "postgres://u:${pw}@h postgres://u:$(PW)@h"),
        ] {
            assert_eq!(secrets.masked(text), masked);
        }
        secrets.add("postgres://u:in-a-url@h/d");
        assert_eq!(secrets.masked("password in-a-url"), "password ***");
    }

    #[test]
    fn lines_are_masked_together() {
        let secrets = Secrets::default();
        secrets.add("hunter22-and-more");
        let mut lines = ["x hunter22-".to_owned(), "and-more".to_owned(), "end".to_owned()];
        secrets.mask_lines(&mut lines);
        assert_eq!(lines, ["x ***", "***", "end"]);
    }
}
