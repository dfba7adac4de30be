//! HTTP from this machine.

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One probe must not outlast the service's becoming ready by much.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The client of the process, made when first needed: reading the machine's
/// certificates takes a while.
///
/// # Errors
/// When the machine's certificates cannot be read.
pub fn client() -> Result<reqwest::Client, reqwest::Error> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    // Fails when it is installed already, which is as good.
    let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::ring::default_provider());
    let client = reqwest::Client::builder().build()?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

/// A client for plain HTTP on this machine.
fn loopback() -> Arc<reqwest::Client> {
    static CLIENT: OnceLock<Arc<reqwest::Client>> = OnceLock::new();
    CLIENT.get_or_init(|| Arc::new(reqwest::Client::new())).clone()
}

/// Asks once; says why when the answer is not in `expected`.
///
/// # Errors
/// What went wrong, or the status and the beginning of the body.
pub async fn probe(url: &str, expected: RangeInclusive<u16>) -> Result<u16, String> {
    let client = if url.starts_with("https:") { client().map(Arc::new).map_err(|e| root(&e))? } else { loopback() };
    let response = client.get(url).timeout(PROBE_TIMEOUT).send().await.map_err(|error| root(&error))?;
    let status = response.status();
    if expected.contains(&status.as_u16()) {
        return Ok(status.as_u16());
    }
    let body = response.text().await.unwrap_or_default();
    Err(format!("it answered {status}: {}", body.chars().take(300).collect::<String>()))
}

/// The innermost cause: `Connection refused` rather than `error sending request`.
#[must_use]
pub fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
