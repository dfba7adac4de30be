//! Asking servers in their own protocols whether they do their work.
//!
//! No event tells that a server answers, so it is asked: at once, then with
//! growing gaps.

use std::time::Duration;

use tokio::time::Instant;

use super::{Endpoint, Session};
use crate::fault::{self, Seam};
use crate::run::duration::show;
use crate::run::{Failure, Kind, clock};

/// What was last said when nobody has answered.
const SILENCE: &str = "it has not answered anything yet";

/// Between two probes: soon at first, since a server takes 10 to 30 ms, and
/// gently later, since then something else is slow.
fn gap(waited: Duration) -> Duration {
    match waited.as_millis() {
        0..100 => Duration::from_millis(1),
        100..1000 => Duration::from_millis(10),
        _ => Duration::from_millis(50),
    }
}

/// Asks `name` by `probe` until it answers `what`. Fails after `timeout` with
/// what it last said.
pub(super) async fn answer<T, F>(
    name: &str,
    what: &str,
    timeout: Duration,
    mut probe: impl FnMut() -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, String>>,
{
    let began = Instant::now();
    let mut last = SILENCE.to_owned();
    let answered = async {
        loop {
            match probe().await {
                Ok(value) => return value,
                Err(why) => {
                    tracing::trace!(name, why, "not ready");
                    last = why;
                }
            }
            tokio::time::sleep(gap(began.elapsed())).await;
        }
    };
    clock::timeout(timeout, answered).await.map_err(|_| {
        Failure::new(Kind::Timeout, format!("`{name}` was not ready within {}: {what}", show(timeout)))
            .hint("the option `timeout` gives it more time")
            .cause(std::io::Error::other(last))
    })
}

/// Asks PostgreSQL for a row, by a connection that is then spare.
pub(super) async fn select_one(config: &tokio_postgres::Config) -> Result<Session, String> {
    fault::at(Seam::Sql).await.map_err(|error| error.to_string())?;
    let session = Session::connect(config).await.map_err(|error| chain(&error))?;
    let answer = session.client.simple_query("SELECT 1").await;
    answer.map(|_| session).map_err(|error| chain(&error))
}

/// An error with its cause, in a line.
pub(super) fn chain(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// A client of the Redis server at `endpoint`; no password when it is empty.
pub(super) fn redis_client(endpoint: &Endpoint, password: &str) -> Result<redis::Client, Failure> {
    let mut settings = redis::RedisConnectionInfo::default();
    if !password.is_empty() {
        settings = settings.set_password(password);
    }
    let address = redis::ConnectionAddr::Tcp(endpoint.host.clone(), endpoint.port);
    let info = redis::IntoConnectionInfo::into_connection_info(address)
        .map(|info| info.set_redis_settings(settings));
    info.and_then(redis::Client::open)
        .map_err(|error| Failure::new(Kind::Bug, "the connection settings of Redis are wrong").cause(error))
}

/// Asks Redis for an answer.
pub(super) async fn ping(client: &redis::Client) -> Result<(), String> {
    fault::at(Seam::Redis).await.map_err(|error| error.to_string())?;
    let mut connection =
        client.get_multiplexed_async_connection().await.map_err(|error| error.to_string())?;
    redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| error.to_string())
}

/// Opens a TCP connection and closes it.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<(), String> {
    let connected = tokio::net::TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
    connected.map(drop).map_err(|error| error.to_string())
}

/// The URL of `path` at `endpoint`.
pub(super) fn url(endpoint: &Endpoint, path: &str) -> String {
    format!("http://{endpoint}/{}", path.trim_start_matches('/'))
}
