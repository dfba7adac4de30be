use serde_json::{Value, json};

use super::*;

fn pod(conditions: &[(&str, &str)], started: Option<&str>, probe: Option<Value>) -> Pod {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|(name, at)| json!({"type": name, "status": "True", "lastTransitionTime": format!("2026-11-24T10:00:{at}Z")}))
        .collect();
    let state =
        started.map_or(json!({}), |at| json!({"running": {"startedAt": format!("2026-11-24T10:00:{at}Z")}}));
    serde_json::from_value(json!({
        "metadata": {"name": "web-1", "uid": "pod", "creationTimestamp": "2026-11-24T10:00:00Z"},
        "spec": {"containers": [{"name": "c", "readinessProbe": probe}]},
        "status": {"conditions": conditions, "containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
    }))
    .unwrap()
}

fn event(reason: &str, message: &str, second: &str) -> Arc<Event> {
    let at = format!("2026-11-24T10:00:{second}Z");
    let event = json!({"metadata": {}, "involvedObject": {"uid": "pod"}, "reason": reason, "message": message,
                       "firstTimestamp": at, "lastTimestamp": at});
    Arc::new(serde_json::from_value(event).unwrap())
}

/// The parts of a pod that was ready before it was watched.
fn parts(pod: &Pod, events: &[Arc<Event>]) -> Vec<(&'static str, String)> {
    let mut clocks = Clocks::default();
    clocks.note(pod, events);
    let times = clocks.times(&[Arc::new(pod.clone())]).remove(0);
    let known = times.parts().into_iter().filter(|(name, _)| *name != "noticing");
    known.map(|(name, length)| (name, length.to_string())).collect()
}

#[test]
fn what_was_over_before_is_told_in_whole_seconds() {
    let probe = json!({"tcpSocket": {"port": 1}, "periodSeconds": 5});
    let pod = pod(&[("PodScheduled", "00"), ("Ready", "12")], Some("04"), Some(probe));
    let pulled =
        "Successfully pulled image \"shop:1\" in 1.1s (1.5s including waiting). Image size: 7 bytes.";
    let events = [
        event("Pulled", pulled, "03"),
        event("Unhealthy", "Readiness probe failed: no", "07"),
        event("Unhealthy", "Liveness probe failed: no", "11"),
    ];
    let wanted = [
        ("scheduling", "under 1 s"),
        ("pulling images", "1.50 s"),
        ("starting", "about 3 s"),
        ("its own boot", "about 3 s"),
        ("until the next probe", "about 5 s"),
    ];
    assert_eq!(parts(&pod, &events), wanted.map(|(name, length)| (name, length.to_owned())));
}

#[test]
fn without_a_probe_there_is_no_boot_to_tell() {
    let pod = pod(&[("PodScheduled", "00"), ("Ready", "04")], Some("04"), None);
    assert_eq!(
        parts(&pod, &[]),
        [("scheduling", "under 1 s".to_owned()), ("starting", "about 4 s".to_owned())]
    );
}

#[test]
fn what_is_watched_is_told_to_the_millisecond() {
    let mut clocks = Clocks::default();
    clocks.listed();
    let probe = || Some(json!({"exec": {"command": ["true"]}, "initialDelaySeconds": 5}));
    clocks.note(&pod(&[], None, probe()), &[]);
    clocks.note(&pod(&[("PodScheduled", "00")], None, probe()), &[]);
    clocks.note(&pod(&[("PodScheduled", "00")], Some("04"), probe()), &[]);
    let ready = pod(&[("PodScheduled", "00"), ("Ready", "12")], Some("04"), probe());
    clocks.note(&ready, &[]);
    let times = clocks.times(&[Arc::new(ready)]).remove(0);
    assert!(times.parts().iter().all(|(_, length)| length.is_exact), "{times:?}");
    let told = times.to_string();
    assert!(told.starts_with("pod web-1 ready: scheduling "), "{told}");
    assert!(told.contains(" (initialDelaySeconds 5, periodSeconds 10), noticing "), "{told}");
}

#[test]
fn the_setting_that_decides_is_told_with_its_part() {
    let probe =
        || Some(json!({"exec": {"command": ["true"]}, "initialDelaySeconds": 30, "periodSeconds": 7}));
    let setting = |events: &[Arc<Event>]| {
        let mut clocks = Clocks::default();
        let ready = pod(&[("PodScheduled", "00"), ("Ready", "40")], Some("04"), probe());
        clocks.note(&ready, events);
        let parts = clocks.times(&[Arc::new(ready)]).remove(0).event_parts();
        assert!(parts.iter().all(|part| part.setting.is_some() == (&*part.name == PROBING)), "{parts:?}");
        parts.into_iter().find_map(|part| part.setting).map(|setting| (setting.name.to_string(), setting.ms))
    };
    assert_eq!(setting(&[]), Some(("initialDelaySeconds".to_owned(), 30_000.0)));
    let failed = event("Unhealthy", "Readiness probe failed: no", "35");
    assert_eq!(setting(&[failed]), Some(("periodSeconds".to_owned(), 7_000.0)));
}
