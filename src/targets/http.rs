//! HTTP from this machine.

use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A probe must not outlast the service's becoming ready by much.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an unexpected answer that are told.
const TOLD: usize = 300;

/// The client for a request of a recipe. That for the world is made when first
/// needed: reading the machine's certificates takes tens of milliseconds, which
/// a service on this machine should not have to wait for.
///
/// # Errors
/// When the machine's certificates cannot be read.
pub fn client(url: &str) -> Result<reqwest::Client, reqwest::Error> {
    static WORLD: OnceLock<reqwest::Client> = OnceLock::new();
    static LOOPBACK: OnceLock<reqwest::Client> = OnceLock::new();
    let local =
        ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|start| url.starts_with(start));
    let kept = if local { &LOOPBACK } else { &WORLD };
    if let Some(client) = kept.get() {
        return Ok(client.clone());
    }
    provide_tls();
    let builder = reqwest::Client::builder();
    let client = if local { builder.tls_certs_only([]) } else { builder }.build()?;
    Ok(kept.get_or_init(|| client).clone())
}

/// The same for a recipe that is not trusted, which no answer may lead elsewhere.
///
/// # Errors
/// When there is no randomness.
pub fn client_that_stays() -> Result<reqwest::Client, reqwest::Error> {
    provide_tls();
    let builder = reqwest::Client::builder().tls_certs_only([]).no_proxy();
    builder.redirect(reqwest::redirect::Policy::none()).build()
}

/// The port of a URL of HTTP without TLS on this machine; none of others.
#[must_use]
pub fn loopback_port(url: &str) -> Option<u16> {
    let url = reqwest::Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
    matches!(url.host_str()?, "127.0.0.1" | "localhost").then(|| url.port_or_known_default())?
}

/// Chooses the cryptography of all TLS in this process.
pub(super) fn provide_tls() {
    // Fails when it is chosen already, which is as good.
    let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::ring::default_provider());
}

/// Asks once; says why when the status is not in `expected`.
///
/// # Errors
/// What went wrong, or the status and the beginning of the body.
pub async fn probe(url: &str, expected: RangeInclusive<u16>) -> Result<(), String> {
    let asked = async { if url.starts_with("http://") { get_plain(url).await } else { get(url).await } };
    let (status, body) = tokio::time::timeout(PROBE_TIMEOUT, asked)
        .await
        .map_err(|_| "it did not answer in 5 s".to_owned())??;
    if expected.contains(&status.as_u16()) {
        return Ok(());
    }
    let told: String = body.chars().take(TOLD).collect();
    Err(format!("it answered {status}: {}", told.trim()))
}

/// Without TLS, so without the wait for certificates.
async fn get_plain(url: &str) -> Result<(StatusCode, String), String> {
    static CLIENT: OnceLock<Client<HttpConnector, Empty<Bytes>>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| Client::builder(TokioExecutor::new()).build_http());
    let uri = url.parse().map_err(|error| format!("`{url}` is not a URL: {error}"))?;
    let response = client.get(uri).await.map_err(|error| root(&error))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| root(&error))?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

async fn get(url: &str) -> Result<(StatusCode, String), String> {
    let response =
        client(url).map_err(|error| root(&error))?.get(url).send().await.map_err(|error| root(&error))?;
    let status = response.status();
    Ok((status, response.text().await.map_err(|error| root(&error))?))
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
