//! Events in PostgreSQL.
//!
//! Events travel as JSON both ways and every parameter is `text`, so that one
//! statement takes one event or a thousand, in one round trip and atomically.

use std::time::Duration;

use futures::future::join;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, Error, Row};
use tracing::warn;
use uuid::Uuid;

use crate::event::{Event, StoredEvent};
use crate::link::{self, Link};
use crate::page::Page;

/// After this long PostgreSQL gives up a statement.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// After this long we give up PostgreSQL.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

const CHECK_TIMEOUT: Duration = Duration::from_millis(800);

/// How often the partitions to come are looked after.
const PARTITION_CHECK: Duration = Duration::from_hours(6);
const PARTITION_RETRY: Duration = Duration::from_secs(1);

/// Registers the ids that are new, then stores their events. An id that is
/// there already is left out, also when another session is about to commit it.
/// Ids are sorted so that two batches cannot lock each other out.
const INSERT: &str = "
    WITH given AS (
        SELECT DISTINCT ON (event_id) *
        FROM jsonb_to_recordset($1::jsonb) AS event(
            event_id uuid, occurred_at timestamptz, event_type text, actor text, resource_type text,
            resource_id text, outcome audit_outcome, correlation_id text, event_data jsonb)
        ORDER BY event_id, occurred_at
    ), registered AS (
        INSERT INTO audit_event_ids (event_id, occurred_at)
        SELECT event_id, occurred_at FROM given ORDER BY event_id
        ON CONFLICT (event_id) DO NOTHING
        RETURNING event_id
    )
    INSERT INTO audit_events (event_id, occurred_at, event_type, actor, resource_type,
                              resource_id, outcome, correlation_id, event_data)
    SELECT given.* FROM given JOIN registered USING (event_id)
    RETURNING row_to_json(audit_events)::text";

const FIND: &str = "
    SELECT row_to_json(e)::text
    FROM audit_event_ids i JOIN audit_events e USING (occurred_at, event_id)
    WHERE i.event_id = ANY ($1::uuid[])";

const MISSING_RELATIONS: &str = "
    SELECT name FROM unnest('{audit_event_ids,audit_events,audit_resource_activity,audit_resource_health}'::text[])
    AS name WHERE to_regclass(name) IS NULL";

/// Gives this month and the next a partition.
const ENSURE_PARTITIONS: &str = "
    SELECT ensure_audit_partition((now() AT TIME ZONE 'UTC' + months * interval '1 month')::date)
    FROM generate_series(0, 1) AS months";

/// Why a statement did not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is wrong with the data: the same call may work later.
    #[error("PostgreSQL is unavailable: {0}")]
    Unavailable(String),
    /// PostgreSQL refuses this data, and would again.
    #[error("PostgreSQL refuses the data: {0}")]
    Refused(String),
}

/// The database, connected or not.
pub struct Store {
    writing: watch::Receiver<Link>,
    /// Apart, so that a slow search never delays a write.
    reading: watch::Receiver<Link>,
}

impl Store {
    /// Starts to connect, in `background`; returns at once.
    pub fn connect(mut config: Config, background: &mut JoinSet<()>) -> Self {
        let options = config.get_options().unwrap_or_default().to_owned();
        config
            .options(format!("{options} -c statement_timeout={}", STATEMENT_TIMEOUT.as_millis()))
            .application_name("datastorage")
            .tcp_user_timeout(STATEMENT_TIMEOUT);
        let (writing, reading) = (Link::new(), Link::new());
        let store = Self { writing: writing.subscribe(), reading: reading.subscribe() };
        background.spawn(link::keep_up(config.clone(), "writing", writing));
        background.spawn(link::keep_up(config, "reading", reading));
        background.spawn(keep_partitions(store.writing.clone()));
        store
    }

    /// Waits until events can be written, as far as the connection goes.
    pub async fn connected(&self) {
        until_up(&mut self.writing.clone()).await;
    }

