//! HTTP requests.

use futures::FutureExt;
use rhai::{Dynamic, Map};

use super::Done;
use crate::run::duration::show;
use crate::run::{Failure, Kind, clock};
use crate::script::json::{from_json, to_json};
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};
use crate::targets::http::{client, client_that_stays, root};

pub(super) const TABLE: &[Primitive] = &[Primitive {
    name: "http",
    family: Family::Host,
    reach: Reach::Network,
    params: &[Param::new("url", Type::String), Param::options()],
    options: &[
        Opt::with_default(
            "method",
            Type::Choice(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
            "GET",
            "the method",
        ),
        Opt::new("headers", Type::StringMap, "request headers"),
        Opt::new("body", Type::String, "a text body"),
        Opt::new("json", Type::Any, "a body sent as JSON"),
        Opt::new("expect", Type::Count, "fail unless the response has this status"),
        Opt::with_default("timeout", Type::Duration, "30s", "how long the response may take"),
    ],
    returns: "map",
    doc: "Sends an HTTP request and returns `status`, `headers`, `body`, and `json` where the body is JSON.\n\n\
          Any status is a response, not an error, unless `expect` names another. The machine's own certificates \
          are trusted.",
    example: r#"let site = deploy_service(create_cluster("demo"), "site", #{
    command: ["python3", "-m", "http.server", "--bind", "$(HOST)", "$(PORT)"], port: 8000,
});
wait_ready(site);
print(http(site.url, #{ method: "HEAD", expect: 200 }).headers["content-type"]);"#,
    run: Run::Step(|call, args| http(call, args).boxed()),
}];

async fn http(call: Call, args: Arguments) -> Done {
    let (url, method) = (args.text("url"), args.text("method"));
    let secrets = call.host().events.secrets();
    secrets.add_password_of(&url);
    let environment = &call.host().environment;
    environment.reaches(&url)?;
    let failed = |error: reqwest::Error| {
        let kind = if error.is_builder() { Kind::Usage } else { Kind::Unreachable };
        Failure::new(kind, format!("{method} {url} failed: {}", root(&error)))
    };
    let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap_or_default();
    let client = if environment.is_untrusted() { client_that_stays() } else { client(&url) };
    let mut request = client.map_err(failed)?.request(method.clone(), &url);
    for (name, value) in args.string_map("headers") {
        secrets.add_header(&name, &value);
        request = request.header(name, value);
    }
    if let Some(json) = args.get("json") {
        request = request.header("content-type", "application/json").body(to_json(&json).to_string());
    } else if let Some(body) = args.string("body") {
        request = request.body(body);
    }
    let limit = args.duration("timeout").unwrap_or_default();
    let answered = async {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok((status, headers, response.text().await?))
    };
    let answered = clock::timeout(limit, answered).await.map_err(|_| {
        Failure::new(Kind::Timeout, format!("{method} {url} was not answered within {}", show(limit)))
            .hint("the option `timeout` gives it more time")
    })?;
    let (status, headers, body) = answered.map_err(failed)?;
    let headers: Map = headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().into(), String::from_utf8_lossy(value.as_bytes()).into_owned().into())
        })
        .collect();
    if let Some(expected) = args.count("expect").filter(|expected| *expected != usize::from(status.as_u16()))
    {
        let what = format!("{method} {url} answered {status} where {expected} was expected");
        return Err(Failure::new(Kind::Unreachable, what)
            .evidence(body.lines().take(10).map(str::to_owned).collect()));
    }
    let json = serde_json::from_str(&body).map_or(Dynamic::UNIT, |json| from_json(&json));
    Ok(Map::from([
        ("status".into(), i64::from(status.as_u16()).into()),
        ("headers".into(), headers.into()),
        ("body".into(), body.into()),
        ("json".into(), json),
    ])
    .into())
}
