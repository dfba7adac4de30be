//! Giving a database that was migrated before the name of one that is empty.
//!
//! `ALTER DATABASE .. RENAME` takes the database's lock before its transaction
//! gets an id. So when that id is the very next after the one that made the
//! server ready, no transaction that writes has begun anywhere in the server
//! until then, and since then nobody can connect to the database.

use std::time::{Duration, Instant};

use tokio_postgres::{Error, SimpleQueryMessage};

use crate::fault;
use crate::targets::Session;

impl Session {
    /// The first value of what the last statement of `sql` returns, as text.
    pub(in crate::targets) async fn value(&self, sql: &str) -> Result<String, Error> {
        fault::sql(&self.client).await;
        let messages = self.client.simple_query(sql).await?;
        let rows = messages.iter().rev().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok({ rows }.next().unwrap_or_default())
    }

    /// The id of a transaction in which `sql` is done.
    pub(in crate::targets) async fn transaction(&self, sql: &str) -> Result<u64, Error> {
        // Statements of one message are one transaction.
        let id = self.value(&format!("{sql}; SELECT pg_current_xact_id()::text")).await?;
        Ok(id.parse().unwrap_or_default())
    }

    /// How `CREATE DATABASE` copies files, which takes a third of the time of
    /// writing all to the log; before 15 there is no other way.
    pub(in crate::targets) async fn file_copy(&self) -> Result<&'static str, Error> {
        let version = self.value("SHOW server_version_num").await?;
        Ok(if version.parse::<u32>().is_ok_and(|version| version >= 150_000) {
            "STRATEGY FILE_COPY"
        } else {
            ""
        })
    }

    pub(in crate::targets) async fn run(&self, sql: &str) -> Result<(), Error> {
        fault::sql(&self.client).await;
        self.client.batch_execute(sql).await
    }
}

/// How long PostgreSQL may take to notice that somebody has left, of which it
/// tells nobody.
const LEAVING: Duration = Duration::from_millis(150);
/// Between two looks at who is connected.
const PAUSE: Duration = Duration::from_millis(2);

/// What became of a template.
pub(super) enum Swapped {
    /// It is the database now, since the transaction of this id.
    Served(u64),
    /// Nothing was done, for this reason.
    Refused(&'static str),
}

/// Gives `template` the name of `database`, and that one the name `aside`, if
/// nothing was written in the server and `next` is the id of the next
/// transaction that will.
pub(super) async fn swap(
    session: &Session,
    database: &str,
    template: &str,
    aside: &str,
    next: u64,
) -> Result<Swapped, Error> {
    // A rename would wait 5 s for them to go.
    let others = format!(
        "SELECT pg_stat_get_db_numbackends(oid) FROM pg_database WHERE datname = {}",
        literal(database)
    );
    let began = Instant::now();
    while session.value(&others).await? != "0" {
        if began.elapsed() > LEAVING {
            return Ok(Swapped::Refused("somebody is connected to the database"));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let (database, template, aside) = (quoted(database), quoted(template), quoted(aside));
    session.run("BEGIN").await?;
    let rename = format!("ALTER DATABASE {database} RENAME TO {aside}");
    let id = match session.transaction(&rename).await {
        Ok(id) => id,
        Err(error) => {
            session.run("ROLLBACK").await?;
            tracing::debug!(%error, "no swap");
            return Ok(Swapped::Refused("somebody has connected to the database"));
        }
    };
    if id != next {
        session.run("ROLLBACK").await?;
        return Ok(Swapped::Refused("something was written to the server before"));
    }
    let give = format!(
        "ALTER DATABASE {template} RENAME TO {database}; ALTER DATABASE {database} ALLOW_CONNECTIONS true; \
         ALTER DATABASE {aside} ALLOW_CONNECTIONS false; COMMIT"
    );
    session.run(&give).await?;
    Ok(Swapped::Served(id))
}

/// A name in SQL.
pub(in crate::targets) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string in SQL.
pub(in crate::targets) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}
