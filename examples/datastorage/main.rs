//! `datastorage`: a service that stores audit events, for recipes to set up.
//!
//! ```text
//! client ─> routes ─> intake ─┬─> store ─> PostgreSQL <─┐
//!                             └─> queue ─> Redis stream ─┴ drain
//! ```
//! Events go to PostgreSQL. While it is away they go to a Redis stream, from
//! which they are drained when it is back. The service starts without either;
//! `/readyz` says what it still waits for.

use std::future::IntoFuture;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::store::Store;

mod config;
mod drain;
mod event;
mod intake;
mod link;
mod metrics;
mod page;
mod problem;
mod queue;
mod routes;
mod store;

/// How long requests may take to finish after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What every request and the drain share.
struct App {
    store: Store,
    queue: Queue,
    metrics: Metrics,
}

fn main() -> ExitCode {
    let config = match Config::read(|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("datastorage: {error}");
            return ExitCode::from(2);
        }
    };
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,datastorage=info"));
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter(filter).init();

    let served = Runtime::new().context("cannot start the runtime").and_then(|runtime| {
        let served = runtime.block_on(serve(config));
        // Waits for nothing, such as a name lookup that still hangs in its thread.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("datastorage: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM or SIGINT.
async fn serve(config: Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {} (set PORT or HOST)", config.listen))?;
    info!("listening on {}", listener.local_addr()?);

    // Aborted when it goes out of scope.
    let mut background = JoinSet::new();
    let app = Arc::new(App {
        store: Store::connect(config.postgres, &mut background),
        queue: Queue::new(config.redis),
        metrics: Metrics::default(),
    });
    background.spawn(drain::run(app.clone(), config.instance));

    let stop = CancellationToken::new();
    let listener = listener.tap_io(|stream| {
        // Only latency is at stake.
        let _ = stream.set_nodelay(true);
    });
    let server =
        axum::serve(listener, routes::router(app)).with_graceful_shutdown(stop.clone().cancelled_owned());
    let stopped = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        stop.cancel();
        sleep(GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result?,
        () = stopped => warn!("left requests unfinished after {GRACE:?}"),
        Some(ended) = background.join_next() => bail!("a background task ended: {ended:?}"),
    }
    Ok(())
}
