//! What running work tells about itself.

use std::sync::{Arc, Mutex, PoisonError};

use super::dispatcher::Events;
use super::event::{CacheUse, EventKind, Level, StepId, Stream, TimePart};

/// The reporting side of one step. Cheap to clone.
#[derive(Clone)]
pub struct Step {
    events: Events,
    id: Option<StepId>,
    branch: Arc<str>,
    cache: Arc<Mutex<Option<CacheUse>>>,
}

impl Step {
    /// Work that is step `id`, in `branch`.
    #[must_use]
    pub fn new(events: Events, id: Option<StepId>, branch: Arc<str>) -> Self {
        Self { events, id, branch, cache: Arc::default() }
    }

    /// Its identity; none for work that is not a step.
    #[must_use]
    pub fn id(&self) -> Option<StepId> {
        self.id
    }

    /// The stream it reports to.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Says what it is waiting for from now on, as in "waiting for {what}".
    pub fn waiting(&self, what: impl Into<String>) {
        if let Some(step) = self.id {
            self.events.emit(EventKind::StepWaiting { step, what: what.into() });
        }
    }

    /// Reports a line of output.
    pub fn output(&self, stream: Stream, line: impl Into<String>) {
        if let Some(step) = self.id {
            self.events.emit(EventKind::StepOutput { step, stream, line: line.into() });
        }
    }

    /// Reports countable progress; `unit` is a plural such as `files`.
    pub fn progress(&self, done: u64, total: Option<u64>, unit: &str) {
        if let Some(step) = self.id {
            self.events.emit(EventKind::StepProgress { step, done, total, unit: unit.into() });
        }
    }

    /// Reports where the time went of something that it waited for.
    pub fn times(&self, what: impl Into<String>, parts: Vec<TimePart>) {
        if let Some(step) = self.id {
            self.events.emit(EventKind::StepTimes { step, what: what.into(), parts });
        }
    }

    /// Tells the person watching.
    pub fn message(&self, level: Level, text: impl Into<String>) {
        self.events.emit(EventKind::Message { level, branch: self.branch.clone(), text: text.into() });
    }

    /// Notes that earlier work was, or was not, used again, and why.
    pub fn cache(&self, hit: bool, why: impl Into<String>) {
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(CacheUse { hit, why: why.into() });
    }

    /// The same step for work that is only a part of it: whether earlier work
    /// was used for the part is not noted of the whole.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { cache: Arc::default(), ..self.clone() }
    }

    /// What [`Step::cache`] noted.
    #[must_use]
    pub fn cache_use(&self) -> Option<CacheUse> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
