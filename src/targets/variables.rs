//! The variables that a service is told things by, and references to them.

use std::collections::BTreeMap;

/// `PORT`, and `PORT_METRICS` for the port called `metrics`.
pub(super) fn port_variable(name: &str) -> String {
    if name.is_empty() {
        return "PORT".to_owned();
    }
    let upper: String =
        name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("PORT_{upper}")
}

/// Adds `more` to `env`, with references resolved as Kubernetes does: to
/// variables that are known already, by name; unknown ones stay as they are.
pub(super) fn expand(
    mut env: BTreeMap<String, String>,
    more: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut known = env.clone();
    known.extend(more.iter().filter(|(_, value)| !value.contains("$(")).map(|(k, v)| (k.clone(), v.clone())));
    for (name, value) in more {
        env.insert(name.clone(), substitute(value, &known));
    }
    env
}

/// Replaces `$(NAME)`; `$$(NAME)` stands for itself.
pub(super) fn substitute(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        let (before, reference) = rest.split_at(at);
        let end = reference.find(')');
        let value = end.and_then(|end| env.get(&reference[2..end]));
        match (before.strip_suffix('$'), end, value) {
            (Some(before), Some(end), _) => {
                result.push_str(before);
                result.push_str(&reference[..=end]);
                rest = &reference[end + 1..];
            }
            (None, Some(end), Some(value)) => {
                result.push_str(before);
                result.push_str(value);
                rest = &reference[end + 1..];
            }
            _ => {
                result.push_str(before);
                result.push_str("$(");
                rest = &reference[2..];
            }
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn references_resolve_as_in_kubernetes() {
        let env = map(&[("PORT", "80"), ("HOST", "::1")]);
        for (text, expected) in [
            ("http://$(HOST):$(PORT)/", "http://::1:80/"),
            ("$(NONE) $(PORT", "$(NONE) $(PORT"),
            ("$$(PORT)", "$(PORT)"),
            ("$(NONE)$(PORT)", "$(NONE)80"),
            ("", ""),
        ] {
            assert_eq!(substitute(text, &env), expected, "{text}");
        }
        let env = expand(env, &map(&[("URL", "h:$(PORT)"), ("PORT2", "$(URL)")]));
        assert_eq!(env["URL"], "h:80");
        assert_eq!(env["PORT2"], "$(URL)");
    }

    #[test]
    fn names_port_variables() {
        assert_eq!(
            (port_variable("").as_str(), port_variable("my-metrics").as_str()),
            ("PORT", "PORT_MY_METRICS")
        );
    }
}
