//! Files of goose: one file holds the way up and the way down, told apart by marks in comments.
//!
//! A file must mean here what it means to goose, so this follows goose's reader line by line: its
//! statements end at a line that ends in `;`, except between `StatementBegin` and `StatementEnd`.
//! Where goose would send half a statement, or lose a line, the file is refused.

use std::path::Path;

use thiserror::Error;

use super::{
    discover::{Folder, SqlFile},
    envsub::{self, EnvsubError},
    named::NameError,
    plan::{self, Migration, PlanError, TextError, Version},
    script::{Located, Location, Piece, Script},
};

/// The mark that every file has.
const UP: &str = "-- +goose Up";

/// Marks of goose that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GooseError {
    /// No way up.
    #[error("`{UP}` is missing: put it on a line of its own before the first statement")]
    MissingUp,
    /// SQL outside the two parts.
    #[error("SQL before `{UP}`: goose refuses it, move it below the mark")]
    TextBeforeUp,
    /// A comment that looks like a mark.
    #[error(
        "unknown mark `{0}`: goose knows Up, Down, StatementBegin, StatementEnd, NO TRANSACTION, ENVSUB ON \
         and ENVSUB OFF"
    )]
    UnknownMark(String),
    /// White space before a mark.
    #[error("a mark of goose must start at the first column")]
    Indented,
    /// A mark in the wrong place.
    #[error("`-- +goose {mark}` cannot stand here: {why}")]
    Misplaced {
        /// The mark.
        mark: &'static str,
        /// What goose expects.
        why: &'static str,
    },
    /// `StatementBegin` without an end.
    #[error("`-- +goose StatementEnd` is missing for the `StatementBegin` here")]
    MissingEnd,
    /// A block that goose would mishandle.
    #[error(
        "nothing stands between `StatementBegin` and `StatementEnd`: goose would lose the line that follows"
    )]
    EmptyBlock,
    /// A statement without an end.
    #[error("the statement here is not finished: `;` is missing at the end of its last line")]
    MissingSemicolon,
    /// A `;` at the end of a line inside a string or a body.
    #[error(
        "goose ends a statement at `;` at a line's end, which cuts this one: put it between \
         `-- +goose StatementBegin` and `-- +goose StatementEnd` ({0})"
    )]
    CutInside(String),
    /// A variable that cannot be put in.
    #[error(transparent)]
    Envsub(#[from] EnvsubError),
}

/// All migrations of a folder of goose files.
pub(super) fn migrations(folder: Folder) -> Result<Vec<Migration>, PlanError> {
    // goose runs these from the service's own binary; without them the schema would be another.
    let in_go = |name: &&String| {
        name.strip_suffix(".go").is_some_and(|stem| !stem.ends_with("_test") && version(name).is_ok())
    };
    if let Some(name) = folder.others.iter().find(in_go) {
        let dir = folder.files[0].path.parent().unwrap_or(Path::new(""));
        return Err(PlanError::Name { file: dir.join(name), problem: NameError::GoMigration });
    }
    let migration = |file: SqlFile| {
        let version = version(&file.name).map_err(|problem| file.name_error(problem))?;
        let parsed =
            parse(&file.text, &|name| std::env::var(name).ok()).map_err(|error| file.text_error(error))?;
        Ok(file.into_migration(version, parsed.script, parsed.checksum))
    };
    plan::in_order(folder.files.into_iter().map(migration).collect::<Result<_, PlanError>>()?)
}

/// The number before the first `_`.
fn version(name: &str) -> Result<Version, NameError> {
    let number = name.split_once('_').and_then(|(number, _)| number.parse::<i64>().ok());
    match number.map(u64::try_from) {
        Some(Ok(number @ 1..)) => Ok(Version::Numbered(vec![number])),
        _ => Err(NameError::NoNumber { example: "001_name.sql" }),
    }
}

/// The first mark of a text and its line, from 1.
pub(super) fn first_mark(text: &str) -> Option<(usize, &str)> {
    let is_mark = |(_, line): &(usize, &str)| matches!(mark(line), Ok(Some(_)));
    (1..).zip(text.lines()).find(is_mark).map(|(number, line)| (number, line.trim_end()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Up,
    Down,
    StatementBegin,
    StatementEnd,
    NoTransaction,
    EnvsubOn,
    EnvsubOff,
}

const MARKS: [(&str, Mark); 7] = [
    ("Up", Mark::Up),
    ("Down", Mark::Down),
    ("StatementBegin", Mark::StatementBegin),
    ("StatementEnd", Mark::StatementEnd),
    ("NO TRANSACTION", Mark::NoTransaction),
    ("ENVSUB ON", Mark::EnvsubOn),
    ("ENVSUB OFF", Mark::EnvsubOff),
];

/// The mark on a line. As in goose, any comment line with `+goose` in it must be one.
fn mark(line: &str) -> Result<Option<Mark>, GooseError> {
    if !line.trim_start().starts_with("--") || !line.contains("+goose") {
        return Ok(None);
    }
    if line.starts_with([' ', '\t']) {
        return Err(GooseError::Indented);
    }
    let word = line.replace("--", "").replacen("+goose", "", 1);
    let known = MARKS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.trim()));
    known.map(|&(_, mark)| Some(mark)).ok_or_else(|| GooseError::UnknownMark(line.trim_end().to_owned()))
}

struct Parsed {
    script: Script,
    checksum: String,
}

/// Where the reader stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Before,
    Up,
    Down,
}

