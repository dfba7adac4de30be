//! One connection to PostgreSQL, brought up again whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Config, NoTls};
use tracing::{info, warn};

/// From the start of a connection to the end of its authentication.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pauses between attempts double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How a connection is now.
#[derive(Clone)]
pub enum Link {
    /// Statements can be sent; many at a time, they are pipelined.
    Up(Arc<Client>),
    /// Not connected, and why.
    Down(String),
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
        let error = match timeout(CONNECT_TIMEOUT, config.connect(NoTls)).await {
            Ok(Ok((client, connection))) => {
                info!("connected to PostgreSQL for {purpose}");
                pause = FIRST_PAUSE;
                link.send_replace(Link::Up(Arc::new(client)));
                connection.await.map_or_else(anyhow::Error::new, |()| anyhow!("the connection was closed"))
            }
            Ok(Err(error)) => error.into(),
            Err(_) => anyhow!("no answer within {CONNECT_TIMEOUT:?}"),
        };
        tell_down(&link, purpose, format!("{error:#}"));
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
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
