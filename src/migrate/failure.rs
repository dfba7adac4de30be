//! A statement of a migration that PostgreSQL refused, found again in the file.

use std::{fmt, path::PathBuf};

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use super::{
    plan::Migration,
    script::{Location, Message, WITHOUT_TRANSACTION},
};

/// PostgreSQL's refusal of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementError {
    /// The file.
    pub file: PathBuf,
    /// What PostgreSQL points at, else where the statement starts.
    pub at: Location,
    /// Where the statement starts.
    pub statement_at: Location,
    /// The statement's first line, as the file has it.
    pub statement: String,
    /// `ERROR` or `FATAL`, perhaps in the server's language.
    pub severity: String,
    /// The five characters of SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
    /// More about this case.
    pub detail: Option<String>,
    /// What to do, as PostgreSQL or recipe knows it.
    pub hint: Option<String>,
    /// The calls of functions around, the innermost first.
    pub context: Option<String>,
    /// Whether the whole file was undone. If not, the statements before this one have had effect.
    pub undone: bool,
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { line, column } = self.at;
        let Self { message, code, statement, .. } = self;
        let file = self.file.display();
        write!(f, "{file}:{line}:{column}: {message} (SQLSTATE {code}) in `{statement}`")
    }
}

impl std::error::Error for StatementError {}

impl StatementError {
    /// None, if the failing statement is not one of the file.
    pub(super) fn new(
        migration: &Migration,
        message: &Message<'_>,
        completed: usize,
        error: &DbError,
    ) -> Option<Self> {
        let position = match error.position() {
            Some(ErrorPosition::Original(position)) => Some(*position),
            // A position in the body of a function says nothing about the file.
            Some(ErrorPosition::Internal { .. }) | None => None,
        };
        let blame = message.blame(completed, position)?;
        Some(Self {
            file: migration.file.clone(),
            at: clamp(&migration.source, blame.at),
            statement_at: clamp(&migration.source, blame.statement),
            statement: rest_of_line(&migration.source, blame.statement),
            severity: error.severity().to_owned(),
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned).or_else(|| own_hint(error.code())),
            context: error.where_().map(str::to_owned),
            undone: migration.script.transaction,
        })
    }
}

fn own_hint(code: &SqlState) -> Option<String> {
    (*code == SqlState::ACTIVE_SQL_TRANSACTION).then(|| WITHOUT_TRANSACTION.to_owned())
}

/// Keeps a column inside its line: goose's variables may have made the line sent a longer one.
fn clamp(source: &str, at: Location) -> Location {
    let length = line(source, at.line).chars().count();
    Location { column: at.column.min(u32::try_from(length).unwrap_or(u32::MAX).saturating_add(1)), ..at }
}

/// Taken from the file and not from what was sent, which may hold secrets put in for variables.
fn rest_of_line(source: &str, at: Location) -> String {
    line(source, at.line)
        .chars()
        .skip(at.column.saturating_sub(1) as usize)
        .collect::<String>()
        .trim()
        .to_owned()
}

fn line(source: &str, number: u32) -> &str {
    source.lines().nth(number.saturating_sub(1) as usize).unwrap_or_default()
}