struct Reader<'a> {
    part: Part,
    /// The line of the open `StatementBegin`.
    block: Option<u32>,
    transaction: bool,
    envsub: bool,
    text: String,
    lines: Vec<u32>,
    pieces: Vec<Piece>,
    /// The lines that are applied, marks included.
    applied: Vec<&'a str>,
}

/// The script of a file.
#[cfg(test)]
pub(super) fn script(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<Script> {
    parse(text, env).ok().map(|parsed| parsed.script)
}

fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Parsed, Located<TextError>> {
    let mut reader = Reader {
        part: Part::Before,
        block: None,
        transaction: true,
        envsub: false,
        text: String::new(),
        lines: Vec::new(),
        pieces: Vec::new(),
        applied: Vec::new(),
    };
    let mut last = 1;
    for (line, number) in text.lines().zip(1..) {
        reader.line(line, number, env)?;
        last = number;
    }
    match (reader.part, reader.block) {
        (Part::Before, _) => Err(at(last, GooseError::MissingUp)),
        (_, Some(line)) => Err(at(line, GooseError::MissingEnd)),
        _ => reader.no_rest(),
    }?;
    let script = Script::new(reader.pieces, reader.transaction).map_err(widen)?;
    Ok(Parsed { script, checksum: plan::checksum(reader.applied) })
}

fn at(line: u32, problem: GooseError) -> Located<TextError> {
    Located { at: Location { line, column: 1 }, problem: problem.into() }
}

fn widen<E: Into<TextError>>(error: Located<E>) -> Located<TextError> {
    Located { at: error.at, problem: error.problem.into() }
}

impl<'a> Reader<'a> {
    fn line(
        &mut self,
        line: &'a str,
        number: u32,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Located<TextError>> {
        let found = mark(line).map_err(|problem| at(number, problem))?;
        if self.part == Part::Up && found != Some(Mark::Down) {
            self.applied.push(line);
        }
        if let Some(found) = found {
            return self.mark(found, number);
        }
        let before_a_statement = self.text.is_empty();
        if before_a_statement && (line.is_empty() || line.trim_start().starts_with("--")) {
            return Ok(());
        }
        if self.part == Part::Before {
            return if line.trim().is_empty() { Ok(()) } else { Err(at(number, GooseError::TextBeforeUp)) };
        }
        let expanded;
        let line = if self.envsub {
            expanded = envsub::expand(line, env).map_err(|problem| at(number, problem.into()))?;
            &expanded
        } else {
            line
        };
        if self.part == Part::Up {
            self.text.push_str(line);
            self.text.push('\n');
            // A variable may bring lines of its own.
            self.lines.extend(std::iter::repeat_n(number, 1 + line.matches('\n').count()));
            if self.block.is_none() && ends_statement(line) {
                self.finish()?;
            }
        }
        Ok(())
    }

    fn mark(&mut self, mark: Mark, number: u32) -> Result<(), Located<TextError>> {
        let misplaced = |mark, why| Err(at(number, GooseError::Misplaced { mark, why }));
        match (mark, self.part, self.block) {
            (Mark::Up, Part::Before, _) => self.part = Part::Up,
            (Mark::Up, ..) => return misplaced("Up", "a file has one `Up`, before `Down`"),
            (Mark::Down, Part::Up, None) => {
                self.no_rest()?;
                self.part = Part::Down;
            }
            (Mark::Down, _, Some(_)) => return misplaced("Down", "a `StatementBegin` is still open"),
            (Mark::Down, ..) => return misplaced("Down", "a file has one `Down`, after `Up`"),
            (Mark::StatementBegin, Part::Before, _) => {
                return misplaced("StatementBegin", "it belongs after `Up` or `Down`");
            }
            (Mark::StatementBegin, _, Some(_)) => {
                return misplaced("StatementBegin", "a `StatementBegin` is still open");
            }
            (Mark::StatementBegin, ..) => self.block = Some(number),
            (Mark::StatementEnd, _, None) => return misplaced("StatementEnd", "no `StatementBegin` is open"),
            (Mark::StatementEnd, part, Some(begin)) => {
                if part == Part::Up {
                    if self.text.is_empty() {
                        return Err(at(begin, GooseError::EmptyBlock));
                    }
                    self.finish()?;
                }
                self.block = None;
            }
            (Mark::NoTransaction, ..) => self.transaction = false,
            (Mark::EnvsubOn, ..) => self.envsub = true,
            (Mark::EnvsubOff, ..) => self.envsub = false,
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Located<TextError>> {
        let in_block = self.block.is_some();
        let piece = Piece::new(std::mem::take(&mut self.text), std::mem::take(&mut self.lines));
        self.pieces.push(piece.map_err(|error| {
            if in_block {
                return widen(error);
            }
            let problem = GooseError::CutInside(error.problem.to_string());
            Located { at: error.at, problem: problem.into() }
        })?);
        Ok(())
    }

    /// Refuses text that no `;` has ended.
    fn no_rest(&self) -> Result<(), Located<TextError>> {
        let rest = self.text.lines().zip(&self.lines).find(|(line, _)| !line.trim().is_empty());
        rest.map_or(Ok(()), |(_, &line)| Err(at(line, GooseError::MissingSemicolon)))
    }
}

/// Whether the last word before a comment ends in `;`.
fn ends_statement(line: &str) -> bool {
    let words = line.split_whitespace().take_while(|word| !word.starts_with("--"));
    words.last().is_some_and(|word| word.ends_with(';'))
}

#[cfg(test)]
#[path = "goose_tests.rs"]
mod tests;
