//! What everybody relies on: events are stored, found, and counted.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::runner::cases;
use crate::service::{EVENTS, Service, ago, event, eventually, with};

cases![
    it_is_alive_and_ready,
    an_event_is_stored_and_found,
    what_the_client_says_is_kept,
    what_the_client_leaves_out_is_filled_in,
    a_batch_is_stored_whole_and_in_order,
    a_repeated_event_changes_nothing,
    a_repeated_batch_says_what_was_new,
    two_writers_of_one_event_store_it_once,
    an_operation_is_followed_by_its_correlation,
    the_health_of_a_resource_is_counted,
    the_newest_event_comes_first,
    requests_and_events_are_counted,
    any_json_object_is_kept_as_it_is,
    a_full_batch_is_taken,
    the_schema_is_complete,
];

async fn it_is_alive_and_ready(service: Service) {
    assert_eq!(service.get("/healthz").await.is(200).text, "ok\n");
    let ready = service.get("/readyz").await.is(200).json();
    assert_eq!(ready, json!({"ready": true, "postgres": "ok", "redis": "ok"}));
}

async fn an_event_is_stored_and_found(service: Service) {
    let sent = event();
    let stored = service.post(&sent).await.is(201).json();
    for (name, value) in sent.as_object().unwrap() {
        assert_eq!(&stored[name], value, "{name}");
    }
    let id = stored["event_id"].as_str().unwrap();
    assert_eq!(service.get(&format!("{EVENTS}/{id}")).await.is(200).json(), stored);
    let row = service.sql(&format!("SELECT resource_id FROM audit_events WHERE event_id = '{id}'")).await;
    assert_eq!(Value::from(row.unwrap()), sent["resource_id"]);
}

async fn what_the_client_says_is_kept(service: Service) {
    let id = Uuid::now_v7();
    let sent = with(
        event(),
        json!({"event_id": id, "occurred_at": "2026-01-31T12:30:00.123456+02:00", "correlation_id": "c-1", "outcome": "pending"}),
    );
    let stored = service.post(&sent).await.is(201).json();
    assert_eq!(stored["event_id"], id.to_string());
    assert_eq!(stored["occurred_at"], "2026-01-31T10:30:00.123456Z");
    assert_eq!([&stored["correlation_id"], &stored["outcome"]], ["c-1", "pending"]);
}

async fn what_the_client_leaves_out_is_filled_in(service: Service) {
    let before = jiff::Timestamp::now();
    let stored = service.post(&event()).await.is(201).json();
    let occurred: jiff::Timestamp = stored["occurred_at"].as_str().unwrap().parse().unwrap();
    let recorded: jiff::Timestamp = stored["recorded_at"].as_str().unwrap().parse().unwrap();
    assert!(before.duration_since(occurred).as_millis() <= 1 && occurred <= jiff::Timestamp::now());
    assert!(recorded >= before.round(jiff::Unit::Second).unwrap() - std::time::Duration::from_secs(1));
    assert_eq!(stored["event_id"].as_str().unwrap().parse::<Uuid>().unwrap().get_version_num(), 7);
    assert!(stored.get("correlation_id").is_none_or(Value::is_null));
}

