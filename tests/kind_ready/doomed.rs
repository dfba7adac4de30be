//! What never will be ready fails by itself, long before the timeout, and says
//! why.

use futures::future::join_all;
use recipe::run::{Failure, Kind};
use recipe::targets::kubernetes::ready::{WorkloadKind, rolled_out};

use crate::LONG;
use crate::cluster::{Ground, deployment};

/// What a pod is made as, how waiting for it ends, words of the message, and
/// words of the evidence.
type Case = (&'static str, &'static str, Kind, &'static str, &'static str);

const CASES: [Case; 22] = [
    (
        "never",
        "{containers: [{name: c, image: 'absent:1', imagePullPolicy: Never}]}",
        Kind::NotFound,
        "image `absent:1` is not on the node, and imagePullPolicy is Never",
        "is not present with pull policy of Never",
    ),
    (
        "name",
        "{containers: [{name: c, image: 'UPPER:::x'}]}",
        Kind::Usage,
        "`UPPER:::x` is not the name of an image",
        "invalid reference format",
    ),
    (
        "no-host",
        "{containers: [{name: c, image: 'registry.invalid/absent:1'}]}",
        Kind::NotFound,
        "image `registry.invalid/absent:1` cannot be pulled",
        "no such host",
    ),
    (
        "config-map",
        "{containers: [{name: c, image: IMAGE, envFrom: [{configMapRef: {name: absent}}]}]}",
        Kind::NotFound,
        "configmap \"absent\" not found",
        "",
    ),
    (
        "key",
        "{containers: [{name: c, image: IMAGE, env: [{name: A, valueFrom: {configMapKeyRef: \
         {name: kube-root-ca.crt, key: absent}}}]}]}",
        Kind::NotFound,
        "couldn't find key absent in ConfigMap",
        "",
    ),
    (
        "secret",
        "{containers: [{name: c, image: IMAGE, env: [{name: A, valueFrom: {secretKeyRef: \
         {name: absent, key: a}}}]}]}",
        Kind::NotFound,
        "secret \"absent\" not found",
        "",
    ),
    (
        "volume",
        "{containers: [{name: c, image: IMAGE, command: [sleep, inf], volumeMounts: [{name: settings, mountPath: /v}]}], \
         volumes: [{name: settings, configMap: {name: absent}}]}",
        Kind::NotFound,
        "its volume `settings` cannot be mounted: configmap \"absent\" not found",
        "FailedMount",
    ),
    (
        "volume-key",
        "{containers: [{name: c, image: IMAGE, command: [sleep, inf], volumeMounts: [{name: settings, mountPath: /v}]}], volumes: [{name: settings, \
         configMap: {name: kube-root-ca.crt, items: [{key: absent, path: x}]}}]}",
        Kind::NotFound,
        "references non-existent config key: absent",
        "FailedMount",
    ),
    (
        "account",
        "{serviceAccountName: absent, containers: [{name: c, image: IMAGE}]}",
        Kind::NotFound,
        "the ServiceAccount `absent`, which its pods name, does not exist",
        "FailedCreate",
    ),
    (
        "priority",
        "{priorityClassName: absent, containers: [{name: c, image: IMAGE}]}",
        Kind::NotFound,
        "the PriorityClass `absent`, which its pods name, does not exist",
        "FailedCreate",
    ),
    (
        "crash",
        "{containers: [{name: c, image: IMAGE, command: [sh, -c, 'echo out of cheese; exit 3'], \
         readinessProbe: {exec: {command: ['true']}, initialDelaySeconds: 2}}]}",
        Kind::Exited,
        "ended with exit code 3, twice",
        "out of cheese",
    ),
    (
        "ends",
        "{containers: [{name: c, image: IMAGE, command: [sh, -c, 'echo all done'], \
         readinessProbe: {exec: {command: ['true']}, initialDelaySeconds: 2}}]}",
        Kind::Exited,
        "ended with exit code 0, twice",
        "all done",
    ),
    (
        "init",
        "{initContainers: [{name: prepare, image: IMAGE, command: [sh, -c, 'echo unprepared; exit 4']}], \
         containers: [{name: c, image: IMAGE}]}",
        Kind::Exited,
        "init container prepare ended with exit code 4, twice",
        "unprepared",
    ),
    (
        "memory",
        "{containers: [{name: c, image: IMAGE, command: [sh, -c, 'exec tail /dev/zero'], \
         resources: {limits: {memory: 32Mi}}, readinessProbe: {exec: {command: ['true']}, initialDelaySeconds: 2}}]}",
        Kind::Exited,
        "was killed for using more memory than its limit (OOMKilled), twice",
        "",
    ),
    (
        "program",
        "{containers: [{name: c, image: IMAGE, command: [/absent]}]}",
        Kind::NotFound,
        "its command cannot be executed: exec: \"/absent\"",
        "no such file or directory",
    ),
    (
        "liveness",
        "{terminationGracePeriodSeconds: 1, containers: [{name: c, image: IMAGE, command: [sleep, inf], \
         livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 1}, \
         readinessProbe: {tcpSocket: {port: 8080}}}]}",
        Kind::Exited,
        "ended with exit code 137, twice",
        "Liveness probe failed",
    ),
    (
        "cpus",
        "{containers: [{name: c, image: IMAGE, resources: {requests: {cpu: '640'}}}]}",
        Kind::Kubernetes,
        "fits on no node of this cluster",
        "the pod asks for 640 CPUs",
    ),
    (
        "label",
        "{nodeSelector: {disk: ssd}, containers: [{name: c, image: IMAGE}]}",
        Kind::Kubernetes,
        "has no label disk=ssd",
        "didn't match",
    ),
    (
        "claim",
        "{containers: [{name: c, image: IMAGE}], \
         volumes: [{name: data, persistentVolumeClaim: {claimName: absent}}]}",
        Kind::Kubernetes,
        "the PersistentVolumeClaim `absent`, which it mounts, does not exist",
        "not found",
    ),
    (
        "root",
        "{securityContext: {runAsNonRoot: true}, containers: [{name: c, image: IMAGE, command: [sleep, inf]}]}",
        Kind::Kubernetes,
        "container has runAsNonRoot and image will run as root",
        "",
    ),
    (
        "class",
        "{runtimeClassName: absent, containers: [{name: c, image: IMAGE}]}",
        Kind::NotFound,
        "the RuntimeClass `absent`, which its pods name, does not exist",
        "FailedCreate",
    ),
    (
        "host-path",
        "{containers: [{name: c, image: IMAGE, command: [sleep, inf], volumeMounts: [{name: data, mountPath: /v}]}], \
         volumes: [{name: data, hostPath: {path: /absent, type: Directory}}]}",
        Kind::NotFound,
        "hostPath type check failed: /absent is not a directory",
        "FailedMount",
    ),
];

