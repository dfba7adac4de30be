//! Whether a node could take a pod if nothing else ran on it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

/// Taints that Kubernetes itself puts on nodes and takes away again.
const PASSING: [&str; 2] = ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"];

/// Why a node can never take a pod, as in "node-1 {why}"; none when it may.
pub(super) fn misfit(pod: &PodSpec, node: &Node) -> Option<String> {
    selector(pod, node).or_else(|| taints(pod, node)).or_else(|| resources(pod, node))
}

fn selector(pod: &PodSpec, node: &Node) -> Option<String> {
    for (key, value) in pod.node_selector.iter().flatten() {
        if node.labels().get(key) != Some(value) {
            return Some(format!("has no label {key}={value}, which nodeSelector asks for"));
        }
    }
    let affinity = pod.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let matches = required.node_selector_terms.iter().any(|term| term_matches(term, node));
    (!matches).then(|| "does not match the pod's node affinity".to_owned())
}

fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let name = BTreeMap::from([("metadata.name".to_owned(), node.name_any())]);
    let labels = term.match_expressions.iter().flatten().map(|wanted| matches(wanted, node.labels()));
    let fields = term.match_fields.iter().flatten().map(|wanted| matches(wanted, &name));
    // A term without requirements matches nothing.
    let all: Vec<bool> = labels.chain(fields).collect();
    !all.is_empty() && all.iter().all(|matches| *matches)
}

fn matches(wanted: &NodeSelectorRequirement, on: &BTreeMap<String, String>) -> bool {
    let value = on.get(&wanted.key);
    let values = wanted.values.as_deref().unwrap_or_default();
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    let compared = number(value).zip(number(values.first()));
    match wanted.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared.is_some_and(|(has, limit)| has > limit),
        "Lt" => compared.is_some_and(|(has, limit)| has < limit),
        // An operator of the future may well match.
        _ => true,
    }
}

fn taints(pod: &PodSpec, node: &Node) -> Option<String> {
    let taints = node.spec.as_ref()?.taints.as_ref()?;
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    let refuses = taints.iter().find(|taint| {
        taint.effect != "PreferNoSchedule"
            && !PASSING.iter().any(|passing| taint.key.starts_with(passing))
            && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    })?;
    let value = refuses.value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
    Some(format!("has the taint {}{value}:{}, which the pod does not tolerate", refuses.key, refuses.effect))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() || key == taint.key)
        && match toleration.operator.as_deref().unwrap_or("Equal") {
            "Equal" => {
                toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
            }
            _ => true,
        }
}

fn resources(pod: &PodSpec, node: &Node) -> Option<String> {
    let allocatable = node.status.as_ref()?.allocatable.as_ref()?;
    requests(pod).into_iter().find_map(|(name, wanted)| {
        // A device of a name with a slash may be announced later.
        let has = amount(allocatable.get(&name)?)?;
        let is_short = wanted > has;
        is_short.then(|| format!("has {}, the pod asks for {}", shown(&name, has), shown(&name, wanted)))
    })
}

/// What a pod asks for: the sum of its containers, or what an init container
/// asks for if that is more.
fn requests(pod: &PodSpec) -> BTreeMap<String, f64> {
    let of = |container: &Container| -> Vec<(String, f64)> {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let amounts = requests.into_iter().flatten();
        amounts.filter_map(|(name, quantity)| Some((name.clone(), amount(quantity)?))).collect()
    };
    let mut sum = BTreeMap::new();
    let mut add = |requests: Vec<(String, f64)>| {
        requests.into_iter().for_each(|(name, more)| *sum.entry(name).or_insert(0.0) += more);
    };
    let init = pod.init_containers.as_deref().unwrap_or_default();
    let stays = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    pod.containers.iter().chain(init.iter().filter(stays)).for_each(|container| add(of(container)));
    for (name, wanted) in init.iter().filter(|container| !stays(container)).flat_map(of) {
        let most = sum.entry(name).or_insert(0.0);
        *most = most.max(wanted);
    }
    let overhead = pod.overhead.iter().flatten();
    for (name, quantity) in overhead {
        *sum.entry(name.clone()).or_insert(0.0) += amount(quantity).unwrap_or(0.0);
    }
    sum
}

/// The number of a quantity such as `250m`, `2`, `64Mi`, `1e3`.
fn amount(quantity: &Quantity) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let text = quantity.0.trim();
    let suffix = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (number, factor) = suffix.unwrap_or((text, 1.0));
    Some(number.parse::<f64>().ok()? * factor)
}

/// `2 CPUs`, `512 MiB of memory`, `3 example.com/gpu`.
fn shown(name: &str, amount: f64) -> String {
    match name {
        "cpu" => format!("{amount} CPUs"),
        "memory" | "ephemeral-storage" => format!("{:.0} MiB of {name}", amount / 1_048_576.0),
        _ => format!("{amount:.0} {name}"),
    }
}

/// Whether nodes may be added: a cloud's may be, those of a cluster that lives
/// on a few given machines are all there will ever be.
pub(super) fn may_grow(nodes: &[impl AsRef<Node>]) -> bool {
    const FIXED: [&str; 3] = ["kind", "k3s", "k3d"];
    nodes.iter().any(|node| {
        let id = node.as_ref().spec.as_ref().and_then(|spec| spec.provider_id.as_deref());
        id.and_then(|id| id.split_once("://")).is_some_and(|(provider, _)| !FIXED.contains(&provider))
    })
}

/// Why none of the nodes can ever take the pod, a line for each; none when one
/// may, or may be added.
pub(super) fn misfits(pod: &Pod, nodes: &[impl AsRef<Node>]) -> Option<Vec<String>> {
    let spec = pod.spec.as_ref()?;
    if nodes.is_empty() || may_grow(nodes) {
        return None;
    }
    let why = |node: &Node| Some(format!("node {} {}", node.name_any(), misfit(spec, node)?));
    nodes.iter().map(|node| why(node.as_ref())).collect()
}

#[cfg(test)]
#[path = "fits_tests.rs"]
mod tests;
