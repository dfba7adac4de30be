//! A cluster that stays for the next run: made once, by whoever comes first.

use std::fs::File;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use nix::fcntl::{Flock, FlockArg};

use super::super::space::{MANAGER, api_failure};
use super::{Cli, Kind, Made, config_text, node_image, own_name, write_kubeconfig};
use crate::run::folder::runs_directory;
use crate::run::{Failure, Kind as FailureKind, Step};
use crate::targets::ClusterRequest;

/// The object in the cluster that says what it was made by.
const MARK: &str = "recipe-cluster";
const MARK_NAMESPACE: &str = "kube-system";

impl Kind {
    pub(super) async fn create_shared(
        &self,
        step: &Step,
        cli: &Cli,
        request: &ClusterRequest,
    ) -> Result<Made, Failure> {
        let name = &request.name;
        let children = &self.run.children;
        let digest = digest(request)?;
        // Held until the cluster is there: another run waits, and finds it.
        step.waiting("other runs that may be making this cluster");
        let _lock = lock(name).await?;
        step.waiting("kind to say which clusters there are");
        let kubeconfig = self.kubeconfig_file(name);
        let access = Self::access(cli, name, &kubeconfig);
        if cli.clusters(children).await?.iter().any(|known| known == name) {
            write_kubeconfig(&kubeconfig, &cli.kubeconfig(name).await?)?;
            recognise(name, &access.connect(&self.run.secrets).await?, &digest).await?;
            step.cache(true, format!("the cluster {name} is there and was made by the same configuration"));
        } else {
            // Until it is marked it goes with the run, so that nobody finds half of one.
            self.make(step, cli, name, request, &kubeconfig).await?;
            mark(&access.connect(&self.run.secrets).await?, &digest).await?;
            // From now on it belongs to no run.
            self.run.journal.removed("cluster", name);
            step.cache(false, format!("there was no cluster {name}; it stays for the next run"));
        }
        Ok(Made {
            access,
            namespace: own_name(request.namespace.as_deref().unwrap_or(name), &self.run.folder.id),
            nodes: cli.nodes(children, name).await?,
            is_shared: true,
        })
    }
}

/// What a cluster is made by: a change of it asks for another cluster.
fn digest(request: &ClusterRequest) -> Result<String, Failure> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(config_text(request)?.as_bytes());
    hasher.update(node_image(request).unwrap_or_default().as_bytes());
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

/// Keeps other runs of this user from making the cluster meanwhile.
async fn lock(name: &str) -> Result<Flock<File>, Failure> {
    let folder = runs_directory()?.with_file_name("clusters");
    let path = folder.join(format!("{name}.lock"));
    let unwritable = |error: std::io::Error| {
        Failure::new(FailureKind::Io, format!("{} cannot be locked", path.display())).cause(error)
    };
    fs_err::create_dir_all(&folder).map_err(unwritable)?;
    let file = File::create(&path).map_err(unwritable)?;
    let locked = tokio::task::spawn_blocking(move || Flock::lock(file, FlockArg::LockExclusive));
    let locked = locked.await.map_err(|error| unwritable(std::io::Error::other(error)))?;
    locked.map_err(|(_, errno)| unwritable(errno.into()))
}

/// Fails when the cluster was made by another configuration.
async fn recognise(name: &str, client: &Client, digest: &str) -> Result<(), Failure> {
    let marks: Api<ConfigMap> = Api::namespaced(client.clone(), MARK_NAMESPACE);
    let found =
        marks.get_opt(MARK).await.map_err(|error| api_failure(&format!("the mark of {name}"), error))?;
    let made_by = found.and_then(|mark| mark.data?.get("digest").cloned());
    if made_by.as_deref() == Some(digest) {
        return Ok(());
    }
    let what = match made_by {
        Some(_) => format!("the cluster `{name}` is there, but was made by other options of create_cluster"),
        None => format!("the cluster `{name}` is there, but was not made by recipe"),
    };
    Err(Failure::new(FailureKind::Usage, what)
        .hint(format!("remove it by `kind delete cluster --name {name}`, or give this one another name")))
}

async fn mark(client: &Client, digest: &str) -> Result<(), Failure> {
    let marks: Api<ConfigMap> = Api::namespaced(client.clone(), MARK_NAMESPACE);
    let mut mark = ConfigMap::default();
    mark.metadata.name = Some(MARK.to_owned());
    mark.labels_mut().insert("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned());
    mark.data = Some([("digest".to_owned(), digest.to_owned())].into());
    let applied = marks.patch(MARK, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&mark)).await;
    applied.map(drop).map_err(|error| api_failure("the mark of the cluster", error))
}
