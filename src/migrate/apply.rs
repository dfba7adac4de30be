//! Applies a plan to a database.

use std::{
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use thiserror::Error;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use super::{
    failure::StatementError,
    ledger::{Drift, Ledger, TableError},
    plan::{Migration, Plan},
    script::Message,
};
use crate::fault;

/// Undoes what a migration may have set in the session, so that each file meets the same one,
/// whether it runs right after the others or in a later run.
const RESET: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL;";

/// What happens while a plan is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Another process is migrating this database. Sent once.
    WaitingForLock,
    /// A migration starts.
    Started {
        /// The file's name.
        file: &'a str,
        /// Its place among those to apply, from 1.
        number: usize,
        /// How many there are to apply.
        of: usize,
    },
    /// A migration is applied.
    Finished {
        /// The file's name.
        file: &'a str,
        /// How long it took.
        took: Duration,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The names of the files applied now, in order.
    pub applied: Vec<String>,
    /// How many files had been applied before.
    pub already: usize,
    /// The table that remembers them, with its schema.
    pub table: String,
}

/// Migrations that could not be applied.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The name of the table of versions.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Files and database do not fit together. Nothing was done.
    #[error(transparent)]
    Drift(#[from] Drift),
    /// A statement of a migration. Files before it stay applied.
    #[error(transparent)]
    Statement(Box<StatementError>),
    /// A migration succeeded until PostgreSQL was to keep it: a deferred check, or its version's row.
    #[error("cannot finish migration {}", file.display())]
    Finish {
        /// The file.
        file: PathBuf,
        /// PostgreSQL's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The connection broke during a migration, which may or may not have taken effect.
    #[error("lost PostgreSQL during migration {}", file.display())]
    Lost {
        /// The file.
        file: PathBuf,
        /// What became of the connection.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The connection, or a statement of recipe's own.
    #[error("cannot {doing}")]
    Database {
        /// What was going on.
        doing: &'static str,
        /// PostgreSQL's error.
        #[source]
        source: tokio_postgres::Error,
    },
}

fn while_doing(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> ApplyError {
    move |source| ApplyError::Database { doing, source }
}

/// Applies what `plan` holds and the database does not have, in order, each file in a transaction
/// of its own together with its version's row.
///
/// `table` is the table of versions; by default goose's own, in other styles `recipe_migrations`.
/// Settings of the client's session are reset. Processes that migrate one database take turns. If
/// the future is dropped, the client must be dropped too, for the lock is the session's.
///
/// # Errors
/// Files that do not fit to what is applied, a failing statement, or the connection. What was
/// applied before the error stays.
pub async fn apply(
    client: &mut Client,
    plan: &Plan,
    table: Option<&str>,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Applied, ApplyError> {
    let mut ledger = Ledger::new(plan.style, table)?;
    lock(client, ledger.lock_key(), progress).await?;
    let outcome = apply_locked(client, plan, &mut ledger, progress).await;
    let unlock = format!("SELECT pg_advisory_unlock({})", ledger.lock_key());
    let unlocked = client.batch_execute(&unlock).await.map_err(while_doing("release the lock on migrations"));
    let applied = outcome?;
    unlocked?;
    Ok(applied)
}

/// Takes the lock on migrations of this database.
///
/// Asks again and again instead of waiting inside PostgreSQL: a waiting statement holds a snapshot,
/// for which `CREATE INDEX CONCURRENTLY` of the lock's holder would wait in turn.
async fn lock(
    client: &Client,
    key: i64,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<(), ApplyError> {
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    const LONGEST_PAUSE: Duration = Duration::from_millis(100);
    let mut pause = FIRST_PAUSE;
    while !try_lock(client, key).await? {
        if pause == FIRST_PAUSE {
            progress(Progress::WaitingForLock);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(())
}

async fn try_lock(client: &Client, key: i64) -> Result<bool, ApplyError> {
    // In one message, unlike a statement with a parameter.
    let answer = client.simple_query(&format!("SELECT pg_try_advisory_lock({key})")).await;
    let rows = answer.map_err(while_doing("take the lock on migrations"))?;
    Ok(rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("t"))))
}

async fn apply_locked(
    client: &Client,
    plan: &Plan,
    ledger: &mut Ledger,
    progress: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Applied, ApplyError> {
    let history = ledger.open(client).await.map_err(while_doing("open the table of versions"))?;
    let pending = ledger.pending(plan, &history)?;
    let mut applied = Vec::with_capacity(pending.len());
    for (migration, number) in pending.iter().zip(1..) {
        let file = migration.name();
        progress(Progress::Started { file, number, of: pending.len() });
        let started = Instant::now();
        if let Err(error) = run(client, migration, &ledger.record(migration)).await {
            // The first error is the one to report; after it the connection may be gone.
            let _ = client.batch_execute(&format!("ROLLBACK; {RESET}")).await;
            return Err(error);
        }
        progress(Progress::Finished { file, took: started.elapsed() });
        applied.push(file.to_owned());
    }
    Ok(Applied { already: plan.migrations.len() - applied.len(), applied, table: ledger.name() })
}

async fn run(client: &Client, migration: &Migration, record: &str) -> Result<(), ApplyError> {
    let script = &migration.script;
    let record = format!("{RESET} {record}");
    if script.transaction {
        return send(client, migration, &Message::transaction(script, &record)).await;
    }
    for piece in script.pieces().iter().filter(|piece| !piece.is_blank()) {
        send(client, migration, &Message::piece(piece)).await?;
    }
    let finish = |source| ApplyError::Finish { file: migration.file.clone(), source };
    client.batch_execute(&format!("BEGIN; {record} COMMIT;")).await.map_err(finish)
}

async fn send(client: &Client, migration: &Migration, message: &Message<'_>) -> Result<(), ApplyError> {
    let Err((completed, source)) = execute(client, &message.sql).await else { return Ok(()) };
    let Some(error) = source.as_db_error() else {
        return Err(ApplyError::Lost { file: migration.file.clone(), source });
    };
    match StatementError::new(migration, message, completed, error) {
        Some(error) => Err(ApplyError::Statement(Box::new(error))),
        None => Err(ApplyError::Finish { file: migration.file.clone(), source }),
    }
}

/// Runs the statements of `sql`; an error comes with the number of statements before it.
async fn execute(client: &Client, sql: &str) -> Result<(), (usize, tokio_postgres::Error)> {
    fault::sql(client).await;
    let mut completed = 0;
    let mut replies = pin!(client.simple_query_raw(sql).await.map_err(|error| (0, error))?);
    loop {
        match replies.try_next().await {
            Ok(Some(SimpleQueryMessage::CommandComplete(_))) => completed += 1,
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => return Err((completed, error)),
        }
    }
}

impl ApplyError {
    /// What the user may do, if PostgreSQL or recipe knows.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Statement(error) => error.hint.as_deref(),
            Self::Database { source, .. } | Self::Finish { source, .. } => match source.as_db_error() {
                Some(error) if *error.code() == SqlState::INSUFFICIENT_PRIVILEGE => {
                    Some("migrate as the owner of the schema, or give the user CREATE on it")
                }
                error => error?.hint(),
            },
            Self::Lost { .. } => Some("`recipe logs RUN` shows its log"),
            Self::Table(_) | Self::Drift(_) => None,
        }
    }
}
