//! A model that fills while the run goes on.

use std::sync::{Arc, Mutex, PoisonError};

use super::model::Model;
use crate::run::{Event, Reporter};

/// A model that a dispatcher fills while others look at it. Reporters that look
/// come after it.
#[derive(Debug, Clone, Default)]
pub struct SharedModel(Arc<Mutex<Model>>);

impl SharedModel {
    /// Looks at the model as it is now. Holds up the reporters meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&Model) -> T) -> T {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the model out; for when the dispatcher has finished.
    #[must_use]
    pub fn take(&self) -> Model {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reporter for SharedModel {
    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).apply(event);
        Ok(())
    }
}
