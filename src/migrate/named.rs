//! The styles in which the file's name says it all: up and down pairs, versions, and plain files.

use thiserror::Error;

use super::{
    discover::{Folder, SqlFile},
    goose,
    plan::{self, Migration, PlanError, Version},
    script::Script,
};

/// A first line that asks for no transaction.
const NO_TRANSACTION: &str = "-- no-transaction";

/// A file whose name, or kind, does not fit the style.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// No version where one belongs.
    #[error("its name must start with a number greater than zero and `_`, as in `{example}`")]
    NoNumber {
        /// A good name.
        example: &'static str,
    },
    /// Neither the way up nor the way down.
    #[error("its name must end in `.up.sql` or `.down.sql`")]
    NotUpOrDown,
    /// A way down alone.
    #[error("the way up, `{0}`, is not there")]
    DownWithoutUp(String),
    /// No version as the style has it.
    #[error("its name must be like `V1__name.sql`, `V1.2__name.sql` or `R__name.sql`")]
    NotVersioned,
    /// Two files claim one version.
    #[error("version {version} is that of {other} too: give each file a version of its own")]
    Duplicate {
        /// The version.
        version: String,
        /// The other file.
        other: String,
    },
    /// Numbers that are not in the order of names.
    #[error("by number it comes before {other}, by name after it: pad the numbers with zeros")]
    AmbiguousOrder {
        /// The file before it.
        other: String,
    },
    /// A migration written in Go.
    #[error("it is a Go migration, which only the service's own binary can run: let the service migrate")]
    GoMigration,
    /// A file with the way down in it.
    #[error("it is a file of {tool} (`{mark}`), of which recipe would also run the way down: {hint}")]
    OtherTool {
        /// The tool.
        tool: &'static str,
        /// What gave it away.
        mark: &'static str,
        /// What to do.
        hint: &'static str,
    },
}

/// Marks of tools that keep the way up and the way down in one file.
const OTHER_TOOLS: [(&str, &str); 4] = [
    ("-- +migrate Down", "sql-migrate"),
    ("-- migrate:down", "dbmate"),
    ("---- create above / drop below ----", "tern"),
    ("-- +micrate Down", "micrate"),
];

pub(super) fn is_up_or_down(name: &str) -> bool {
    name.ends_with(".up.sql") || name.ends_with(".down.sql")
}

pub(super) fn is_versioned(name: &str) -> bool {
    version_of(name, 'U').is_some()
        || matches!(versioned_name(name), Some(Version::Numbered(_) | Version::Repeatable(_)))
}

/// `1_name.up.sql`, and its `.down.sql`, which is never applied.
pub(super) fn up_down(folder: Folder) -> Result<Vec<Migration>, PlanError> {
    let names: Vec<_> = folder.files.iter().map(|file| file.name.clone()).collect();
    let mut migrations = Vec::new();
    for file in folder.files {
        if let Some(stem) = file.name.strip_suffix(".down.sql") {
            let up = format!("{stem}.up.sql");
            if !names.contains(&up) {
                return Err(file.name_error(NameError::DownWithoutUp(up)));
            }
            continue;
        }
        let Some(stem) = file.name.strip_suffix(".up.sql") else {
            return Err(file.name_error(NameError::NotUpOrDown));
        };
        let number = stem.split('_').next().and_then(|number| number.parse().ok());
        let Some(number @ 1..) = number else {
            return Err(file.name_error(NameError::NoNumber { example: "001_name.up.sql" }));
        };
        migrations.push(whole(file, Version::Numbered(vec![number]))?);
    }
    plan::in_order(migrations)
}

/// `V1.2__name.sql`, then `R__name.sql`; `U1.2__name.sql`, the way down, is never applied.
pub(super) fn versioned(folder: Folder) -> Result<Vec<Migration>, PlanError> {
    let mut migrations = Vec::new();
    for file in folder.files {
        match versioned_name(&file.name) {
            Some(version) => migrations.push(whole(file, version)?),
            None if version_of(&file.name, 'U').is_some() => {}
            None => return Err(file.name_error(NameError::NotVersioned)),
        }
    }
    plan::in_order(migrations)
}

fn versioned_name(name: &str) -> Option<Version> {
    if let Some(stem) = name.strip_prefix("R__").and_then(|rest| rest.strip_suffix(".sql")) {
        return Some(Version::Repeatable(format!("R__{stem}")));
    }
    version_of(name, 'V').map(Version::Numbered)
}

