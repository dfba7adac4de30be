//! The SQL of one migration, ready to be sent, and the way back from PostgreSQL's errors to the file.

use thiserror::Error;

use super::statements::{Kind, SplitProblem, Statement, split};

/// How a file is kept out of a transaction.
pub(super) const WITHOUT_TRANSACTION: &str = "mark the file as one without a transaction: \
     `-- +goose NO TRANSACTION`, in other formats `-- no-transaction` as its first line";

/// A place in a file; lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// Something wrong at a place of a file whose name the caller knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Located<E> {
    pub at: Location,
    pub problem: E,
}

/// SQL that a migration must not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScriptError {
    /// Text that ends inside a token, or a command of psql.
    #[error(transparent)]
    Split(#[from] SplitProblem),
    /// Data on the wire, which only a client program can send.
    #[error(
        "`COPY` from or to the client has no data here: use `INSERT`, or `COPY` with a file of the server"
    )]
    CopyStream,
    /// A statement that would end the transaction of the migration.
    #[error(
        "`{0}` breaks the transaction that recipe wraps around each file: remove it, or {WITHOUT_TRANSACTION}"
    )]
    Transaction(String),
}

/// The SQL of one migration.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pieces: Vec<Piece>,
    pub transaction: bool,
}

/// Text that goes to PostgreSQL in one message, if there is no transaction.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    text: String,
    /// The file's line of each line of the text.
    lines: Vec<u32>,
    /// Characters of the file's line before the text's first.
    indent: u32,
    statements: Vec<Statement>,
}

impl Script {
    /// Checks the pieces. A file that itself opens with `BEGIN` and closes with `COMMIT` is taken as
    /// it is meant: both are blanked, since the version's row must be part of the same transaction.
    pub fn new(mut pieces: Vec<Piece>, transaction: bool) -> Result<Self, Located<ScriptError>> {
        if transaction {
            unwrap_transaction(&mut pieces)?;
        }
        for piece in &pieces {
            for statement in &piece.statements {
                let problem = match statement.kind {
                    Kind::CopyStream => ScriptError::CopyStream,
                    Kind::Begin | Kind::Commit | Kind::Transaction if transaction => {
                        ScriptError::Transaction(piece.text[statement.range.clone()].to_owned())
                    }
                    _ => continue,
                };
                return Err(Located { at: piece.location(statement.range.start), problem });
            }
        }
        Ok(Self { pieces, transaction })
    }

