//! Moves queued events into PostgreSQL as soon as it is there.
//!
//! All state is in Redis: an entry is read, stored, and only then removed. A
//! crash anywhere in between repeats a step, and storing an event twice changes
//! nothing, so no event is lost and none is doubled.

use std::sync::Arc;
use std::time::Duration;

use redis::RedisError;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::App;
use crate::event::Event;
use crate::queue::{CHUNK, Entry, Reader};
use crate::store::StoreError;

/// Pauses after a failure double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum DrainError {
    #[error("cannot work on the queue: {0}")]
    Queue(RedisError),
    #[error("cannot store queued events: {0}")]
    Store(StoreError),
}

impl From<RedisError> for DrainError {
    fn from(error: RedisError) -> Self {
        Self::Queue(error)
    }
}

/// Drains the queue as `instance`. Never returns.
pub async fn run(app: Arc<App>, instance: String) {
    let mut reader = None;
    let mut pause = FIRST_PAUSE;
    let mut told = String::new();
    let mut drained = 0;
    loop {
        app.store.connected().await;
        match drain_once(&app, &instance, &mut reader).await {
            Ok(entries) => {
                pause = FIRST_PAUSE;
                told.clear();
                drained += entries;
                // A chunk that is not full was the last one for now.
                if entries < CHUNK && drained > 0 {
                    info!("drained the queue of {drained} entries");
                    drained = 0;
                }
            }
            Err(error) => {
                if matches!(error, DrainError::Queue(_)) {
                    reader = None;
                }
                let error = error.to_string();
                if error != told {
                    warn!("{error}");
                    told = error;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Handles one chunk of entries, and returns how many there were.
async fn drain_once(app: &App, instance: &str, reader: &mut Option<Reader>) -> Result<usize, DrainError> {
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(app.queue.reader(instance).await?),
    };
    let entries = reader.next().await?;
    let count = entries.len();
    let mut readable = Vec::with_capacity(count);
    for entry in entries {
        match serde_json::from_str::<Event>(entry.event.as_deref().unwrap_or_default()) {
            Ok(event) => readable.push((entry, event)),
            Err(error) => bury(app, reader, &entry, &format!("not an event: {error}")).await?,
        }
    }
    if !readable.is_empty() {
        store(app, reader, readable).await?;
    }
    Ok(count)
}

/// Stores all in one statement. If PostgreSQL refuses one of them, halves close
/// in on it, so that the good ones still go in together.
async fn store(app: &App, reader: &mut Reader, entries: Vec<(Entry, Event)>) -> Result<(), DrainError> {
    let mut parts = vec![entries.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()];
    while let Some((mut entries, mut events)) = parts.pop() {
        match app.store.insert(&events).await {
            Ok(_) => {
                reader.finish(&entries).await?;
                app.metrics.drained(events.len());
            }
            Err(StoreError::Refused(reason)) if events.len() == 1 => {
                bury(app, reader, &entries[0], &reason).await?;
            }
            Err(StoreError::Refused(_)) => {
                let half = events.len() / 2;
                parts.push((entries.split_off(half), events.split_off(half)));
                parts.push((entries, events));
            }
            Err(unavailable) => return Err(DrainError::Store(unavailable)),
        }
    }
    Ok(())
}

async fn bury(app: &App, reader: &mut Reader, entry: &Entry, reason: &str) -> Result<(), RedisError> {
    reader.bury(entry, reason).await?;
    app.metrics.buried();
    warn!("a queued event went to the dead letters: {reason}");
    Ok(())
}
