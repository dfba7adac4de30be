//! What the service answered.

use reqwest::RequestBuilder;
use serde_json::Value;

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub retry_after: Option<String>,
    pub text: String,
}

impl Answer {
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let header = |name: &str| Some(response.headers().get(name)?.to_str().unwrap().to_owned());
        let (content_type, retry_after) = (header("content-type").unwrap_or_default(), header("retry-after"));
        let status = response.status().as_u16();
        Self { status, content_type, retry_after, text: response.text().await.unwrap() }
    }

    /// Fails unless it has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The events of a listing or batch.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        self.json()["events"].as_array().unwrap().clone()
    }

    /// Fails unless it is a problem document with exactly these invalid fields,
    /// each as `field reason`.
    #[track_caller]
    pub fn refuses(self, expected: &[&str]) {
        let answer = self.is(400);
        assert_eq!(answer.content_type, "application/problem+json");
        let document = answer.json();
        assert_eq!([&document["title"], &document["status"]], [&Value::from("Bad Request"), &400.into()]);
        let told = |error: &Value| {
            format!("{} {}", error["field"].as_str().unwrap(), error["reason"].as_str().unwrap())
        };
        let found: Vec<String> = document["errors"].as_array().unwrap().iter().map(told).collect();
        assert_eq!(found, expected);
    }
}
