//! Counters, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What the service has done since it started.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<Request, u64>>,
    stored: AtomicU64,
    queued: AtomicU64,
    drained: AtomicU64,
    dead: AtomicU64,
}

/// Requests are counted by these. `route` is a pattern, never a path: paths have no end.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `GET`, `HEAD`, `POST` or `other`.
    pub method: String,
    /// As in the router, such as `/api/v1/audit/events/{id}`.
    pub route: String,
    /// HTTP status of the answer.
    pub status: u16,
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, request: Request) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(request).or_default() += 1;
    }

    /// Events of clients went straight to PostgreSQL.
    pub fn stored(&self, events: usize) {
        self.stored.fetch_add(events as u64, Relaxed);
    }

    /// Events of clients went to the queue.
    pub fn queued(&self, events: usize) {
        self.queued.fetch_add(events as u64, Relaxed);
    }

    /// Queued events went to PostgreSQL.
    pub fn drained(&self, events: usize) {
        self.drained.fetch_add(events as u64, Relaxed);
    }

    /// A queued event went to the dead letters.
    pub fn buried(&self) {
        self.dead.fetch_add(1, Relaxed);
    }

    /// All of it; without the queue's length if that is unknown.
    pub fn render(&self, queue_length: Option<u64>) -> String {
        let mut text = String::new();
        head(&mut text, "requests_total", "counter", "Requests answered.");
        for (Request { method, route, status }, count) in
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let labels = format!(r#"method="{method}",route="{route}",status="{status}""#);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "datastorage_requests_total{{{labels}}} {count}");
        }
        for (name, help, counter) in [
            ("events_stored_total", "Events stored at once.", &self.stored),
            ("events_queued_total", "Events put into the queue.", &self.queued),
            ("events_drained_total", "Events moved from the queue to PostgreSQL.", &self.drained),
            ("events_dead_total", "Queued events that PostgreSQL refused.", &self.dead),
        ] {
            single(&mut text, name, "counter", help, counter.load(Relaxed));
        }
        if let Some(length) = queue_length {
            single(&mut text, "queue_length", "gauge", "Events that wait in the queue.", length);
        }
        text
    }
}

fn single(text: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    head(text, name, kind, help);
    let _ = writeln!(text, "datastorage_{name} {value}");
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP datastorage_{name} {help}\n# TYPE datastorage_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn renders_what_was_counted() {
        let metrics = Metrics::default();
        for status in [201, 400, 201] {
            metrics.answered(Request { method: "POST".to_owned(), route: "/events".to_owned(), status });
        }
        metrics.stored(2);
        metrics.buried();
        assert_snapshot!(metrics.render(Some(3)), @r#"
        # HELP datastorage_requests_total Requests answered.
        # TYPE datastorage_requests_total counter
        datastorage_requests_total{method="POST",route="/events",status="201"} 2
        datastorage_requests_total{method="POST",route="/events",status="400"} 1
        # HELP datastorage_events_stored_total Events stored at once.
        # TYPE datastorage_events_stored_total counter
        datastorage_events_stored_total 2
        # HELP datastorage_events_queued_total Events put into the queue.
        # TYPE datastorage_events_queued_total counter
        datastorage_events_queued_total 0
        # HELP datastorage_events_drained_total Events moved from the queue to PostgreSQL.
        # TYPE datastorage_events_drained_total counter
        datastorage_events_drained_total 0
        # HELP datastorage_events_dead_total Queued events that PostgreSQL refused.
        # TYPE datastorage_events_dead_total counter
        datastorage_events_dead_total 1
        # HELP datastorage_queue_length Events that wait in the queue.
        # TYPE datastorage_queue_length gauge
        datastorage_queue_length 3
        "#);
        assert!(!metrics.render(None).contains("queue_length"));
    }
}
