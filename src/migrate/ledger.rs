//! What a database remembers of the migrations that it has seen.
//!
//! Every style has a table `(version, name, checksum, applied_at)`. With goose it only stands beside
//! goose's own table, which alone says what is applied: goose's table has no checksums, and must
//! stay exactly as goose makes it, for the service's own goose to find the schema up to date.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::plan::{Migration, Plan, Style, Version};

const TABLE: &str = "recipe_migrations";
const GOOSE_TABLE: &str = "goose_db_version";
const CHECKSUMS_SUFFIX: &str = "_checksums";

/// Keys of advisory locks, which live in the database. goose's is the one of its own session locker.
const LOCK: i64 = 0x7265_6369_7065_0001;
const GOOSE_LOCK: i64 = 4_097_083_626;

/// A name that cannot be that of a table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no name for a table of versions: use letters, digits and `_`, and at most one `.` after a schema"
)]
pub struct TableError(String);

/// Applied migrations and files that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Drift {
    /// The file is another than the one that was applied.
    #[error(
        "migration {file} has changed since it was applied: undo the change and put it into a new migration, \
         or start from an empty database"
    )]
    Changed {
        /// The file's name.
        file: String,
    },
    /// The file has gone.
    #[error(
        "migration {file} was applied, but is not in the folder: put it back, or start from an empty database; \
         if two folders share this database, give each a `table` of its own (here {table})"
    )]
    Missing {
        /// The file's name.
        file: String,
        /// The table that remembers it.
        table: String,
    },
    /// The file came too late.
    #[error(
        "migration {file} is new, but comes before {latest}, which is applied: give it a later version, \
         or start from an empty database"
    )]
    OutOfOrder {
        /// The file's name.
        file: String,
        /// The latest version that is applied.
        latest: String,
    },
}

/// A table, perhaps in a schema; both quoted and in lower case, as PostgreSQL folds plain names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table(Vec<String>);

impl Table {
    fn parse(name: &str) -> Result<Self, TableError> {
        let parts: Vec<_> = name.split('.').map(str::to_ascii_lowercase).collect();
        let is_plain = |part: &String| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && part.starts_with(|c: char| !c.is_ascii_digit())
        };
        // 63 bytes are a name's limit in PostgreSQL, which would cut the rest off.
        let fits = |part: &String| part.len() + CHECKSUMS_SUFFIX.len() <= 63;
        if parts.len() > 2 || !parts.iter().all(|part| is_plain(part) && fits(part)) {
            return Err(TableError(name.to_owned()));
        }
        Ok(Self(parts))
    }

    fn with_suffix(&self, suffix: &str) -> Self {
        let mut parts = self.0.clone();
        if let Some(table) = parts.last_mut() {
            table.push_str(suffix);
        }
        Self(parts)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<_> = self.0.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect();
        f.write_str(&quoted.join("."))
    }
}

/// The tables of versions, which may not exist yet.
#[derive(Debug)]
pub(super) struct Ledger {
    style: Style,
    /// goose's own table.
    goose: Option<Table>,
    /// recipe's table.
    own: Table,
}

/// What the tables say.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Every applied version, with recipe's row for it, if recipe applied it.
    applied: BTreeMap<Version, Option<Row>>,
}

#[derive(Debug)]
struct Row {
    name: String,
    checksum: String,
}

impl Ledger {
    pub fn new(style: Style, table: Option<&str>) -> Result<Self, TableError> {
        if style == Style::Goose {
            let goose = Table::parse(table.unwrap_or(GOOSE_TABLE))?;
            return Ok(Self { style, own: goose.with_suffix(CHECKSUMS_SUFFIX), goose: Some(goose) });
        }
        Ok(Self { style, goose: None, own: Table::parse(table.unwrap_or(TABLE))? })
    }

    /// The table that decides what is applied.
    pub fn name(&self) -> String {
        self.goose.as_ref().unwrap_or(&self.own).0.join(".")
    }

    pub fn lock_key(&self) -> i64 {
        if self.goose.is_some() { GOOSE_LOCK } else { LOCK }
    }

    /// Creates the tables where they are not there, and reads them.
    pub async fn open(&mut self, client: &Client) -> Result<History, tokio_postgres::Error> {
        if let Some(goose) = &mut self.goose {
            // Column by column as goose has it; row 0 stands for "nothing is applied".
            let create = format!(
                "CREATE TABLE {goose} (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, \
                 version_id bigint NOT NULL, is_applied boolean NOT NULL, \
                 tstamp timestamp NOT NULL DEFAULT now()); \
                 INSERT INTO {goose} (version_id, is_applied) VALUES (0, true);"
            );
            find_or_create(client, goose, &create).await?;
        }
        let own = &mut self.own;
        let create = format!(
            "CREATE TABLE {own} (version text PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, \
             applied_at timestamptz NOT NULL DEFAULT now());"
        );
        find_or_create(client, own, &create).await?;
        self.read(client).await
    }

