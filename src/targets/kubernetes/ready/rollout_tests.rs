use serde_json::{Value, json};

use super::*;

fn rollout<W: Workload>(generation: i64, spec: Value, status: Value) -> Rollout {
    let mut whole = json!({"metadata": {"generation": generation}, "spec": spec, "status": status});
    let spec = whole["spec"].as_object_mut().unwrap();
    spec.entry("selector").or_insert(json!({}));
    spec.entry("template").or_insert(json!({}));
    spec.entry("serviceName").or_insert(json!("web"));
    serde_json::from_value::<W>(whole).unwrap().rollout()
}

#[track_caller]
fn missing<W: Workload>(spec: Value, mut status: Value) -> String {
    status["observedGeneration"] = json!(1);
    let rollout = rollout::<W>(1, spec, status);
    assert_eq!(rollout.is_complete, rollout.missing.is_empty());
    rollout.missing
}

#[test]
fn a_status_of_what_was_applied_before_says_nothing() {
    let status = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1});
    let old = rollout::<Deployment>(2, json!({}), status.clone());
    assert!(!old.is_observed && !old.is_complete);
    assert!(rollout::<Deployment>(1, json!({}), status).is_complete);
}

#[test]
fn deployments_are_rolled_out_when_all_pods_are_new_and_available() {
    let missing = |spec, status| missing::<Deployment>(spec, status);
    let two = || json!({"replicas": 2});
    let status = |replicas: i32, updated: i32, ready: i32, available: i32| json!({"replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": available});
    assert_eq!(missing(two(), json!({})), "2 pods to be made");
    assert_eq!(missing(two(), status(2, 1, 2, 2)), "1 pod to be made");
    assert_eq!(missing(two(), status(3, 2, 3, 3)), "1 pod of the rollout before to go");
    assert_eq!(missing(two(), status(2, 2, 1, 1)), "1 pod to be ready, 1 of 2 are");
    let slow = json!({"replicas": 2, "minReadySeconds": 5});
    assert_eq!(missing(slow, status(2, 2, 2, 1)), "its pods to stay ready for 5 s (minReadySeconds)");
    assert_eq!(missing(two(), status(2, 2, 2, 2)), "");
    assert_eq!(missing(json!({"replicas": 0}), json!({})), "");
    assert_eq!(missing(json!({"paused": true}), json!({})), "it to be resumed: it is paused");
    let late = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"}]);
    let late = rollout::<Deployment>(0, json!({}), json!({"conditions": late}));
    assert_eq!(late.given_up.as_deref(), Some("m"));
}

#[test]
fn stateful_sets_leave_pods_below_the_partition_alone() {
    let missing = |spec, status| missing::<StatefulSet>(spec, status);
    let status = |replicas: i32, updated: i32, available: i32| json!({"replicas": replicas, "updatedReplicas": updated, "readyReplicas": available, "availableReplicas": available});
    let three = |strategy: Value| json!({"replicas": 3, "updateStrategy": strategy});
    assert_eq!(missing(three(json!({})), status(1, 1, 1)), "2 pods to be made");
    assert_eq!(missing(three(json!({})), status(3, 1, 3)), "2 pods to be replaced");
    assert_eq!(missing(three(json!({"rollingUpdate": {"partition": 2}})), status(3, 1, 3)), "");
    assert_eq!(missing(three(json!({"type": "OnDelete"})), status(3, 0, 3)), "");
    assert_eq!(missing(three(json!({})), status(3, 3, 2)), "1 pod to be ready, 2 of 3 are");
}

#[test]
fn daemon_sets_are_rolled_out_on_every_node_that_they_are_for() {
    let status = |desired: i32, current: i32, updated: i32, available: i32| {
        json!({"desiredNumberScheduled": desired, "currentNumberScheduled": current, "numberMisscheduled": 0,
               "updatedNumberScheduled": updated, "numberReady": available, "numberAvailable": available})
    };
    let missing = |status| missing::<DaemonSet>(json!({}), status);
    assert_eq!(missing(status(2, 1, 1, 1)), "1 pod to be made");
    assert_eq!(missing(status(2, 2, 1, 2)), "1 pod to be replaced");
    assert_eq!(missing(status(2, 2, 2, 1)), "1 pod to be ready, 1 of 2 are");
    assert_eq!(missing(status(2, 2, 2, 2)), "");
}

#[test]
fn jobs_say_themselves_when_they_are_over() {
    let job = |spec: Value, status: Value| rollout::<Job>(0, spec, status);
    let condition =
        |name: &str| json!({"conditions": [{"type": name, "status": "True", "reason": "R", "message": "m"}]});
    assert!(job(json!({}), condition("Complete")).is_complete);
    assert!(!job(json!({}), condition("SuccessCriteriaMet")).is_complete, "its pods are still ending");
    assert_eq!(job(json!({}), condition("FailureTarget")).given_up.as_deref(), Some("R: m"));
    assert_eq!(
        job(json!({}), json!({"failed": 2})).missing,
        "0 of 1 completions; 2 of 6 retries were needed"
    );
    assert_eq!(job(json!({"suspend": true}), json!({})).missing, "it to be resumed: it is suspended");
}

#[test]
fn only_pods_of_the_newest_replica_set_count() {
    let deployment: Deployment = serde_json::from_value(json!({"metadata": {
        "name": "web", "uid": "u", "annotations": {"deployment.kubernetes.io/revision": "2"}}}))
    .unwrap();
    let set = |owner: &str, revision: &str, hash: &str| -> Arc<ReplicaSet> {
        let owners = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner}]);
        let annotations = json!({"deployment.kubernetes.io/revision": revision});
        let metadata = json!({"labels": {"pod-template-hash": hash}, "annotations": annotations, "ownerReferences": owners});
        Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
    };
    let sets = [set("u", "1", "old"), set("other", "2", "other"), set("u", "2", "new")];
    assert_eq!(deployment.revision(&sets), Some(("pod-template-hash", "new".to_owned())));
    assert_eq!(deployment.revision(&sets[..2]), None);
}
