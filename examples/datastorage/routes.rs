//! The HTTP interface.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, MatchedPath, Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::join;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::App;
use crate::event::{Event, StoredEvent};
use crate::intake::{Intake, IntakeError};
use crate::metrics;
use crate::page::{Cursor, Page};
use crate::problem::{InvalidField, Problem};
use crate::store::StoreError;

/// Large enough for a full batch of events of 8 KiB.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// All routes, counted by [`metrics`].
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/audit/events", get(list).post(create))
        .route("/api/v1/audit/events/batch", post(create_batch))
        .route("/api/v1/audit/events/{id}", get(find))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), count))
        .with_state(app)
}

/// Answer to a batch.
#[derive(Serialize)]
struct Batch {
    /// In the order of the request.
    events: Vec<StoredEvent>,
    /// How many were not there before.
    created: usize,
}

/// A page of the listing.
#[derive(Serialize)]
struct Listing {
    /// Newest first.
    events: Vec<StoredEvent>,
    /// Asks for the next page, if there is one.
    next_cursor: Option<String>,
}

async fn create(State(app): State<Arc<App>>, Body(body): Body) -> Result<Response, Problem> {
    let event = Event::parse(body, Timestamp::now()).map_err(Problem::invalid)?;
    let event_id = event.event_id;
    Ok(match app.take_in(&[event]).await? {
        Intake::Stored { events, created } => match events.first() {
            Some(event) => (status(created), Json(event)).into_response(),
            None => return Err(Problem::new(StatusCode::GONE, format!("event {event_id} was deleted"))),
        },
        Intake::Queued => queued(json!({"status": "queued", "event_id": event_id})),
    })
}

async fn create_batch(State(app): State<Arc<App>>, Body(body): Body) -> Result<Response, Problem> {
    let events = Event::parse_batch(body, Timestamp::now()).map_err(Problem::invalid)?;
    Ok(match app.take_in(&events).await? {
        Intake::Stored { events, created } => {
            (status(created), Json(Batch { events, created })).into_response()
        }
        Intake::Queued => {
            let ids: Vec<Uuid> = events.iter().map(|event| event.event_id).collect();
            queued(json!({"status": "queued", "event_ids": ids}))
        }
    })
}

/// 200 when a repeated request found everything in place.
fn status(created: usize) -> StatusCode {
    if created == 0 { StatusCode::OK } else { StatusCode::CREATED }
}

fn queued(body: Value) -> Response {
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

async fn list(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Listing>, Problem> {
    let page = Page::parse(&parameters).map_err(Problem::invalid)?;
    let mut events = app.store.list(&page).await?;
    let more = events.len() > page.limit;
    events.truncate(page.limit);
    let next_cursor = events.last().filter(|_| more).map(|last| Cursor::after(&last.event).to_string());
    Ok(Json(Listing { events, next_cursor }))
}

async fn find(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<StoredEvent>, Problem> {
    let id: Uuid =
        id.parse().map_err(|_| Problem::invalid(vec![InvalidField::new("id", "must be a UUID")]))?;
    let found = app.store.find([id]).await?.pop();
    found.map(Json).ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("no event has the id {id}")))
}

async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    let (postgres, redis) = join(app.store.check(), app.queue.check()).await;
    let ready = postgres.is_ok() && redis.is_ok();
    let postgres = postgres.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
    let redis = redis.map_or_else(|error| format!("Redis is unavailable: {error}"), |()| "ok".to_owned());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": ready, "postgres": postgres, "redis": redis})))
}

async fn show_metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let length = app.queue.len().await.ok();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render(length))
}

async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    // Clients can invent methods; counting each apart would never end.
    let method = match request.method() {
        known @ (&Method::GET | &Method::HEAD | &Method::POST) => known.to_string(),
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    app.metrics.answered(metrics::Request { method, route, status: response.status().as_u16() });
    response
}

/// A JSON body of any shape; what is wrong with it is told as a [`Problem`].
struct Body(Value);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        let value = serde_json::from_slice(&body);
        value
            .map(Self)
            .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("body is not JSON: {error}")))
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        let status = match error {
            IntakeError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            IntakeError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            StoreError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}
