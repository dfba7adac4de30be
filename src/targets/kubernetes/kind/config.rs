//! The configuration of a cluster, as kind takes it.

use serde_json::{Value, json};

use crate::targets::ClusterRequest;

/// A configuration file for what the options of `create_cluster` say. JSON,
/// which is YAML.
pub(super) fn config(request: &ClusterRequest) -> String {
    let mounts: Vec<Value> = request
        .mounts
        .iter()
        .map(|(node, host)| json!({ "containerPath": node, "hostPath": host }))
        .collect();
    let node = |role: &str| json!({ "role": role, "extraMounts": mounts });
    let mut nodes = vec![node("control-plane")];
    nodes[0]["extraPortMappings"] = request
        .ports
        .iter()
        .map(|(node, host)| {
            json!({ "containerPort": node, "hostPort": host, "listenAddress": "127.0.0.1", "protocol": "TCP" })
        })
        .collect();
    nodes.extend((1..request.nodes).map(|_| node("worker")));
    json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": nodes,
        "kubeadmConfigPatches": request.patches,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn ports_are_those_of_the_first_node_and_loopback_only() {
        let request = ClusterRequest {
            name: "x".to_owned(),
            namespace: None,
            config: None,
            image: None,
            nodes: 2,
            ports: BTreeMap::from([(30080, 8080)]),
            mounts: BTreeMap::from([("/data".to_owned(), "/srv".to_owned())]),
            patches: Vec::new(),
            images: Vec::new(),
            reuse: false,
            timeout: Duration::ZERO,
        };
        let config: Value = serde_json::from_str(&config(&request)).unwrap();
        assert_eq!(config["nodes"][0]["extraPortMappings"][0]["listenAddress"], "127.0.0.1");
        assert_eq!(config["nodes"][1]["role"], "worker");
        assert!(config["nodes"][1].get("extraPortMappings").is_none());
        assert_eq!(config["nodes"][1]["extraMounts"][0]["hostPath"], "/srv");
    }
}
