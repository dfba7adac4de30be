//! The services under test.

use futures::FutureExt;
use rhai::{Dynamic, Map};

use super::data::{deployable_name, manifest, template};
use super::{DONE, Done};
use crate::run::{Failure, Kind};
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};
use crate::targets::{Cluster, Image, Postgres, Redis, Service, ServiceRequest, Workload};

/// What can be waited for and has a log.
pub(super) const WORKLOAD: Type =
    Type::OneOf(&[Type::Handle("Service"), Type::Handle("Postgres"), Type::Handle("Redis")]);

/// What a service runs.
const IMAGE: Type = Type::OneOf(&[Type::Handle("Image"), Type::String]);

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "deploy_service",
        family: Family::Services,
        reach: Reach::Programs,
        params: &[
            Param::new("cluster", Type::Handle("Cluster")),
            Param::new("name", Type::String),
            Param::options(),
        ],
        options: &[
            Opt::new("image", IMAGE, "what it runs: made by build_image, or the name of one in a registry"),
            Opt::new("command", Type::Strings, "the command line instead of the image's own"),
            Opt::new("args", Type::Strings, "arguments after the image's own command"),
            Opt::new("env", Type::StringMap, "environment variables; $(NAME) refers to another one"),
            Opt::new("files", Type::StringMap, "files by name and contents, found in the folder $(FILES)"),
            Opt::new("port", Type::Port, "the port it listens on in a container; $(PORT) is the one to use"),
            Opt::new("ports", Type::PortMap, "further ports by name; $(PORT_NAME) is the one to use"),
            Opt::new("host_port", Type::Port, "the main port on this machine; any free one when left out"),
            Opt::new(
                "ready",
                Type::String,
                "the path that answers 200 once it is ready, such as \"/readyz\"",
            ),
            Opt::with_default("replicas", Type::Count, "1", "how many of it"),
            Opt::new(
                "manifest",
                Type::String,
                "a manifest to apply instead of recipe's own, where there is Kubernetes",
            ),
            Opt::new("vars", Type::Map, "variables for that manifest"),
        ],
        returns: "Service",
        doc: "Starts a service and returns at once; `wait_ready` waits for it.\n\n\
              The service is told by the variables `PORT` and `HOST` where to listen. On the local target it is a \
              process with a port chosen by recipe. The handle has `url`, `internal_url`, `host`, `port` and `urls`, \
              a map of its further ports.",
        example: r#"let cluster = create_cluster("demo");
