//! Primitives of the target `local`, and what is made to happen to what they
//! use. PostgreSQL and Redis are real.

use crate::table::{BLOCKS, Case, FAILS, MENDS, Table};

const HEAD: &str = "# Faults, and what becomes of a run\n\n\
    Each line is a run on the target `local` with a real PostgreSQL and a real Redis, in which one use of something \
    outside of recipe was made to fail, to hang, to be slow, or to be the moment in which recipe is killed. Beside \
    the primitive another branch waits for an hour. Whatever happens, afterwards no process, directory or open entry \
    of the journal is left (after a kill, with one `recipe gc`), and records, logs and report are there. What hangs \
    is interrupted by Ctrl-C; where a thread hangs in the system, by two. \
    [The same on kind](faults-on-kind.md).\n";

#[test]
fn every_fault_of_every_primitive_has_the_outcome_in_the_docs() {
    let table = Table {
        page: "docs/faults.md",
        head: HEAD,
        command: "cargo test --test faults",
        target: "local",
        cases: CASES,
        left: &|_| Vec::new(),
    };
    table.holds();
}

const CLUSTER: &str = r#"let c = create_cluster("c");"#;
const POSTGRES: &str = r#"let c = create_cluster("c"); let pg = deploy_postgres(c);"#;
const MIGRATED: &str = r#"let c = create_cluster("c");
    let pg = deploy_postgres(c); migrate(pg, "sql"); if false { reset(pg); }"#;
const REDIS: &str = r#"let c = create_cluster("c"); let redis = deploy_redis(c);"#;
const SITE: &str = r#"let c = create_cluster("c");
    let site = deploy_service(c, "site", #{ command: ["sleep", "3600"], port: 8000 });"#;

const CASES: &[Case] = &[
    Case {
        primitive: "build_image",
        before: CLUSTER,
        call: r#"build_image("program", #{ build: "true", binary: "program" })"#,
        uses: &[("spawn", 1, "the build", FAILS)],
    },
    Case {
        primitive: "deploy_postgres",
        before: CLUSTER,
        call: "deploy_postgres(c)",
        uses: &[
            ("files", 1, "its directory", BLOCKS),
            ("files", 2, "the journal", BLOCKS),
            ("spawn", 1, "`initdb`", FAILS),
            ("server", 1, "the server", FAILS),
            ("sql", 1, "the first question whether it answers", MENDS),
        ],
    },
    Case {
        primitive: "deploy_redis",
        before: CLUSTER,
        call: "deploy_redis(c)",
        uses: &[
            ("files", 2, "the journal", BLOCKS),
            ("server", 1, "the server", FAILS),
            ("redis", 1, "the first question whether it answers", MENDS),
        ],
    },
    Case {
        primitive: "deploy_service",
        before: CLUSTER,
        call: r#"deploy_service(c, "site", #{ command: ["sleep", "3600"], port: 8000 })"#,
        uses: &[("server", 1, "the service", FAILS), ("files", 1, "its directory", BLOCKS)],
    },
    Case {
        primitive: "exec",
        before: SITE,
        call: r#"exec(site, ["true"])"#,
        uses: &[("spawn", 1, "the command", FAILS)],
    },
    Case {
        primitive: "migrate",
        before: POSTGRES,
        call: r#"migrate(pg, "sql")"#,
        uses: &[("sql", 1, "the connection", FAILS), ("sql", 2, "a file", FAILS)],
    },
    Case {
        primitive: "read_file",
        before: CLUSTER,
        call: r#"read_file("recipe.rhai")"#,
        uses: &[("files", 1, "the file", BLOCKS)],
    },
    Case {
        primitive: "redis_command",
        before: REDIS,
        call: r#"redis_command(redis, ["PING"])"#,
        uses: &[("redis", 1, "the connection", FAILS)],
    },
    Case {
        primitive: "reset",
        before: MIGRATED,
        call: "reset(pg)",
        uses: &[("sql", 2, "a statement", FAILS)],
    },
    Case {
        primitive: "retry",
        before: CLUSTER,
        call: r#"retry(#{ delay: "10ms" }, || sh("test -e tried || ! touch tried"))"#,
        uses: &[("clock", 1, "the pause", MENDS)],
    },
    Case {
        primitive: "sh",
        before: CLUSTER,
        call: r#"sh("true")"#,
        uses: &[("spawn", 1, "the command", FAILS)],
    },
    Case {
        primitive: "sleep",
        before: CLUSTER,
        call: r#"sleep("10ms")"#,
        uses: &[("clock", 1, "the time", MENDS)],
    },
    Case {
        primitive: "sql",
        before: POSTGRES,
        call: r#"sql(pg, "SELECT 1")"#,
        uses: &[("sql", 1, "the connection", FAILS), ("sql", 2, "a statement", FAILS)],
    },
    Case {
        primitive: "wait_for",
        before: CLUSTER,
        call: r#"wait_for("the file", || sh("test -e tried || ! touch tried", #{ check: false }).code == 0)"#,
        uses: &[("clock", 1, "the pause", MENDS)],
    },
    Case {
        primitive: "write_file",
        before: CLUSTER,
        call: r#"write_file("made.txt", "text")"#,
        uses: &[("files", 1, "the file", BLOCKS)],
    },
];
