//! While a database is away: nothing that was accepted is lost.

use redis::AsyncCommands;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::runner::cases;
use crate::service::{EVENTS, QUEUE, Service, event, eventually, with};

cases![
    events_wait_while_their_table_is_away,
    a_batch_waits_as_a_whole,
    a_database_that_stands_still_is_one_that_is_away,
    connections_that_are_cut_come_back,
    without_redis_events_are_stored_and_it_says_so,
    without_either_events_are_refused_for_now,
    what_will_never_be_stored_goes_to_the_dead_letters,
];

const AWAY: &str = "ALTER TABLE audit_events RENAME TO audit_events_away";
const BACK: &str = "ALTER TABLE audit_events_away RENAME TO audit_events";

async fn waiting(service: &Service) -> u64 {
    service.redis().await.xlen(QUEUE).await.unwrap()
}

async fn drained(service: &Service) {
    eventually("the queue is drained", async || waiting(service).await == 0).await;
}

async fn events_wait_while_their_table_is_away(service: Service) {
    let id = Uuid::now_v7();
    let sent = with(event(), json!({"event_id": id, "correlation_id": "outage"}));
    service.sql(AWAY).await.unwrap();
    let answer = service.post(&sent).await;
    let (ready, length) = (service.get("/readyz").await, waiting(&service).await);
    let found = service.get(&format!("{EVENTS}/{id}")).await;
    service.sql(BACK).await.unwrap();

    assert_eq!(answer.is(202).json(), json!({"status": "queued", "event_id": id}));
    assert_eq!(length, 1);
    assert_eq!(ready.is(503).json()["ready"], false);
    assert_eq!(found.retry_after.as_deref(), Some("1"));
    assert_eq!(found.status, 503);

    drained(&service).await;
    let stored = service.get(&format!("{EVENTS}/{id}")).await.is(200).json();
    assert_eq!([&stored["correlation_id"], &stored["actor"]], ["outage", "e2e"]);
    eventually("it is ready", async || service.get("/readyz").await.status == 200).await;
    service.post(&sent).await.is(200);
}

async fn a_batch_waits_as_a_whole(service: Service) {
    let queued = service.metric("events_queued_total").await;
    let actor = Uuid::now_v7().to_string();
    let batch: Vec<Value> = (0..20).map(|_| with(event(), json!({"actor": actor}))).collect();
    service.sql(AWAY).await.unwrap();
    let answer = service.post(&batch.into()).await;
    service.sql(BACK).await.unwrap();
    let ids = answer.is(202).json()["event_ids"].as_array().unwrap().len();
    assert_eq!((ids, service.metric("events_queued_total").await), (20, queued + 20));
    drained(&service).await;
    assert_eq!(service.list(&[("actor", &actor)]).await.is(200).events().len(), 20);
}

async fn a_database_that_stands_still_is_one_that_is_away(service: Service) {
    let sent = event();
    let mut database = service.database().await;
    let lock = database.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE audit_event_ids IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let answer = service.post(&sent).await;
    lock.rollback().await.unwrap();
    answer.is(202);
    drained(&service).await;
    let resource = sent["resource_id"].as_str().unwrap();
    assert_eq!(service.list(&[("resource_id", resource)]).await.is(200).events().len(), 1);
}

async fn connections_that_are_cut_come_back(service: Service) {
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'datastorage'";
    let cut: u32 = service.sql(cut).await.unwrap().parse().unwrap();
    assert!(cut >= 2, "one to write and one to read: {cut}");
    let mut redis = service.redis().await;
    let _: u32 = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal"]).query_async(&mut redis).await.unwrap();
    let sent = event();
    let code = service.post(&sent).await.status;
    assert!([201, 202].contains(&code), "{code}");
    eventually("it is ready", async || service.get("/readyz").await.status == 200).await;
    let resource = sent["resource_id"].as_str().unwrap().to_owned();
    let found = async || service.list(&[("resource_id", &resource)]).await.events().len() == 1;
    eventually("the event is stored", found).await;
}

/// Redis answers nobody for a while.
async fn pause_redis(service: &Service, what: &str) {
    let mut redis = service.redis().await;
    let _: () = redis::cmd("CLIENT").arg(&["PAUSE", "3000", what]).query_async(&mut redis).await.unwrap();
}

async fn redis_answers(service: &Service) {
    let mut redis = service.redis().await;
    // Held back like all others until the pause is over.
    let _: () = redis.set("e2e", "1").await.unwrap();
    eventually("it is ready", async || service.get("/readyz").await.status == 200).await;
}

async fn without_redis_events_are_stored_and_it_says_so(service: Service) {
    pause_redis(&service, "ALL").await;
    let ready = service.get("/readyz").await.is(503).json();
    assert_eq!([&ready["ready"], &ready["postgres"]], [&json!(false), &json!("ok")]);
    assert!(ready["redis"].as_str().unwrap().starts_with("Redis is unavailable"), "{ready}");
    service.post(&event()).await.is(201);
    redis_answers(&service).await;
}

async fn without_either_events_are_refused_for_now(service: Service) {
    service.sql(AWAY).await.unwrap();
    pause_redis(&service, "WRITE").await;
    let answer = service.post(&event()).await;
    service.sql(BACK).await.unwrap();
    redis_answers(&service).await;
    let answer = answer.is(503);
    assert_eq!(answer.retry_after.as_deref(), Some("1"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("can neither be stored"), "{}", answer.text);
    drained(&service).await;
}

async fn what_will_never_be_stored_goes_to_the_dead_letters(service: Service) {
    let (dead, id) = (service.metric("events_dead_total").await, Uuid::now_v7());
    let good = with(event(), json!({"event_id": id, "occurred_at": "2026-05-05T05:05:05Z"}));
    let mut redis = service.redis().await;
    for entry in ["no event at all".to_owned(), good.to_string()] {
        let _: String = redis.xadd(QUEUE, "*", &[("event", entry)]).await.unwrap();
    }
    drained(&service).await;
    eventually("it is counted", async || service.metric("events_dead_total").await == dead + 1).await;
    service.get(&format!("{EVENTS}/{id}")).await.is(200);
    let letters: redis::streams::StreamRangeReply = redis.xrevrange_all("datastorage:dead").await.unwrap();
    let reason: String = letters.ids[0].get("reason").unwrap();
    assert!(reason.starts_with("not an event"), "{reason}");
}
