//! The configuration of a Redis server that saves nothing.

use std::collections::BTreeMap;

/// The text of redis.conf. No password when it is empty; `settings` win.
pub(super) fn redis_conf(
    bind: &str,
    port: u16,
    password: &str,
    settings: &BTreeMap<String, String>,
) -> String {
    let mut text = format!("bind {bind}\nport {port}\nsave \"\"\nappendonly no\ndaemonize no\n");
    if password.is_empty() {
        // Else it refuses all but the loopback interface.
        text.push_str("protected-mode no\n");
    } else {
        text.push_str(&format!("requirepass {}\n", quote(password)));
    }
    for (name, value) in settings {
        text.push_str(&format!("{name} {}\n", quote(value)));
    }
    text
}

/// A value in the syntax of redis.conf.
fn quote(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_values() {
        assert_eq!(quote("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }
}
