use serde_json::{Value, json};

use super::*;

/// A Deployment of one pod, of which nothing is ready yet.
fn seen() -> Seen {
    let missing = "1 pod to be ready, 0 of 1 are".to_owned();
    let rollout = Rollout { is_observed: true, wanted: 1, missing, ..Rollout::default() };
    let makers = vec!["maker".to_owned()];
    Seen { kind: "Deployment", name: "web".to_owned(), rollout: Some(rollout), makers, ..Seen::default() }
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> Arc<K> {
    Arc::new(serde_json::from_value(value).unwrap())
}

/// A scheduled pod whose only container has this state.
fn pod(state: Value) -> Value {
    json!({
        "metadata": {"name": "web-1", "uid": "pod"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "shop:1", "resources": {}}]},
        "status": {"phase": "Pending", "containerStatuses": [{
            "name": "c", "image": "shop:1", "imageID": "", "ready": false, "restartCount": 0, "started": false,
            "state": state, "lastState": {},
        }]},
    })
}

fn waits(reason: &str, message: &str) -> Value {
    pod(json!({"waiting": {"reason": reason, "message": message}}))
}

/// An event about `uid`, told so often, over so many seconds.
fn event(uid: &str, reason: &str, message: &str, (count, seconds): (i32, u32)) -> Arc<Event> {
    object(json!({
        "metadata": {}, "type": "Warning", "reason": reason, "message": message, "count": count,
        "involvedObject": {"uid": uid},
        "firstTimestamp": "2026-11-24T19:48:00Z", "lastTimestamp": format!("2026-11-24T19:48:{seconds:02}Z"),
    }))
}

fn judge(pod: Value, events: Vec<Arc<Event>>) -> Verdict {
    let mut seen = Seen { pods: vec![object(pod)], events, ..seen() };
    let pods = seen.pods.clone();
    pods.iter().for_each(|pod| seen.crashes.note(pod));
    verdict(&seen)
}

