//! Fetching an image's layers out of the engine before a cluster needs them:
//! an engine takes a while to export an image, and clusters to come up.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::export::{self, Chunks};
use super::layers::Layers;
use super::layout::Lanes;
use super::{Engine, panicked};
use crate::run::{Failure, Kind, Step};

impl Engine {
    /// Begins to fetch the layers of an image that a load would have to export,
    /// in the background. A load of the same image waits for it. The handle
    /// need not be waited for; what goes wrong only costs time later.
    pub fn prepare(&self, step: &Step, reference: &str) -> JoinHandle<()> {
        // Taken here and now, so that a load that follows finds it taken.
        let turn = self.load_turn(reference).try_lock_owned();
        let (engine, step, reference) = (self.clone(), step.clone(), reference.to_owned());
        tokio::spawn(async move {
            let Ok(_turn) = turn else { return };
            if let Err(failure) = engine.fetch(&step, &reference).await {
                tracing::debug!(%failure, reference, "no layers were fetched");
            }
        })
    }

    /// Waits until nobody prepares the image.
    pub(super) async fn prepared(&self, reference: &str) {
        drop(self.load_turn(reference).lock().await);
    }

    fn load_turn(&self, reference: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.loads.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(reference.to_owned()).or_default().clone()
    }

    async fn fetch(&self, step: &Step, reference: &str) -> Result<(), Failure> {
        let Some(facts) = self.inspect(reference).await? else { return Ok(()) };
        let kept = Layers::default();
        let own = self.remembered(&facts.id);
        let at_hand = |layer: &String| {
            kept.size(layer).is_some() || own.as_ref().is_some_and(|own| own.layer == *layer)
        };
        let has_config = own.is_some() || kept.size(&facts.id).is_some();
        if has_config && facts.diff_ids.iter().all(at_hand) {
            return Ok(());
        }
        let (ask, asked) = mpsc::channel(1);
        let step = step.clone();
        let ids = [facts.id.clone()];
        let fetching = tokio::task::spawn_blocking(move || {
            let (sender, receiver) = mpsc::channel(16);
            if ask.blocking_send(sender).is_err() {
                return Ok(());
            }
            let layers: HashMap<_, _> = facts.diff_ids.into_iter().map(|layer| (layer, Vec::new())).collect();
            let mut nowhere = Lanes::new(Vec::new(), step);
            let exported = export::pass_on(Chunks::new(receiver), &mut nowhere, &layers, &kept, false)?;
            if let Some(config) = exported.small.get(&facts.id) {
                export::keep_small(&kept, &facts.id, config);
            }
            Ok::<_, std::io::Error>(())
        });
        let ((), fetched) = tokio::join!(self.serve_exports(&ids, asked), fetching);
        let unread = |error| Failure::new(Kind::Io, "the engine's export cannot be read").cause(error);
        fetched.map_err(panicked)?.map_err(unread)
    }
}