    /// Stores all events or none, and returns those that were not there before.
    pub async fn insert(&self, events: &[Event]) -> Result<Vec<StoredEvent>, StoreError> {
        let events = serde_json::to_string(events).map_err(|error| StoreError::Refused(error.to_string()))?;
        decode(&query(&self.writing, INSERT, &[events]).await?)
    }

    /// The events with these ids, as far as they exist, in any order.
    pub async fn find(&self, ids: impl IntoIterator<Item = Uuid>) -> Result<Vec<StoredEvent>, StoreError> {
        let ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
        decode(&query(&self.reading, FIND, &[format!("{{{}}}", ids.join(","))]).await?)
    }

    /// A page of events, and one more if there is a next page.
    pub async fn list(&self, page: &Page) -> Result<Vec<StoredEvent>, StoreError> {
        let (sql, parameters) = page.query();
        decode(&query(&self.reading, &sql, &parameters).await?)
    }

    /// Checks that both connections answer and that the schema is complete.
    pub async fn check(&self) -> Result<(), StoreError> {
        // Sooner than probes usually give up, so that they hear the reason.
        let no_answer = |_| StoreError::Unavailable(format!("no answer within {CHECK_TIMEOUT:?}"));
        timeout(CHECK_TIMEOUT, self.check_schema()).await.map_err(no_answer)?
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        let (writing, reading) =
            join(query(&self.writing, "SELECT 1", &[]), query(&self.reading, MISSING_RELATIONS, &[])).await;
        writing?;
        let missing: Vec<String> = reading?.iter().map(|row| row.get(0)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!("schema is incomplete, {} missing", missing.join(", "))))
    }
}

async fn until_up(link: &mut watch::Receiver<Link>) {
    // The sender lives in a task that never ends while the service runs.
    let _ = link.wait_for(|link| matches!(link, Link::Up(_))).await;
}

async fn keep_partitions(mut link: watch::Receiver<Link>) {
    loop {
        until_up(&mut link).await;
        let pause = match query(&link, ENSURE_PARTITIONS, &[]).await {
            Ok(_) => PARTITION_CHECK,
            // Usual before the schema is there; events then go to the default partition.
            Err(_) => PARTITION_RETRY,
        };
        sleep(pause).await;
    }
}

async fn query(
    link: &watch::Receiver<Link>,
    sql: &str,
    parameters: &[String],
) -> Result<Vec<Row>, StoreError> {
    let session = match &*link.borrow() {
        Link::Up(session) => session.clone(),
        Link::Down(reason) => return Err(StoreError::Unavailable(reason.clone())),
    };
    let typed: Vec<_> = parameters.iter().map(|value| (value as &(dyn ToSql + Sync), Type::TEXT)).collect();
    let Ok(answer) = timeout(ANSWER_TIMEOUT, session.client.query_typed(sql, &typed)).await else {
        session.hangs.notify_one();
        return Err(StoreError::Unavailable(format!("no answer within {ANSWER_TIMEOUT:?}")));
    };
    answer.map_err(StoreError::from)
}

fn decode(rows: &[Row]) -> Result<Vec<StoredEvent>, StoreError> {
    let event = |row: &Row| serde_json::from_str(row.try_get(0)?).map_err(anyhow::Error::from);
    rows.iter().map(event).collect::<Result<_, _>>().map_err(|error| {
        warn!("cannot read an event back: {error:#}");
        StoreError::Unavailable(format!("unexpected row: {error:#}"))
    })
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        // Classes of SQLSTATE: 22 data exception, 23 constraint violation, 54
        // too large for an index or a row. All else, an absent table among it, passes.
        let refused = error.code().is_some_and(|code| ["22", "23", "54"].contains(&&code.code()[..2]));
        let reason = link::reason(error);
        if refused { Self::Refused(reason) } else { Self::Unavailable(reason) }
    }
}
