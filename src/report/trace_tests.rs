use std::collections::HashMap;
use std::path::Path;

use super::*;
use crate::report::sample::{self, Sample};
use crate::run::Outcome;

/// What a viewer relies on: slices of a lane nest, the two ends of a flow each
/// lie within a slice and in order of time, and lanes have names.
#[track_caller]
fn check(events: &[Event]) -> Value {
    let trace: Value = serde_json::from_str(&trace(events).unwrap()).unwrap();
    let traced = trace["traceEvents"].as_array().unwrap();
    let number =
        |event: &Value, name: &str| event[name].as_u64().unwrap_or_else(|| panic!("{name} of {event}"));
    let (mut open, mut named) = (HashMap::<u64, Vec<u64>>::new(), Vec::new());
    let (mut flows, mut last_ts) = (HashMap::new(), 0);
    for event in traced {
        let (ts, lane) = (number(event, "ts"), number(event, "tid"));
        assert!(last_ts <= ts, "in order of time: {event}");
        last_ts = ts;
        assert_eq!(event["pid"], 1);
        let open = open.entry(lane).or_default();
        match event["ph"].as_str().unwrap() {
            "M" if event["name"] == "thread_name" => named.push(lane),
            "M" => {}
            "i" => assert_eq!(event["s"], "p"),
            "C" => assert!(event["args"]["value"].is_number()),
            "X" => {
                let end = ts + number(event, "dur");
                while open.last().is_some_and(|around| *around <= ts && *around < end) {
                    open.pop();
                }
                assert!(open.last().is_none_or(|around| end <= *around), "it does not nest: {event}");
                assert!(named.contains(&lane), "its lane has no name: {event}");
                open.push(end);
            }
            phase => {
                assert!(open.iter().any(|around| ts <= *around), "a flow in no slice: {event}");
                let ends = flows.entry(number(event, "id")).or_insert(String::new());
                ends.push_str(phase);
                assert_eq!(event.get("bp").is_some(), phase == "f");
            }
        }
    }
    assert!(flows.values().all(|ends| ends == "sf"), "{flows:?}");
    trace
}

