//! Waiting until something is so.

use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::try_join_all;
use rhai::{Array, Dynamic, EvalAltResult, NativeCallContext};
use tokio_util::task::AbortOnDropHandle;

use super::services::{WORKLOAD, workload};
use super::{DONE, Done};
use crate::run::duration::show;
use crate::run::{Failure, Kind, clock};
use crate::script::call::one_line;
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};

const TIMEOUT: Opt =
    Opt::with_default("timeout", Type::Duration, "60s", "how long it may take; a duration such as \"90s\"");

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "wait_ready",
        family: Family::Waiting,
        reach: Reach::Run,
        params: &[Param::new("workload", Type::OneOf(&[WORKLOAD, Type::Array])), Param::options()],
        options: &[TIMEOUT],
        returns: "any",
        doc: "Waits until a service or server does its work, or all of an array, and returns the handle.\n\n\
              A service is ready when its `ready` path answers 200, without one when its port accepts connections. \
              It fails at once, with the last lines of the log, when the process has ended.",
        example: r#"let cluster = create_cluster("demo");
let site = deploy_service(cluster, "site", #{
    command: ["python3", "-m", "http.server", "--bind", "$(HOST)", "$(PORT)"], port: 8000, ready: "/",
});
wait_ready(site, #{ timeout: "10s" });"#,
        run: Run::Step(|call, args| wait_ready(call, args).boxed()),
    },
    Primitive {
        name: "wait_http",
        family: Family::Waiting,
        reach: Reach::Network,
        params: &[Param::new("url", Type::String), Param::options()],
        options: &[TIMEOUT, Opt::with_default("status", Type::Count, "200", "the status to wait for")],
        returns: "",
        doc: "Waits until a URL answers with a status.",
        example: r#"let site = deploy_service(create_cluster("demo"), "site", #{
    command: ["python3", "-m", "http.server", "--bind", "$(HOST)", "$(PORT)"], port: 8000,
});
wait_http(site.url + "/none", #{ status: 404 });"#,
        run: Run::Step(|call, args| wait_http(call, args).boxed()),
    },
    Primitive {
        name: "wait_for",
        family: Family::Waiting,
        reach: Reach::Run,
        params: &[Param::new("what", Type::String), Param::new("condition", Type::Closure), Param::options()],
        options: &[
            TIMEOUT,
            Opt::with_default("interval", Type::Duration, "250ms", "the longest pause between two looks"),
        ],
        returns: "",
        doc: "Waits until a closure returns `true`.\n\n\
              It looks at once, then with pauses that grow from 1 ms. A closure that fails counts as `false`; its \
              last error is told when time runs out.",
        example: r#"let redis = deploy_redis(create_cluster("demo"));
start("later", || redis_command(redis, ["SET", "done", "yes"]));
wait_for("the key", || redis_command(redis, ["GET", "done"]) == "yes");"#,
        run: Run::Control(wait_for),
    },
];

async fn wait_ready(call: Call, args: Arguments) -> Done {
    let timeout = args.duration("timeout").unwrap_or_default();
    let given = args.get("workload").unwrap_or_default();
    let handles = given.read_lock::<Array>().map_or_else(|| vec![given.clone()], |items| items.to_vec());
    let workloads: Option<Vec<_>> = handles.iter().map(workload).collect();
    let Some(workloads) = workloads else {
        let what = "`workload` must be an array of services and servers only";
        return Err(Failure::new(Kind::Usage, what));
    };
    try_join_all(workloads.iter().map(|workload| workload.ready(&call.step, timeout))).await?;
    Ok(given)
}

async fn wait_http(call: Call, args: Arguments) -> Done {
    let (url, timeout) = (args.text("url"), args.duration("timeout").unwrap_or_default());
    call.host().environment.reaches(&url)?;
    call.host().events.secrets().add_password_of(&url);
    let status = args.count("status").and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
    call.step.waiting(format!("GET {url} to answer {status}"));
    let mut last = "it has not answered anything yet".to_owned();
    let answered = async {
        let mut pause = Pauses::new(Duration::from_millis(250));
        loop {
            match crate::targets::http::probe(&url, status..=status).await {
                Ok(()) => return,
                Err(why) => last = why,
            }
            tokio::time::sleep(pause.next()).await;
        }
    };
    clock::timeout(timeout, answered).await.map_err(|_| {
        let what = format!("GET {url} did not answer {status} within {}", show(timeout));
        Failure::new(Kind::Timeout, what).cause(std::io::Error::other(last.clone()))
    })?;
    DONE
}

fn wait_for(
    context: &NativeCallContext,
    call: Call,
    args: &Arguments,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let (what, timeout) = (args.text("what"), args.duration("timeout").unwrap_or_default());
    let Some(condition) = args.closure("condition") else { return Ok(Dynamic::UNIT) };
    let mut pauses = Pauses::new(args.duration("interval").unwrap_or_default());
    call.repeating().run_as_step(|call| {
        let began = Instant::now();
        let over = AbortOnDropHandle::new(call.host().runtime.spawn(clock::sleep(timeout)));
        call.step.waiting(what.as_str());
        let mut last = None;
        loop {
            match call.call_closure(context, &condition, ()) {
                Ok(value) => match value.as_bool() {
                    Ok(true) => return Ok(Dynamic::UNIT),
                    Ok(false) => {}
                    Err(found) => {
                        let what = format!("the closure must return true or false, but returned {found}");
                        return Err(call.raise(Failure::new(Kind::Usage, what)));
                    }
                },
                Err(error) if call.token().is_cancelled() => return Err(error),
                Err(error) => last = Some(one_line(&error)),
            }
            if over.is_finished() {
                let message = format!("waited {} for {what} in vain", show(timeout));
                let mut failure = Failure::new(Kind::Timeout, message);
                if let Some(last) = last {
                    failure = failure.cause(std::io::Error::other(last));
                }
                return Err(call.raise(failure));
            }
            // Past the time while recipe was stopped, which does not count.
            let left = timeout.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
            call.pause(pauses.next().min(left))?;
        }
    })
}

/// Pauses that grow from 1 ms by half, up to a limit.
struct Pauses {
    next: Duration,
    most: Duration,
}

impl Pauses {
    fn new(most: Duration) -> Self {
        Self { next: Duration::from_millis(1), most }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.min(self.most);
        self.next = pause.mul_f32(1.5);
        pause
    }
}
