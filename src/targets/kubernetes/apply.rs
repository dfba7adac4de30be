//! Applying objects server-side, in the order that they need each other.

use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, GroupVersionKind, Status};
use kube::discovery::{ApiResource, Scope, pinned_kind};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt};

use super::space::{MANAGER, MANAGER_LABEL, RUN_LABEL, Space, api_failure, unanswered};
use crate::run::{Failure, Kind, Step};

/// How long the API may take to serve a new kind of object.
const ESTABLISHED: Duration = Duration::from_secs(30);

/// Groups whose kinds are known without asking.
const OWN_GROUPS: [&str; 7] = [
    "",
    "apps",
    "batch",
    "rbac.authorization.k8s.io",
    "networking.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
];

/// Kinds of those groups that belong to no namespace.
const CLUSTER_WIDE: [&str; 9] = [
    "Namespace",
    "Node",
    "PersistentVolume",
    "ClusterRole",
    "ClusterRoleBinding",
    "StorageClass",
    "IngressClass",
    "VolumeAttachment",
    "CustomResourceDefinition",
];

/// Is told of an object that nothing else takes along in the end, before it is
/// made: it belongs to no namespace, and was not there before.
pub(super) type Announce<'a> = &'a (dyn Fn(&ApiResource, &str) -> Result<(), Failure> + Sync);

/// Applies `objects` to the space; those that nothing else waits for side by
/// side. Labels them with the run.
pub(super) async fn apply(
    step: &Step,
    space: &Space,
    mut objects: Vec<DynamicObject>,
    announce: Announce<'_>,
) -> Result<(), Failure> {
    objects.sort_by_key(rank);
    let total = objects.len() as u64;
    let mut applied = 0;
    for wave in objects.chunk_by(|one, other| rank(one) == rank(other)) {
        let names: Vec<_> = wave.iter().map(name_of).collect();
        step.waiting(format!("the cluster to take {}", names.join(", ")));
        try_join_all(wave.iter().map(|object| apply_one(space, object, announce))).await?;
        applied += wave.len() as u64;
        step.progress(applied, Some(total), "objects");
    }
    Ok(())
}

/// Lower ones first.
pub(super) fn rank(object: &DynamicObject) -> u8 {
    match object.types.as_ref().map_or("", |types| types.kind.as_str()) {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "ServiceAccount" | "Role" | "ClusterRole" | "StorageClass" | "PriorityClass" => 2,
        "RoleBinding"
        | "ClusterRoleBinding"
        | "ConfigMap"
        | "Secret"
        | "PersistentVolume"
        | "PersistentVolumeClaim" => 3,
        "Service" | "NetworkPolicy" | "Ingress" => 4,
        "Pod" | "ReplicaSet" | "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob" => 5,
        _ => 6,
    }
}

/// `Deployment/redis`.
fn name_of(object: &DynamicObject) -> String {
    let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
    format!("{kind}/{}", object.name_any())
}

async fn apply_one(space: &Space, object: &DynamicObject, announce: Announce<'_>) -> Result<(), Failure> {
    let (api, (resource, is_cluster_wide)) = api_of(space, object).await?;
    let mut object = object.clone();
    let name = object.name_any();
    let is_left_over = is_cluster_wide
        && !is_someone_elses(&api, &name, &space.run)
            .await
            .map_err(|error| api_failure(&name_of(&object), error))?;
    if is_left_over {
        announce(&resource, &name)?;
    }
    if !is_cluster_wide || is_left_over {
        object.labels_mut().entry(RUN_LABEL.to_owned()).or_insert_with(|| space.run.to_string());
        object.labels_mut().entry(MANAGER_LABEL.to_owned()).or_insert_with(|| MANAGER.to_owned());
    }
    if let Some(template) = object.data.pointer_mut("/spec/template/metadata") {
        label(template, RUN_LABEL, &space.run);
    }
    let applied = api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await;
    applied.map_err(|error| refused(&object, error))?;
    if resource.kind == "CustomResourceDefinition" {
        established(space, &name).await?;
    }
    Ok(())
}

/// Where the API keeps an object of this name, and what such objects are.
pub(super) async fn api_of(
    space: &Space,
    object: &DynamicObject,
) -> Result<(Api<DynamicObject>, (ApiResource, bool)), Failure> {
    let (resource, is_cluster_wide) = resource_of(space, object).await?;
    let namespace = object.namespace().unwrap_or_else(|| space.namespace.to_string());
    let api = if is_cluster_wide {
        Api::all_with(space.client.clone(), &resource)
    } else {
        Api::namespaced_with(space.client.clone(), &namespace, &resource)
    };
    Ok((api, (resource, is_cluster_wide)))
}

/// Whether an object without namespace was there before this run.
async fn is_someone_elses(api: &Api<DynamicObject>, name: &str, run: &str) -> Result<bool, kube::Error> {
    let there = api.get_metadata_opt(name).await?;
    Ok(there.is_some_and(|there| there.labels().get(RUN_LABEL).is_none_or(|label| label != run)))
}