async fn failure(ground: &Ground, kind: WorkloadKind, name: &str) -> Failure {
    match rolled_out(&ground.step, &ground.space, kind, name, LONG).await {
        Ok(times) => panic!("{name} is ready: {times:?}"),
        Err(failure) => failure,
    }
}

#[track_caller]
fn assert_says(name: &str, failure: &Failure, kind: Kind, message: &str, evidence: &str) {
    let told = format!("{name}: {failure}\nhint: {:?}\nevidence: {:#?}", failure.hint, failure.evidence);
    eprintln!("{told}\n");
    assert_eq!(failure.kind, kind, "{told}");
    assert!(failure.message.contains(message), "no {message:?} in {told}");
    assert!(failure.hint.is_some(), "no hint in {told}");
    assert!(failure.evidence.iter().any(|line| line.contains(evidence)) || evidence.is_empty(), "{told}");
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn each_doom_is_told_with_its_evidence() {
    let Some(ground) = Ground::new("doomed").await else { return };
    let cases = CASES.iter().map(|(name, pod, kind, message, evidence)| {
        let ground = &ground;
        async move {
            ground.apply(&deployment(name, pod)).await;
            let failure = failure(ground, WorkloadKind::Deployment, name).await;
            assert!(failure.message.starts_with(&format!("Deployment `{name}` will never be ready: ")));
            assert_says(name, &failure, *kind, message, evidence);
        }
    });
    join_all(cases).await;
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn the_rules_of_a_namespace_are_told() {
    let Some(ground) = Ground::new("rules").await else { return };
    let rules = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: small}, spec: {hard: {requests.cpu: 500m}}}
---
{apiVersion: v1, kind: LimitRange, metadata: {name: limits}, spec: {limits: [{type: Container, max: {memory: 1Gi}}]}}
";
    ground.apply(rules).await;
    let resources = |resources: &str| {
        format!("{{containers: [{{name: c, image: IMAGE, command: [sleep, inf], resources: {resources}}}]}}")
    };
    ground.apply(&deployment("quota", &resources("{requests: {cpu: '2', memory: 1Mi}}"))).await;
    ground.apply(&deployment("limit", &resources("{requests: {cpu: 1m}, limits: {memory: 2Gi}}"))).await;
    let (quota, limit) = tokio::join!(
        failure(&ground, WorkloadKind::Deployment, "quota"),
        failure(&ground, WorkloadKind::Deployment, "limit"),
    );
    assert_says(
        "quota",
        &quota,
        Kind::Kubernetes,
        "exceeded quota: small, requested: requests.cpu=2",
        "FailedCreate",
    );
    assert_says(
        "limit",
        &limit,
        Kind::Kubernetes,
        "maximum memory usage per Container is 1Gi",
        "FailedCreate",
    );
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn other_workloads_are_doomed_as_well() {
    let Some(ground) = Ground::new("kinds").await else { return };
    let account = "{serviceAccountName: absent, containers: [{name: c, image: IMAGE}]}";
    let absent = "{containers: [{name: c, image: 'absent:1', imagePullPolicy: Never}]}";
    ground.apply(&crate::cluster::workload("StatefulSet", "set", "serviceName: set,", account)).await;
    ground.apply(&crate::cluster::workload("DaemonSet", "daemon", "", absent)).await;
    let job = format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: job}}, spec: {{backoffLimit: 1, template: {{spec: \
         {{restartPolicy: Never, containers: [{{name: c, image: '{}', command: [sh, -c, 'echo no luck; exit 5']}}]}}}}}}}}",
        crate::cluster::image()
    );
    ground.apply(&job).await;
    let (set, daemon, job) = tokio::join!(
        failure(&ground, WorkloadKind::StatefulSet, "set"),
        failure(&ground, WorkloadKind::DaemonSet, "daemon"),
        failure(&ground, WorkloadKind::Job, "job"),
    );
    assert_says("set", &set, Kind::NotFound, "the ServiceAccount `absent`", "FailedCreate");
    assert_says("daemon", &daemon, Kind::NotFound, "imagePullPolicy is Never", "Never");
    assert_says("job", &job, Kind::Exited, "its controller has given up: BackoffLimitExceeded", "no luck");
    ground.clear().await;
}
