//! The listing: filters, and pages that neither repeat nor hide an event.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::runner::cases;
use crate::service::{Service, ago, event, with};

cases![
    filters_combine,
    outcomes_are_told_apart,
    since_is_in_and_until_is_out,
    event_data_is_searched_by_what_it_contains,
    pages_show_every_event_once,
    events_of_the_same_moment_are_not_lost_between_pages,
    what_arrives_meanwhile_does_not_move_the_pages,
    the_last_page_has_no_cursor,
    every_wrong_parameter_is_named,
    limits_have_limits,
    a_cursor_cannot_be_made_up,
];

/// Stores `count` events of an actor, a second apart, and gives the actor.
async fn actor_with(service: &Service, count: u64) -> String {
    let actor = Uuid::now_v7().to_string();
    let batch: Vec<Value> =
        (0..count).map(|n| with(event(), json!({"actor": actor, "occurred_at": ago(60 + n)}))).collect();
    service.post(&batch.into()).await.is(201);
    actor
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
}

/// Every page of `limit` events, from the newest.
async fn pages(service: &Service, actor: &str, limit: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut parameters = vec![("actor", actor), ("limit", limit)];
        parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let answer = service.list(&parameters).await.is(200);
        pages.push(ids(&answer.events()));
        cursor = answer.json()["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return pages;
        }
    }
}

async fn filters_combine(service: Service) {
    let (actor, resource) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
    let wanted =
        json!({"actor": actor, "resource_id": resource, "resource_type": "cart", "event_type": "cart.left"});
    let wanted = service.post(&with(event(), wanted)).await.is(201).json();
    service.post(&with(event(), json!({"actor": actor}))).await.is(201);
    service.post(&with(event(), json!({"resource_id": resource}))).await.is(201);
    let parameters = [
        ("actor", actor.as_str()),
        ("resource_id", &resource),
        ("resource_type", "cart"),
        ("event_type", "cart.left"),
    ];
    assert_eq!(service.list(&parameters).await.is(200).events(), [wanted]);
}

async fn outcomes_are_told_apart(service: Service) {
    let actor = Uuid::now_v7().to_string();
    for outcome in ["success", "failure", "pending"] {
        service.post(&with(event(), json!({"actor": actor, "outcome": outcome}))).await.is(201);
        let found = service.list(&[("actor", &actor), ("outcome", outcome)]).await.is(200).events();
        assert_eq!(found.len(), 1, "{outcome}");
        assert_eq!(found[0]["outcome"], outcome);
    }
}

async fn since_is_in_and_until_is_out(service: Service) {
    let actor = Uuid::now_v7().to_string();
    let times = ["2026-03-01T00:00:00Z", "2026-03-01T00:00:01Z", "2026-03-01T00:00:02Z"];
    for time in times {
        service.post(&with(event(), json!({"actor": actor, "occurred_at": time}))).await.is(201);
    }
    let found =
        service.list(&[("actor", &actor), ("since", times[0]), ("until", times[2])]).await.is(200).events();
    let found: Vec<_> = found.iter().map(|event| event["occurred_at"].as_str().unwrap()).collect();
    assert_eq!(found, [times[1], times[0]]);
}

async fn event_data_is_searched_by_what_it_contains(service: Service) {
    let mark = Uuid::now_v7();
    let data = json!({"mark": mark, "address": {"ip": "::1", "port": 80}});
    service.post(&with(event(), json!({"event_data": data}))).await.is(201);
    let count =
        async |data: Value| service.list(&[("event_data", &data.to_string())]).await.is(200).events().len();
    assert_eq!(count(json!({"mark": mark, "address": {"ip": "::1"}})).await, 1);
    assert_eq!(count(json!({"mark": mark, "address": {"ip": "::2"}})).await, 0);
}

async fn pages_show_every_event_once(service: Service) {
    let actor = actor_with(&service, 25).await;
    let pages = pages(&service, &actor, "10").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    let seen: BTreeSet<&String> = pages.iter().flatten().collect();
    assert_eq!(seen.len(), 25);
    let all = ids(&service.list(&[("actor", &actor), ("limit", "200")]).await.is(200).events());
    assert_eq!(pages.concat(), all, "in the order of the whole");
}

async fn events_of_the_same_moment_are_not_lost_between_pages(service: Service) {
    let actor = Uuid::now_v7().to_string();
    let same = json!({"actor": actor, "occurred_at": "2026-04-01T12:00:00Z"});
    let batch: Vec<Value> = (0..7).map(|_| with(event(), same.clone())).collect();
    service.post(&batch.into()).await.is(201);
    let pages = pages(&service, &actor, "2").await;
    assert_eq!(pages.concat().into_iter().collect::<BTreeSet<_>>().len(), 7);
}

async fn what_arrives_meanwhile_does_not_move_the_pages(service: Service) {
    let actor = actor_with(&service, 4).await;
    let before = ids(&service.list(&[("actor", &actor)]).await.is(200).events());
    let first = service.list(&[("actor", &actor), ("limit", "2")]).await.is(200);
    service.post(&with(event(), json!({"actor": actor}))).await.is(201);
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    let second = service.list(&[("actor", &actor), ("limit", "2"), ("cursor", &cursor)]).await.is(200);
    assert_eq!([ids(&first.events()), ids(&second.events())].concat(), before);
}

async fn the_last_page_has_no_cursor(service: Service) {
    let actor = actor_with(&service, 3).await;
    let answer = service.list(&[("actor", &actor), ("limit", "3")]).await.is(200);
    assert_eq!((answer.events().len(), &answer.json()["next_cursor"]), (3, &Value::Null));
    let nobody = service.list(&[("actor", &Uuid::now_v7().to_string())]).await.is(200);
    assert_eq!(nobody.json(), json!({"events": [], "next_cursor": null}));
}

async fn every_wrong_parameter_is_named(service: Service) {
    let parameters =
        [("since", "yesterday"), ("outcome", "fine"), ("event_data", "[]"), ("actor", ""), ("page", "2")];
    service.list(&parameters).await.refuses(&[
        "since must be an RFC 3339 time",
        "outcome must be success, failure or pending",
        "event_data must be a JSON object",
        "actor must not be empty or hold U+0000",
        "page is not a parameter of this listing",
    ]);
    service.list(&[("actor", "a"), ("actor", "b")]).await.refuses(&["actor is given twice"]);
}

async fn limits_have_limits(service: Service) {
    for limit in ["0", "201", "-1", "all"] {
        service.list(&[("limit", limit)]).await.refuses(&["limit must be 1 to 200"]);
    }
    service.list(&[("limit", "200")]).await.is(200);
}

async fn a_cursor_cannot_be_made_up(service: Service) {
    for cursor in ["", "12", "x-y", "1-0190b5a0"] {
        service.list(&[("cursor", cursor)]).await.refuses(&["cursor is not a cursor of this listing"]);
    }
}
