//! Error answers: RFC 7807 problem documents.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// One thing that is wrong with a request.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct InvalidField {
    /// Where: `actor`, `[3].actor` in a batch, a query parameter, or empty for the whole body.
    pub field: String,
    /// What is wrong, as in "{field} {reason}".
    pub reason: String,
}

impl InvalidField {
    /// `field` and `reason` as they are shown.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// An error answer.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<InvalidField>,
}

impl Problem {
    /// A problem told in one sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new() }
    }

    /// 400, with everything that is wrong.
    pub fn invalid(errors: Vec<InvalidField>) -> Self {
        let detail =
            format!("{} invalid {}", errors.len(), if errors.len() == 1 { "field" } else { "fields" });
        Self { status: StatusCode::BAD_REQUEST, detail, errors }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Document {
            r#type: &'static str,
            title: &'static str,
            status: u16,
            detail: String,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            errors: Vec<InvalidField>,
        }

        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
