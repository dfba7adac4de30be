//! What passes by itself gets its time, and what it is waiting for is said.

use std::time::Duration;

use recipe::run::Kind;
use recipe::targets::kubernetes::ready::{WorkloadKind, rolled_out};

use crate::LONG;
use crate::cluster::{Ground, deployment};

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn one_crash_is_forgiven() {
    let Some(ground) = Ground::new("crash").await else { return };
    let pod = "{containers: [{name: c, image: IMAGE, volumeMounts: [{name: v, mountPath: /v}], \
               command: [sh, -c, 'mkdir /v/second && exit 3; exec sleep inf'], \
               readinessProbe: {exec: {command: ['true']}, initialDelaySeconds: 2}}], \
               volumes: [{name: v, emptyDir: {}}]}";
    ground.apply(&deployment("web", pod)).await;
    rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "web", LONG).await.unwrap();
    ground.until_waiting_for("to start again: it ended with exit code 3").await;
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_config_map_may_come_a_moment_later() {
    let Some(ground) = Ground::new("later").await else { return };
    let pod = "{containers: [{name: c, image: IMAGE, command: [sleep, inf], \
               envFrom: [{configMapRef: {name: late}}]}]}";
    ground.apply(&deployment("web", pod)).await;
    let comes = async {
        ground.until_waiting_for("configmap \"late\" not found").await;
        ground.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: late}, data: {A: b}}").await;
    };
    let wait = async {
        rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "web", LONG).await.unwrap();
    };
    tokio::join!(wait, comes);
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn room_that_others_take_may_become_free() {
    let Some(ground) = Ground::new("room").await else { return };
    // How much memory the node has is not known here; a port it has once.
    let pod = "{terminationGracePeriodSeconds: 0, containers: [{name: c, image: IMAGE, \
               command: [sleep, inf], ports: [{containerPort: 8080, hostPort: 48080}]}]}";
    ground.apply(&deployment("first", pod)).await;
    rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "first", LONG).await.unwrap();
    ground.apply(&deployment("second", pod)).await;
    let leaves = async {
        ground.until_waiting_for("a node with room for it").await;
        ground.delete("apps/v1", "Deployment", "first").await;
    };
    let wait = async {
        rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "second", LONG).await.unwrap();
    };
    tokio::join!(wait, leaves);
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_timeout_tells_how_far_it_was() {
    let Some(ground) = Ground::new("timeout").await else { return };
    let pod = "{containers: [{name: c, image: IMAGE, command: [sh, -c, 'echo warming up; exec sleep inf'], \
               readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}}]}";
    ground.apply(&deployment("web", pod)).await;
    let timeout = Duration::from_secs(20);
    let wait = rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "web", timeout);
    let failure = wait.await.unwrap_err();
    eprintln!("{failure}\n{:#?}", failure.evidence);
    assert_eq!(failure.kind, Kind::Timeout);
    let told = "readiness probe GET :8080/readyz to succeed; last: connection refused";
    assert!(failure.message.contains(told), "{failure}");
    assert!(failure.evidence.iter().any(|line| line == "warming up"), "{:#?}", failure.evidence);
    assert!(failure.evidence.iter().any(|line| line.starts_with("Unhealthy")), "{:#?}", failure.evidence);
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn what_is_not_there_is_waited_for() {
    let Some(ground) = Ground::new("nothing").await else { return };
    let wait = rolled_out(&ground.step, &ground.space, WorkloadKind::Job, "absent", Duration::from_secs(3));
    let failure = wait.await.unwrap_err();
    assert_eq!(failure.kind, Kind::Timeout);
    assert!(failure.message.ends_with("it was waiting for the Job `absent` to be made"), "{failure}");
    ground.clear().await;
}
