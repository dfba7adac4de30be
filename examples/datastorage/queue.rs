//! The Redis stream that holds events while PostgreSQL is away.
//!
//! An entry is one event, as JSON in the field `event`. It stays in the stream
//! until it is in PostgreSQL or among the dead letters, so the stream's length
//! is the number of events that wait.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamId, StreamReadOptions, StreamReadReply,
};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, FromRedisValue, Pipeline, RedisResult, pipe};
use tracing::warn;

use crate::event::Event;

/// Events that wait for PostgreSQL.
const STREAM: &str = "datastorage:dlq";
/// Entries that PostgreSQL will never take, with the reason.
const DEAD: &str = "datastorage:dead";
/// All instances of the service read as one consumer group.
const GROUP: &str = "datastorage";

/// The most entries that are read at a time.
pub const CHUNK: usize = 256;
/// How long a read waits for new entries, in milliseconds.
const BLOCK_MS: usize = 5_000;
/// An entry that another instance has held for this long, in milliseconds, is
/// taken over. Too early does no harm: storing an event twice changes nothing.
const ABANDONED_MS: usize = 60_000;

/// For a connection, and for an answer. Shorter than a probe's usual second.
const TIMEOUT: Duration = Duration::from_millis(800);

/// The writing end.
pub struct Queue {
    client: Client,
    live: Mutex<Option<MultiplexedConnection>>,
    failing: AtomicBool,
}

/// The reading end of one instance; has a connection of its own, because its reads block.
pub struct Reader {
    connection: MultiplexedConnection,
    instance: String,
}

/// An entry of the stream.
pub struct Entry {
    id: String,
    /// The event as JSON, if the entry has one.
    pub event: Option<String>,
}

impl Queue {
    /// Does not connect yet.
    pub fn new(client: Client) -> Self {
        Self { client, live: Mutex::default(), failing: AtomicBool::default() }
    }

    /// Appends all events or none.
    pub async fn push(&self, events: &[Event]) -> RedisResult<()> {
        let mut transaction = pipe();
        transaction.atomic();
        for event in events {
            let json = serde_json::to_string(event).map_err(io::Error::from)?;
            transaction.xadd(STREAM, "*", &[("event", json)]).ignore();
        }
        let result = self.run(&transaction).await;
        match &result {
            Ok(()) => self.failing.store(false, Relaxed),
            // Told once, not for each request.
            Err(error) if !self.failing.swap(true, Relaxed) => warn!("cannot queue events: {error}"),
            Err(_) => {}
        }
        result
    }

    /// How many events wait.
    pub async fn len(&self) -> RedisResult<u64> {
        let (length,) = self.run(pipe().xlen(STREAM)).await?;
        Ok(length)
    }

    /// Checks that Redis answers.
    pub async fn check(&self) -> RedisResult<()> {
        self.run(pipe().ping().ignore()).await
    }

    /// A connection is only found to be dead by using it, hence the second
    /// try. It may append events twice, which storing them undoes.
    async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> RedisResult<T> {
        let kept = self.live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(mut connection) = kept {
            match commands.query_async(&mut connection).await {
                Err(error) if error.is_connection_dropped() || error.is_timeout() => {}
                result => return result,
            }
        }
        let mut fresh = connect(&self.client, TIMEOUT).await?;
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
        commands.query_async(&mut fresh).await
    }

    /// Opens the reading end for `instance`; makes the stream and the group if need be.
    pub async fn reader(&self, instance: &str) -> RedisResult<Reader> {
        let longest_read = Duration::from_millis(BLOCK_MS as u64) + TIMEOUT;
        let mut connection = connect(&self.client, longest_read).await?;
        match connection.xgroup_create_mkstream(STREAM, GROUP, "0").await {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(error),
            Ok(()) | Err(_) => Ok(Reader { connection, instance: instance.to_owned() }),
        }
    }
}

impl Reader {
    /// The next entries: those that this instance has read but not finished,
    /// perhaps before it was restarted; else those that another has abandoned;
    /// else new ones. Empty after a while without any.
    pub async fn next(&mut self) -> RedisResult<Vec<Entry>> {
        let unfinished = self.read("0").await?;
        if !unfinished.is_empty() {
            return Ok(unfinished);
        }
        let options = StreamAutoClaimOptions::default().count(CHUNK);
        let abandoned: StreamAutoClaimReply = self
            .connection
            .xautoclaim_options(STREAM, GROUP, &self.instance, ABANDONED_MS, "0-0", options)
            .await?;
        if !abandoned.claimed.is_empty() {
            return Ok(abandoned.claimed.into_iter().map(Entry::from).collect());
        }
        self.read(">").await
    }

    async fn read(&mut self, after: &str) -> RedisResult<Vec<Entry>> {
        let options = StreamReadOptions::default().group(GROUP, &self.instance).count(CHUNK).block(BLOCK_MS);
        let reply: Option<StreamReadReply> =
            self.connection.xread_options(&[STREAM], &[after], &options).await?;
        let streams = reply.unwrap_or_default().keys;
        Ok(streams.into_iter().flat_map(|stream| stream.ids).map(Entry::from).collect())
    }

    /// Removes entries whose events are stored.
    pub async fn finish(&mut self, entries: &[Entry]) -> RedisResult<()> {
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        let mut transaction = pipe();
        transaction.atomic().xack(STREAM, GROUP, &ids).ignore().xdel(STREAM, &ids).ignore();
        transaction.query_async(&mut self.connection).await
    }

    /// Moves an entry to the dead letters.
    pub async fn bury(&mut self, entry: &Entry, reason: &str) -> RedisResult<()> {
        let letter =
            [("event", entry.event.as_deref().unwrap_or_default()), ("entry", &entry.id), ("reason", reason)];
        let mut transaction = pipe();
        transaction.atomic().xadd(DEAD, "*", &letter).ignore();
        transaction.xack(STREAM, GROUP, &[&entry.id]).ignore().xdel(STREAM, &[&entry.id]).ignore();
        transaction.query_async(&mut self.connection).await
    }
}

impl From<StreamId> for Entry {
    fn from(entry: StreamId) -> Self {
        Self { event: entry.get("event"), id: entry.id }
    }
}

async fn connect(client: &Client, response_timeout: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(response_timeout));
    client.get_multiplexed_async_connection_with_config(&config).await
}