    async fn read(&self, client: &Client) -> Result<History, tokio_postgres::Error> {
        let own = format!("SELECT version, name, checksum FROM {}", self.own);
        let goose = self.goose.as_ref().map(|goose| {
            // Older goose wrote a second row, not applied, to take a version back: the last one counts.
            format!("SELECT version_id, is_applied FROM {goose} ORDER BY id")
        });
        // Asked in one go.
        let (own, goose) = futures::try_join!(client.query(&own, &[]), async {
            match &goose {
                Some(goose) => client.query(goose, &[]).await.map(Some),
                None => Ok(None),
            }
        })?;
        let mut rows: BTreeMap<_, _> = own
            .into_iter()
            .map(|row| {
                let version = parse_version(self.style, row.get(0));
                (version, Row { name: row.get(1), checksum: row.get(2) })
            })
            .collect();
        let Some(goose) = goose else {
            return Ok(History {
                applied: rows.into_iter().map(|(version, row)| (version, Some(row))).collect(),
            });
        };
        let mut applied = BTreeMap::new();
        for row in goose {
            let Ok(number @ 1..) = u64::try_from(row.get::<_, i64>(0)) else { continue };
            let version = Version::Numbered(vec![number]);
            if row.get(1) {
                let row = rows.remove(&version);
                applied.entry(version).or_insert(row);
            } else {
                applied.remove(&version);
            }
        }
        Ok(History { applied })
    }

    /// SQL that notes `migration` as applied.
    pub fn record(&self, migration: &Migration) -> String {
        let Self { own, .. } = self;
        let Migration { version, name, checksum, .. } = migration;
        let note = format!(
            "INSERT INTO {own} (version, name, checksum) VALUES ({}, {}, '{checksum}') \
             ON CONFLICT (version) DO UPDATE \
             SET name = excluded.name, checksum = excluded.checksum, applied_at = excluded.applied_at;",
            literal(&version.to_string()),
            literal(name),
        );
        match &self.goose {
            None => note,
            Some(goose) => {
                format!("{note} INSERT INTO {goose} (version_id, is_applied) VALUES ({version}, true);")
            }
        }
    }

    /// The migrations to apply, in order.
    pub fn pending<'p>(&self, plan: &'p Plan, history: &History) -> Result<Vec<&'p Migration>, Drift> {
        let in_folder = |version: &Version| plan.migrations.iter().any(|m| m.version == *version);
        for (version, row) in &history.applied {
            // A version that goose applied without recipe may well be one in Go.
            if let Some(row) = row
                && !in_folder(version)
            {
                return Err(Drift::Missing { file: row.name.clone(), table: self.name() });
            }
        }
        let latest = history.applied.keys().rfind(|version| !matches!(version, Version::Repeatable(_)));
        let mut pending = Vec::new();
        for migration in &plan.migrations {
            let repeatable = matches!(migration.version, Version::Repeatable(_));
            match history.applied.get(&migration.version) {
                Some(Some(row)) if row.checksum != migration.checksum => {
                    if !repeatable {
                        return Err(Drift::Changed { file: migration.name.clone() });
                    }
                    pending.push(migration);
                }
                Some(_) => {}
                None => {
                    if let Some(latest) = latest
                        && migration.version < *latest
                    {
                        let (file, latest) = (migration.name.clone(), latest.to_string());
                        return Err(Drift::OutOfOrder { file, latest });
                    }
                    pending.push(migration);
                }
            }
        }
        Ok(pending)
    }
}

/// Makes sure that `table` exists, and pins it to its schema: a migration may leave another
/// `search_path` behind (every dump of `pg_dump` does).
async fn find_or_create(
    client: &Client,
    table: &mut Table,
    create: &str,
) -> Result<(), tokio_postgres::Error> {
    let find = format!(
        "SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = pg_catalog.to_regclass({})",
        literal(&table.to_string())
    );
    let mut schema = first_value(client, &find).await?;
    if schema.is_none() {
        client.batch_execute(&format!("BEGIN; {create} COMMIT;")).await?;
        schema = first_value(client, &find).await?;
    }
    if let (Some(schema), [name]) = (schema, table.0.as_slice()) {
        table.0 = vec![schema, name.clone()];
    }
    Ok(())
}

async fn first_value(client: &Client, sql: &str) -> Result<Option<String>, tokio_postgres::Error> {
    Ok(client.simple_query(sql).await?.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// The way back from `Version`'s `Display`.
fn parse_version(style: Style, text: &str) -> Version {
    let named = || Version::Named(text.to_owned());
    match style {
        Style::Plain => named(),
        Style::Versioned if text.starts_with("R__") => Version::Repeatable(text.to_owned()),
        Style::Goose | Style::UpDown | Style::Versioned => {
            let numbers = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>();
            numbers.map_or_else(named, Version::Numbered)
        }
    }
}

/// A string in SQL, whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
