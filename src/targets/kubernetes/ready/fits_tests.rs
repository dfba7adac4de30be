use serde_json::{Value, json};

use super::*;

fn why(pod: Value, node: Value) -> Option<String> {
    let mut spec = json!({"containers": []});
    spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
    misfit(&serde_json::from_value(spec).unwrap(), &serde_json::from_value(node).unwrap())
}

fn asks(requests: Value) -> Value {
    json!({"name": "c", "resources": {"requests": requests}})
}

#[test]
fn quantities_are_read_as_kubernetes_writes_them() {
    for (text, wanted) in [
        ("2", 2.0),
        ("250m", 0.25),
        ("64Mi", 67_108_864.0),
        ("1e3", 1000.0),
        ("1E", 1e18),
        ("5G", 5e9),
        ("7u", 7e-6),
    ] {
        let read = amount(&Quantity(text.to_owned())).unwrap();
        assert!((read - wanted).abs() <= wanted * 1e-12, "{text} is {read}");
    }
    assert_eq!(amount(&Quantity("much".to_owned())), None);
}

#[test]
fn nodes_are_chosen_by_labels() {
    let node = json!({"metadata": {"name": "n", "labels": {"disk": "ssd", "cores": "8"}}});
    let wants = |labels: Value| why(json!({"nodeSelector": labels}), node.clone());
    assert_eq!(wants(json!({"disk": "ssd"})), None);
    assert_eq!(wants(json!({"disk": "hdd"})).unwrap(), "has no label disk=hdd, which nodeSelector asks for");
    let affinity = |requirement: Value| {
        let terms = json!([{"matchExpressions": [requirement]}]);
        let required =
            json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        why(json!({"affinity": {"nodeAffinity": required}}), node.clone()).is_none()
    };
    assert!(affinity(json!({"key": "disk", "operator": "In", "values": ["hdd", "ssd"]})));
    assert!(!affinity(json!({"key": "disk", "operator": "NotIn", "values": ["ssd"]})));
    assert!(affinity(json!({"key": "gpu", "operator": "DoesNotExist"})));
    assert!(!affinity(json!({"key": "gpu", "operator": "Exists"})));
    assert!(affinity(json!({"key": "cores", "operator": "Gt", "values": ["4"]})));
    assert!(!affinity(json!({"key": "cores", "operator": "Lt", "values": ["4"]})));
}

#[test]
fn taints_that_pass_are_no_obstacle() {
    let tainted = |key: &str, effect: &str| json!({"metadata": {}, "spec": {"taints": [{"key": key, "value": "x", "effect": effect}]}});
    let dedicated = tainted("dedicated", "NoSchedule");
    let told = "has the taint dedicated=x:NoSchedule, which the pod does not tolerate";
    assert_eq!(why(json!({}), dedicated.clone()).unwrap(), told);
    for passes in ["node.kubernetes.io/not-ready", "node.kubernetes.io/disk-pressure"] {
        assert_eq!(why(json!({}), tainted(passes, "NoSchedule")), None);
    }
    assert_eq!(why(json!({}), tainted("dedicated", "PreferNoSchedule")), None);
    let tolerates =
        |toleration: Value| why(json!({"tolerations": [toleration]}), dedicated.clone()).is_none();
    assert!(tolerates(json!({"operator": "Exists"})));
    assert!(tolerates(json!({"key": "dedicated", "value": "x", "effect": "NoSchedule"})));
    assert!(!tolerates(json!({"key": "dedicated", "value": "y"})));
    assert!(!tolerates(json!({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"})));
}

#[test]
fn a_pod_asks_for_the_sum_of_its_containers() {
    let node = json!({"metadata": {}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}}});
    let pod = |containers: Value, inits: Value| json!({"containers": containers, "initContainers": inits});
    let one = asks(json!({"cpu": "1200m"}));
    assert_eq!(why(pod(json!([one]), json!([one])), node.clone()), None, "one after the other");
    let told = "has 2 CPUs, the pod asks for 2.4 CPUs";
    assert_eq!(why(pod(json!([one, one]), json!([])), node.clone()).unwrap(), told);
    let mut stays = one.clone();
    stays["restartPolicy"] = json!("Always");
    assert_eq!(why(pod(json!([one]), json!([stays])), node.clone()).unwrap(), told);
    let memory = why(pod(json!([asks(json!({"memory": "4Gi"}))]), json!([])), node.clone());
    assert_eq!(memory.unwrap(), "has 1024 MiB of memory, the pod asks for 4096 MiB of memory");
    let device = asks(json!({"example.com/gpu": "1"}));
    assert_eq!(why(pod(json!([device]), json!([])), node), None, "its plugin may still announce it");
}

#[test]
fn clusters_that_may_grow_doom_nobody() {
    let node = |id: &str| -> std::sync::Arc<Node> {
        std::sync::Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"providerID": id}})).unwrap(),
        )
    };
    let pod: Pod =
        serde_json::from_value(json!({"spec": {"containers": [], "nodeSelector": {"disk": "ssd"}}})).unwrap();
    assert!(misfits(&pod, &[node("kind://docker/e2e/e2e-control-plane")]).is_some());
    assert!(misfits(&pod, &[node("aws:///eu-west-1a/i-0")]).is_none());
    assert!(misfits(&pod, &[] as &[std::sync::Arc<Node>]).is_none(), "the first is still on its way");
}
