//! The arguments of a call taken apart, so that it can be said which of them
//! has changed, and what they hold.

use std::collections::BTreeMap;

use rhai::{Dynamic, Map};
use serde_json::Value;

use super::super::arguments::Arguments;

/// Options that say how long to wait and what to get ready, and nothing of what
/// is made.
const INCIDENTAL: [&str; 2] = ["timeout", "images"];

/// The parts of a call's arguments: `image`, `env.LOG_LEVEL`.
pub(in super::super) struct Parts(BTreeMap<String, Value>);

impl Parts {
    /// Takes apart what `arguments` hold; closures are left out.
    pub(in super::super) fn of(arguments: &Arguments, keep: fn(&Dynamic) -> Option<Value>) -> Self {
        let mut parts = BTreeMap::new();
        for (name, value) in arguments.named() {
            if value.is_unit() || INCIDENTAL.contains(&name) {
                continue;
            }
            match keep(value) {
                Some(Value::Object(fields)) if !fields.contains_key("handle") => {
                    let fields = fields.into_iter().map(|(key, value)| (format!("{name}.{key}"), value));
                    parts.extend(fields);
                }
                Some(value) => drop(parts.insert(name.to_owned(), value)),
                None => {}
            }
        }
        Self(parts)
    }

    /// Digests of the parts, which can be kept where passwords must not be.
    pub(in super::super) fn digests(&self) -> BTreeMap<String, String> {
        let digest = |value: &Value| blake3::hash(value.to_string().as_bytes()).to_hex()[..16].to_owned();
        self.0.iter().map(|(name, value)| (name.clone(), digest(value))).collect()
    }

    /// What is not as in the call whose digests these are.
    pub(super) fn difference(&self, earlier: &BTreeMap<String, String>) -> Option<String> {
        let now = self.digests();
        let changed = now.iter().filter(|(name, digest)| earlier.get(*name) != Some(*digest));
        let gone = earlier.keys().filter(|name| !now.contains_key(*name));
        let words: Vec<_> = changed
            .map(|(name, _)| {
                let word = if earlier.contains_key(name) { "has changed" } else { "is new" };
                format!("`{name}` {word}")
            })
            .chain(gone.map(|name| format!("`{name}` is gone")))
            .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// The name of the first handle among them.
    pub(super) fn first_handle(&self, arguments: &Arguments) -> Option<String> {
        let handles = arguments.named().filter_map(|(name, _)| self.0.get(name));
        handles
            .filter(|value| value["handle"].is_string())
            .find_map(|value| Some(value["name"].as_str()?.to_owned()))
    }

    /// Whether a thing is in them: its handle, an address of it, or its password.
    pub(super) fn hold(&self, thing: &Value) -> bool {
        let marks = Marks::of(thing);
        self.0.values().any(|value| marks.are_in(value))
    }
}

impl Arguments {
    /// All arguments that were given, by name.
    fn named(&self) -> impl Iterator<Item = (&str, &Dynamic)> {
        let positional = self.primitive.params.iter().map(|param| param.name).zip(&self.positional);
        positional.chain(self.options.iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// Adds options that the primitive has and the call has left out.
    pub(super) fn complete(&mut self, options: Map) {
        for (name, value) in options {
            if self.declared(&name).is_some() && self.options.get(&name).is_none_or(Dynamic::is_unit) {
                self.options.insert(name, value);
            }
        }
    }
}

/// By what a thing is known in the arguments of others.
struct Marks<'a> {
    handle: (&'a Value, &'a Value),
    /// Texts anywhere in a string.
    texts: Vec<String>,
    /// Ports that nothing else has.
    ports: Vec<u64>,
}

impl<'a> Marks<'a> {
    fn of(thing: &'a Value) -> Self {
        /// Passwords this short may be in any text.
        const SHORTEST: usize = 6;
        let mut marks =
            Self { handle: (&thing["handle"], &thing["name"]), texts: Vec::new(), ports: Vec::new() };
        let further = thing["ports"].as_array().into_iter().flatten().map(|port| &port[1]);
        for endpoint in [&thing["host"], &thing["internal"]].into_iter().chain(further) {
            let (Some(host), Some(port)) = (endpoint["host"].as_str(), endpoint["port"].as_u64()) else {
                continue;
            };
            marks.texts.push(format!("{host}:{port}"));
            if host == "127.0.0.1" {
                // A port of this machine is one thing's alone.
                marks.ports.push(port);
                marks.texts.push(format!("localhost:{port}"));
            } else {
                marks.texts.push(host.to_owned());
            }
        }
        let password = thing["password"].as_str().filter(|password| password.len() >= SHORTEST);
        marks.texts.extend(password.map(str::to_owned));
        marks
    }

    fn are_in(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => {
                self.texts.iter().any(|mark| text.contains(mark))
                    || text.parse().is_ok_and(|port| self.ports.contains(&port))
            }
            Value::Number(number) => number.as_u64().is_some_and(|port| self.ports.contains(&port)),
            Value::Array(items) => items.iter().any(|item| self.are_in(item)),
            Value::Object(fields) => {
                (&value["handle"], &value["name"]) == self.handle
                    || fields.values().any(|field| self.are_in(field))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(value: Value) -> Parts {
        let Value::Object(fields) = value else { panic!("an object") };
        Parts(fields.into_iter().collect())
    }

    #[test]
    fn says_what_has_changed() {
        let before = parts(json!({"image": "a", "env.MODE": "x", "env.OLD": 1})).digests();
        let now = parts(json!({"image": "b", "env.MODE": "x", "env.NEW": 1}));
        let why = now.difference(&before).expect("they differ");
        assert_eq!(why, "`env.NEW` is new, `image` has changed, `env.OLD` is gone");
        assert_eq!(now.difference(&now.digests()), None);
    }

    #[test]
    fn a_thing_is_held_by_its_handle_its_address_and_its_password() {
        let postgres = json!({
            "handle": "Postgres", "name": "postgres", "password": "hunter22",
            "host": {"host": "127.0.0.1", "port": 20_001}, "internal": {"host": "postgres.shop.svc", "port": 5432},
        });
        for holds in [
            json!({"env.URL": "postgres://u:p@127.0.0.1:20001/d"}),
            json!({"env.PORT": "20001"}),
            json!({"env.PORT": 20_001}),
            json!({"env.HOST": "postgres.shop.svc"}),
            json!({"env.PASSWORD": "hunter22"}),
            json!({"workload": [postgres]}),
        ] {
            assert!(parts(holds.clone()).hold(&postgres), "{holds}");
        }
        for other in [
            json!({"env.URL": "postgres://127.0.0.1:20002"}),
            json!({"port": 5432}),
            json!({"name": "postgres"}),
        ] {
            assert!(!parts(other.clone()).hold(&postgres), "{other}");
        }
    }
}
