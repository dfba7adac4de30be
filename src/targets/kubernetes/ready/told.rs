//! What events say about an object.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;

/// The events about some objects, oldest first.
pub(super) struct Told<'a>(Vec<&'a Event>);

impl<'a> Told<'a> {
    /// Those about the objects of these uids.
    pub(super) fn about(events: &'a [Arc<Event>], uids: &[&str]) -> Self {
        let mut about: Vec<&Event> = events.iter().map(Arc::as_ref).collect();
        about.retain(|event| event.involved_object.uid.as_deref().is_some_and(|uid| uids.contains(&uid)));
        about.sort_by_key(|event| last_time(event));
        Self(about)
    }

    /// Those of a reason whose message `is` wanted.
    pub(super) fn of(&self, reason: &str, is: impl Fn(&str) -> bool) -> Self {
        let wanted = |event: &&&Event| event.reason.as_deref() == Some(reason) && is(message(event));
        Self(self.0.iter().filter(wanted).copied().collect())
    }

    /// How often that happened; one event stands for many.
    pub(super) fn times(&self) -> i32 {
        self.0.iter().map(|event| times(event)).sum()
    }

    /// The newest message.
    pub(super) fn last(&self) -> Option<&'a str> {
        self.0.last().map(|event| message(event))
    }

    /// When the newest was seen last.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        last_time(self.0.last()?)
    }

    /// Seconds from the first to the last time.
    pub(super) fn seconds(&self) -> i64 {
        let first = self.0.iter().filter_map(|event| first_time(event)).min();
        first.zip(self.last_time()).map_or(0, |(first, last)| last.as_second() - first.as_second())
    }

    /// The messages.
    pub(super) fn messages(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|event| message(event))
    }

    /// A line for each warning, the last `count` of them.
    pub(super) fn warnings(&self, count: usize) -> Vec<String> {
        let warnings: Vec<_> =
            self.0.iter().filter(|event| event.type_.as_deref() == Some("Warning")).collect();
        let newest = warnings.len().saturating_sub(count);
        warnings[newest..].iter().map(|event| line(event)).collect()
    }
}

/// `FailedMount ×4: MountVolume.SetUp failed for ..`
fn line(event: &Event) -> String {
    let reason = event.reason.as_deref().unwrap_or("event");
    match times(event) {
        ..=1 => format!("{reason}: {}", message(event)),
        many => format!("{reason} ×{many}: {}", message(event)),
    }
}

fn message(event: &Event) -> &str {
    event.message.as_deref().unwrap_or_default()
}

fn times(event: &Event) -> i32 {
    let series = event.series.as_ref().and_then(|series| series.count);
    series.or(event.count).unwrap_or(1)
}

fn first_time(event: &Event) -> Option<Timestamp> {
    let first = event.first_timestamp.as_ref().map(|time| time.0);
    first.or_else(|| event.event_time.as_ref().map(|time| time.0))
}

fn last_time(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let last = series.map(|time| time.0).or_else(|| event.last_timestamp.as_ref().map(|time| time.0));
    last.or_else(|| first_time(event))
}
