//! Changes to a manifest of recipe's own, which need not repeat it.

use kube::core::DynamicObject;
use serde_json::Value as Json;

use super::template::Rendered;
use crate::run::{Failure, Kind};

/// Changes the objects that `changes` has, too, by kind and name; its others
/// are added. Maps are merged, and so are arrays whose items have names, such as
/// containers; anything else takes the place of what was there, and null
/// removes it.
pub(super) fn apply(rendered: &mut Rendered, changes: Rendered) -> Result<(), Failure> {
    let wrong = |error: serde_json::Error| {
        let what = format!("what {} makes of recipe's own manifest is no object", changes.name);
        Failure::new(Kind::Usage, what).cause(error)
    };
    for change in changes.objects {
        let Some(object) = rendered.objects.iter_mut().find(|object| is_same(object, &change)) else {
            rendered.objects.push(change);
            continue;
        };
        let mut merged = serde_json::to_value(&*object).map_err(wrong)?;
        merge(&mut merged, serde_json::to_value(&change).map_err(wrong)?);
        *object = serde_json::from_value(merged).map_err(wrong)?;
    }
    let documents: Vec<_> =
        rendered.objects.iter().filter_map(|object| serde_norway::to_string(object).ok()).collect();
    rendered.text = documents.join("---\n");
    Ok(())
}

fn is_same(one: &DynamicObject, other: &DynamicObject) -> bool {
    let kind = |object: &DynamicObject| object.types.as_ref().map(|types| types.kind.clone());
    kind(one) == kind(other) && one.metadata.name == other.metadata.name
}

fn merge(into: &mut Json, change: Json) {
    match (into, change) {
        (Json::Object(into), Json::Object(change)) => {
            for (key, value) in change {
                match value {
                    Json::Null => drop(into.remove(&key)),
                    value => merge(into.entry(key).or_insert(Json::Null), value),
                }
            }
        }
        (Json::Array(into), Json::Array(change))
            if change.iter().all(is_named) && into.iter().all(is_named) =>
        {
            for item in change {
                match into.iter_mut().find(|known| known["name"] == item["name"]) {
                    Some(known) => merge(known, item),
                    None => into.push(item),
                }
            }
        }
        (into, change) => *into = change,
    }
}

fn is_named(item: &Json) -> bool {
    item["name"].is_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_named_is_changed_and_all_else_stays() {
        let mut manifest = json!({ "spec": { "replicas": 1, "containers": [
            { "name": "shop", "image": "shop:1", "args": ["-v"], "env": [{ "name": "A", "value": "1" }] },
        ] } });
        merge(
            &mut manifest,
            json!({ "spec": { "replicas": null, "nodeSelector": { "disk": "fast" }, "containers": [
                { "name": "shop", "args": ["-q"], "env": [{ "name": "B", "value": "2" }] },
                { "name": "sidecar", "image": "sidecar:2" },
            ] } }),
        );
        let expected = json!({ "spec": { "nodeSelector": { "disk": "fast" }, "containers": [
            { "name": "shop", "image": "shop:1", "args": ["-q"],
              "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }] },
            { "name": "sidecar", "image": "sidecar:2" },
        ] } });
        assert_eq!(manifest, expected);
    }
}
