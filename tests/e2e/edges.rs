//! What must be refused, and how the refusal is told.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::runner::cases;
use crate::service::{EVENTS, Service, ago, event, with};

cases![
    every_invalid_field_is_named,
    a_required_field_that_is_null_is_missing,
    an_unknown_field_is_no_field,
    texts_have_a_length,
    texts_are_counted_in_characters,
    control_characters_are_refused,
    a_time_in_the_future_is_refused,
    a_clock_may_be_a_little_ahead,
    a_time_before_1970_is_refused,
    finer_times_than_the_database_has_are_cut,
    event_data_must_be_an_object,
    the_character_that_jsonb_lacks_is_refused,
    what_is_no_json_is_told_where,
    a_body_has_a_size,
    an_empty_batch_is_refused,
    a_batch_has_a_size,
    a_batch_that_is_no_array_is_refused,
    one_invalid_event_refuses_the_batch,
    a_batch_cannot_hold_an_event_twice,
    an_unknown_event_is_not_found,
    an_id_must_be_a_uuid,
    an_unknown_path_is_told_as_a_problem,
    an_unknown_method_is_told_as_a_problem,
    sql_in_a_text_is_a_text,
    an_index_row_has_a_size,
];

async fn every_invalid_field_is_named(service: Service) {
    let sent =
        json!({"event_id": 7, "event_type": "", "resource_type": "a", "outcome": "fine", "event_data": {}});
    service.post(&sent).await.refuses(&[
        "event_id must be a UUID",
        "event_type must not be empty",
        "actor is required",
        "resource_id is required",
        "outcome must be success, failure or pending",
    ]);
}

async fn a_required_field_that_is_null_is_missing(service: Service) {
    service.post(&with(event(), json!({"actor": null}))).await.refuses(&["actor is required"]);
}

async fn an_unknown_field_is_no_field(service: Service) {
    let sent = with(event(), json!({"corelation_id": "c"}));
    service.post(&sent).await.refuses(&["corelation_id is not a field of an event"]);
}

async fn texts_have_a_length(service: Service) {
    service
        .post(&with(event(), json!({"actor": "a".repeat(255), "event_type": "t".repeat(100)})))
        .await
        .is(201);
    let longer = json!({"actor": "a".repeat(256), "event_type": "t".repeat(101)});
    service
        .post(&with(event(), longer))
        .await
        .refuses(&["event_type must have at most 100 characters", "actor must have at most 255 characters"]);
}

async fn texts_are_counted_in_characters(service: Service) {
    let actor = "Ж".repeat(255);
    assert_eq!(service.post(&with(event(), json!({"actor": actor}))).await.is(201).json()["actor"], actor);
}

async fn control_characters_are_refused(service: Service) {
    let reason = "actor must not hold control characters";
    service.post(&with(event(), json!({"actor": "a\nb"}))).await.refuses(&[reason]);
}

async fn a_time_in_the_future_is_refused(service: Service) {
    let later = jiff::Timestamp::now() + std::time::Duration::from_secs(600);
    let sent = with(event(), json!({"occurred_at": later.to_string()}));
    service.post(&sent).await.refuses(&["occurred_at must not be in the future"]);
}

async fn a_clock_may_be_a_little_ahead(service: Service) {
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(60);
    service.post(&with(event(), json!({"occurred_at": soon.to_string()}))).await.is(201);
}

async fn a_time_before_1970_is_refused(service: Service) {
    let sent = with(event(), json!({"occurred_at": "1969-12-31T23:59:59Z"}));
    service.post(&sent).await.refuses(&["occurred_at must not be before 1970"]);
    service.post(&with(event(), json!({"occurred_at": "1970-01-01T00:00:00Z"}))).await.is(201);
}

async fn finer_times_than_the_database_has_are_cut(service: Service) {
    let sent =
        with(event(), json!({"event_id": Uuid::now_v7(), "occurred_at": "2026-02-01T00:00:00.123456789Z"}));
    let stored = service.post(&sent).await.is(201).json();
    assert_eq!(stored["occurred_at"], "2026-02-01T00:00:00.123456Z");
    service.post(&sent).await.is(200);
}

