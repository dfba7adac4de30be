//! What the database itself sees to: months, retention, and a trail that is
//! not rewritten.

use serde_json::json;
use uuid::Uuid;

use crate::runner::cases;
use crate::service::{EVENTS, Service, event, with};

cases![
    an_event_cannot_be_changed,
    an_event_that_was_deleted_is_gone_for_good,
    this_month_has_a_partition_of_its_own,
    an_old_month_gets_a_partition_and_its_events,
    a_partition_is_made_once_however_many_ask,
];

async fn stored(service: &Service, fields: serde_json::Value) -> String {
    let stored = service.post(&with(event(), fields)).await.is(201).json();
    stored["event_id"].as_str().unwrap().to_owned()
}

async fn an_event_cannot_be_changed(service: Service) {
    let id = stored(&service, json!({})).await;
    let update = format!("UPDATE audit_events SET actor = 'nobody' WHERE event_id = '{id}'");
    let refused = service.sql(&update).await.unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert_eq!(refused.message(), format!("audit event {id} cannot be changed"));
    assert!(refused.hint().unwrap().contains("Record a new event"));
    assert_eq!(service.get(&format!("{EVENTS}/{id}")).await.is(200).json()["actor"], "e2e");
}

async fn an_event_that_was_deleted_is_gone_for_good(service: Service) {
    let id = Uuid::now_v7();
    let sent = with(event(), json!({"event_id": id}));
    service.post(&sent).await.is(201);
    service.sql(&format!("DELETE FROM audit_events WHERE event_id = '{id}'")).await.unwrap();
    service.get(&format!("{EVENTS}/{id}")).await.is(404);
    let answer = service.post(&sent).await.is(410);
    assert_eq!(answer.json()["detail"], format!("event {id} was deleted"));
}

async fn this_month_has_a_partition_of_its_own(service: Service) {
    let id = stored(&service, json!({})).await;
    let table = format!("SELECT tableoid::regclass::text FROM audit_events WHERE event_id = '{id}'");
    let month = "SELECT to_char(now() AT TIME ZONE 'UTC', '\"audit_events_\"YYYY_MM')";
    assert_eq!(service.sql(&table).await.unwrap(), service.sql(month).await.unwrap());
}

async fn an_old_month_gets_a_partition_and_its_events(service: Service) {
    let id = stored(&service, json!({"occurred_at": "2001-05-31T23:59:59.999999Z"})).await;
    let next = stored(&service, json!({"occurred_at": "2001-06-01T00:00:00Z"})).await;
    let table = async |id: &str| {
        let sql = format!("SELECT tableoid::regclass::text FROM audit_events WHERE event_id = '{id}'");
        service.sql(&sql).await.unwrap()
    };
    assert_eq!(table(&id).await, "audit_events_default");
    let made = service.sql("SELECT ensure_audit_partition('2001-05-10')").await.unwrap();
    assert_eq!(made, "audit_events_2001_05");
    assert_eq!((table(&id).await, table(&next).await), (made, "audit_events_default".to_owned()));
    service.get(&format!("{EVENTS}/{id}")).await.is(200);
}

async fn a_partition_is_made_once_however_many_ask(service: Service) {
    let ask = || service.sql("SELECT ensure_audit_partition('2002-02-02')");
    let made = futures::future::join_all((0..6).map(|_| ask())).await;
    assert!(
        made.iter().all(|name| name.as_ref().is_ok_and(|name| name == "audit_events_2002_02")),
        "{made:?}"
    );
}
