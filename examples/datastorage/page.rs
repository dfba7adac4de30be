//! One page of the listing: what is asked for, and the SQL that answers it.
//!
//! Pages follow one another by key, not by offset: a cursor is the sort key of
//! the last event seen, so a page costs the same however deep it is, and events
//! that arrive meanwhile neither repeat nor hide others.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

use crate::event::{Event, Outcome};
use crate::problem::InvalidField;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// What a client asks for, newest first.
#[derive(Debug)]
pub struct Page {
    /// The most events to return, 1 to 200.
    pub limit: usize,
    conditions: Vec<(String, String)>,
    after: Option<Cursor>,
}

/// A place in the listing. Opaque to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    occurred_at: Timestamp,
    event_id: Uuid,
}

impl Page {
    /// Reads query parameters; finds everything that is wrong. `since` is
    /// inclusive, `until` exclusive, `event_data` a JSON object that the
    /// event's must contain.
    pub fn parse(parameters: &[(String, String)]) -> Result<Self, Vec<InvalidField>> {
        let mut page = Self { limit: DEFAULT_LIMIT, conditions: Vec::new(), after: None };
        let mut errors = Vec::new();
        for (index, (name, value)) in parameters.iter().enumerate() {
            let repeated = parameters[..index].iter().any(|(earlier, _)| earlier == name);
            let result = if repeated { Err("is given twice") } else { page.set(name, value) };
            errors.extend(result.err().map(|reason| InvalidField::new(name, reason)));
        }
        if errors.is_empty() { Ok(page) } else { Err(errors) }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let instant = || value.parse::<Timestamp>().map_err(|_| "must be an RFC 3339 time");
        match name {
            "limit" => {
                self.limit =
                    value.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n)).ok_or("must be 1 to 200")?;
            }
            "cursor" => self.after = Some(value.parse()?),
            "since" => self.restrict("occurred_at >= {}::timestamptz", instant()?.to_string()),
            "until" => self.restrict("occurred_at < {}::timestamptz", instant()?.to_string()),
            "outcome" => {
                let outcome = serde_json::from_value::<Outcome>(value.into());
                outcome.map_err(|_| "must be success, failure or pending")?;
                self.restrict("outcome = {}::audit_outcome", value);
            }
            "event_data" => {
                let data = serde_json::from_str::<serde_json::Map<_, _>>(value).ok();
                let data = data.filter(|_| !value.contains("\\u0000")).ok_or("must be a JSON object")?;
                self.restrict("event_data @> {}::jsonb", serde_json::Value::Object(data).to_string());
            }
            "event_type" | "actor" | "resource_type" | "resource_id" | "correlation_id" => {
                if value.is_empty() || value.contains('\0') {
                    return Err("must not be empty or hold U+0000");
                }
                self.restrict(format!("{name} = {{}}"), value);
            }
            _ => return Err("is not a parameter of this listing"),
        }
        Ok(())
    }

    /// `condition` is SQL with `{}` where the parameter goes.
    fn restrict(&mut self, condition: impl Into<String>, value: impl Into<String>) {
        self.conditions.push((condition.into(), value.into()));
    }

    /// The statement and its parameters, all of them `text`. It returns one
    /// event more than the limit, if there is one: then there is a next page.
    pub fn query(&self) -> (String, Vec<String>) {
        let mut parameters = Vec::new();
        let mut parameter = |value: String| {
            parameters.push(value);
            format!("${}", parameters.len())
        };
        let mut conditions: Vec<String> = (self.conditions.iter())
            .map(|(condition, value)| condition.replace("{}", &parameter(value.clone())))
            .collect();
        if let Some(Cursor { occurred_at, event_id }) = self.after {
            let (time, id) = (parameter(occurred_at.to_string()), parameter(event_id.to_string()));
            // The planner leaves out partitions by the plain comparison only.
            conditions.push(format!("occurred_at <= {time}::timestamptz"));
            conditions.push(format!("(occurred_at, event_id) < ({time}::timestamptz, {id}::uuid)"));
        }
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let limit = self.limit + 1;
        let sql = format!(
            "SELECT row_to_json(e)::text FROM audit_events e{filter} \
             ORDER BY occurred_at DESC, event_id DESC LIMIT {limit}"
        );
        (sql, parameters)
    }
}

