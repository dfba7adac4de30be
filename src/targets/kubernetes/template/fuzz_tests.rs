//! Arbitrary manifests, and arbitrary values in our own: none of them panics,
//! and no value can be more than a value.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::arbitrary::cases;

fn manifest() -> impl Strategy<Value = String> {
    let bits = prop::sample::select(vec![
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{# ",
        " #}",
        "if ",
        "endif",
        "for x in name",
        "endfor",
        "name",
        "nope",
        " | tojson",
        " | items",
        "(",
        ")",
        "[",
        "]",
        "\"",
        "'",
        "\n",
        "---\n",
        "apiVersion: v1\n",
        "kind: Secret\n",
        "kind: List\n",
        "metadata: { name: a }\n",
        "items:\n- ",
        "  ",
        "- ",
        ": ",
        "&a ",
        "*a ",
        "!!binary ",
        "|\n",
        ">\n",
        "\t",
        "é",
        "\u{0}",
        "0x1",
        "1e999",
        "~",
        "<<: ",
        "? ",
    ]);
    prop_oneof![
        4 => prop::collection::vec(bits, 0..24).prop_map(|bits| bits.concat()),
        1 => any::<String>(),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn manifests_are_rendered_or_refused(text in manifest()) {
        if let Err(failure) = render_text("x.yaml", &text, object(&json!({ "name": "a" }))) {
            prop_assert_ne!(failure.kind, Kind::Bug);
            if let Some(excerpt) = &failure.excerpt {
                let (start, length) = excerpt.span;
                prop_assert!(excerpt.text.get(start..start + length).is_some(), "{:?}", excerpt.span);
            }
        }
    }

    #[test]
    fn values_stay_values(
        password: String, text: String, env: BTreeMap<String, String>, word: String,
    ) {
        let files = json!([{ "key": "file-0", "path": "x", "text": text }]);
        let values = json!({
            "name": "shop", "namespace": "n", "run": "r", "image": word, "replicas": 1, "command": [word],
            "args": [], "env": env, "secret_env": { "PASSWORD": password }, "files": files,
            "secret_files": [], "files_at": "/etc", "ports": [], "ready": null,
        });
        let objects = render(None, &SERVICE, &values).unwrap().objects;
        prop_assert_eq!(objects.len(), 3);
        prop_assert_eq!(&objects[0].data["stringData"], &json!({ "env.PASSWORD": password }));
        prop_assert_eq!(&objects[1].data["data"], &json!({ "file-0": text }));
        let container = &objects[2].data["spec"]["template"]["spec"]["containers"][0];
        prop_assert_eq!(&container["command"], &json!([word]));
        let pairs = env.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        let found = container["env"].as_array().unwrap();
        prop_assert_eq!(&found[..env.len()], &pairs.collect::<Vec<_>>()[..]);
    }
}

/// Texts that YAML would read differently: found by the test above.
#[test]
fn what_only_yaml_minds_stays_in_values() {
    for text in
        ["a \u{2028} b", " \u{2029}", "\u{85} ", "\u{feff}", "\t\u{7f}", "\u{9f}", "\u{ffff}", "\r\n \u{0}"]
    {
        let values = object(&json!({ "text": text }));
        let manifest = "apiVersion: v1\nkind: Secret\nmetadata: { name: a }\nstringData: { text: {{ text | tojson }} }\n";
        let objects = render_text("x.yaml", manifest, values).unwrap().objects;
        assert_eq!(objects[0].data["stringData"]["text"], text);
    }
}

/// What lacks its end is shown within the text: found by the first test above.
#[test]
fn a_place_behind_the_end_is_in_the_text() {
    for text in ["{# ", "{{", "{{ é", "é{%", "{% if name"] {
        let failure = render_text("x.yaml", text, object(&json!({ "name": "a" }))).err().unwrap();
        let (start, length) = failure.excerpt.as_ref().unwrap().span;
        assert!(text.get(start..start + length).is_some(), "{text}");
    }
}

/// Found by hand or by the tests above.
#[test]
fn nasty_manifests() {
    let values = || object(&json!({ "name": "a" }));
    for text in [
        "[".repeat(100_000),
        "{".repeat(100_000),
        format!("{{{{ {}", "(".repeat(100_000)),
        "{% if name %}".repeat(10_000),
        "a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n".to_owned(),
        "&a [*a]".to_owned(),
        "\u{0}".to_owned(),
    ] {
        assert!(render_text("x.yaml", &text, values()).is_err(), "{}", &text[..20.min(text.len())]);
    }
}
