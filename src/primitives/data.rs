//! Databases: starting and migrating them.

use futures::FutureExt;
use rhai::Dynamic;

use super::Done;
use crate::run::{Failure, Kind};
use crate::script::json::to_json;
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};
use crate::targets::{Cluster, Postgres, PostgresRequest, RedisRequest, Template};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "deploy_postgres",
        family: Family::Data,
        reach: Reach::Run,
        params: &[Param::new("cluster", Type::Handle("Cluster")), Param::options()],
        options: &[
            Opt::with_default("name", Type::String, "postgres", "its name, unique in the environment"),
            Opt::with_default(
                "image",
                Type::String,
                "postgres:16-alpine",
                "the image, on targets with containers",
            ),
            Opt::with_default("database", Type::String, "app", "the database to create"),
            Opt::with_default("user", Type::String, "app", "the superuser to create"),
            Opt::new("password", Type::String, "the user's password; a random one when left out"),
            Opt::new("settings", Type::StringMap, "server settings, such as #{ max_connections: 200 }")
                .reaching(Reach::Programs),
            Opt::new(
                "storage",
                Type::String,
                "the size of a volume that outlives the pod, such as \"1Gi\", where there are pods",
            ),
            Opt::new(
                "manifest",
                Type::String,
                "a manifest to apply instead of recipe's own, where there is Kubernetes",
            ),
            Opt::new("vars", Type::Map, "variables for that manifest"),
            Opt::new("host_port", Type::Port, "the port on this machine; any free one when left out"),
            Opt::with_default("timeout", Type::Duration, "60s", "how long it may take until it answers"),
        ],
        returns: "Postgres",
        doc: "Starts a PostgreSQL server with an empty database, and waits until it answers.\n\n\
              The handle has `url` for this machine, `internal_url` for services of the target, and `host`, `port`, \
              `user`, `password`, `database`. The data is thrown away in the end, so nothing is synced to disk. \
              The local target runs the installed server whatever `image` says, and tells when the versions differ.",
        example: r#"let pg = deploy_postgres(create_cluster("demo"), #{ database: "shop" });
print(sql(pg, "SELECT current_database() AS name")[0].name);"#,
        run: Run::Step(|call, args| deploy_postgres(call, args).boxed()),
    },
    Primitive {
        name: "deploy_redis",
        family: Family::Data,
        reach: Reach::Run,
        params: &[Param::new("cluster", Type::Handle("Cluster")), Param::options()],
        options: &[
            Opt::with_default("name", Type::String, "redis", "its name, unique in the environment"),
            Opt::with_default(
                "image",
                Type::String,
                "redis:7-alpine",
                "the image, on targets with containers",
            ),
            Opt::new("password", Type::String, "its password; a random one when left out, none when \"\""),
            Opt::new("settings", Type::StringMap, "server settings, such as #{ maxmemory: \"64mb\" }")
                .reaching(Reach::Programs),
            Opt::new(
                "manifest",
                Type::String,
                "a manifest to apply instead of recipe's own, where there is Kubernetes",
            ),
            Opt::new("vars", Type::Map, "variables for that manifest"),
            Opt::new("host_port", Type::Port, "the port on this machine; any free one when left out"),
            Opt::with_default("timeout", Type::Duration, "60s", "how long it may take until it answers"),
        ],
        returns: "Redis",
        doc: "Starts a Redis server that saves nothing, and waits until it answers.\n\n\
              The handle has `url` for this machine, `internal_url` for services of the target, and `host`, `port`, \
              `password`.",
        example: r#"let redis = deploy_redis(create_cluster("demo"));
redis_command(redis, ["SET", "colour", "green"]);
print(redis_command(redis, ["GET", "colour"]));"#,
        run: Run::Step(|call, args| deploy_redis(call, args).boxed()),
    },
    Primitive {
        name: "migrate",
        family: Family::Data,
        reach: Reach::Programs,
        params: &[
            Param::new("postgres", Type::Handle("Postgres")),
            Param::new("dir", Type::String),
            Param::options(),
        ],
        options: &[
            Opt::with_default(
                "format",
                Type::Choice(&["auto", "goose", "updown", "versioned", "plain"]),
                "auto",
                "how the files are written",
            ),
            Opt::new("table", Type::String, "the table that keeps account; each format has its own"),
        ],
        returns: "Postgres",
        doc: "Applies the migrations in a folder that the database does not have yet, and returns the handle.\n\n\
              Reads goose files (`-- +goose Up`), `.up.sql` and `.down.sql`, `V1__name.sql`, and plain ordered `.sql`; \
              `auto` looks at the files and says what it chose. Each file is a transaction. goose files are entered in \
              `goose_db_version`, so that a service's own goose sees them as applied. A file that was applied and has \
              changed since, is missing, or comes late is an error.",
        example: r#"write_file("target/doc/sql/001_shop.sql", "CREATE TABLE shop (id int PRIMARY KEY);");
let pg = deploy_postgres(create_cluster("demo"));
migrate(pg, "target/doc/sql");
sql(pg, "INSERT INTO shop VALUES ($1)", [7]);"#,
        run: Run::Step(|call, args| migrate(call, args).boxed()),
    },
];