impl Cursor {
    /// The place right after `event`.
    pub fn after(event: &Event) -> Self {
        Self { occurred_at: event.occurred_at, event_id: event.event_id }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.occurred_at.as_microsecond(), self.event_id.simple())
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (micros, id) = text.rsplit_once('-')?;
            let occurred_at = Timestamp::from_microsecond(micros.parse().ok()?).ok()?;
            Some(Self { occurred_at, event_id: id.parse().ok()? })
        };
        parse().ok_or("is not a cursor of this listing")
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const ID: &str = "0190b5a0-0000-7000-8000-000000000001";

    fn parse(parameters: &[(&str, &str)]) -> Result<Page, Vec<InvalidField>> {
        let parameters: Vec<_> = parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Page::parse(&parameters)
    }

    #[test]
    fn without_parameters_it_is_the_newest_events() {
        let (sql, parameters) = parse(&[]).unwrap().query();
        assert_snapshot!(sql, @"SELECT row_to_json(e)::text FROM audit_events e ORDER BY occurred_at DESC, event_id DESC LIMIT 51");
        assert!(parameters.is_empty());
    }

    #[test]
    fn filters_and_cursor_become_parameters_never_sql() {
        let cursor =
            Cursor { occurred_at: "2026-01-31T12:00:00.5Z".parse().unwrap(), event_id: ID.parse().unwrap() };
        let page = parse(&[
            ("actor", "x' OR 1=1 --"),
            ("outcome", "failure"),
            ("since", "2026-01-01T00:00:00Z"),
            ("event_data", r#"{"ip": "::1"}"#),
            ("limit", "2"),
            ("cursor", &cursor.to_string()),
        ]);
        let (sql, parameters) = page.unwrap().query();
        assert_snapshot!(sql, @"SELECT row_to_json(e)::text FROM audit_events e WHERE actor = $1 AND outcome = $2::audit_outcome AND occurred_at >= $3::timestamptz AND event_data @> $4::jsonb AND occurred_at <= $5::timestamptz AND (occurred_at, event_id) < ($5::timestamptz, $6::uuid) ORDER BY occurred_at DESC, event_id DESC LIMIT 3");
        assert_eq!(
            parameters,
            [
                "x' OR 1=1 --",
                "failure",
                "2026-01-01T00:00:00Z",
                r#"{"ip":"::1"}"#,
                "2026-01-31T12:00:00.5Z",
                ID
            ]
        );
    }

    #[test]
    fn lists_every_wrong_parameter() {
        let errors = parse(&[
            ("limit", "201"),
            ("cursor", "12"),
            ("since", "yesterday"),
            ("outcome", "fine"),
            ("event_data", "[]"),
            ("actor", ""),
            ("page", "2"),
            ("until", "2026-01-01T00:00:00Z"),
            ("until", "2026-01-01T00:00:00Z"),
        ]);
        let listed: String = errors
            .unwrap_err()
            .into_iter()
            .map(|error| format!("{} {}\n", error.field, error.reason))
            .collect();
        assert_snapshot!(listed, @"
        limit must be 1 to 200
        cursor is not a cursor of this listing
        since must be an RFC 3339 time
        outcome must be success, failure or pending
        event_data must be a JSON object
        actor must not be empty or hold U+0000
        page is not a parameter of this listing
        until is given twice
        ");
    }

    #[test]
    fn cursors_survive_the_trip() {
        for time in ["2026-01-31T12:00:00.123456Z", "1969-12-31T23:59:59.999999Z"] {
            let cursor = Cursor { occurred_at: time.parse().unwrap(), event_id: ID.parse().unwrap() };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }
}
