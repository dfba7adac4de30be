//! Ports of a manifest that lead nowhere: of Services and of probes, to ports
//! that no container has.

use serde_json::{Map, Value};

use crate::targets::kubernetes::Preview;

/// A port that leads nowhere.
pub(super) struct Flaw {
    /// The document that it is in.
    pub document: usize,
    /// The port, as it is written.
    pub port: String,
    pub what: String,
    pub hint: String,
    /// False where a program may listen on a port without its container saying so.
    pub is_certain: bool,
}

/// A container, and the labels of the pods that it is in.
struct Container<'a> {
    document: usize,
    labels: Option<&'a Map<String, Value>>,
    value: &'a Value,
}

pub(super) fn flaws(documents: &[Value]) -> Vec<Flaw> {
    let containers: Vec<_> =
        documents.iter().enumerate().flat_map(|(index, document)| containers(index, document)).collect();
    let mut found: Vec<_> = containers.iter().flat_map(probes).collect();
    for (index, document) in
        documents.iter().enumerate().filter(|(_, document)| document["kind"] == "Service")
    {
        found.extend(service(index, document, &containers));
    }
    found
}

fn containers(document: usize, value: &Value) -> Vec<Container<'_>> {
    let pod = if value["kind"] == "Pod" { value } else { &value["spec"]["template"] };
    let labels = pod["metadata"]["labels"].as_object();
    // Those that run beside the others while the pod lives may listen, too.
    let lists = ["containers", "initContainers"].iter().filter_map(|list| pod["spec"][list].as_array());
    lists.flatten().map(|value| Container { document, labels, value }).collect()
}

impl Container<'_> {
    /// Whether it has the port; none where it says nothing of its ports.
    fn has(&self, port: &Value) -> Option<bool> {
        let declared = self.value["ports"].as_array().filter(|ports| !ports.is_empty());
        if port.is_number() {
            let numbers: Vec<_> = declared?.iter().map(|declared| &declared["containerPort"]).collect();
            return numbers.iter().all(|number| number.is_number()).then(|| numbers.contains(&port));
        }
        let mut names = declared.into_iter().flatten().filter_map(|declared| declared["name"].as_str());
        Some(names.any(|name| Preview::is_open(name) || Some(name) == port.as_str()))
    }
}

/// A number that is written as one, or a name; none where a run has it.
fn written(port: &Value) -> Option<String> {
    match port {
        Value::Number(number) => Some(number.to_string()),
        // Kubernetes takes a number within quotes for a name that cannot be.
        Value::String(name) if !Preview::is_open(name) => Some(name.clone()),
        _ => None,
    }
}

fn probes(container: &Container<'_>) -> Vec<Flaw> {
    let name = container.value["name"].as_str().unwrap_or("?");
    let mut found = Vec::new();
    for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
        for way in ["httpGet", "tcpSocket"] {
            let port = &container.value[probe][way]["port"];
            let Some(text) = written(port).filter(|_| container.has(port) == Some(false)) else { continue };
            found.push(Flaw {
                document: container.document,
                what: format!("the {probe} of the container `{name}` asks port {text}, which the container does not have"),
                hint: "add it to the container's `ports`, or ask one that is there".to_owned(),
                port: text,
                is_certain: port.is_string(),
            });
        }
    }
    found
}

fn service(document: usize, value: &Value, containers: &[Container<'_>]) -> Vec<Flaw> {
    let Some(selector) = value["spec"]["selector"].as_object().filter(|selector| !selector.is_empty()) else {
        return Vec::new();
    };
    let chosen: Vec<_> = containers
        .iter()
        .filter(|container| {
            container
                .labels
                .is_some_and(|labels| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        })
        .collect();
    // Its pods may be in another manifest.
    if chosen.is_empty() {
        return Vec::new();
    }
    let name = value["metadata"]["name"].as_str().unwrap_or("?");
    let mut found = Vec::new();
    for entry in value["spec"]["ports"].as_array().into_iter().flatten() {
        let port = if entry["targetPort"].is_null() { &entry["port"] } else { &entry["targetPort"] };
        let leads = chosen.iter().any(|container| container.has(port).unwrap_or(true));
        let Some(text) = written(port).filter(|_| !leads) else { continue };
        found.push(Flaw {
            document,
            what: format!("the Service `{name}` leads to port {text}, which no container of its pods has"),
            hint: "let `targetPort` be a `containerPort`, or the name of one".to_owned(),
            port: text,
            is_certain: port.is_string(),
        });
    }
    found
}
