//! What a step of a recipe used last: where its next run looks first, and what
//! that run is compared with to say why it found nothing.
//!
//! Nothing here decides what a database holds. A recollection that is wrong, or
//! lost, costs time and words.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::{DAY, EXTENSIONS, MigratedFile, PROGRAM, Part, SERVER};
use crate::targets::caches::{Caches, at, write};

/// The last run of a step that deploys a server, and of those that migrate it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recollection {
    /// When it was written.
    pub made: Timestamp,
    /// The version of the server.
    pub version: String,
    /// What its cluster was made from.
    pub parts: Vec<Part>,
    /// The entry that holds the most of it.
    pub entry: String,
    /// What its migrations met.
    pub surroundings: Vec<Part>,
    /// Its calls of `migrate`, in order.
    pub calls: Vec<Migrated>,
    /// Why migrations are not kept, where they cannot be.
    pub refusal: Option<String>,
}

/// A call of `migrate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::targets) struct Migrated {
    /// The style and the table.
    pub manner: String,
    /// The files.
    pub files: Vec<MigratedFile>,
}

/// The name of the recollection of a server of a recipe.
pub(super) fn step(caches: &Caches, server: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(caches.recipe.as_os_str().as_encoded_bytes()).update(b"\0").update(server.as_bytes());
    hasher.finalize().to_hex()[..16].to_owned()
}

impl Recollection {
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        write(path, &serde_json::to_vec(self)?)
    }

    /// Why a cluster made from `parts`, of a server of this version, is not the
    /// one that was used last.
    pub fn why_another_cluster(&self, version: &str, parts: &[Part]) -> String {
        let Some((name, old, new)) = difference(&self.parts, parts) else {
            return "what was kept of it was removed meanwhile".to_owned();
        };
        let since = since(self.made);
        match (name, old, new) {
            (PROGRAM, ..) => format!("recipe itself has changed {since}"),
            (SERVER, ..) if version != self.version => {
                format!("PostgreSQL {version} is not {}", self.version)
            }
            (SERVER, ..) => format!("PostgreSQL {version} was installed anew {since}"),
            (name, Some(old), Some(new)) => format!("{name} is {new}, and was {old} at {}", at(self.made)),
            (name, None, _) => format!("{name} is new {since}"),
            (name, _, None) => format!("{name} is gone {since}"),
        }
    }

    /// Why call `number` of `migrate` did not find its database, `files` having
    /// been asked for in these surroundings.
    pub fn why_other_migrations(
        &self,
        number: usize,
        surroundings: &[Part],
        manner: &str,
        files: &[MigratedFile],
    ) -> String {
        let since = since(self.made);
        match difference(&self.surroundings, surroundings) {
            Some((DAY, ..)) => {
                return format!("they were applied at {}, and may ask what day it is", at(self.made));
            }
            Some((EXTENSIONS, ..)) => return format!("PostgreSQL's extensions have changed {since}"),
            _ => {}
        }
        let Some(call) = self.calls.get(number) else { return format!("`migrate` is new {since}") };
        let changed = files.iter().find(|file| {
            call.files.iter().any(|known| known.name == file.name && known.digest != file.digest)
        });
        let new = files.iter().find(|file| !call.files.iter().any(|known| known.name == file.name));
        let gone = call.files.iter().find(|known| !files.iter().any(|file| known.name == file.name));
        match (changed, new, gone) {
            (Some(file), ..) => format!("{} changed {since}", file.name),
            (_, Some(file), _) => format!("{} is new {since}", file.name),
            (.., Some(file)) => format!("{} is gone {since}", file.name),
            _ if call.manner != manner => format!("they are applied in another way {since}"),
            _ => self.refusal.clone().unwrap_or_else(|| "what was kept of them was removed".to_owned()),
        }
    }
}

/// The first part that differs, with its value in both.
fn difference<'p>(old: &'p [Part], new: &'p [Part]) -> Option<(&'p str, Option<&'p str>, Option<&'p str>)> {
    let value = |parts: &'p [Part], name: &str| {
        parts.iter().find(|part| part.name == name).map(|part| part.value.as_str())
    };
    let names = old.iter().chain(new).map(|part| part.name.as_str());
    let mut all = names.map(|name| (name, value(old, name), value(new, name)));
    all.find(|(_, old, new)| old != new)
}

/// `since 14:02`, or with the day where that is not today's.
fn since(time: Timestamp) -> String {
    format!("since {}", at(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, value: &str) -> Part {
        Part { name: name.to_owned(), value: value.to_owned() }
    }

    fn file(name: &str, digest: &str) -> MigratedFile {
        MigratedFile { key: String::new(), name: name.to_owned(), digest: digest.to_owned() }
    }

    fn recollection() -> Recollection {
        Recollection {
            made: Timestamp::now(),
            version: "15.18".to_owned(),
            parts: vec![part(SERVER, "inode 1"), part("user", "app"), part("setting work_mem", "4MB")],
            entry: String::new(),
            surroundings: vec![part(DAY, "monday")],
            calls: vec![Migrated {
                manner: "goose".to_owned(),
                files: vec![file("m/1.sql", "a"), file("m/2.sql", "b")],
            }],
            refusal: None,
        }
    }

    #[test]
    fn a_miss_is_told_in_words() {
        let known = recollection();
        let with = |at: usize, value: &str| {
            let mut parts = known.parts.clone();
            parts[at].value = value.to_owned();
            parts
        };
        let time = at(known.made);
        for (version, parts, why) in [
            ("15.19", with(0, "inode 2"), "PostgreSQL 15.19 is not 15.18".to_owned()),
            ("15.18", with(0, "inode 2"), format!("PostgreSQL 15.18 was installed anew since {time}")),
            ("15.18", with(1, "ann"), format!("user is ann, and was app at {time}")),
            ("15.18", known.parts[..2].to_vec(), format!("setting work_mem is gone since {time}")),
            ("15.18", known.parts.clone(), "what was kept of it was removed meanwhile".to_owned()),
        ] {
            assert_eq!(known.why_another_cluster(version, &parts), why);
        }
        let why = |files: &[MigratedFile]| {
            known.why_other_migrations(0, &known.surroundings, "goose", files).replace(&time, "TIME")
        };
        assert_eq!(why(&[file("m/1.sql", "a"), file("m/2.sql", "c")]), "m/2.sql changed since TIME");
        assert_eq!(why(&[file("m/1.sql", "a")]), "m/2.sql is gone since TIME");
        let longer = [file("m/1.sql", "a"), file("m/2.sql", "b"), file("m/3.sql", "c")];
        assert_eq!(why(&longer), "m/3.sql is new since TIME");
        let tuesday = [part(DAY, "tuesday")];
        let why = known.why_other_migrations(0, &tuesday, "goose", &longer);
        assert_eq!(why, format!("they were applied at {time}, and may ask what day it is"));
    }
}
