//! What is to be applied: the migrations of a folder, in order.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

use super::{
    discover::{self, FolderError, SqlFile},
    goose::{self, GooseError},
    named::{self, NameError},
    script::{Located, Location, Script, ScriptError},
};

/// How the files of a folder say what is a migration and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `001_name.sql` with `-- +goose Up` in it.
    Goose,
    /// `001_name.up.sql`, beside `001_name.down.sql`.
    UpDown,
    /// `V1.2__name.sql`, and `R__name.sql`, which is applied again whenever it changes.
    Versioned,
    /// Any `.sql` files, in the order of their names.
    Plain,
}

/// The style asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Look at the files.
    #[default]
    Auto,
    /// This one, whatever the files look like.
    Is(Style),
}

impl Style {
    /// The name in scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Goose => "goose",
            Self::UpDown => "updown",
            Self::Versioned => "versioned",
            Self::Plain => "plain",
        }
    }
}

impl Format {
    /// Every name that `parse` takes.
    pub const NAMES: [&str; 5] = ["auto", "goose", "updown", "versioned", "plain"];
}

/// A name that is no format.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown migration format `{name}`: one of {}", Format::NAMES.join(", "))]
pub struct UnknownFormat {
    /// The name.
    pub name: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Ok(match name {
            "auto" => Self::Auto,
            "goose" => Self::Is(Style::Goose),
            "updown" => Self::Is(Style::UpDown),
            "versioned" => Self::Is(Style::Versioned),
            "plain" => Self::Is(Style::Plain),
            _ => return Err(UnknownFormat { name: name.to_owned() }),
        })
    }
}

/// What identifies a migration, in the order in which migrations are applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// `[1, 2]` for `V1.2__name.sql`, without zeros at the end.
    Numbered(Vec<u64>),
    /// A plain file's name.
    Named(String),
    /// `R__name`, without an order among versions.
    Repeatable(String),
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Numbered(numbers) => {
                let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
                f.write_str(&numbers.join("."))
            }
            Self::Named(name) | Self::Repeatable(name) => f.write_str(name),
        }
    }
}

/// One file to apply.
#[derive(Debug, Clone)]
pub struct Migration {
    pub(super) version: Version,
    pub(super) file: PathBuf,
    pub(super) name: String,
    /// The file's text, without a byte order mark.
    pub(super) source: String,
    pub(super) checksum: String,
    pub(super) script: Script,
}

impl Migration {
    /// The file's name, without the folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's text, without a byte order mark.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A digest of what the file applies; line ends do not count.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }

    /// A digest of all that decides what the file does: its bytes, the texts
    /// that are sent, with variables put in, and whether in a transaction.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        add(&self.source);
        add(&self.checksum);
        add(&self.version.to_string());
        add(if self.script.transaction { "transaction" } else { "" });
        self.script.pieces().iter().for_each(|piece| add(piece.text()));
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

/// The migrations of a folder, in order.
#[derive(Debug)]
pub struct Plan {
    /// The style of the files.
    pub style: Style,
    /// Why that style: "format is given", or what was found in which file.
    pub why: String,
    /// In the order of application.
    pub migrations: Vec<Migration>,
}

impl Plan {
    /// The first `count` migrations alone.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let migrations = self.migrations.iter().take(count).cloned().collect();
        Self { style: self.style, why: self.why.clone(), migrations }
    }
}

/// A folder that cannot be applied.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The folder or its files cannot be read, or do not agree on a style.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The name of a file.
    #[error("cannot use migration {}", file.display())]
    Name {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: NameError,
    },
    /// The text of a file.
    #[error("cannot use migration {}:{}:{}", file.display(), at.line, at.column)]
    Text {
        /// The file.
        file: PathBuf,
        /// The place in it.
        at: Location,
        /// What is wrong there.
        #[source]
        problem: TextError,
    },
}

/// The text of a migration is not right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// In goose's marks.
    #[error(transparent)]
    Goose(#[from] GooseError),
    /// In the SQL.
    #[error(transparent)]
    Sql(#[from] ScriptError),
}

/// Reads the folder, and checks all that can be checked without a database.
///
/// Hidden files and folders inside are left alone. With goose's `ENVSUB ON`, variables of this
/// process's environment are put into the text.
///
/// # Errors
/// Names the folder or the file, and for its text the line and column.
pub fn read(dir: &Path, format: Format) -> Result<Plan, PlanError> {
    let folder = discover::list(dir)?;
    let (style, why) = match format {
        Format::Auto => folder.detect()?,
        Format::Is(style) => (style, "format is given".to_owned()),
    };
    let migrations = match style {
        Style::Goose => goose::migrations(folder)?,
        Style::UpDown => named::up_down(folder)?,
        Style::Versioned => named::versioned(folder)?,
        Style::Plain => named::plain(folder)?,
    };
    Ok(Plan { style, why, migrations })
}

/// Puts migrations in order.
///
/// # Errors
/// Two files with one version.
pub(super) fn in_order(mut migrations: Vec<Migration>) -> Result<Vec<Migration>, PlanError> {
    migrations.sort_by(|a, b| a.version.cmp(&b.version));
    for pair in migrations.windows(2) {
        if pair[0].version == pair[1].version {
            let problem =
                NameError::Duplicate { version: pair[1].version.to_string(), other: pair[0].name.clone() };
            return Err(PlanError::Name { file: pair[1].file.clone(), problem });
        }
    }
    Ok(migrations)
}

impl SqlFile {
    pub(super) fn name_error(&self, problem: NameError) -> PlanError {
        PlanError::Name { file: self.path.clone(), problem }
    }

    pub(super) fn text_error<E: Into<TextError>>(&self, located: Located<E>) -> PlanError {
        PlanError::Text { file: self.path.clone(), at: located.at, problem: located.problem.into() }
    }

    pub(super) fn into_migration(self, version: Version, script: Script, checksum: String) -> Migration {
        Migration { version, file: self.path, name: self.name, source: self.text, checksum, script }
    }
}

/// A digest of text, the same for every kind of line end.
pub(super) fn checksum<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for line in lines {
        hasher.update(line.as_bytes()).update(b"\n");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
