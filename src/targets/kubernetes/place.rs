//! Places: a namespace of a cluster, that things go to. They are written down,
//! so that a later process of the run can go on with them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};

use super::Kubernetes;
use super::diagnostics::Follower;
use super::provider::Made;
use super::space::{RUN_LABEL, Space, api_failure};
use crate::run::{Failure, Kind, Step};
use crate::targets::{Cluster, Target};

/// Ends the names of files that tell of places.
const FILE: &str = ".place.json";

/// A cluster and the namespace in it that things go to.
pub(super) struct Site {
    /// The cluster, as the recipe calls it.
    pub cluster: Arc<str>,
    /// What made it: `cluster shop`, `namespace tools`.
    pub place: String,
    pub made: Made,
    pub space: Space,
    /// Keeps the logs of pods, also of those that are gone in the end; none in a
    /// process that has only come to look.
    follower: OnceLock<Follower>,
}

/// What is written down of a site.
#[derive(Serialize, Deserialize)]
struct Record {
    cluster: Arc<str>,
    place: String,
    made: Made,
}

impl Kubernetes {
    /// Opens a namespace of a cluster for this run.
    pub(super) async fn settle(
        &self,
        step: &Step,
        cluster: Arc<str>,
        place: String,
        made: Made,
    ) -> Result<Cluster, Failure> {
        let record = Record { cluster, place, made };
        let site = self.open_site(&record).await?;
        // First, so that whatever is made of it can be found again.
        let written =
            fs_err::write(self.file(&record.place), serde_json::to_vec(&record).unwrap_or_default());
        written.map_err(|error| {
            Failure::new(Kind::Io, format!("the {} cannot be written down", record.place)).cause(error)
        })?;
        self.make_namespace(step, &site.space, &record.made).await?;
        self.follow(&site, None);
        let handle = Cluster {
            name: record.cluster,
            namespace: Some(site.space.namespace.clone()),
            kubeconfig: record.made.access.kubeconfig,
        };
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(site));
        Ok(handle)
    }

    /// Everything this run has settled in, also by earlier processes.
    pub(super) async fn sites(&self) -> Vec<Arc<Site>> {
        for record in self.records() {
            let is_of = |site: &Arc<Site>| {
                site.cluster == record.cluster && *site.space.namespace == record.made.namespace
            };
            let is_open = || self.sites.lock().unwrap_or_else(PoisonError::into_inner).iter().any(is_of);
            if is_open() {
                continue;
            }
            match self.open_site(&record).await {
                Ok(site) if !is_open() => {
                    self.sites.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(site));
                }
                Ok(_) => {}
                // Whoever needs it is told that it is gone.
                Err(failure) => tracing::debug!(%failure, record.place, "a place cannot be opened"),
            }
        }
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where things of a cluster go that are deployed to this namespace.
    pub(super) async fn site(&self, cluster: &str, namespace: Option<&str>) -> Result<Arc<Site>, Failure> {
        let sites = self.sites().await;
        let site =
            sites.iter().find(|site| *site.cluster == *cluster && namespace == Some(&*site.space.namespace));
        site.cloned().ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("the cluster `{cluster}` is gone"))
                .hint("deploy to it before delete_cluster")
        })
    }

    /// Makes sure that a place is there and the run's, and follows its logs from
    /// now on.
    pub(super) async fn look_at(&self, cluster: &Cluster) -> Result<(), Failure> {
        let site = self.site(&cluster.name, cluster.namespace.as_deref()).await?;
        let name = &*site.space.namespace;
        let api: Api<Namespace> = Api::all(site.space.client.clone());
        let silent = |_| {
            let what = format!("the cluster `{}` does not answer", cluster.name);
            Failure::new(Kind::Unreachable, what)
        };
        let found = tokio::time::timeout(self.patience(), api.get_opt(name)).await.map_err(silent)?;
        let found = found.map_err(|error| api_failure(&format!("the namespace {name}"), error))?;
        let is_ours = |namespace: &Namespace| {
            namespace.labels().get(RUN_LABEL).is_some_and(|run| *run == *site.space.run)
                && namespace.metadata.deletion_timestamp.is_none()
        };
        if !found.as_ref().is_some_and(is_ours) {
            return Err(Failure::new(Kind::NotFound, format!("its namespace {name} is gone")));
        }
        self.follow(&site, Some(Timestamp::now()));
        Ok(())
    }

    /// Forgets places that are gone.
    pub(super) fn leave(&self, gone: impl Fn(&Site) -> bool) {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).retain(|site| {
            let is_gone = gone(site);
            if is_gone {
                // One that stays is found to be gone when it is looked at.
                let _ = fs_err::remove_file(self.file(&site.place));
            }
            !is_gone
        });
    }

    async fn open_site(&self, record: &Record) -> Result<Site, Failure> {
        let space = Space {
            client: record.made.access.connect(&self.run.secrets).await?,
            namespace: record.made.namespace.as_str().into(),
            run: self.run.folder.id.as_str().into(),
        };
        Ok(Site {
            cluster: record.cluster.clone(),
            place: record.place.clone(),
            made: record.made.clone(),
            space,
            follower: OnceLock::new(),
        })
    }

    fn follow(&self, site: &Site, since: Option<Timestamp>) {
        let start = || Follower::start(&site.space, &self.run.folder, self.run.secrets.clone(), since);
        site.follower.get_or_init(start);
    }

    fn records(&self) -> Vec<Record> {
        let files = std::fs::read_dir(&self.run.scratch).into_iter().flatten().flatten();
        let files = files.filter(|file| file.file_name().to_string_lossy().ends_with(FILE));
        files.filter_map(|file| serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()).collect()
    }

    fn file(&self, place: &str) -> PathBuf {
        self.run.scratch.join(format!("{}{FILE}", place.replace(' ', "-")))
    }
}
