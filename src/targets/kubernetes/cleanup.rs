//! Removing what does not go with a cluster of the run's own: the clusters
//! themselves, namespaces and objects in clusters that stay. A [`Removal`] is
//! written into the journal before the thing is made, with all that is needed
//! to remove it from another process, later.

use std::fmt::Debug;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Preconditions};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::discovery::ApiResource;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::kind;
use super::place::Site;
use super::space::{Access, RUN_LABEL, api_failure};
use crate::run::journal::{self, Open};
use crate::run::{Failure, Kind, RunFolder, Secrets};
use crate::targets::engine::Engine;

/// How long the removal of one thing may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// How to remove something.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "remove", rename_all = "snake_case")]
pub enum Removal {
    /// A cluster that kind has made for one run, whose name no other has.
    KindCluster(kind::Cluster),
    /// A container of the engine that carries the label of the run, and runs for a
    /// while only.
    Container {
        /// Its name.
        name: String,
        /// The run.
        run: String,
    },
    /// A namespace that carries the label of the run.
    Namespace {
        /// The cluster.
        access: Access,
        /// Its name.
        name: String,
        /// The run.
        run: String,
    },
    /// An object without namespace that carries the label of the run.
    Object {
        /// The cluster.
        access: Access,
        /// Where the API keeps it: apiVersion and kind.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its plural, in paths of the API.
        plural: String,
        /// Its name.
        name: String,
        /// The run.
        run: String,
    },
}

impl Removal {
    pub(super) fn namespace(access: &Access, name: &str, run: &str) -> Self {
        Self::Namespace { access: access.clone(), name: name.to_owned(), run: run.to_owned() }
    }

    pub(super) fn object(site: &Site, resource: &ApiResource, name: &str) -> Self {
        Self::Object {
            access: site.made.access.clone(),
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
            plural: resource.plural.clone(),
            name: name.to_owned(),
            run: site.space.run.to_string(),
        }
    }

    /// Removes it. It is well when it is gone already, also with its cluster; what
    /// has the name and is not this run's stays.
    pub(super) async fn carry_out(&self) -> Result<(), Failure> {
        let done = self.attempt().await;
        match (&done, self) {
            (Err(_), Self::Namespace { access, .. } | Self::Object { access, .. }) => match &access.made_by {
                Some(cluster) if cluster.is_gone().await => Ok(()),
                _ => done,
            },
            _ => done,
        }
    }

    async fn attempt(&self) -> Result<(), Failure> {
        match self {
            Self::KindCluster(cluster) => cluster.cli.delete(&cluster.name).await,
            Self::Container { name, run } => {
                Engine::connect().await?.remove_server(name, (RUN_LABEL, run)).await
            }
            Self::Namespace { access, name, run } => {
                let api: Api<Namespace> = Api::all(access.connect(&Secrets::default()).await?);
                delete_ours(&api, name, run).await.map(drop)
            }
            Self::Object { access, api_version, kind, plural, name, run } => {
                let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
                let kind = GroupVersionKind::gvk(group, version, kind);
                let resource = ApiResource::from_gvk_with_plural(&kind, plural);
                let api: Api<DynamicObject> =
                    Api::all_with(access.connect(&Secrets::default()).await?, &resource);
                delete_ours(&api, name, run).await.map(drop)
            }
        }
    }
}

/// Deletes what has this name and the label of the run, if it is still the
/// very one. Returns the identity of what is going now.
pub(super) async fn delete_ours<K>(api: &Api<K>, name: &str, run: &str) -> Result<Option<String>, Failure>
where
    K: Clone + DeserializeOwned + Debug,
{
    let there = api.get_metadata_opt(name).await.map_err(|error| api_failure(name, error))?;
    let is_ours = |there: &ObjectMeta| {
        there.labels.as_ref().and_then(|labels| labels.get(RUN_LABEL)).is_some_and(|label| label == run)
    };
    let Some(ours) = there.map(|there| there.metadata).filter(is_ours) else { return Ok(None) };
    let very = Preconditions { uid: ours.uid.clone(), resource_version: None };
    match api.delete(name, &DeleteParams::background().preconditions(very)).await {
        // Deleted by somebody else meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(None),
        Err(error) => Err(api_failure(&format!("the removal of {name}"), error)),
        Ok(_) => Ok(ours.uid),
    }
}

/// Removes what the journal of a run names and nobody has removed, all at once.
///
/// # Errors
/// When the journal cannot be read; else the first that could not be removed.
pub async fn clean_up(folder: &RunFolder) -> Result<(), Failure> {
    let unreadable = |what: String| Failure::new(Kind::Io, format!("the journal of `{}` {what}", folder.id));
    let open =
        journal::open(&folder.path).map_err(|error| unreadable("cannot be read".to_owned()).cause(error))?;
    let mut removals: Vec<Removal> = Vec::new();
    for Open { kind, name, removal, .. } in open {
        let Some(removal) = removal else { continue };
        removals.push(
            serde_json::from_value(removal).map_err(|error| {
                unreadable(format!("does not say how to remove {kind} {name}")).cause(error)
            })?,
        );
    }
    let in_time = async |removal: &Removal| {
        tokio::time::timeout(PATIENCE, removal.carry_out()).await.unwrap_or_else(|_| {
            let what = format!("what `{}` has left does not go: nobody answers", folder.id);
            Err(Failure::new(Kind::Timeout, what)
                .hint("`recipe gc` tries it again, once its cluster or engine answers"))
        })
    };
    join_all(removals.iter().map(in_time)).await.into_iter().collect()
}