fn label(metadata: &mut serde_json::Value, key: &str, value: &str) {
    if let Some(metadata) = metadata.as_object_mut() {
        let labels = metadata.entry("labels").or_insert_with(|| serde_json::json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.entry(key).or_insert_with(|| value.into());
        }
    }
}

/// Where the API keeps such objects. Asks it only about kinds of others.
async fn resource_of(space: &Space, object: &DynamicObject) -> Result<(ApiResource, bool), Failure> {
    let types = object.types.clone().unwrap_or_default();
    let kind = GroupVersionKind::try_from(&types).map_err(|error| {
        let what = format!("`{}` is no apiVersion of {}", types.api_version, name_of(object));
        Failure::new(Kind::Usage, what).cause(error)
    })?;
    if OWN_GROUPS.contains(&kind.group.as_str()) {
        let is_cluster_wide = CLUSTER_WIDE.contains(&kind.kind.as_str());
        return Ok((ApiResource::from_gvk(&kind), is_cluster_wide));
    }
    match pinned_kind(&space.client, &kind).await {
        Ok((resource, capabilities)) => Ok((resource, capabilities.scope == Scope::Cluster)),
        Err(error) => {
            let what = format!("the cluster knows no {} of {}", types.kind, types.api_version);
            Err(Failure::new(Kind::NotFound, what)
                .hint("apply its custom resource definition before; in one manifest, recipe does so")
                .cause(error))
        }
    }
}

async fn established(space: &Space, name: &str) -> Result<(), Failure> {
    let api: Api<CustomResourceDefinition> = Api::all(space.client.clone());
    let condition = await_condition(api, name, conditions::is_crd_established());
    match tokio::time::timeout(ESTABLISHED, condition).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            Err(unanswered(format!("the custom resource definition {name} cannot be watched"), error))
        }
        Err(_) => Err(Failure::new(
            Kind::Timeout,
            format!("the custom resource definition {name} was not established within 30 s"),
        )
        .hint("`kubectl describe crd` says whether its names are taken by another one")),
    }
}

/// Why an object was not taken, for a person.
fn refused(object: &DynamicObject, error: kube::Error) -> Failure {
    let name = name_of(object);
    let status = match error {
        kube::Error::Api(status) => status,
        error => return unanswered(format!("{name} cannot be applied"), error),
    };
    let (what, hint) = explain(&name, &status);
    let failure = Failure::new(Kind::Kubernetes, what).cause(std::io::Error::other(status.message.clone()));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn explain(name: &str, status: &Status) -> (String, Option<&'static str>) {
    let message = status.message.as_str();
    if message.contains("field is immutable") || message.contains("updates to statefulset spec") {
        return (
            format!("{name} is there already, and what it would have to change cannot be changed"),
            Some("delete it first, or give it another name"),
        );
    }
    if message.contains("admission webhook") || message.contains("ValidatingAdmissionPolicy") {
        return (format!("an admission rule of the cluster refuses {name}"), None);
    }
    if message.contains("exceeded quota") {
        return (format!("{name} would exceed the namespace's quota"), None);
    }
    match status.code {
        403 => (
            format!("the kubeconfig's user may not apply {name}"),
            Some("`kubectl auth can-i --list` shows what it may do"),
        ),
        404 => (
            format!("the cluster has no place for {name}: its namespace or its kind is missing"),
            Some("create_namespace makes a namespace"),
        ),
        400 | 422 => (format!("the cluster takes {name} for wrong"), None),
        _ => (format!("the cluster refuses {name}"), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str) -> DynamicObject {
        serde_json::from_value(
            serde_json::json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "x" } }),
        )
        .unwrap()
    }

    #[test]
    fn what_others_need_goes_first() {
        let mut objects: Vec<_> = [
            "Widget",
            "Deployment",
            "Service",
            "Secret",
            "ServiceAccount",
            "CustomResourceDefinition",
            "Namespace",
        ]
        .map(object)
        .into();
        objects.sort_by_key(rank);
        let names: Vec<_> = objects.iter().map(name_of).collect();
        assert_eq!(
            names.join(" "),
            "Namespace/x CustomResourceDefinition/x ServiceAccount/x Secret/x Service/x Deployment/x Widget/x"
        );
    }

    #[test]
    fn refusals_are_explained() {
        let immutable = Status {
            code: 422,
            message: "Deployment.apps \"x\" is invalid: spec.selector: Invalid value: field is immutable"
                .into(),
            ..Status::default()
        };
        assert!(explain("Deployment/x", &immutable).0.contains("cannot be changed"));
        let webhook = Status {
            code: 400,
            message: "admission webhook \"p\" denied the request".into(),
            ..Status::default()
        };
        assert!(explain("Pod/x", &webhook).0.starts_with("an admission rule"));
    }
}
