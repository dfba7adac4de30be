//! Taking one thing out of a cluster, so that another one can have its name: the
//! objects it was applied as, and its pods.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, ListParams, ObjectMeta};
use kube::core::DynamicObject;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};

use super::cleanup::delete_ours;
use super::place::Site;
use super::space::{RUN_LABEL, Space, api_failure, unanswered};
use super::{Kubernetes, apply, pod};
use crate::run::{Failure, Kind};
use crate::targets::Cluster;

/// How long something that was deleted may take to go.
const GOING: Duration = Duration::from_mins(1);

/// What a thing was applied as.
#[derive(Serialize, Deserialize)]
struct Applied {
    cluster: Arc<str>,
    namespace: Arc<str>,
    /// No more of each than says which it is.
    objects: Vec<DynamicObject>,
}

impl Kubernetes {
    /// Writes down what `name` is about to be applied as.
    pub(super) fn note(&self, site: &Site, name: &str, objects: &[DynamicObject]) -> Result<(), Failure> {
        let identity = |object: &DynamicObject| {
            let mut bare = DynamicObject {
                types: object.types.clone(),
                metadata: ObjectMeta::default(),
                data: serde_json::Value::Null,
            };
            bare.metadata.name.clone_from(&object.metadata.name);
            bare.metadata.namespace.clone_from(&object.metadata.namespace);
            bare
        };
        let applied = Applied {
            cluster: site.cluster.clone(),
            namespace: site.space.namespace.clone(),
            objects: objects.iter().map(identity).collect(),
        };
        let written =
            fs_err::write(self.objects_file(name), serde_json::to_vec(&applied).unwrap_or_default());
        written.map_err(|error| {
            Failure::new(Kind::Io, format!("what `{name}` is made of cannot be written down")).cause(error)
        })
    }

    /// Takes `name` down: a thing, or a place with all that is in it.
    pub(super) async fn withdraw(&self, name: &str) -> Result<(), Failure> {
        match name.split_once(' ') {
            Some(("cluster", cluster)) => self.take_down(cluster).await,
            Some(("namespace", _)) => {
                for site in self.sites().await.iter().filter(|site| site.place == name) {
                    self.vacate(site).await?;
                }
                self.leave(|site| site.place == name);
                Ok(())
            }
            _ => self.withdraw_thing(name).await,
        }
    }

    /// Takes down a cluster of this run's own, or this run's part of another one.
    pub(super) async fn take_down(&self, cluster: &str) -> Result<(), Failure> {
        let handle = Cluster { name: cluster.into(), namespace: None, kubeconfig: None };
        for name in self.deployed.of(&handle) {
            self.unreach(&name).await?;
            self.deployed.forget(&name);
        }
        let sites = self.sites().await;
        let sites: Vec<_> = sites.iter().filter(|site| *site.cluster == *cluster).collect();
        if sites.iter().any(|site| site.made.is_shared) {
            try_join_all(sites.iter().map(|site| self.vacate(site))).await?;
        } else {
            // Also where an earlier process had only begun to make it.
            self.provider.delete(cluster).await?;
        }
        self.leave(|site| *site.cluster == *cluster);
        Ok(())
    }

    /// Removes the namespace of a site, and waits until its name is free.
    async fn vacate(&self, site: &Site) -> Result<(), Failure> {
        let name = &*site.space.namespace;
        let api: Api<Namespace> = Api::all(site.space.client.clone());
        let there = api.get_metadata_opt(name).await;
        let uid = there.map_err(|error| api_failure(&format!("the namespace {name}"), error))?;
        let uid = uid.and_then(|there| there.uid()).unwrap_or_default();
        self.remove_namespace(site).await?;
        in_time(name, gone(api, name, &uid)).await
    }

    async fn withdraw_thing(&self, name: &str) -> Result<(), Failure> {
        self.unreach(name).await?;
        self.deployed.forget(name);
        self.databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|database| database.provenance.name() != name);
        let Ok(text) = fs_err::read(self.objects_file(name)) else { return Ok(()) };
        let applied: Applied = serde_json::from_slice(&text).map_err(|error| {
            Failure::new(Kind::Io, format!("the record of what `{name}` is made of cannot be read"))
                .cause(error)
        })?;
        // With its place, all of it is gone.
        let Ok(site) = self.site(&applied.cluster, Some(&applied.namespace)).await else { return Ok(()) };
        let going = delete(&site.space, applied.objects).await?;
        end_pods(&site.space, name).await?;
        let gone = try_join_all(
            going.into_iter().map(|going| async move { gone(going.api, &going.name, &going.uid).await }),
        );
        in_time(name, async { gone.await.map(drop) }).await
    }

    fn objects_file(&self, name: &str) -> PathBuf {
        self.run.scratch.join(format!("{name}.objects.json"))
    }
}

/// Gives what was deleted some time to go.
async fn in_time(name: &str, gone: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::time::timeout(GOING, gone).await.unwrap_or_else(|_| {
        let what = format!("`{name}` was deleted, but is still there after a minute");
        Err(Failure::new(Kind::Timeout, what)
            .hint("`kubectl describe` tells which finalizers its objects wait for"))
    })
}

/// An object that was deleted, and may still be on its way out.
struct Going {
    api: Api<DynamicObject>,
    name: String,
    uid: String,
}

/// Deletes objects, those first that need others.
async fn delete(space: &Space, mut objects: Vec<DynamicObject>) -> Result<Vec<Going>, Failure> {
    objects.sort_by_key(apply::rank);
    let mut going = Vec::new();
    for wave in objects.chunk_by(|one, other| apply::rank(one) == apply::rank(other)).rev() {
        let deleted = try_join_all(wave.iter().map(|object| async {
            let (api, _) = apply::api_of(space, object).await?;
            let name = object.name_any();
            let uid = delete_ours(&api, &name, &space.run).await?;
            Ok::<_, Failure>(uid.map(|uid| Going { api, name, uid }))
        }));
        going.extend(deleted.await?.into_iter().flatten());
    }
    Ok(going)
}

/// Ends the pods of `name` at once: nobody waits for what they still write. What
/// would replace them goes before.
async fn end_pods(space: &Space, name: &str) -> Result<(), Failure> {
    let of = ListParams::default().labels(&format!("{},{RUN_LABEL}={}", pod::selector(name), space.run));
    let failed = |error| api_failure(&format!("the end of the pods of `{name}`"), error);
    let sets: Api<ReplicaSet> = Api::namespaced(space.client.clone(), &space.namespace);
    sets.delete_collection(&DeleteParams::background(), &of).await.map_err(failed)?;
    let pods: Api<Pod> = Api::namespaced(space.client.clone(), &space.namespace);
    pods.delete_collection(&DeleteParams::background().grace_period(0), &of).await.map_err(failed)?;
    Ok(())
}

/// Waits until something that was deleted is gone.
async fn gone<K>(api: Api<K>, name: &str, uid: &str) -> Result<(), Failure>
where
    K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let waited = await_condition(api, name, conditions::is_deleted(uid)).await;
    waited.map(drop).map_err(|error| unanswered(format!("the end of {name} cannot be watched"), error))
}
