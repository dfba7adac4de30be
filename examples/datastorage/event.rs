//! Audit events and the checks that they pass on their way in.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::problem::InvalidField;

/// The most events in one batch.
pub const MAX_BATCH: usize = 1000;

/// How far a client's clock may be ahead of ours.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Something that happened, valid and complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the JSON interface and of the columns")]
pub struct Event {
    /// Identity: the client's, for idempotent writes, or a new one.
    pub event_id: Uuid,
    /// When it happened, in whole microseconds, which is what PostgreSQL keeps.
    pub occurred_at: Timestamp,
    /// What happened, such as `workflow.started`.
    pub event_type: String,
    /// Who did it.
    pub actor: String,
    /// Kind of the thing it was done to.
    pub resource_type: String,
    /// Name of the thing it was done to.
    pub resource_id: String,
    /// How it went.
    pub outcome: Outcome,
    /// Ties together the events of one operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Anything else.
    pub event_data: Map<String, Value>,
}

/// How the thing that happened went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It worked.
    Success,
    /// It did not.
    Failure,
    /// It is not over.
    Pending,
}

/// An event as PostgreSQL has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredEvent {
    /// The event itself.
    #[serde(flatten)]
    pub event: Event,
    /// When PostgreSQL stored it.
    pub recorded_at: Timestamp,
}

impl Event {
    /// Checks one event of a client; finds everything that is wrong, not the first thing.
    pub fn parse(value: Value, now: Timestamp) -> Result<Self, Vec<InvalidField>> {
        let Value::Object(values) = value else {
            return Err(vec![InvalidField::new("", "must be an object")]);
        };
        let mut fields = Fields { values, errors: Vec::new() };
        let event_id = fields.optional("event_id", uuid);
        let occurred_at = fields.optional("occurred_at", |value| instant(value, now));
        let event_type = fields.required("event_type", |value| text(value, 100));
        let actor = fields.required("actor", |value| text(value, 255));
        let resource_type = fields.required("resource_type", |value| text(value, 100));
        let resource_id = fields.required("resource_id", |value| text(value, 255));
        let outcome = fields.required("outcome", outcome);
        let correlation_id = fields.optional("correlation_id", |value| text(value, 255));
        let event_data = fields.required("event_data", object);

        let errors = fields.finish();
        match (event_type, actor, resource_type, resource_id, outcome, event_data) {
            (
                Some(event_type),
                Some(actor),
                Some(resource_type),
                Some(resource_id),
                Some(outcome),
                Some(event_data),
            ) if errors.is_empty() => Ok(Self {
                event_id: event_id.unwrap_or_else(Uuid::now_v7),
                occurred_at: occurred_at.unwrap_or_else(|| whole_micros(now)),
                event_type,
                actor,
                resource_type,
                resource_id,
                outcome,
                correlation_id,
                event_data,
            }),
            _ => Err(errors),
        }
    }

    /// Checks an array of events; errors name their place, as in `[3].actor`.
    pub fn parse_batch(value: Value, now: Timestamp) -> Result<Vec<Self>, Vec<InvalidField>> {
        let whole = |reason: String| Err(vec![InvalidField::new("", reason)]);
        let Value::Array(values) = value else {
            return whole("must be an array of events".to_owned());
        };
        if values.is_empty() || values.len() > MAX_BATCH {
            return whole(format!("must hold 1 to {MAX_BATCH} events, not {}", values.len()));
        }

        let mut events = Vec::with_capacity(values.len());
        let mut errors = Vec::new();
        let mut ids = HashSet::new();
        for (index, value) in values.into_iter().enumerate() {
            match Self::parse(value, now) {
                Ok(event) if !ids.insert(event.event_id) => {
                    errors.push(InvalidField::new(
                        format!("[{index}].event_id"),
                        "appears twice in this batch",
                    ));
                }
                Ok(event) => events.push(event),
                Err(wrong) => errors.extend(wrong.into_iter().map(|InvalidField { field, reason }| {
                    let dot = if field.is_empty() { "" } else { "." };
                    InvalidField { field: format!("[{index}]{dot}{field}"), reason }
                })),
            }
        }
        if errors.is_empty() { Ok(events) } else { Err(errors) }
    }
}

/// The fields of an object, taken out one by one.
struct Fields {
    values: Map<String, Value>,
    errors: Vec<InvalidField>,
}

impl Fields {
    fn optional<T>(&mut self, name: &str, check: impl FnOnce(Value) -> Result<T, String>) -> Option<T> {
        let value = self.values.remove(name).filter(|value| !value.is_null())?;
        check(value).map_err(|reason| self.errors.push(InvalidField::new(name, reason))).ok()
    }

    fn required<T>(&mut self, name: &str, check: impl FnOnce(Value) -> Result<T, String>) -> Option<T> {
        if self.values.get(name).is_none_or(Value::is_null) {
            self.values.remove(name);
            self.errors.push(InvalidField::new(name, "is required"));
        }
        self.optional(name, check)
    }

