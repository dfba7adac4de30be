//! Deploying: names are claimed, manifests applied and kept for a look, and
//! what else must not outlive the run is written into its journal.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::discovery::ApiResource;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt};

use super::Kubernetes;
use super::apply;
use super::cleanup::Removal;
use super::place::Site;
use super::provider::Made;
use super::reach::Reached;
use super::space::{MANAGER, MANAGER_LABEL, RUN_LABEL, Space, api_failure, unanswered};
use super::template::Rendered;
use crate::run::{Failure, Kind, Step};
use crate::targets::Cluster;

impl Kubernetes {
    /// Does the `work` of deploying `name`. Takes its name back if that fails,
    /// so that it can be tried again: what was applied is applied over.
    pub(super) async fn deploy<T>(
        &self,
        cluster: &Cluster,
        name: &str,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        let take_back = async {
            let unreached = self.unreach(name).await;
            self.deployed.forget(name);
            unreached
        };
        self.deployed.during(cluster, name, work, take_back).await
    }

    /// Applies the manifest of a workload and leads to its `ports` at the same
    /// time. Its `image` is there before, if this machine has it.
    pub(super) async fn put_up(
        &self,
        step: &Step,
        site: &Site,
        manifest: Rendered,
        image: &str,
        (name, host_port, ports): (&str, Option<u16>, &[u16]),
    ) -> Result<Reached, Failure> {
        self.note(site, name, &manifest.objects)?;
        self.provider.spare_pull(step, &site.made, image).await?;
        let reach = self.reach(site, name, host_port, ports);
        let (reached, ()) = tokio::try_join!(reach, self.apply(step, site, manifest))?;
        Ok(reached)
    }

    /// Applies a rendered manifest. What would outlive the namespace in a
    /// cluster that stays is written down before.
    pub(super) async fn apply(&self, step: &Step, site: &Site, manifest: Rendered) -> Result<(), Failure> {
        self.keep(site, &manifest);
        let announce = |resource: &ApiResource, name: &str| {
            if !site.made.is_shared {
                return Ok(());
            }
            let removal = Removal::object(site, resource, name);
            let place = site.made.access.context.as_deref().unwrap_or(&site.cluster);
            self.run.announce("object", &format!("{}/{name}", resource.kind), format!("in {place}"), &removal)
        };
        apply::apply(step, &site.space, manifest.objects, &announce).await
    }

    /// Keeps a rendered manifest in the run's folder, without its secrets.
    fn keep(&self, site: &Site, manifest: &Rendered) {
        let folder = self.run.folder.path.join("manifests").join(&*site.space.namespace);
        let name: String = manifest
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
            .collect();
        // A help for looking at failures, which a full disk only makes smaller.
        let _ = fs_err::create_dir_all(&folder)
            .and_then(|()| fs_err::write(folder.join(name), self.run.secrets.masked(&manifest.text)));
    }

    /// Makes the namespace of a site, where there is none, and waits until
    /// pods can be made in it.
    pub(super) async fn make_namespace(
        &self,
        step: &Step,
        space: &Space,
        made: &Made,
    ) -> Result<(), Failure> {
        let api: Api<Namespace> = Api::all(space.client.clone());
        let name = &*space.namespace;
        step.waiting(format!("the namespace {name}"));
        let failed = |error| api_failure(&format!("the namespace {name}"), error);
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(name.to_owned());
        namespace.labels_mut().insert(MANAGER_LABEL.to_owned(), MANAGER.to_owned());
        namespace.labels_mut().insert(RUN_LABEL.to_owned(), space.run.to_string());
        if made.is_shared {
            let removal = Removal::namespace(&made.access, name, &space.run);
            self.run.announce("namespace", name, "in a cluster that stays", &removal)?;
            match api.create(&PostParams::default(), &namespace).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    self.run.journal.removed("namespace", name);
                    return Err(Failure::new(Kind::Usage, format!("there is a namespace `{name}` already"))
                        .hint("recipe deploys to a namespace of its own only, so that it can be removed"));
                }
                Err(error) => return Err(failed(error)),
            }
        } else {
            api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&namespace))
                .await
                .map_err(failed)?;
        }
        // Until it is there, the cluster refuses every pod.
        let accounts: Api<ServiceAccount> = Api::namespaced(space.client.clone(), name);
        let account = await_condition(accounts, "default", conditions::is_created());
        account.await.map(drop).map_err(|error| {
            unanswered(format!("the service account of the namespace {name} cannot be watched"), error)
        })
    }

    /// Removes the namespace of a site, if it is this run's.
    pub(super) async fn remove_namespace(&self, site: &Site) -> Result<(), Failure> {
        let name = &*site.space.namespace;
        Removal::namespace(&site.made.access, name, &site.space.run).carry_out().await?;
        self.run.journal.removed("namespace", name);
        Ok(())
    }
}
