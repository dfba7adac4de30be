//! Primitives of the target `local`, and what is made to happen to what they
//! use. PostgreSQL and Redis are real.

/// A primitive and what it uses.
pub struct Use {
    pub primitive: &'static str,
    /// The seam, and which use of it.
    pub seam: &'static str,
    pub nth: &'static str,
    /// What it uses it for.
    pub what: &'static str,
    pub before: &'static str,
    pub call: &'static str,
    /// Whether its failure is seen by nobody but itself.
    pub mends: bool,
    /// Whether its thread hangs with it, and does not hear of a first Ctrl-C.
    pub blocks: bool,
}

const USE: Use =
    Use { primitive: "", seam: "", nth: "1", what: "", before: "", call: "", mends: false, blocks: false };

const POSTGRES: &str = "let pg = deploy_postgres(c);";
const MIGRATED: &str = "let pg = deploy_postgres(c); migrate(pg, \"sql\"); if false { reset(pg); }";
const REDIS: &str = "let redis = deploy_redis(c);";

pub const USES: &[Use] = &[
    Use { primitive: "build_image", seam: "spawn", what: "the build", call: BUILD, ..USE },
    Use {
        primitive: "deploy_postgres",
        seam: "files",
        what: "its directory",
        call: "deploy_postgres(c)",
        blocks: true,
        ..USE
    },
    Use {
        primitive: "deploy_postgres",
        seam: "files",
        nth: "2",
        what: "the journal",
        call: "deploy_postgres(c)",
        blocks: true,
        ..USE
    },
    Use { primitive: "deploy_postgres", seam: "spawn", what: "`initdb`", call: "deploy_postgres(c)", ..USE },
    Use {
        primitive: "deploy_postgres",
        seam: "server",
        what: "the server",
        call: "deploy_postgres(c)",
        ..USE
    },
    Use {
        primitive: "deploy_postgres",
        seam: "sql",
        what: "the first question whether it answers",
        call: "deploy_postgres(c)",
        mends: true,
        ..USE
    },
    Use {
        primitive: "deploy_redis",
        seam: "files",
        nth: "2",
        what: "the journal",
        call: "deploy_redis(c)",
        blocks: true,
        ..USE
    },
    Use { primitive: "deploy_redis", seam: "server", what: "the server", call: "deploy_redis(c)", ..USE },
    Use {
        primitive: "deploy_redis",
        seam: "redis",
        what: "the first question whether it answers",
        call: "deploy_redis(c)",
        mends: true,
        ..USE
    },
    Use { primitive: "deploy_service", seam: "server", what: "the service", call: SERVICE, ..USE },
    Use {
        primitive: "deploy_service",
        seam: "files",
        what: "its directory",
        call: SERVICE,
        blocks: true,
        ..USE
    },
    Use {
        primitive: "exec",
        seam: "spawn",
        what: "the command",
        before: "let site = deploy_service(c, \"site\", #{ command: [\"sleep\", \"3600\"], port: 8000 });",
        call: "exec(site, [\"true\"])",
        ..USE
    },
    Use {
        primitive: "migrate",
        seam: "sql",
        what: "the connection",
        before: POSTGRES,
        call: "migrate(pg, \"sql\")",
        ..USE
    },
    Use {
        primitive: "migrate",
        seam: "sql",
        nth: "2",
        what: "a file",
        before: POSTGRES,
        call: "migrate(pg, \"sql\")",
        ..USE
    },
    Use {
        primitive: "read_file",
        seam: "files",
        what: "the file",
        call: "read_file(\"recipe.rhai\")",
        blocks: true,
        ..USE
    },
    Use {
        primitive: "redis_command",
        seam: "redis",
        what: "the connection",
        before: REDIS,
        call: "redis_command(redis, [\"PING\"])",
        ..USE
    },
    Use {
        primitive: "reset",
        seam: "sql",
        nth: "2",
        what: "a statement",
        before: MIGRATED,
        call: "reset(pg)",
        ..USE
    },
    Use {
        primitive: "retry",
        seam: "clock",
        what: "the pause",
        call: "retry(#{ delay: \"10ms\" }, || sh(\"test -e tried || ! touch tried\"))",
        mends: true,
        ..USE
    },
    Use { primitive: "sh", seam: "spawn", what: "the command", call: "sh(\"true\")", ..USE },
    Use { primitive: "sleep", seam: "clock", what: "the time", call: "sleep(\"10ms\")", mends: true, ..USE },
    Use {
        primitive: "sql",
        seam: "sql",
        what: "the connection",
        before: POSTGRES,
        call: "sql(pg, \"SELECT 1\")",
        ..USE
    },
    Use {
        primitive: "sql",
        seam: "sql",
        nth: "2",
        what: "a statement",
        before: POSTGRES,
        call: "sql(pg, \"SELECT 1\")",
        ..USE
    },
    Use {
        primitive: "wait_for",
        seam: "clock",
        what: "the pause",
        call: "wait_for(\"the file\", || sh(\"test -e tried || ! touch tried\", #{ check: false }).code == 0)",
        mends: true,
        ..USE
    },
    Use {
        primitive: "write_file",
        seam: "files",
        what: "the file",
        call: "write_file(\"made.txt\", \"text\")",
        blocks: true,
        ..USE
    },
];

const BUILD: &str = "build_image(\"program\", #{ build: \"true\", binary: \"program\" })";
const SERVICE: &str = "deploy_service(c, \"site\", #{ command: [\"sleep\", \"3600\"], port: 8000 })";
