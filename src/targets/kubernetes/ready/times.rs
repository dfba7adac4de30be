//! Where the time of a pod went.
//!
//! The API tells times in whole seconds. What happened while it was watched is
//! taken from this machine's clock at the moment it was told, to the
//! millisecond; what had happened before, from the API. Which of the two it was
//! is kept, so that nothing is shown more precisely than it is known.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod, Probe};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::told::Told;
use crate::run::duration::{parse, show};
use crate::run::event::{Setting, TimePart};

/// The name of the part that the settings of a probe decide.
const PROBING: &str = "until the next probe";

/// A length of time, and whether it is known to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// How long.
    pub took: Duration,
    /// Whether it was measured here, and not taken from times in whole seconds.
    pub is_exact: bool,
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.took.as_secs() {
            _ if self.is_exact => f.write_str(&show(self.took)),
            0 => f.write_str("under 1 s"),
            _ => write!(f, "about {} s", self.took.as_secs_f64().round()),
        }
    }
}

/// Where the time of a pod went, from its making until its workload was known
/// to be ready.
#[derive(Debug, Clone)]
pub struct PodTimes {
    /// Its name.
    pub pod: String,
    /// Until it had a node.
    pub scheduling: Option<Length>,
    /// Of that, until its images were there; none when nothing was pulled.
    pub pulling: Option<Length>,
    /// The rest until its containers ran: volumes, sandbox, init containers.
    pub starting: Option<Length>,
    /// From there until a probe last found it not ready: its own boot, at least.
    pub booting: Option<Length>,
    /// From there until a probe found it ready: the rest of its boot, and the
    /// wait for the next probe; none without a readiness probe.
    pub probing: Option<Length>,
    /// From there until the whole workload was known to be ready.
    pub noticing: Option<Length>,
    /// The settings of its readiness probe: `initialDelaySeconds 5, periodSeconds 10`.
    pub probe: Option<String>,
    /// The one of them that decides `probing`.
    pub setting: Option<Setting>,
}

impl PodTimes {
    /// The parts that are known, by name, in their order.
    #[must_use]
    pub fn parts(&self) -> Vec<(&'static str, Length)> {
        let parts = [
            ("scheduling", self.scheduling),
            ("pulling images", self.pulling),
            ("starting", self.starting),
            ("its own boot", self.booting),
            (PROBING, self.probing),
            ("noticing", self.noticing),
        ];
        parts.into_iter().filter_map(|(name, length)| Some((name, length?))).collect()
    }

    /// The same for the record of the run.
    pub(super) fn event_parts(&self) -> Vec<TimePart> {
        let part = |(name, length): (&str, Length)| TimePart {
            name: name.into(),
            ms: length.took.as_secs_f64() * 1000.0,
            exact: length.is_exact,
            setting: self.setting.clone().filter(|_| name == PROBING),
        };
        self.parts().into_iter().map(part).collect()
    }
}

/// `pod web-1 ready: scheduling 12 ms, starting 1.20 s, its own boot 310 ms, ..`
impl fmt::Display for PodTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {} ready: ", self.pod)?;
        for (nth, (name, length)) in self.parts().into_iter().enumerate() {
            write!(f, "{}{name} {length}", if nth == 0 { "" } else { ", " })?;
            if name == PROBING
                && let Some(probe) = &self.probe
            {
                write!(f, " ({probe})")?;
            }
        }
        Ok(())
    }
}

/// A moment, and whether it is known to the millisecond.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Timestamp,
    is_exact: bool,
}

impl Moment {
    fn told(at: Timestamp) -> Self {
        Self { at, is_exact: false }
    }

    fn until(self, later: Self) -> Length {
        let took = later.at.duration_since(self.at);
        let took = Duration::try_from(took.max(SignedDuration::ZERO)).unwrap_or_default();
        Length { took, is_exact: self.is_exact && later.is_exact }
    }
}

/// When a pod came to what it is.
#[derive(Debug, Default)]
struct Clock {
    created: Option<Moment>,
    scheduled: Option<Moment>,
    running: Option<Moment>,
    refused: Option<Moment>,
    ready: Option<Moment>,
    pulling: Option<Duration>,
}

/// The clocks of a workload's pods.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    pods: HashMap<String, Clock>,
    /// Failed readiness probes that were counted: uid of the pod, how often.
    refusals: HashSet<(String, i32)>,
    /// Whether what comes now has only just happened.
    is_live: bool,
}

impl Clocks {
    /// What was there at first has been noted.
    pub(super) fn listed(&mut self) {
        self.is_live = true;
    }