#[track_caller]
fn doomed(verdict: Verdict) -> Doom {
    match verdict {
        Verdict::Doomed(doom) => *doom,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn waiting(verdict: Verdict) -> String {
    match verdict {
        Verdict::Waiting(what) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn how_far_the_workload_is_comes_first() {
    let absent = Seen { rollout: None, ..seen() };
    assert_eq!(waiting(verdict(&absent)), "the Deployment `web` to be made");
    let unseen = Seen { rollout: Some(Rollout::default()), ..seen() };
    assert_eq!(waiting(verdict(&unseen)), "the Deployment controller to take up `web`");
    let complete = Rollout { is_complete: true, is_observed: true, ..Rollout::default() };
    let complete =
        |pod| verdict(&Seen { rollout: Some(complete.clone()), pods: vec![object(pod)], ..seen() });
    let mut ready = pod(json!({"running": {}}));
    ready["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert_eq!(complete(ready), Verdict::Ready);
    waiting(complete(pod(ended("a", 3, "Error", ""))));
    assert_eq!(waiting(verdict(&seen())), "1 pod to be ready, 0 of 1 are");
}

#[test]
fn images_that_never_come_are_told_from_those_that_may() {
    let absent =
        waits("ErrImageNeverPull", "Container image \"shop:1\" is not present with pull policy of Never");
    let doom = doomed(judge(absent, vec![]));
    assert_eq!(doom.what, "pod web-1: image `shop:1` is not on the node, and imagePullPolicy is Never");
    let wrong = "Failed to apply default image tag \"A::b\": couldn't parse image name \"A::b\": invalid reference format";
    assert_eq!(doomed(judge(waits("InvalidImageName", wrong), vec![])).kind, Kind::Usage);

    let pull = |cause: &str, count| {
        let chain = format!("failed to pull and unpack image \"docker.io/library/shop:1\": {cause}");
        let event = event("pod", "Failed", &format!("Failed to pull image \"shop:1\": {chain}"), (count, 20));
        judge(waits("ErrImagePull", &chain), vec![event])
    };
    let resolve = "failed to resolve reference \"docker.io/library/shop:1\"";
    let not_found = format!("{resolve}: docker.io/library/shop:1: not found");
    let doom = doomed(pull(&not_found, 1));
    assert_eq!(doom.what, "pod web-1: image `shop:1` cannot be pulled: docker.io/library/shop:1: not found");
    let denied = format!(
        "{resolve}: pull access denied, repository does not exist or may require authorization: server message: \
         insufficient_scope: authorization failed"
    );
    doomed(pull(&denied, 1));
    let head = "failed to do request: Head \"https://registry-1.docker.io/v2/library/shop/manifests/1\"";
    let no_host =
        format!("{resolve}: {head}: dial tcp: lookup registry-1.docker.io on 172.18.0.1:53: no such host");
    waiting(pull(&no_host, 1));
    doomed(pull(&no_host, 2));
    let refused = format!("{resolve}: {head}: dial tcp [::1]:5999: connect: connection refused");
    assert_eq!(
        waiting(pull(&refused, 2)),
        "pod web-1: image `shop:1` to be pulled; last: connection refused"
    );
    doomed(pull(&refused, 3));
    for passes in ["dial tcp 1.2.3.4:443: i/o timeout", "unexpected status: 429 Too Many Requests", "EOF"] {
        waiting(pull(&format!("{resolve}: {head}: {passes}"), 9));
    }
}

#[test]
fn a_pull_that_is_waited_for_remembers_why_the_last_failed() {
    let event = event("pod", "Failed", "Failed to pull image \"shop:1\": x: shop:1: not found", (1, 0));
    // As kubelets before 1.31 tell it.
    let backoff = waits("ImagePullBackOff", "Back-off pulling image \"shop:1\"");
    assert!(doomed(judge(backoff, vec![event])).what.ends_with("cannot be pulled: shop:1: not found"));
}

#[test]
fn what_a_container_needs_may_come_a_moment_later() {
    let said = "configmap \"settings\" not found";
    let told = |said: &str, times| {
        let event = event("pod", "Failed", &format!("Error: {said}"), times);
        judge(waits("CreateContainerConfigError", said), vec![event])
    };
    waiting(judge(waits("CreateContainerConfigError", said), vec![]));
    assert_eq!(waiting(told(said, (2, 1))), format!("pod web-1 to start; last: {said}"));
    let doom = doomed(told(said, (3, 12)));
    assert_eq!((doom.kind, &*doom.what), (Kind::NotFound, &*format!("pod web-1 cannot start: {said}")));
    doomed(told("secret \"password\" not found", (3, 12)));
    doomed(told("couldn't find key port in ConfigMap shop/settings", (3, 12)));
    waiting(told("configmap \"kube-root-ca.crt\" not found", (9, 50)));
    let root = "container has runAsNonRoot and image will run as root (pod: \"web-1_shop(u)\", container: c)";
    assert_eq!(doomed(told(root, (3, 12))).kind, Kind::Kubernetes);
    let other = event("other", "Failed", &format!("Error: {said}"), (9, 50));
    waiting(judge(waits("CreateContainerConfigError", said), vec![other]));
}

#[test]
fn what_a_volume_needs_gets_four_tries() {
    let told = |said: &str, count| {
        judge(waits("ContainerCreating", ""), vec![event("pod", "FailedMount", said, (count, 7))])
    };
    let said = "MountVolume.SetUp failed for volume \"settings\" : configmap \"shop\" not found";
    assert!(waiting(told(said, 3)).starts_with("pod web-1: its volumes to be mounted; last: MountVolume"));
    let what = "pod web-1: its volume `settings` cannot be mounted: configmap \"shop\" not found";
    assert_eq!(doomed(told(said, 4)).what, what);
    let volume = "MountVolume.SetUp failed for volume \"v\" : ";
    doomed(told(&format!("{volume}configmap references non-existent config key: port"), 4));
    doomed(told(&format!("{volume}references non-existent secret key: port"), 4));
    doomed(told(&format!("{volume}hostPath type check failed: /x is not a directory"), 4));
    for passes in [
        "failed to sync configmap cache: timed out waiting for the condition",
        "object \"shop\"/\"kube-root-ca.crt\" not registered",
        "configmap \"kube-root-ca.crt\" not found",
    ] {
        waiting(told(&format!("{volume}{passes}"), 9));
    }
    // It was mounted after all, and something else is being waited for.
    let mut made = waits("ContainerCreating", "");
    made["status"]["conditions"] = json!([{"type": "PodReadyToStartContainers", "status": "True"}]);
    assert_eq!(waiting(judge(made, vec![event("pod", "FailedMount", said, (9, 7))])), "pod web-1 to start");
}

fn ended(id: &str, code: i32, reason: &str, message: &str) -> Value {
    json!({"terminated": {"containerID": id, "exitCode": code, "reason": reason, "message": message}})
}

/// What is said of a container that ended so, one time after the other.
fn crashes(ends: &[Value]) -> Verdict {
    let mut seen = seen();
    for (restarts, end) in ends.iter().enumerate() {
        let mut pod = pod(end.clone());
        pod["status"]["containerStatuses"][0]["restartCount"] = json!(restarts);
        seen.pods = vec![object(pod)];
        let pods = seen.pods.clone();
        pods.iter().for_each(|pod| seen.crashes.note(pod));
    }
    verdict(&seen)
}

#[test]
fn twice_the_same_end_is_no_accident() {
    let once = crashes(&[ended("a", 3, "Error", "")]);
    assert_eq!(waiting(once), "pod web-1 to start again: it ended with exit code 3");
    let doom = doomed(crashes(&[ended("a", 3, "Error", ""), ended("b", 3, "Error", "")]));
    assert_eq!((doom.kind, &*doom.what), (Kind::Exited, "pod web-1 ended with exit code 3, twice"));
    assert_eq!(doom.log_of, Some(("web-1".to_owned(), "c".to_owned())));
    waiting(crashes(&[ended("a", 3, "Error", ""), ended("b", 4, "Error", "")]));
    let third = [ended("a", 1, "Error", ""), ended("b", 2, "Error", ""), ended("c", 3, "Error", "")];
    assert_eq!(doomed(crashes(&third)).what, "pod web-1 ended with exit code 3, the last of 3 times");
    let memory = [ended("a", 137, "OOMKilled", ""), ended("b", 137, "OOMKilled", "")];
    assert!(doomed(crashes(&memory)).hint.unwrap().contains("limits.memory"));
    doomed(crashes(&[ended("a", 0, "Completed", ""), ended("b", 0, "Completed", "")]));
    let same_again = crashes(&[ended("a", 3, "Error", ""), ended("a", 3, "Error", "")]);
    waiting(same_again);
}

#[test]
fn a_container_that_runs_again_is_given_its_chance() {
    let mut pod = pod(json!({"running": {"startedAt": "2026-11-24T19:48:00Z"}}));
    pod["status"]["containerStatuses"][0]["restartCount"] = json!(5);
    pod["status"]["containerStatuses"][0]["started"] = json!(true);
    pod["status"]["containerStatuses"][0]["lastState"] = ended("a", 3, "Error", "");
    assert_eq!(waiting(judge(pod, vec![])), "pod web-1 to be ready");
}

#[test]
fn a_program_that_is_not_there_needs_no_second_try() {
    let runc = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create \
                failed: unable to start container process: ";
    let absent = format!("{runc}exec: \"/serve\": stat /serve: no such file or directory: unknown");
    let doom = doomed(crashes(&[ended("a", 128, "StartError", &absent)]));
    let what =
        "pod web-1: its command cannot be executed: exec: \"/serve\": stat /serve: no such file or directory";
    assert_eq!((doom.kind, &*doom.what), (Kind::NotFound, what));
    doomed(judge(waits("RunContainerError", &absent), vec![]));
    for other in
        ["exec: \"serve\": executable file not found in $PATH: unknown", "exec /serve: exec format error"]
    {
        doomed(crashes(&[ended("a", 128, "StartError", &format!("{runc}{other}"))]));
    }
    let mount = format!(
        "{runc}error during container init: error mounting \"/a\" to rootfs: permission denied: unknown"
    );
    waiting(crashes(&[ended("a", 128, "StartError", &mount)]));
    doomed(crashes(&[ended("a", 128, "StartError", &mount), ended("b", 128, "StartError", &mount)]));
}

#[test]
fn init_containers_are_judged_likewise() {
    let mut pod = waits("PodInitializing", "");
    pod["spec"]["initContainers"] = json!([{"name": "prepare", "image": "shop:1", "resources": {}}]);
    let absent = json!({"waiting": {"reason": "ErrImageNeverPull"}});
    let status = |state: &Value| json!([{"name": "prepare", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]);
    pod["status"]["initContainerStatuses"] = status(&absent);
    assert!(doomed(judge(pod.clone(), vec![])).what.starts_with("pod web-1, init container prepare: image"));
    pod["status"]["initContainerStatuses"] = status(&json!({"running": {}}));
    assert_eq!(waiting(judge(pod.clone(), vec![])), "pod web-1, init container prepare to end");
    pod["status"]["initContainerStatuses"] = status(&ended("a", 0, "Completed", ""));
    assert_eq!(waiting(judge(pod, vec![])), "pod web-1 to start");
}

#[test]
fn probes_are_told_with_their_last_answer() {
    let mut running = pod(json!({"running": {}}));
    running["status"]["containerStatuses"][0]["started"] = json!(true);
    running["spec"]["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"path": "/readyz", "port": 8080}});
    let told = |said: &str| judge(running.clone(), vec![event("pod", "Unhealthy", said, (3, 6))]);
    let probe = "pod web-1: readiness probe GET :8080/readyz to succeed";
    assert_eq!(waiting(judge(running.clone(), vec![])), probe);
    let get = "Readiness probe failed: Get \"http://10.244.0.17:8080/readyz\": dial tcp 10.244.0.17:8080: connect: \
               connection refused";
    assert_eq!(waiting(told(get)), format!("{probe}; last: connection refused"));
    let status = "Readiness probe failed: HTTP probe failed with statuscode: 503";
    assert_eq!(waiting(told(status)), format!("{probe}; last: HTTP probe failed with statuscode: 503"));
    assert_eq!(waiting(told("Liveness probe failed: no")), probe, "that is another one");
}

#[test]
fn refusals_are_final_when_they_cannot_pass() {
    let refused = |said: &str, times| {
        let events = vec![event("maker", "FailedCreate", said, times)];
        verdict(&Seen { events, ..seen() })
    };
    let forbidden = |cause: &str| format!("Error creating: pods \"web-6bcfc7665-\" is forbidden: {cause}");
    let account =
        forbidden("error looking up service account shop/robot: serviceaccount \"robot\" not found");
    waiting(refused(&account, (2, 0)));
    let doom = doomed(refused(&account, (9, 3)));
    assert_eq!(doom.what, "the ServiceAccount `robot`, which its pods name, does not exist");
    let default =
        forbidden("error looking up service account shop/default: serviceaccount \"default\" not found");
    waiting(refused(&default, (20, 50)));
    let quota = forbidden("exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2");
    assert!(waiting(refused(&quota, (5, 3))).starts_with("its pods to be allowed; last: exceeded quota"));
    doomed(refused(&quota, (9, 6)));
    doomed(refused(&forbidden("violates PodSecurity \"restricted:latest\": runAsNonRoot != true"), (2, 0)));
    doomed(refused(&forbidden("pod rejected: RuntimeClass \"kata\" not found"), (5, 3)));
    let priority = doomed(refused(&forbidden("no PriorityClass with name high was found"), (5, 3)));
    assert!(priority.what.contains("`high`"), "{}", priority.what);
    doomed(refused(
        "Error creating: Pod \"web-1\" is invalid: spec.containers[0].image: Required value",
        (2, 0),
    ));
    let denied = "Error creating: admission webhook \"policy.example.com\" denied the request: no latest";
    doomed(refused(denied, (2, 0)));
    let webhook = "Error creating: Internal error occurred: failed calling webhook \"x\": connection refused";
    waiting(refused(webhook, (20, 50)));
    waiting(refused("Error creating: etcdserver: request timed out", (20, 50)));
}

#[test]
fn refusals_before_the_last_apply_do_not_count() {
    let said = "Error creating: pods \"web-\" is forbidden: violates PodSecurity \"restricted:latest\": x";
    let events = vec![event("maker", "FailedCreate", said, (9, 6))];
    let since = "2026-11-24T19:48:07Z".parse().ok();
    waiting(verdict(&Seen { events, since, ..seen() }));
}

#[test]
fn pods_that_fit_nowhere_are_told_from_those_that_wait_for_room() {
    let said = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are \
                available: 1 Preemption is not helpful for scheduling.";
    let unscheduled = |said: &str, cpu: &str| {
        let mut pod = pod(json!({}));
        pod["status"] = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}]});
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        pod
    };
    let node: Arc<Node> =
        object(json!({"metadata": {"name": "node-1"}, "status": {"allocatable": {"cpu": "2"}}}));
    let judge = |pod: Value, nodes| verdict(&Seen { pods: vec![object(pod)], nodes, ..seen() });
    let room = waiting(judge(unscheduled(said, "1"), Some(vec![node.clone()])));
    assert_eq!(room, "pod web-1: a node with room for it; 0/1 nodes are available: 1 Insufficient cpu");
    waiting(judge(unscheduled(said, "64"), None));
    let doom = doomed(judge(unscheduled(said, "64"), Some(vec![node])));
    let what = "pod web-1 fits on no node of this cluster: node node-1 has 2 CPUs, the pod asks for 64 CPUs";
    assert_eq!(doom.what, what);
    let claim = "0/1 nodes are available: persistentvolumeclaim \"data\" not found. not found";
    assert!(doomed(judge(unscheduled(claim, "1"), None)).what.contains("PersistentVolumeClaim `data`"));
}

#[test]
fn a_job_makes_up_for_failures_until_it_gives_up() {
    let failed = json!({
        "metadata": {"name": "job-1", "uid": "pod"},
        "spec": {"containers": [{"name": "c", "image": "shop:1", "resources": {}}]},
        "status": {"phase": "Failed", "containerStatuses": [{
            "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": ended("a", 5, "Error", ""),
        }]},
    });
    let rollout = |given_up: Option<&str>| Rollout {
        is_observed: true,
        retries: true,
        given_up: given_up.map(str::to_owned),
        ..Rollout::default()
    };
    let pods: Vec<Arc<Pod>> = (0..4).map(|_| object(failed.clone())).collect();
    let job = Seen { kind: "Job", rollout: Some(rollout(None)), pods: pods.clone(), ..seen() };
    assert!(waiting(verdict(&job)).starts_with("another pod in place of job-1"));
    let why = "BackoffLimitExceeded: Job has reached the specified backoff limit";
    let doom = doomed(verdict(&Seen { kind: "Job", rollout: Some(rollout(Some(why))), pods, ..seen() }));
    assert!(doom.what.ends_with(why));
    assert_eq!(doom.log_of, Some(("job-1".to_owned(), "c".to_owned())));
}

#[test]
fn pods_that_are_evicted_one_after_the_other_are_not_replaced_for_ever() {
    let evicted = json!({"metadata": {"name": "web-1", "uid": "pod"}, "status": {
        "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}});
    let judge = |count| {
        let pods = (0..count).map(|_| object(evicted.clone())).collect();
        verdict(&Seen { pods, ..seen() })
    };
    assert!(waiting(judge(2)).contains("(Evicted: The node was low on resource"));
    assert_eq!(doomed(judge(3)).what, "3 of its pods failed for the same reason: Evicted");
}
