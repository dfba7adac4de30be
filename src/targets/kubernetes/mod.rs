//! Targets with Kubernetes.

pub mod diagnostics;
pub mod ready;

use std::sync::Arc;

/// A namespace of a cluster, where a run deploys. Cheap to clone.
#[derive(Clone)]
pub struct Space {
    /// Speaks to the cluster's API.
    pub client: kube::Client,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The run it belongs to; value of the label `recipe/run` on all that is made.
    pub run: Arc<str>,
}