let service = deploy_service(cluster, "files", #{
    command: ["python3", "-m", "http.server", "--bind", "$(HOST)", "$(PORT)"],
    port: 8000, ready: "/",
});
wait_ready(service);
print(http(service.url).status);"#,
        run: Run::Step(|call, args| deploy_service(call, args).boxed()),
    },
    Primitive {
        name: "apply_manifest",
        family: Family::Services,
        reach: Reach::Workspace,
        params: &[
            Param::new("cluster", Type::Handle("Cluster")),
            Param::new("path", Type::String),
            Param::options(),
        ],
        options: &[Opt::new("vars", Type::Map, "variables for the manifest")],
        returns: "",
        doc: "Applies a Kubernetes manifest.\n\n\
              The file holds YAML documents with Jinja expressions such as `{{ replicas }}`; a variable that is not \
              given is an error. `namespace`, `run` and `cluster` are given by recipe. Objects are applied in the \
              order they need: namespaces, custom resource definitions, accounts, configuration, services, workloads. \
              Only for targets with Kubernetes; the local target refuses.",
        example: r#"try { apply_manifest(create_cluster("demo"), "manifests/extra.yaml"); }
catch (e) { print(e.kind); }"#,
        run: Run::Step(|call, args| apply_manifest(call, args).boxed()),
    },
    Primitive {
        name: "exec",
        family: Family::Services,
        reach: Reach::Programs,
        params: &[
            Param::new("service", Type::Handle("Service")),
            Param::new("command", Type::Strings),
            Param::options(),
        ],
        options: &[Opt::with_default("check", Type::Bool, "true", "fail when the exit code is not 0")],
        returns: "map",
        doc: "Runs a command where a service runs, with its environment, and returns `code`, `stdout` and `stderr`.",
        example: r#"let cluster = create_cluster("demo");
let service = deploy_service(cluster, "idle", #{ command: ["sleep", "60"], env: #{ COLOUR: "green" } });
print(exec(service, ["printenv", "COLOUR"]).stdout.trim());"#,
        run: Run::Step(|call, args| exec(call, args).boxed()),
    },
    Primitive {
        name: "logs",
        family: Family::Services,
        reach: Reach::Run,
        params: &[Param::new("workload", WORKLOAD), Param::options()],
        options: &[Opt::with_default("lines", Type::Count, "100", "how many lines, from the end")],
        returns: "string",
        doc: "Returns the last lines that a service or server has written.",
        example: r#"let redis = deploy_redis(create_cluster("demo"));
print(logs(redis, #{ lines: 1 }).len() > 0);"#,
        run: Run::Step(|call, args| logs(call, args).boxed()),
    },
];

async fn deploy_service(call: Call, args: Arguments) -> Done {
    let request = ServiceRequest {
        name: deployable_name(&args)?,
        image: image(&args),
        command: args.strings("command"),
        args: args.strings("args").unwrap_or_default(),
        env: args.string_map("env"),
        files: args.string_map("files"),
        port: args.port("port"),
        ports: args.port_map("ports"),
        host_port: args.port("host_port"),
        ready: args.string("ready"),
        replicas: args.count("replicas").unwrap_or(1),
        manifest: manifest(&call, &args, "manifests/service.yaml")?,
    };
    if request.ready.is_some() && request.port.is_none() {
        return Err(Failure::new(Kind::Usage, "option `ready` needs a `port` to ask")
            .hint("give the port it listens on"));
    }
    let named = request.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    call.host().events.secrets().add_named(named);
    let cluster = args.the::<Cluster>("cluster");
    Ok(Dynamic::from(call.host().environment.target.deploy_service(&call.step, &cluster, request).await?))
}

/// The option `image`, which may name one that nobody builds.
fn image(args: &Arguments) -> Option<Image> {
    args.handle::<Image>("image").or_else(|| args.string("image").map(Image::named))
}

async fn apply_manifest(call: Call, args: Arguments) -> Done {
    let environment = &call.host().environment;
    let manifest = template(&call, &args, args.text("path"))?;
    environment.target.apply_manifest(&call.step, &args.the::<Cluster>("cluster"), manifest).await?;
    DONE
}

async fn exec(call: Call, args: Arguments) -> Done {
    let service = args.the::<Service>("service");
    let command = args.strings("command").unwrap_or_default();
    let words = command.join(" ");
    let executed = service.0.workload.exec(&call.step, &command).await?;
    if executed.code != 0 && args.flag("check") {
        let what = format!("`{words}` ended with exit code {} in `{}`", executed.code, service.0.name);
        let output = if executed.stderr.trim().is_empty() { &executed.stdout } else { &executed.stderr };
        return Err(Failure::new(Kind::Command, what).evidence(crate::run::child::last_lines(output, 15)));
    }
    let code = i64::from(executed.code).into();
    Ok(Map::from([
        ("code".into(), code),
        ("stdout".into(), executed.stdout.into()),
        ("stderr".into(), executed.stderr.into()),
    ])
    .into())
}

async fn logs(_call: Call, args: Arguments) -> Done {
    let workload = args.get("workload").as_ref().and_then(workload);
    let lines = args.count("lines").unwrap_or_default();
    match workload {
        Some(workload) => Ok(workload.logs(lines).await?.into()),
        None => DONE,
    }
}

/// The running thing behind a handle.
pub(super) fn workload(value: &Dynamic) -> Option<std::sync::Arc<dyn Workload>> {
    if let Some(service) = value.read_lock::<Service>() {
        Some(service.0.workload.clone())
    } else if let Some(postgres) = value.read_lock::<Postgres>() {
        Some(postgres.0.workload.clone())
    } else {
        value.read_lock::<Redis>().map(|redis| redis.0.workload.clone())
    }
}