/// `[1, 2]` of `V1.2__name.sql` or `V1_2__name.sql`; `1.0` is the same as `1`.
fn version_of(name: &str, prefix: char) -> Option<Vec<u64>> {
    let (version, _) = name.strip_prefix(prefix)?.strip_suffix(".sql")?.split_once("__")?;
    let mut numbers =
        version.split(['.', '_']).map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
    while numbers.len() > 1 && numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

/// Every file, in the order of names.
pub(super) fn plain(folder: Folder) -> Result<Vec<Migration>, PlanError> {
    let numbers: Vec<_> = folder.files.iter().map(|file| leading_number(&file.name)).collect();
    for (at, pair) in numbers.windows(2).enumerate() {
        if let [Some(first), Some(second)] = pair
            && second < first
        {
            let problem = NameError::AmbiguousOrder { other: folder.files[at].name.clone() };
            return Err(folder.files[at + 1].name_error(problem));
        }
    }
    let migration = |file: SqlFile| {
        let version = Version::Named(file.name.clone());
        whole(file, version)
    };
    folder.files.into_iter().map(migration).collect()
}

fn leading_number(name: &str) -> Option<u64> {
    let end = name.find(|c: char| !c.is_ascii_digit()).unwrap_or(name.len());
    name[..end].parse().ok()
}

/// A migration that is the whole file.
fn whole(file: SqlFile, version: Version) -> Result<Migration, PlanError> {
    if let Some(problem) = other_tool(&file.text) {
        return Err(file.name_error(problem));
    }
    let transaction = file.text.lines().next().is_none_or(|line| line.trim_end() != NO_TRANSACTION);
    let script = Script::of_file(&file.text, transaction).map_err(|error| file.text_error(error))?;
    let checksum = plan::checksum(file.text.lines());
    Ok(file.into_migration(version, script, checksum))
}

fn other_tool(text: &str) -> Option<NameError> {
    if goose::first_mark(text).is_some() {
        let hint = "give `format: \"goose\"`";
        return Some(NameError::OtherTool { tool: "goose", mark: "-- +goose", hint });
    }
    let starts = |mark: &str| {
        let length = mark.len();
        text.lines().any(|line| line.get(..length).is_some_and(|start| start.eq_ignore_ascii_case(mark)))
    };
    let &(mark, tool) = OTHER_TOOLS.iter().find(|(mark, _)| starts(mark))?;
    Some(NameError::OtherTool { tool, mark, hint: "run that tool with `sh`, or split the files" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> Folder {
        let mut files: Vec<_> = files
            .iter()
            .map(|&(name, text)| SqlFile { path: name.into(), name: name.into(), text: text.into() })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Folder { files, others: Vec::new() }
    }

    fn names(migrations: Result<Vec<Migration>, PlanError>) -> Vec<String> {
        migrations.unwrap().into_iter().map(|migration| migration.name).collect()
    }

    fn problem(migrations: Result<Vec<Migration>, PlanError>) -> NameError {
        match migrations.unwrap_err() {
            PlanError::Name { problem, .. } => problem,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn pairs_are_ordered_by_number_and_never_go_down() {
        let files = folder(&[("10_b.up.sql", ""), ("9_a.up.sql", ""), ("9_a.down.sql", "DROP")]);
        assert_eq!(names(up_down(files)), ["9_a.up.sql", "10_b.up.sql"]);
        let twice = folder(&[("1_a.up.sql", ""), ("01_b.up.sql", "")]);
        assert!(matches!(problem(up_down(twice)), NameError::Duplicate { .. }));
        assert!(matches!(problem(up_down(folder(&[("1_a.down.sql", "")]))), NameError::DownWithoutUp(_)));
        assert!(matches!(problem(up_down(folder(&[("a.up.sql", "")]))), NameError::NoNumber { .. }));
        assert!(matches!(problem(up_down(folder(&[("1_a.sql", "")]))), NameError::NotUpOrDown));
    }

    #[test]
    fn versions_are_ordered_by_their_parts_and_repeatables_come_last() {
        let files = folder(&[
            ("R__views.sql", ""),
            ("V1.10__c.sql", ""),
            ("V1.2__b.sql", ""),
            ("V1__a.sql", ""),
            ("V2_1__d.sql", ""),
            ("U1__a.sql", "DROP"),
        ]);
        assert_eq!(
            names(versioned(files)),
            ["V1__a.sql", "V1.2__b.sql", "V1.10__c.sql", "V2_1__d.sql", "R__views.sql"]
        );
        let twice = folder(&[("V1__a.sql", ""), ("V1.0__b.sql", "")]);
        assert!(matches!(problem(versioned(twice)), NameError::Duplicate { .. }));
        assert_eq!(problem(versioned(folder(&[("v1_a.sql", "")]))), NameError::NotVersioned);
    }

    #[test]
    fn plain_files_are_in_the_order_of_names_which_must_be_that_of_numbers() {
        assert_eq!(names(plain(folder(&[("b.sql", ""), ("a.sql", "")]))), ["a.sql", "b.sql"]);
        let unpadded = folder(&[("9_a.sql", ""), ("10_b.sql", "")]);
        assert_eq!(problem(plain(unpadded)), NameError::AmbiguousOrder { other: "10_b.sql".to_owned() });
    }

    #[test]
    fn files_that_also_hold_the_way_down_are_refused() {
        for text in
            ["-- +goose Down\n", "SELECT 1;\n-- MIGRATE:DOWN\n", "---- create above / drop below ----"]
        {
            let found = problem(plain(folder(&[("a.sql", text)])));
            assert!(matches!(found, NameError::OtherTool { .. }), "{text}");
        }
    }

    #[test]
    fn a_first_line_turns_the_transaction_off() {
        let migrations =
            plain(folder(&[("a.sql", "-- no-transaction\r\nVACUUM; ANALYZE;"), ("b.sql", "")])).unwrap();
        assert!(!migrations[0].script.transaction);
        assert_eq!(migrations[0].script.pieces().len(), 2);
        assert!(migrations[1].script.transaction);
    }
}