/// Slices, flows and instants, a line each, with lanes and microseconds.
fn drawn(trace: &Value) -> String {
    let line = |event: &Value| {
        let (lane, name, ts) = (&event["tid"], event["name"].as_str()?, &event["ts"]);
        match event["ph"].as_str()? {
            "X" => Some(format!("{lane} {ts}+{} {name}", event["dur"])),
            "i" => Some(format!("- {ts} {name}")),
            "C" => Some(format!("- {ts} {name} = {}", event["args"]["value"])),
            "M" if name == "thread_name" => Some(format!("{lane} is {}", event["args"]["name"])),
            "M" => None,
            phase => Some(format!("{lane} {ts} {phase}{} {name}", event["id"])),
        }
    };
    trace["traceEvents"].as_array().unwrap().iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn branches_tasks_waits_and_flows() {
    insta::assert_snapshot!(drawn(&check(&sample::environment())), @r#"
    1 is "script"
    2 is "task image"
    3 is "image"
    4 is "postgres"
    5 is "redis"
    2 1000+309200 task image
    2 1500+308500 build_image datastorage
    1 2000+12000 create_cluster datastorage-e2e
    1 13999 s2 critical path
    1 14500+500800 parallel
    3 15000+307100 image
    4 15200+499900 postgres
    5 15300+32800 redis
    3 15500+294900 join image
    4 15500+419500 deploy_postgres postgres
    4 15500 f2 critical path
    5 15600+32400 deploy_redis redis
    4 20000+415000 waiting for PostgreSQL to accept connections on 127.0.0.1:5433
    2 310199 s1 join
    3 310399 f1 join
    3 310500+11500 load_image datastorage
    4 434999 s3 critical path
    4 435200+79800 migrate migrations
    4 435200 f3 critical path
    4 514999 s4 critical path
    - 515500 environment is up, starting the service
    1 516000+719200 service
    1 516200+23800 deploy_service datastorage
    1 516200 f4 critical path
    1 539999 s5 critical path
    1 540200+694800 wait_ready datastorage
    1 540200 f5 critical path
    - 1240000 set-up succeeded
    "#);
}

#[test]
fn a_slice_says_what_is_known() {
    let trace = check(&sample::failure());
    let of = |name: &str| trace["traceEvents"].as_array().unwrap().iter().find(|event| event["name"] == name);
    let deploy = of("deploy_postgres postgres").unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(deploy).unwrap(), @r#"
    {
      "args": {
        "branch": "postgres",
        "error": "postgres exited with status 1 before it was ready",
        "last_output": "FATAL:  could not create lock file",
        "outcome": "failed",
        "primitive": "deploy_postgres",
        "step": "4",
        "title": "postgres"
      },
      "cat": "primitive,critical",
      "dur": 70000,
      "name": "deploy_postgres postgres",
      "ph": "X",
      "pid": 1,
      "tid": 2,
      "ts": 10000
    }
    "#);
    assert_eq!(of("deploy_redis redis").unwrap()["args"]["outcome"], "cancelled");
}

#[test]
fn tests_and_the_machine_are_seen() {
    let mut run = Sample::new();
    run.start(0.0, 1, 0, "", StepKind::Primitive, "sh");
    run.push(
        1.0,
        EventKind::MachineSampled { cpu: 0.8349, memory_bytes: 1_234_560_000, disk_bytes: 70_000_000 },
    );
    run.end(2.0, 1);
    run.push(2.0, EventKind::SetupFinished { outcome: Outcome::Succeeded });
    run.push(3.0, EventKind::TestStarted { command: vec!["cargo".into(), "test".into()] });
    run.push(9.0, EventKind::TestFinished { code: 3, results: None });
    run.push(9.0, EventKind::TeardownStarted);
    run.push(9.5, EventKind::TeardownFinished { left: 0 });
    let trace = check(&run.events);
    insta::assert_snapshot!(drawn(&trace), @r#"
    1 is "script"
    1 0+2000 sh
    - 1000 processors busy (%) = 83.5
    - 1000 memory in use (MB) = 1234.6
    - 1000 disk in use (MB) = 70.0
    - 2000 set-up succeeded
    1 3000+6000 test
    1 9000+500 teardown
    "#);
    let tests =
        trace["traceEvents"].as_array().unwrap().iter().find(|event| event["name"] == "test").unwrap();
    assert_eq!([&tests["args"]["command"], &tests["args"]["outcome"]], ["cargo test", "exit code 3"]);
}

#[test]
fn a_run_may_die_at_any_moment() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records");
    let record = |name: &str| crate::report::read(&folder.join(name)).unwrap();
    let real = ["shop.jsonl", "broken.jsonl", "stopped.jsonl", "datastorage.jsonl"].map(record);
    for events in real.into_iter().chain([sample::environment(), sample::failure()]) {
        for end in 1..=events.len() {
            check(&events[..end]);
        }
    }
}

#[test]
fn two_thousand_steps_in_fifty_branches_take_fifty_lanes() {
    let mut run = Sample::new();
    run.start(0.0, 1, 0, "", StepKind::Group, "each");
    for branch in 0..50_u64 {
        run.start(0.0, 2 + branch, 1, "b", StepKind::Branch, "each b");
    }
    for step in 0..2_000_u64 {
        let ms = f64::from(u32::try_from(step / 50).unwrap());
        run.start(ms, 100 + step, 2 + step % 50, "b", StepKind::Primitive, "sh");
        run.end(ms + 1.0, 100 + step);
    }
    for branch in 0..50_u64 {
        run.end(40.0, 2 + branch);
    }
    run.end(40.0, 1);
    run.finish(40.0, Outcome::Succeeded);
    // In order of time, as a dispatcher would have told them.
    run.events.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let trace = check(&run.events);
    let lanes =
        trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["name"] == "thread_name");
    assert_eq!(lanes.count(), 51);
}
