//! Where a run deploys: a namespace of a cluster, and the way to it.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::{Deserialize, Serialize};

use super::kind;
#[cfg(debug_assertions)]
use crate::fault::{self, Seam};
use crate::run::{Failure, Kind, Secrets};
use crate::targets::http::provide_tls;

/// Marks all that a run has made; its value is the run's name.
pub const RUN_LABEL: &str = "recipe/run";
/// Says who made something.
pub const MANAGER_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGER_LABEL`], and our name as the owner of fields.
pub const MANAGER: &str = "recipe";
/// The server or service that something belongs to.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";

/// A namespace of a cluster, where a run deploys. Cheap to clone.
#[derive(Clone)]
pub struct Space {
    /// Speaks to the cluster's API.
    pub client: Client,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The run it belongs to; value of the label `recipe/run` on all that is made.
    pub run: Arc<str>,
}

/// What a kubeconfig holds of a user that nothing must show.
const CREDENTIALS: [&str; 3] = ["token", "password", "client-key-data"];

/// How a cluster is reached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Access {
    /// The kubeconfig file; that of the user, as kubectl finds it, when none.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; its current one when none.
    pub context: Option<String>,
    /// The cluster, where kind has made it, which outlives its kubeconfig file.
    pub made_by: Option<kind::Cluster>,
}

impl Access {
    /// A client for the cluster, whose credentials are masked from now on. Does
    /// not speak to it yet.
    ///
    /// # Errors
    /// When the kubeconfig cannot be read, or has no such context.
    pub async fn connect(&self, secrets: &Secrets) -> Result<Client, Failure> {
        provide_tls();
        let unreadable = |error| {
            Failure::new(Kind::TargetUnusable, "the kubeconfig cannot be read")
                .hint("KUBECONFIG names the file; without it, it is ~/.kube/config")
                .cause(error)
        };
        let kubeconfig = match (&self.kubeconfig, &self.made_by) {
            (Some(path), Some(cluster)) if !path.exists() => {
                Kubeconfig::from_yaml(&cluster.kubeconfig().await?)
            }
            (Some(path), _) => Kubeconfig::read_from(path),
            (None, _) => Kubeconfig::read(),
        };
        let kubeconfig = kubeconfig.map_err(unreadable)?;
        for user in kubeconfig.auth_infos.iter().filter_map(|user| user.auth_info.as_ref()) {
            let user = serde_json::to_value(user).unwrap_or_default();
            let words = CREDENTIALS.iter().filter_map(|name| user[name].as_str());
            words.for_each(|word| hide(word, secrets));
        }
        let contexts: Vec<_> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
        if let Some(context) = self.context.as_ref().filter(|context| !contexts.contains(context)) {
            let known = if contexts.is_empty() { "none".to_owned() } else { contexts.join(", ") };
            return Err(Failure::new(
                Kind::TargetUnusable,
                format!("the kubeconfig has no context `{context}`"),
            )
            .hint(format!("its contexts are: {known}")));
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let unusable = |error: &dyn std::error::Error| {
            Failure::new(Kind::TargetUnusable, "the kubeconfig cannot be used")
                .cause(std::io::Error::other(error.to_string()))
        };
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| unusable(&error))?;
        let builder = ClientBuilder::try_from(config).map_err(|error| unusable(&error))?;
        #[cfg(debug_assertions)]
        let builder = builder.with_layer(&tower::util::MapFutureLayer::new(|answer| async {
            fault::at(Seam::Kubernetes).await?;
            answer.await
        }));
        Ok(builder.build())
    }
}

/// Masks what a kubeconfig holds, and a key also as it is without base64.
fn hide(word: &str, secrets: &Secrets) {
    secrets.add(word);
    let key = STANDARD.decode(word).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let key = key.filter(|key| key.starts_with("-----BEGIN")).unwrap_or_default();
    // Its first and last lines are those of any key.
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        secrets.add(line);
    }
}

/// What the API said when it refused `what`, as a failure.
pub(super) fn api_failure(what: &str, error: kube::Error) -> Failure {
    match error {
        // Its own display repeats the whole status.
        kube::Error::Api(status) => {
            let kind = if status.code == 404 { Kind::NotFound } else { Kind::Kubernetes };
            Failure::new(kind, format!("{what} cannot be had from the cluster"))
                .cause(std::io::Error::other(status.message))
        }
        error => unanswered(format!("the cluster gave no answer about {what}"), error),
    }
}

/// `what` happened because the API broke off or said nothing.
pub(super) fn unanswered(what: String, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(Kind::Unreachable, what)
        .hint("`kubectl get --raw /readyz` tells whether the cluster's API answers")
        .cause(error)
}
