//! A namespace of a real cluster for each test.
//!
//! `RECIPE_TEST_KUBECONFIG` names the kubeconfig file of a cluster that may be
//! used for anything, with the image `RECIPE_TEST_BASE_IMAGE` on its nodes.
//! Without it these tests say that they do nothing, or fail if
//! `RECIPE_TEST_KIND=1` says that they must not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Client, Config};
use recipe::run::event::{Event, EventKind, StepId};
use recipe::run::{Dispatcher, Reporter, Secrets, Step};
use recipe::targets::kubernetes::Space;
use tokio::sync::watch;

/// A namespace, and a step that reports from it.
pub struct Ground {
    pub space: Space,
    pub step: Step,
    /// What the step is waiting for, as it says it.
    pub waiting: watch::Receiver<Vec<String>>,
    /// Keeps the reporting going.
    _dispatcher: Dispatcher,
}

/// The kubeconfig of the cluster; none when these tests are not wanted.
fn kubeconfig() -> Option<PathBuf> {
    let path = std::env::var_os("RECIPE_TEST_KUBECONFIG").map(PathBuf::from);
    if path.is_none() {
        let is_wanted = std::env::var("RECIPE_TEST_KIND").is_ok_and(|wanted| wanted == "1");
        assert!(!is_wanted, "RECIPE_TEST_KIND=1, but RECIPE_TEST_KUBECONFIG names no kubeconfig file");
        eprintln!("SKIPPED: needs a cluster; name its kubeconfig file in RECIPE_TEST_KUBECONFIG");
    }
    path
}

/// The image that pods run: Debian with a shell.
pub fn image() -> String {
    std::env::var("RECIPE_TEST_BASE_IMAGE").unwrap_or_else(|_| "debian:12-slim".to_owned())
}

/// How the cluster is reached; none when these tests are not wanted.
pub async fn config() -> Option<Config> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig()?).unwrap();
    Some(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap())
}

impl Ground {
    /// A new namespace; none when these tests are not wanted.
    pub async fn new(name: &str) -> Option<Self> {
        let client = Client::try_from(config().await?).unwrap();
        let namespace = format!("{name}-{}", std::process::id());
        let object = serde_json::from_value(serde_json::json!({"metadata": {"name": namespace}})).unwrap();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &object).await.unwrap();
        Some(Self::at(client, &namespace))
    }

    /// A namespace that need not be there.
    pub fn at(client: Client, namespace: &str) -> Self {
        let (said, waiting) = watch::channel(Vec::new());
        let dispatcher = Dispatcher::start(Instant::now(), Secrets::default(), vec![Box::new(Said(said))]);
        let step = Step::new(dispatcher.events(), Some(StepId(1)), "".into());
        let space = Space { client, namespace: namespace.into(), run: Arc::from("run-1") };
        Self { space, step, waiting, _dispatcher: dispatcher }
    }

    /// Applies documents of YAML to the namespace.
    pub async fn apply(&self, yaml: &str) {
        for document in serde_norway::Deserializer::from_str(yaml) {
            let object: DynamicObject = serde::Deserialize::deserialize(document).unwrap();
            let name = object.metadata.name.clone().unwrap();
            let params = PatchParams::apply("test").force();
            self.api(object.types.as_ref().unwrap())
                .patch(&name, &params, &Patch::Apply(&object))
                .await
                .unwrap();
        }
    }

    /// Removes an object: `v1`, `Pod`, its name.
    pub async fn delete(&self, api_version: &str, kind: &str, name: &str) {
        let types = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
        self.api(&types).delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }

    fn api(&self, types: &TypeMeta) -> Api<DynamicObject> {
        let kind = GroupVersionKind::try_from(types).unwrap();
        let resource = ApiResource::from_gvk(&kind);
        let client = self.space.client.clone();
        match types.kind.as_str() {
            "PriorityClass" | "Namespace" => Api::all_with(client, &resource),
            _ => Api::namespaced_with(client, &self.space.namespace, &resource),
        }
    }

    /// Returns once the step has said that it is waiting for something with
    /// these words.
    pub async fn until_waiting_for(&self, words: &str) {
        let has_said = |said: &Vec<String>| said.iter().any(|said| said.contains(words));
        self.waiting.clone().wait_for(has_said).await.unwrap();
    }

    /// Removes the namespace, without waiting for it to be gone.
    pub async fn clear(self) {
        let namespaces: Api<Namespace> = Api::all(self.space.client.clone());
        namespaces.delete(&self.space.namespace, &DeleteParams::default()).await.unwrap();
    }
}

/// Collects what a step says it is waiting for.
struct Said(watch::Sender<Vec<String>>);

impl Reporter for Said {
    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        if let EventKind::StepWaiting { what, .. } = &event.kind {
            self.0.send_modify(|said| said.push(what.clone()));
        }
        Ok(())
    }
}

/// A Deployment of one pod that is made as `pod` says, in YAML's short form;
/// `IMAGE` in it is [`image`].
pub fn deployment(name: &str, pod: &str) -> String {
    workload("Deployment", name, "", pod)
}

/// The same of another kind, and with more in its `spec`.
pub fn workload(kind: &str, name: &str, more: &str, pod: &str) -> String {
    let pod = pod.replace("IMAGE", &image());
    let labels = format!("{{app.kubernetes.io/name: {name}, recipe/run: run-1}}");
    format!(
        "{{apiVersion: apps/v1, kind: {kind}, metadata: {{name: {name}}}, spec: {{{more} \
         selector: {{matchLabels: {{app.kubernetes.io/name: {name}}}}}, \
         template: {{metadata: {{labels: {labels}}}, spec: {pod}}}}}}}"
    )
}