async fn a_batch_is_stored_whole_and_in_order(service: Service) {
    let sent: Vec<Value> = (0..5).map(|n| with(event(), json!({"event_data": {"n": n}}))).collect();
    let answer = service.post(&sent.into()).await.is(201);
    assert_eq!(answer.json()["created"], 5);
    let order: Vec<_> =
        answer.events().iter().map(|event| event["event_data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

async fn a_repeated_event_changes_nothing(service: Service) {
    let sent = with(event(), json!({"event_id": Uuid::now_v7()}));
    let first = service.post(&sent).await.is(201).json();
    let again = service.post(&with(sent, json!({"actor": "somebody else"}))).await.is(200).json();
    assert_eq!(again, first, "the answer is what was stored first");
}

async fn a_repeated_batch_says_what_was_new(service: Service) {
    let known = with(event(), json!({"event_id": Uuid::now_v7()}));
    service.post(&known).await.is(201);
    let fresh = with(event(), json!({"event_id": Uuid::now_v7()}));
    let batch = json!([known, fresh]);
    let answer = service.post(&batch).await.is(201);
    assert_eq!((answer.json()["created"].as_u64(), answer.events().len()), (Some(1), 2));
    assert_eq!(service.post(&batch).await.is(200).json()["created"], 0);
}

async fn two_writers_of_one_event_store_it_once(service: Service) {
    let sent = with(event(), json!({"event_id": Uuid::now_v7()}));
    let answers = futures::future::join_all((0..8).map(|_| service.post(&sent))).await;
    let mut codes: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    codes.sort_unstable();
    assert_eq!(codes, [200, 200, 200, 200, 200, 200, 200, 201]);
    let resource = sent["resource_id"].as_str().unwrap();
    assert_eq!(service.list(&[("resource_id", resource)]).await.is(200).events().len(), 1);
}

async fn an_operation_is_followed_by_its_correlation(service: Service) {
    let correlation = Uuid::now_v7().to_string();
    for (seconds, what) in [(30, "order.placed"), (20, "order.paid"), (10, "order.shipped")] {
        let fields = json!({"correlation_id": correlation, "event_type": what, "occurred_at": ago(seconds)});
        service.post(&with(event(), fields)).await.is(201);
    }
    let found = service.list(&[("correlation_id", &correlation)]).await.is(200).events();
    let types: Vec<_> = found.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["order.shipped", "order.paid", "order.placed"]);
}

async fn the_health_of_a_resource_is_counted(service: Service) {
    let resource = Uuid::now_v7().to_string();
    for outcome in ["success", "failure", "failure", "pending"] {
        let fields = json!({"resource_id": resource, "outcome": outcome});
        service.post(&with(event(), fields)).await.is(201);
    }
    let health = format!(
        "SELECT events || ' ' || failures || ' ' || failure_rate FROM audit_resource_health WHERE resource_id = '{resource}'"
    );
    assert_eq!(service.sql(&health).await.unwrap(), "4 2 0.5000");
}

async fn the_newest_event_comes_first(service: Service) {
    let actor = Uuid::now_v7().to_string();
    for seconds in [300, 100, 200] {
        service.post(&with(event(), json!({"actor": actor, "occurred_at": ago(seconds)}))).await.is(201);
    }
    let found = service.list(&[("actor", &actor)]).await.is(200).events();
    let times: Vec<_> = found.iter().map(|event| event["occurred_at"].as_str().unwrap().to_owned()).collect();
    assert!(times.is_sorted_by(|a, b| a > b) && times.len() == 3, "{times:?}");
}

async fn requests_and_events_are_counted(service: Service) {
    let before = service.metric("events_stored_total").await;
    service.post(&json!([event(), event()])).await.is(201);
    assert!(service.metric("events_stored_total").await >= before + 2);
    service.get(&format!("{EVENTS}/{}", Uuid::now_v7())).await.is(404);
    let text = service.get("/metrics").await.is(200).text;
    let labels = r#"{method="GET",route="/api/v1/audit/events/{id}",status="404"}"#;
    assert!(text.contains(&format!("datastorage_requests_total{labels} ")), "a pattern, no path: {text}");
    eventually("nothing waits", async || service.metric("queue_length").await == 0).await;
}

async fn any_json_object_is_kept_as_it_is(service: Service) {
    let data = json!({
        "": null, "ключ": "значение 🦀", "deep": {"er": [[], {}, [1, -2.5, true, "\u{7f}\n\""]]}, "big": 9_007_199_254_740_991_u64,
    });
    let stored = service.post(&with(event(), json!({"event_data": data}))).await.is(201).json();
    let path = format!("{EVENTS}/{}", stored["event_id"].as_str().unwrap());
    assert_eq!(service.get(&path).await.is(200).json()["event_data"], data);
}

async fn a_full_batch_is_taken(service: Service) {
    let actor = Uuid::now_v7().to_string();
    let batch: Vec<Value> = (0..1000).map(|_| with(event(), json!({"actor": actor}))).collect();
    assert_eq!(service.post(&batch.into()).await.is(201).json()["created"], 1000);
    let stored = format!("SELECT count(*) FROM audit_events WHERE actor = '{actor}'");
    assert_eq!(service.sql(&stored).await.unwrap(), "1000");
}

async fn the_schema_is_complete(service: Service) {
    let versions = service.sql("SELECT max(version_id) || ' ' || bool_and(is_applied) FROM goose_db_version");
    assert_eq!(versions.await.unwrap(), "7 true");
    let invalid = service.sql("SELECT count(*) FROM pg_index WHERE NOT indisvalid").await;
    assert_eq!(invalid.unwrap(), "0", "every index was built to its end");
}