    /// A field that nobody asked for is an error: a misspelt optional field would be lost in silence.
    fn finish(self) -> Vec<InvalidField> {
        let unknown =
            self.values.into_iter().map(|(name, _)| InvalidField::new(name, "is not a field of an event"));
        self.errors.into_iter().chain(unknown).collect()
    }
}

fn text(value: Value, longest: usize) -> Result<String, String> {
    match value {
        Value::String(text) if text.is_empty() => Err("must not be empty".to_owned()),
        Value::String(text) if text.chars().any(char::is_control) => {
            Err("must not hold control characters".to_owned())
        }
        Value::String(text) if text.chars().count() > longest => {
            Err(format!("must have at most {longest} characters"))
        }
        Value::String(text) => Ok(text),
        _ => Err("must be a string".to_owned()),
    }
}

fn outcome(value: Value) -> Result<Outcome, String> {
    serde_json::from_value(value).map_err(|_| "must be success, failure or pending".to_owned())
}

fn object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) if map.iter().any(|(key, value)| holds_nul(key, value)) => {
            Err("must not hold the character U+0000".to_owned())
        }
        Value::Object(map) => Ok(map),
        _ => Err("must be an object".to_owned()),
    }
}

/// PostgreSQL cannot keep U+0000 in `jsonb`.
fn holds_nul(key: &str, value: &Value) -> bool {
    let within = match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(|item| holds_nul("", item)),
        Value::Object(map) => map.iter().any(|(key, value)| holds_nul(key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    };
    within || key.contains('\0')
}

fn uuid(value: Value) -> Result<Uuid, String> {
    serde_json::from_value(value).map_err(|_| "must be a UUID".to_owned())
}

fn instant(value: Value, now: Timestamp) -> Result<Timestamp, String> {
    let instant = serde_json::from_value(value)
        .map(whole_micros)
        .map_err(|_| "must be an RFC 3339 time, such as 2026-01-31T12:00:00Z".to_owned())?;
    if instant < Timestamp::UNIX_EPOCH {
        return Err("must not be before 1970".to_owned());
    }
    if instant.duration_since(now) > CLOCK_SKEW {
        return Err("must not be in the future".to_owned());
    }
    Ok(instant)
}

fn whole_micros(instant: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-31T12:00:00.1234567Z".parse().unwrap()
    }

    fn valid() -> Value {
        json!({
            "event_type": "workflow.started", "actor": "alice", "resource_type": "pod", "resource_id": "web-1",
            "outcome": "success", "event_data": {"attempt": 1},
        })
    }

    fn listed(errors: Vec<InvalidField>) -> String {
        errors.into_iter().map(|error| format!("{} {}\n", error.field, error.reason)).collect()
    }

    #[test]
    fn fills_in_identity_and_time() {
        let event = Event::parse(valid(), now()).unwrap();
        assert_eq!(event.event_id.get_version_num(), 7);
        assert_eq!(event.occurred_at.to_string(), "2026-01-31T12:00:00.123456Z");
    }

    #[test]
    fn keeps_what_the_client_says() {
        let mut value = valid();
        value["event_id"] = json!("0190b5a0-0000-7000-8000-000000000001");
        value["occurred_at"] = json!("2026-01-31T12:30:00+02:00");
        value["correlation_id"] = json!("c-1");
        let event = Event::parse(value.clone(), now()).unwrap();
        value["occurred_at"] = json!("2026-01-31T10:30:00Z");
        assert_eq!(serde_json::to_value(event).unwrap(), value);
    }

    #[test]
    fn lists_every_invalid_field() {
        let errors = Event::parse(
            json!({
                "event_id": 7, "occurred_at": "2026-01-31T13:00:00Z", "event_type": "", "actor": "a".repeat(256),
                "resource_type": "a\nb", "outcome": "fine", "event_data": {"deep": [{"\u{0}": 1}]},
                "correlation_id": ["c"], "corelation_id": "c",
            }),
            now(),
        );
        assert_snapshot!(listed(errors.unwrap_err()), @"
        event_id must be a UUID
        occurred_at must not be in the future
        event_type must not be empty
        actor must have at most 255 characters
        resource_type must not hold control characters
        resource_id is required
        outcome must be success, failure or pending
        correlation_id must be a string
        event_data must not hold the character U+0000
        corelation_id is not a field of an event
        ");
    }

    #[test]
    fn a_batch_names_the_place_of_each_error() {
        let mut twice = valid();
        twice["event_id"] = json!("0190b5a0-0000-7000-8000-000000000001");
        let mut nobody = valid();
        nobody["actor"] = Value::Null;
        let errors = Event::parse_batch(json!([twice, valid(), twice, nobody, 5]), now());
        assert_snapshot!(listed(errors.unwrap_err()), @"
        [2].event_id appears twice in this batch
        [3].actor is required
        [4] must be an object
        ");
    }

    #[test]
    fn a_batch_has_a_size() {
        for size in [0, MAX_BATCH + 1] {
            assert!(Event::parse_batch(Value::Array(vec![valid(); size]), now()).is_err());
        }
        assert_eq!(
            Event::parse_batch(Value::Array(vec![valid(); MAX_BATCH]), now()).unwrap().len(),
            MAX_BATCH
        );
    }
}