    /// Notes what a pod has come to.
    pub(super) fn note(&mut self, pod: &Pod, events: &[Arc<Event>]) {
        let Some(uid) = pod.uid() else { return };
        let live = self.is_live.then(|| Moment { at: Timestamp::now(), is_exact: true });
        // Of what was seen for the first time, only the API can say since when.
        let moment = |told: Option<Timestamp>| live.or(told.map(Moment::told));
        let is_new = !self.pods.contains_key(&uid);
        let clock = self.pods.entry(uid.clone()).or_default();
        let created = pod.creation_timestamp().map(|time| time.0);
        if is_new {
            clock.created = moment(created);
        }
        let told = Told::about(events, &[&uid]);
        if clock.scheduled.is_none()
            && let Some(since) = condition(pod, "PodScheduled")
        {
            // The scheduler's own event is exact, if its clock is right.
            let exact = told.of("Scheduled", |_| true).last_time().filter(|at| at.subsec_nanosecond() != 0);
            clock.scheduled = moment(exact.or(since));
        }
        if clock.running.is_none()
            && let Some(since) = running(pod)
        {
            clock.running = moment(since);
        }
        let refused = told.of("Unhealthy", |message| message.starts_with("Readiness probe failed"));
        let is_news = refused.times() > 0 && self.refusals.insert((uid.clone(), refused.times()));
        if is_news && clock.ready.is_none() {
            clock.refused = moment(refused.last_time());
        }
        if clock.ready.is_none()
            && let Some(since) = condition(pod, "Ready")
        {
            clock.ready = moment(since);
        }
        clock.pulling = pulled(&told).or(clock.pulling);
    }

    /// Where the time of these pods went, up to now.
    pub(super) fn times(&self, pods: &[Arc<Pod>]) -> Vec<PodTimes> {
        let now = Moment { at: Timestamp::now(), is_exact: true };
        let known = pods.iter().filter_map(|pod| Some((pod, self.pods.get(&pod.uid()?)?)));
        known.map(|(pod, clock)| clock.times(pod, now)).collect()
    }
}

impl Clock {
    fn times(&self, pod: &Pod, now: Moment) -> PodTimes {
        let between = |from: Option<Moment>, to: Option<Moment>| Some(from?.until(to?));
        let probes =
            pod.spec.iter().flat_map(|spec| &spec.containers).filter_map(|c| c.readiness_probe.as_ref());
        let probe = probes.max_by_key(|probe| (probe.initial_delay_seconds, probe.period_seconds));
        let pulling = self.pulling.map(|took| Length { took, is_exact: true });
        let starting = between(self.scheduled, self.running).map(|length| Length {
            took: length.took.saturating_sub(self.pulling.unwrap_or_default()),
            ..length
        });
        let not_ready = self.refused.or(self.running);
        PodTimes {
            pod: pod.name_any(),
            scheduling: between(self.created, self.scheduled),
            pulling,
            starting,
            booting: probe.and_then(|_| between(self.running, self.refused)),
            probing: probe.and_then(|_| between(not_ready, self.ready)),
            noticing: self.ready.map(|ready| ready.until(now)),
            probe: probe.map(settings),
            setting: probe.map(|probe| decisive(probe, self.refused.is_some())),
        }
    }
}

fn settings(probe: &Probe) -> String {
    let delay = probe.initial_delay_seconds.unwrap_or(0);
    format!("initialDelaySeconds {delay}, periodSeconds {}", probe.period_seconds.unwrap_or(10))
}

/// The setting that the time until the next probe comes from: before the first
/// one the delay, after one that failed the period.
fn decisive(probe: &Probe, has_failed: bool) -> Setting {
    let (name, seconds) = match probe.initial_delay_seconds {
        Some(delay) if !has_failed => ("initialDelaySeconds", delay),
        _ => ("periodSeconds", probe.period_seconds.unwrap_or(10)),
    };
    Setting { name: name.into(), ms: f64::from(seconds) * 1000.0 }
}

/// Since when a condition is true; none while it is not.
#[expect(clippy::option_option, reason = "true, without saying since when")]
fn condition(pod: &Pod, name: &str) -> Option<Option<Timestamp>> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition =
        conditions.iter().find(|condition| condition.type_ == name && condition.status == "True")?;
    Some(condition.last_transition_time.as_ref().map(|time| time.0))
}

/// Since when all its containers have run; none until they do.
#[expect(clippy::option_option, reason = "running, without saying since when")]
fn running(pod: &Pod) -> Option<Option<Timestamp>> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let started =
        |status: &ContainerStatus| Some(status.state.as_ref()?.running.as_ref()?.started_at.clone());
    let started: Option<Vec<_>> = statuses.iter().map(started).collect();
    Some(started?.into_iter().flatten().map(|time| time.0).max())
}

/// `Successfully pulled image "x" in 1.2s (1.3s including waiting). ..`: how
/// long all images took; none when nothing was pulled.
fn pulled(told: &Told) -> Option<Duration> {
    let pulled = told.of("Pulled", |message| message.starts_with("Successfully pulled"));
    let took = pulled.messages().filter_map(|message| {
        let (_, took) = message.split_once('(')?;
        parse(took.split_once(' ')?.0).ok()
    });
    took.reduce(|sum, took| sum + took)
}

#[cfg(test)]
#[path = "times_tests.rs"]
mod tests;
