//! What is asked of running pods: their logs, and commands to run in them.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, ListParams, LogParams};
use kube::{Api, ResourceExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use super::space::{NAME_LABEL, Space, api_failure};
use crate::run::event::Stream;
use crate::run::{Failure, Kind, Step};
use crate::targets::Executed;

/// The labels that select the pods of `name`.
pub(super) fn selector(name: &str) -> String {
    format!("{NAME_LABEL}={name}")
}

/// The pod of `name` that does the work: one that runs, the newest of them.
async fn pod(space: &Space, name: &str) -> Result<(Api<Pod>, Pod), Failure> {
    let api: Api<Pod> = Api::namespaced(space.client.clone(), &space.namespace);
    let pods = api.list(&ListParams::default().labels(&selector(name))).await;
    let pods = pods.map_err(|error| api_failure(&format!("the pods of `{name}`"), error))?;
    let runs = |pod: &Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let newest = pods.items.into_iter().max_by_key(|pod| (runs(pod), pod.creation_timestamp()));
    newest.map(|pod| (api, pod)).ok_or_else(|| {
        Failure::new(Kind::NotFound, format!("`{name}` has no pod"))
            .hint("wait_ready waits until it has, and says why it has not")
    })
}

/// The last `lines` lines of its log; those of its predecessor if it has
/// crashed and not written anything since.
pub(super) async fn logs(space: &Space, name: &str, lines: usize) -> Result<String, Failure> {
    let (api, pod) = pod(space, name).await?;
    let container = first_container(&pod);
    let params = LogParams {
        container: container.clone(),
        tail_lines: Some(i64::try_from(lines).unwrap_or(i64::MAX)),
        ..LogParams::default()
    };
    let text = api.logs(&pod.name_any(), &params).await;
    let text = text.map_err(|error| api_failure(&format!("the log of `{name}`"), error))?;
    if !text.is_empty() {
        return Ok(text.trim_end().to_owned());
    }
    let before = api.logs(&pod.name_any(), &LogParams { previous: true, ..params }).await;
    Ok(before.unwrap_or_default().trim_end().to_owned())
}

fn first_container(pod: &Pod) -> Option<String> {
    pod.spec.as_ref().and_then(|spec| spec.containers.first()).map(|container| container.name.clone())
}

/// Runs a command in the first container of its pod.
pub(super) async fn exec(
    step: &Step,
    space: &Space,
    name: &str,
    command: &[String],
) -> Result<Executed, Failure> {
    let (api, pod) = pod(space, name).await?;
    let failed = |error| api_failure(&format!("a command in `{name}`"), error);
    let params = AttachParams { container: first_container(&pod), ..AttachParams::default() };
    let mut process = api.exec(&pod.name_any(), command, &params).await.map_err(failed)?;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let (stdout, stderr, status) =
        tokio::join!(lines(step, Stream::Stdout, stdout), lines(step, Stream::Stderr, stderr), async {
            if let Some(status) = status { status.await } else { None }
        });
    Ok(Executed { code: exit_code(&command[0], status)?, stdout, stderr })
}

/// Hands on each line, and returns all.
async fn lines(step: &Step, stream: Stream, from: Option<impl AsyncRead + Unpin>) -> String {
    let mut text = String::new();
    let Some(from) = from else { return text };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    // Until its end or an error; how the command ended says the rest.
    while from.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let said = String::from_utf8_lossy(&line).into_owned();
        step.output(stream, said.trim_end_matches(['\r', '\n']));
        text.push_str(&said);
        line.clear();
    }
    text
}

/// The exit code, as the API tells it at the end of the stream.
fn exit_code(program: &str, status: Option<Status>) -> Result<i32, Failure> {
    let Some(status) = status else {
        return Err(Failure::new(Kind::Unreachable, "the connection broke before the command had ended"));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    match code.and_then(|cause| cause.message.as_ref()?.parse().ok()) {
        Some(code) => Ok(code),
        None => Err(Failure::new(Kind::NotFound, format!("`{program}` cannot be executed"))
            .cause(std::io::Error::other(status.message.unwrap_or_default()))),
    }
}
