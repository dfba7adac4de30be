//! Where accepted events go: to PostgreSQL, or to the queue while it is away.

use std::collections::HashMap;

use redis::RedisError;
use uuid::Uuid;

use crate::App;
use crate::event::{Event, StoredEvent};
use crate::store::StoreError;

/// What became of events that were taken in.
pub enum Intake {
    /// They are in PostgreSQL.
    Stored {
        /// In the order of the request, without those that were deleted since they were stored.
        events: Vec<StoredEvent>,
        /// How many of them were not there before.
        created: usize,
    },
    /// They are in the queue.
    Queued,
}

/// Why events could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The events are at fault.
    #[error("{0}")]
    Refused(String),
    /// Neither place can take them now.
    #[error("events can neither be stored ({store}) nor queued ({queue})")]
    Unavailable {
        /// Why PostgreSQL does not take them.
        store: String,
        /// Why Redis does not take them.
        queue: RedisError,
    },
}

impl App {
    /// Takes in all events or none.
    pub async fn take_in(&self, events: &[Event]) -> Result<Intake, IntakeError> {
        let store = match self.store_all(events).await {
            Ok(stored) => return Ok(stored),
            Err(StoreError::Refused(reason)) => return Err(IntakeError::Refused(reason)),
            Err(StoreError::Unavailable(reason)) => reason,
        };
        // The statement may have been committed although its answer was lost;
        // the queue then brings the same ids again, to no effect.
        match self.queue.push(events).await {
            Ok(()) => {
                self.metrics.queued(events.len());
                Ok(Intake::Queued)
            }
            Err(queue) => Err(IntakeError::Unavailable { store, queue }),
        }
    }

    async fn store_all(&self, events: &[Event]) -> Result<Intake, StoreError> {
        let stored = self.store.insert(events).await?;
        let created = stored.len();
        self.metrics.stored(created);
        let mut by_id: HashMap<_, _> = stored.into_iter().map(with_id).collect();
        let repeated: Vec<_> =
            (events.iter().map(|event| event.event_id)).filter(|id| !by_id.contains_key(id)).collect();
        if !repeated.is_empty() {
            by_id.extend(self.store.find(repeated).await?.into_iter().map(with_id));
        }
        let events = events.iter().filter_map(|event| by_id.remove(&event.event_id)).collect();
        Ok(Intake::Stored { events, created })
    }
}

fn with_id(stored: StoredEvent) -> (Uuid, StoredEvent) {
    (stored.event.event_id, stored)
}