    /// A whole file in one transaction, or statement by statement.
    pub fn of_file(text: &str, transaction: bool) -> Result<Self, Located<ScriptError>> {
        let lines = (1..).take(text.split('\n').count()).collect();
        let whole = Piece::new(text.to_owned(), lines)?;
        let pieces = if transaction { vec![whole] } else { whole.into_single_statements() };
        Self::new(pieces, transaction)
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

fn unwrap_transaction(pieces: &mut [Piece]) -> Result<(), Located<ScriptError>> {
    let first = pieces.iter().position(|piece| !piece.statements.is_empty());
    let last = pieces.iter().rposition(|piece| !piece.statements.is_empty());
    let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
    let opening = pieces[first].statements[0].clone();
    let closing = pieces[last].statements[pieces[last].statements.len() - 1].clone();
    if opening.kind == Kind::Begin && closing.kind == Kind::Commit {
        pieces[last].blank(&closing)?;
        pieces[first].blank(&opening)?;
    }
    Ok(())
}

impl Piece {
    /// `lines` holds the file's line of each line of `text`.
    pub fn new(text: String, lines: Vec<u32>) -> Result<Self, Located<ScriptError>> {
        let mut piece = Self { text, lines, indent: 0, statements: Vec::new() };
        piece.statements = piece.split()?;
        Ok(piece)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_blank(&self) -> bool {
        self.statements.is_empty()
    }

    fn split(&self) -> Result<Vec<Statement>, Located<ScriptError>> {
        split(&self.text)
            .map_err(|error| Located { at: self.location(error.offset), problem: error.problem.into() })
    }

    /// Overwrites a statement, leaving every other at its line and column.
    fn blank(&mut self, statement: &Statement) -> Result<(), Located<ScriptError>> {
        let range = statement.range.clone();
        let blank: String =
            self.text[range.clone()].chars().map(|char| if char == '\n' { '\n' } else { ' ' }).collect();
        self.text.replace_range(range, &blank);
        self.statements = self.split()?;
        Ok(())
    }

    fn into_single_statements(self) -> Vec<Self> {
        let single = |statement: &Statement| {
            let range = statement.range.clone();
            let at = self.location(range.start);
            let text = self.text[range.clone()].to_owned();
            Self {
                lines: (at.line..).take(text.split('\n').count()).collect(),
                indent: at.column - 1,
                statements: vec![Statement { range: 0..range.len(), ..*statement }],
                text,
            }
        };
        self.statements.iter().map(single).collect()
    }

    fn location(&self, byte: usize) -> Location {
        let before = &self.text[..byte];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let column = u32::try_from(column).unwrap_or(u32::MAX - 1) + 1;
        Location {
            line: self.lines.get(line).or(self.lines.last()).copied().unwrap_or(1),
            column: if line == 0 { column + self.indent } else { column },
        }
    }

    fn is_terminated(&self) -> bool {
        self.statements.last().is_none_or(|statement| statement.terminated)
    }
}

/// One message to PostgreSQL, made of pieces and of recipe's own statements around them.
pub(super) struct Message<'a> {
    pub sql: String,
    /// Each piece, with the byte at which it starts.
    parts: Vec<(usize, &'a Piece)>,
    /// How many statements of recipe's own come first.
    leading: usize,
}

/// Where the blame for a failed message lies.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Blame {
    /// What PostgreSQL points at, else the start of the statement.
    pub at: Location,
    /// Where the failing statement starts.
    pub statement: Location,
}

impl<'a> Message<'a> {
    /// The whole script in a transaction that ends with the statements of `record`.
    pub fn transaction(script: &'a Script, record: &str) -> Self {
        let mut message = Self { sql: "BEGIN;\n".to_owned(), parts: Vec::new(), leading: 1 };
        for piece in &script.pieces {
            message.parts.push((message.sql.len(), piece));
            message.sql.push_str(&piece.text);
            // A line of its own: the text may end in a comment.
            message.sql.push_str(if piece.is_terminated() { "\n" } else { "\n;\n" });
        }
        message.sql.push_str(record);
        message.sql.push_str("\nCOMMIT;");
        message
    }

    /// A piece without a transaction.
    pub fn piece(piece: &'a Piece) -> Self {
        Self { sql: piece.text.clone(), parts: vec![(0, piece)], leading: 0 }
    }

    /// Finds the failing statement: `completed` statements of the message had succeeded, and
    /// PostgreSQL may point at a `position` of it, in characters from 1. None, if the statement
    /// is recipe's own.
    pub fn blame(&self, completed: usize, position: Option<u32>) -> Option<Blame> {
        let first = self.parts.first()?.1;
        let mut statements = self.parts.iter().flat_map(|&(_, piece)| {
            piece.statements.iter().map(move |statement| (piece, statement.range.start))
        });
        let (piece, start) = match completed.checked_sub(self.leading) {
            Some(index) => statements.nth(index)?,
            // A syntax error comes before anything runs, so the count says nothing.
            None if position.is_some() => (first, 0),
            None => return None,
        };
        let counted = piece.location(start);
        let Some(position) = position else {
            return Some(Blame { at: counted, statement: counted });
        };
        let byte = self.sql.char_indices().nth(position.saturating_sub(1) as usize);
        let byte = byte.map_or(self.sql.len(), |(byte, _)| byte);
        let (offset, piece) = *self.parts.iter().rev().find(|(offset, _)| *offset <= byte)?;
        // An unfinished last statement is noticed at what follows it.
        let byte = (byte - offset).min(piece.text.trim_end().len());
        let start = piece.statements.iter().rev().find(|statement| statement.range.start <= byte);
        let statement = piece.location(start.map_or(byte, |statement| statement.range.start));
        Some(Blame { at: piece.location(byte), statement })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        Script::of_file(text, true).unwrap()
    }

    fn at(line: u32, column: u32) -> Location {
        Location { line, column }
    }

    #[test]
    fn one_message_holds_the_file_and_the_record() {
        let script = script("SELECT 1;\nSELECT 2 -- last");
        let message = Message::transaction(&script, "SELECT 3;");
        assert_eq!(message.sql, "BEGIN;\nSELECT 1;\nSELECT 2 -- last\n;\nSELECT 3;\nCOMMIT;");
    }

    #[test]
    fn blames_by_position_and_by_count() {
        let script = script("SELECT 'é';\n\n  SELECT nope;\nSELECT 3;");
        let message = Message::transaction(&script, "INSERT;");
        let position = message.sql.find("nope").map(|byte| message.sql[..byte].chars().count() + 1);
        let position = position.and_then(|position| u32::try_from(position).ok());
        let blame = |at, statement| Some(Blame { at, statement });
        assert_eq!(message.blame(2, position), blame(at(3, 10), at(3, 3)));
        assert_eq!(message.blame(0, position), blame(at(3, 10), at(3, 3)));
        assert_eq!(message.blame(2, None), blame(at(3, 3), at(3, 3)));
        assert_eq!(message.blame(3, None), blame(at(4, 1), at(4, 1)));
        assert_eq!(message.blame(4, None), None, "the record");
        assert_eq!(message.blame(0, None), None, "BEGIN");
        assert_eq!(message.blame(0, Some(9999)), blame(at(4, 10), at(4, 1)), "clamped to the file");
    }

    #[test]
    fn a_transaction_around_the_file_is_blanked() {
        let script = script("BEGIN;\nSELECT 1;\nCOMMIT; -- done\n");
        assert_eq!(script.pieces[0].text, "      \nSELECT 1;\n        -- done\n");
        assert_eq!(script.pieces[0].statements.len(), 1);
    }

    #[test]
    fn refuses_other_transaction_control_and_streams() {
        let error = |text| Script::of_file(text, true).unwrap_err();
        assert_eq!(error("SELECT 1;\nCOMMIT;\nSELECT 2;").at, at(2, 1));
        assert_eq!(error("COPY t FROM stdin;").problem, ScriptError::CopyStream);
        assert_eq!(error("SELECT 1;\n 'x").at, at(2, 2));
        assert!(Script::of_file("SELECT 1; COMMIT; SELECT 2;", false).is_ok());
    }

    #[test]
    fn without_transaction_each_statement_is_a_piece_at_its_own_place() {
        let script = Script::of_file("SELECT 1; SELECT\n2;", false).unwrap();
        let [first, second] = &script.pieces[..] else { panic!("two pieces") };
        assert_eq!((first.text.as_str(), second.text.as_str()), ("SELECT 1;", "SELECT\n2;"));
        assert_eq!((second.location(0), second.location(7)), (at(1, 11), at(2, 1)));
    }
}
