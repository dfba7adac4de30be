//! One connection to PostgreSQL, brought up again whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Config, Error, NoTls};
use tracing::{info, warn};

/// From the start of a connection to the end of its authentication.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pauses between attempts double from the first to the longest. That one is
/// short: a refused connection costs nothing, and events wait for the next.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(160);

/// How a connection is now.
#[derive(Clone)]
pub enum Link {
    /// Statements can be sent.
    Up(Arc<Session>),
    /// Not connected, and why.
    Down(String),
}

/// A connection that works, as far as known.
pub struct Session {
    /// Takes many statements at a time; they are pipelined.
    pub client: Client,
    /// Tells that PostgreSQL does not answer although the connection is open.
    pub hangs: Notify,
}

impl Link {
    /// A link that nobody has tried to bring up.
    pub fn new() -> watch::Sender<Self> {
        watch::Sender::new(Self::Down("not connected yet".to_owned()))
    }
}

/// Connects, tells `link` how it goes, and starts again when the connection ends. Never returns.
pub async fn keep_up(config: Config, purpose: &'static str, link: watch::Sender<Link>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let down = match timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await {
            Ok(Ok((client, connection))) => {
                info!("connected to PostgreSQL for {purpose}");
                pause = FIRST_PAUSE;
                let session = Arc::new(Session { client, hangs: Notify::new() });
                link.send_replace(Link::Up(session.clone()));
                tokio::select! {
                    ended = connection => ended.map_or_else(reason, |()| "the connection was closed".to_owned()),
                    () = session.hangs.notified() => "it accepts statements but does not answer".to_owned(),
                }
            }
            Ok(Err(error)) => reason(error),
            Err(_) => format!("no answer within {CONNECT_TIMEOUT:?}"),
        };
        tell_down(&link, purpose, down);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// An error in one line. PostgreSQL's own are cut to their message: the detail
/// may span lines and quote rows.
pub fn reason(error: Error) -> String {
    match error.as_db_error() {
        Some(answer) => answer.message().to_owned(),
        None => format!("{:#}", anyhow::Error::new(error)),
    }
}

/// Logs a reason once, however often it repeats.
fn tell_down(link: &watch::Sender<Link>, purpose: &str, reason: String) {
    let known = matches!(&*link.borrow(), Link::Down(last) if *last == reason);
    if !known {
        warn!("PostgreSQL is unavailable for {purpose}: {reason}");
        link.send_replace(Link::Down(reason));
    }
}
