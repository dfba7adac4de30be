//! Whether the kubeconfig's user may do what a run will do, asked before it
//! does anything.

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::space::api_failure;
use crate::run::{Failure, Kind};

/// Verb, group and resource.
const NEEDED: [(&str, &str, &str); 14] = [
    ("create", "", "namespaces"),
    ("delete", "", "namespaces"),
    ("patch", "", "secrets"),
    ("patch", "", "configmaps"),
    ("patch", "", "services"),
    ("patch", "apps", "deployments"),
    ("watch", "apps", "deployments"),
    ("watch", "apps", "replicasets"),
    ("watch", "", "pods"),
    ("watch", "", "events"),
    ("get", "", "pods/log"),
    ("create", "", "pods/exec"),
    ("create", "", "pods/portforward"),
    ("watch", "", "serviceaccounts"),
];

/// Asks for all rights at once.
///
/// # Errors
/// Names every right that lacks.
pub(super) async fn check(client: &Client, namespace: &str) -> Result<(), Failure> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let asked = try_join_all(NEEDED.map(|(verb, group, resource)| {
        let review = review(namespace, verb, group, resource);
        let api = api.clone();
        async move { api.create(&PostParams::default(), &review).await }
    }));
    let answers = asked.await.map_err(|error| api_failure("what the kubeconfig's user may do", error))?;
    let denied: Vec<_> = NEEDED
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| !answer.status.as_ref().is_some_and(|status| status.allowed))
        .map(|((verb, _, resource), _)| format!("{verb} {resource}"))
        .collect();
    if denied.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::TargetUnusable,
        format!("the kubeconfig's user lacks rights that a run needs: {}", denied.join(", ")),
    )
    .hint("have them given by a Role or ClusterRole, or use a context of another user"))
}

fn review(namespace: &str, verb: &str, group: &str, resource: &str) -> SelfSubjectAccessReview {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let attributes = ResourceAttributes {
        namespace: (resource != "namespaces").then(|| namespace.to_owned()),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    }
}