/// The argument `name`.
pub(super) fn deployable_name(args: &Arguments) -> Result<String, Failure> {
    let name = args.text("name");
    nameable(&name).map(|()| name)
}

/// Whether something can be deployed under a name: what Kubernetes allows, so
/// that a recipe does not work on one target only. On the local target it names
/// a directory and a log.
pub(super) fn nameable(name: &str) -> Result<(), Failure> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
    {
        return Ok(());
    }
    Err(Failure::new(Kind::Usage, format!("`{name}` cannot be the name of a server or service"))
        .hint("use up to 63 small letters, digits and dashes, such as \"audit-store\""))
}

/// The options `manifest` and `vars`, or else what `recipe.toml` changes in the
/// manifest that recipe calls `shipped`.
pub(super) fn manifest(call: &Call, args: &Arguments, shipped: &str) -> Result<Option<Template>, Failure> {
    if let Some(name) = args.string("manifest") {
        return template(call, args, name).map(Some);
    }
    if let Some(patch) = call.host().sources.patch_of(shipped) {
        let name = patch.display().to_string();
        return Ok(Some(Template { is_patch: true, ..template(call, args, name)? }));
    }
    if args.get("vars").is_some() {
        return Err(Failure::new(Kind::Usage, "option `vars` is for a `manifest`, which is not given"));
    }
    Ok(None)
}

/// The manifest that the recipe calls `name`, with the option `vars`.
pub(super) fn template(call: &Call, args: &Arguments, name: String) -> Result<Template, Failure> {
    let vars = match args.get("vars").as_ref().map(to_json) {
        Some(serde_json::Value::Object(vars)) => vars,
        _ => serde_json::Map::new(),
    };
    Ok(Template { path: call.host().environment.path(&name)?, name, vars, is_patch: false })
}

async fn deploy_postgres(call: Call, args: Arguments) -> Done {
    let request = PostgresRequest {
        name: deployable_name(&args)?,
        image: args.text("image"),
        database: args.text("database"),
        user: args.text("user"),
        password: args.string("password"),
        settings: args.string_map("settings"),
        storage: args.string("storage"),
        manifest: manifest(&call, &args, "manifests/postgres.yaml")?,
        host_port: args.port("host_port"),
        timeout: args.duration("timeout").unwrap_or_default(),
    };
    let cluster = args.the::<Cluster>("cluster");
    let postgres = call.host().environment.target.deploy_postgres(&call.step, &cluster, request).await?;
    super::reset::prepare(&call, &postgres, None).await?;
    Ok(Dynamic::from(postgres))
}

async fn deploy_redis(call: Call, args: Arguments) -> Done {
    let request = RedisRequest {
        name: deployable_name(&args)?,
        image: args.text("image"),
        password: args.string("password"),
        settings: args.string_map("settings"),
        manifest: manifest(&call, &args, "manifests/redis.yaml")?,
        host_port: args.port("host_port"),
        timeout: args.duration("timeout").unwrap_or_default(),
    };
    let cluster = args.the::<Cluster>("cluster");
    Ok(Dynamic::from(call.host().environment.target.deploy_redis(&call.step, &cluster, request).await?))
}

async fn migrate(call: Call, args: Arguments) -> Done {
    let postgres = args.the::<Postgres>("postgres");
    super::migrating::migrate(&call, &postgres, &args).await?;
    Ok(Dynamic::from(postgres))
}
