//! Secrets that are known by the names of variables that hold them.

use super::Secrets;

/// A variable whose name holds one of these is secret.
const WORDS: [&str; 10] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "ACCESS_KEY",
    "PRIVATE_KEY",
    "CREDENTIAL",
];
/// Shorter values are hardly meant to be secret, and often are words.
const SHORTEST: usize = 8;

impl Secrets {
    /// Masks the values of variables that are called like passwords or tokens,
    /// and look like some: neither words such as `postgres` nor paths.
    pub fn add_named<'a>(&self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) {
        for (name, value) in variables {
            if is_named_secret(name) && looks_secret(value) {
                self.add(value);
            }
        }
    }

    /// The same for the variables of this process, which commands inherit.
    pub fn add_environment(&self) {
        let variables: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        self.add_named(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    }

    /// Masks what a header of HTTP authenticates by: its last word, and what that
    /// stands for where it is base64.
    pub fn add_header(&self, name: &str, value: &str) {
        use base64::Engine as _;
        if !["authorization", "proxy-authorization", "x-api-key"]
            .contains(&name.to_ascii_lowercase().as_str())
        {
            return;
        }
        let (scheme, word) = value.rsplit_once(' ').unwrap_or(("", value));
        self.add(word);
        let decoded = base64::engine::general_purpose::STANDARD.decode(word).ok();
        let decoded = decoded.filter(|_| scheme.eq_ignore_ascii_case("basic"));
        if let Some((_, password)) = decoded
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .as_deref()
            .and_then(|text| text.split_once(':'))
        {
            self.add(password);
        }
    }
}

fn is_named_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    WORDS.iter().any(|word| name.contains(word))
}

fn looks_secret(value: &str) -> bool {
    let is_word = value.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '_');
    value.len() >= SHORTEST && !is_word && !value.starts_with(['/', '.', '$'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_secret_by_their_names() {
        let secrets = Secrets::default();
        secrets.add_named([
            ("db-password", "hunter-22"),
            ("GITHUB_TOKEN", "ghp_0123"),
            ("POSTGRES_PASSWORD", "postgres"),
            ("TOKEN_FILE", "/run/token-1"),
            ("HOSTNAME", "machine-1"),
        ]);
        let text = secrets.masked("hunter-22 ghp_0123 postgres /run/token-1 machine-1");
        assert_eq!(text, "*** *** postgres /run/token-1 machine-1");
    }

    #[test]
    fn headers_hold_secrets_too() {
        let secrets = Secrets::default();
        secrets.add_header("Authorization", "Bearer to-ken-1");
        secrets.add_header("authorization", "Basic dXNlcjpodW50ZXIyMg==");
        secrets.add_header("accept", "text/plain");
        assert_eq!(secrets.masked("to-ken-1 hunter22 text/plain Bearer"), "*** *** text/plain Bearer");
    }
}