async fn event_data_must_be_an_object(service: Service) {
    for data in [json!([1]), json!("x"), json!(5)] {
        service
            .post(&with(event(), json!({"event_data": data})))
            .await
            .refuses(&["event_data must be an object"]);
    }
}

async fn the_character_that_jsonb_lacks_is_refused(service: Service) {
    let reason = "event_data must not hold the character U+0000";
    for data in [json!({"deep": [{"a": "\u{0}"}]}), json!({"\u{0}": 1})] {
        service.post(&with(event(), json!({"event_data": data}))).await.refuses(&[reason]);
    }
}

async fn what_is_no_json_is_told_where(service: Service) {
    let answer = service.send("POST", EVENTS, "{\"actor\": }").await.is(400);
    assert_eq!(answer.content_type, "application/problem+json");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("body is not JSON") && detail.contains("line 1 column 11"), "{detail}");
}

async fn a_body_has_a_size(service: Service) {
    let huge = json!({"event_data": {"x": "x".repeat(9 << 20)}});
    let answer = service.post(&with(event(), huge)).await.is(413);
    assert_eq!(answer.json()["title"], "Payload Too Large");
}

async fn an_empty_batch_is_refused(service: Service) {
    service.post(&json!([])).await.refuses(&[" must hold 1 to 1000 events, not 0"]);
}

async fn a_batch_has_a_size(service: Service) {
    let batch = Value::from(vec![event(); 1001]);
    service.post(&batch).await.refuses(&[" must hold 1 to 1000 events, not 1001"]);
}

async fn a_batch_that_is_no_array_is_refused(service: Service) {
    let answer = service.send("POST", &format!("{EVENTS}/batch"), event().to_string()).await;
    answer.refuses(&[" must be an array of events"]);
}

async fn one_invalid_event_refuses_the_batch(service: Service) {
    let good = event();
    let batch = json!([good, with(event(), json!({"actor": ""})), 5]);
    service.post(&batch).await.refuses(&["[1].actor must not be empty", "[2] must be an object"]);
    let resource = good["resource_id"].as_str().unwrap();
    assert!(service.list(&[("resource_id", resource)]).await.is(200).events().is_empty(), "all or none");
}

async fn a_batch_cannot_hold_an_event_twice(service: Service) {
    let one = with(event(), json!({"event_id": Uuid::now_v7()}));
    service.post(&json!([one, event(), one])).await.refuses(&["[2].event_id appears twice in this batch"]);
}

async fn an_unknown_event_is_not_found(service: Service) {
    let id = Uuid::now_v7();
    let answer = service.get(&format!("{EVENTS}/{id}")).await.is(404);
    assert_eq!(answer.json()["detail"], format!("no event has the id {id}"));
}

async fn an_id_must_be_a_uuid(service: Service) {
    service.get(&format!("{EVENTS}/42")).await.refuses(&["id must be a UUID"]);
}

async fn an_unknown_path_is_told_as_a_problem(service: Service) {
    let answer = service.get("/api/v2/audit").await.is(404);
    assert_eq!(answer.content_type, "application/problem+json");
    assert_eq!(answer.json()["detail"], "there is nothing at this path");
}

async fn an_unknown_method_is_told_as_a_problem(service: Service) {
    for method in ["DELETE", "PUT", "PATCH"] {
        let answer = service.send(method, EVENTS, "").await.is(405);
        assert_eq!(answer.json()["detail"], "this path does not take this method");
    }
}

async fn sql_in_a_text_is_a_text(service: Service) {
    let actor = format!("{}'; DROP TABLE audit_events; --", Uuid::now_v7());
    service.post(&with(event(), json!({"actor": actor, "occurred_at": ago(1)}))).await.is(201);
    let found = service.list(&[("actor", &actor)]).await.is(200).events();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["actor"], actor);
}

async fn an_index_row_has_a_size(service: Service) {
    // Keys and values are indexed by their hashes, so that size does not matter.
    let data = json!({"key": "v".repeat(100_000)});
    let stored = service.post(&with(event(), json!({"event_data": data}))).await.is(201).json();
    assert_eq!(stored["event_data"], data);
}
