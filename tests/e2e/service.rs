//! The service and its databases, as the cases use them.

use std::time::Duration;

use jiff::Timestamp;
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::answer::Answer;

/// Where events are written and listed.
pub const EVENTS: &str = "/api/v1/audit/events";

/// The stream in which events wait for PostgreSQL.
pub const QUEUE: &str = "datastorage:dlq";

/// Where all is. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    http: reqwest::Client,
    url: String,
    database_url: String,
    redis_url: String,
}

impl Service {
    /// Fails with the name of the variable that is not there.
    pub fn from_environment() -> Result<Self, String> {
        let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
        let url = variable("URL")?;
        let http = recipe::targets::http::client(&url).map_err(|error| error.to_string())?;
        Ok(Self { http, url, database_url: variable("DATABASE_URL")?, redis_url: variable("REDIS_URL")? })
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.http.get(format!("{}{path}", self.url))).await
    }

    /// The listing with these parameters.
    pub async fn list(&self, parameters: &[(&str, &str)]) -> Answer {
        let url = reqwest::Url::parse_with_params(&format!("{}{EVENTS}", self.url), parameters);
        Answer::of(self.http.get(url.unwrap())).await
    }

    /// An event, or a batch of them.
    pub async fn post(&self, body: &Value) -> Answer {
        let path = if body.is_array() { "/api/v1/audit/events/batch" } else { EVENTS };
        self.send("POST", path, body.to_string()).await
    }

    /// Any request with a body.
    pub async fn send(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.http.request(method, format!("{}{path}", self.url));
        Answer::of(request.header("content-type", "application/json").body(body)).await
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.is(200).text;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("datastorage_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// A connection to PostgreSQL.
    pub async fn database(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.database_url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// The first value of the first row, as text.
    pub async fn sql(&self, text: &str) -> Result<String, tokio_postgres::Error> {
        let messages = self.database().await.simple_query(text).await?;
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        Ok(row.unwrap_or_default())
    }

    pub async fn redis(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.redis_url.as_str()).unwrap();
        // Cases that pause Redis wait for it as long as it takes.
        let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }
}

/// A valid event about a resource that no other case uses.
pub fn event() -> Value {
    json!({
        "event_type": "order.paid", "actor": "e2e", "resource_type": "order",
        "resource_id": Uuid::now_v7(), "outcome": "success", "event_data": {"amount": 12.5},
    })
}

/// `event` with other fields.
pub fn with(mut event: Value, fields: Value) -> Value {
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    event
}

/// A time before now.
pub fn ago(seconds: u64) -> String {
    (Timestamp::now() - Duration::from_secs(seconds)).to_string()
}

/// Asks until `is` holds; for what the service does by itself.
pub async fn eventually(what: &str, is: impl AsyncFn() -> bool) {
    for _ in 0..1000 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("in vain: {what}");
}
