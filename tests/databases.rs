//! `sql`, `redis_command`, and the servers behind them.

mod harness;

use harness::Sandbox;
use serde_json::{Value, json};

/// The outputs of a recipe in which `pg` and `redis` are servers.
#[track_caller]
fn outputs(script: &str) -> Value {
    let servers = "let cluster = create_cluster(\"c\");\nlet pg = deploy_postgres(cluster);\n\
                   let redis = deploy_redis(cluster);\n";
    let sandbox = Sandbox::with(&format!("{servers}{script}"));
    let (output, summary) = sandbox.summary();
    output.success();
    sandbox.assert_nothing_left();
    summary["outputs"].clone()
}

#[test]
fn values_of_sql() {
    let found = outputs(
        r#"output(#{ row: sql(pg, `SELECT 1::int2 AS small, 2147483648 AS big, 0.5::float8 AS float, 'NaN'::float8 AS nan,
            true AS yes, false AS no, NULL AS none, 'täxt' AS text, '{"a": [1, null]}'::jsonb AS json,
            1.10::numeric AS numeric, '{1,2}'::int[] AS list, timestamptz '2026-01-02 03:04:05+00' AS at,
            'abc'::bytea AS bytes, '00000000-0000-0000-0000-000000000001'::uuid AS id`)[0],
            none: sql(pg, "SELECT 1 WHERE false"), nothing: sql(pg, "CREATE TABLE t (id int)"), empty: sql(pg, "") });"#,
    );
    let row = json!({
        "small": 1, "big": 2_147_483_648_i64, "float": 0.5, "nan": null, "yes": true, "no": false, "none": null,
        "text": "täxt", "json": { "a": [1, null] }, "numeric": "1.10", "list": "{1,2}",
        "at": "2026-01-02 03:04:05+00", "bytes": "\\x616263", "id": "00000000-0000-0000-0000-000000000001",
    });
    assert_eq!(found, json!({ "row": row, "none": [], "nothing": [], "empty": [] }));
}

#[test]
fn parameters_of_sql() {
    let found = outputs(
        r#"sql(pg, "CREATE TABLE t (i int, f float8, b bool, s text, n text, j jsonb, a text[], m int[], d date)");
        let quoted = "it's \"q\" \\ \\' $1 ; -- ünï 🦀\nline";
        sql(pg, "INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9); -- done",
            [7, -0.25, true, quoted, (), #{ k: ["v", quoted] }, [quoted, (), ""], [[1, 2], [3, 4]], "2026-01-02"]);
        let row = sql(pg, "SELECT *, s = $1 AS same, a[1] = $1 AS first, i = ANY($2) AS any FROM t", [quoted, [6, 7]])[0];
        output(#{ row: row, quoted: quoted, count: sql(pg, "SELECT count(*) AS n FROM t")[0].n });"#,
    );
    let quoted = found["quoted"].clone();
    let row = &found["row"];
    assert_eq!(row["s"], quoted);
    assert_eq!(row["j"], json!({ "k": ["v", quoted] }));
    let plain = ["i", "f", "b", "n", "m", "d", "same", "first", "any"].map(|name| row[name].clone());
    let expected = json!([7, -0.25, true, null, "{{1,2},{3,4}}", "2026-01-02", true, true, true]);
    assert_eq!(json!(plain), expected);
    assert_eq!(found["count"], 1);
}

#[test]
fn several_statements_of_sql() {
    let found = outputs(
        r#"let last = sql(pg, "CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2); SELECT * FROM t ORDER BY id");
        let after = sql(pg, "SELECT 1; INSERT INTO t VALUES (3)");
        // One message is one transaction.
        let failed = "";
        try { sql(pg, "INSERT INTO t VALUES (4); SELECT nothing"); } catch (e) { failed = e.message; }
        output(#{ last: last, after: after, failed: failed, count: sql(pg, "SELECT count(*) AS n FROM t")[0].n });"#,
    );
    assert_eq!(found["last"], json!([{ "id": "1" }, { "id": "2" }]));
    assert_eq!(found["after"], json!([]));
    assert_eq!(found["count"], 3);
    assert!(found["failed"].as_str().unwrap().contains("SQLSTATE 42703"), "{found}");
}

#[test]
fn errors_of_sql() {
    let found = outputs(
        r#"fn message(work) { try { work.call(); } catch (e) { return `${e.kind}: ${e.message}`; } }
        sql(pg, "CREATE TABLE t (id int PRIMARY KEY)");
        output(#{
            syntax: message(|| sql(pg, "SELEC 1")),
            unique: message(|| sql(pg, "INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)")),
            value: message(|| sql(pg, "INSERT INTO t VALUES ($1)", ["many"])),
            few: message(|| sql(pg, "SELECT $1::int, $2::int", [1])),
            none: message(|| sql(pg, "SELECT $1::int")),
            many: message(|| sql(pg, "SELECT 1", [1])),
        });"#,
    );
    for (name, says) in [
        ("syntax", "sql: syntax error at or near \"SELEC\" (SQLSTATE 42601)"),
        ("unique", "(SQLSTATE 23505); Key (id)=(1) already exists."),
        ("value", "invalid input syntax for type integer: \"many\" (SQLSTATE 22P02)"),
        ("few", "usage: the statement has 2 parameters, but 1 values were given"),
        ("none", "usage: the statement has 1 parameters, but 0 values were given"),
        ("many", "usage: the statement has 0 parameters, but 1 values were given"),
    ] {
        assert!(found[name].as_str().unwrap().contains(says), "{says} is not in {found:#}");
    }
}

#[test]
fn a_place_in_sql_is_shown() {
    let sandbox = Sandbox::with(
        "let pg = deploy_postgres(create_cluster(\"c\"));\nsql(pg, \"SELECT 1,\\n  nothing\\nFROM pg_class\");",
    );
    sandbox.run().exits(1).says(&["recipe.rhai:2:1", "the SQL:2:3", "nothing"]);
    // A place in the statement that hands over the values would mislead.
    let sandbox = Sandbox::with(
        "let pg = deploy_postgres(create_cluster(\"c\"));\nsql(pg, \"SELECT 1 + $1::int\", [\"x\"]);",
    );
    sandbox.run().exits(1).says(&["SQLSTATE 22P02"]).never_says(&["the SQL:"]);
}

#[test]
fn replies_of_redis() {
    let found = outputs(
        r#"fn kind(work) { try { return work.call(); } catch (e) { return e.kind; } }
        redis_command(redis, ["HSET", "h", "a", 1, "b", 2.5]);
        output(#{
            set: redis_command(redis, ["SET", "k", "v w \"x\" ü"]), get: redis_command(redis, ["GET", "k"]),
            none: redis_command(redis, ["GET", "nothing"]), incr: redis_command(redis, ["INCR", "n"]),
            push: redis_command(redis, ["RPUSH", "l", "a", "b"]), list: redis_command(redis, ["LRANGE", "l", 0, -1]),
            hash: redis_command(redis, ["HGETALL", "h"]), ping: redis_command(redis, ["PING"]),
            error: kind(|| redis_command(redis, ["INCR", "k"])), unknown: kind(|| redis_command(redis, ["FROB"])),
            empty: kind(|| redis_command(redis, [])),
        });"#,
    );
    let expected = json!({
        "set": "OK", "get": "v w \"x\" ü", "none": null, "incr": 1, "push": 2, "list": ["a", "b"],
        "hash": ["a", "1", "b", "2.5"], "ping": "PONG", "error": "redis", "unknown": "redis", "empty": "usage",
    });
    assert_eq!(found, expected);
}

#[test]
fn servers_take_settings_names_and_passwords() {
    let found = outputs(
        r#"let other = deploy_postgres(cluster, #{
            name: "other", user: "Ann O-Hara é", password: "p@ss:w/or d'\\", database: "Shop \"1\"", settings: #{ work_mem: "7MB", max_connections: 33 } });
        let store = deploy_redis(cluster, #{ name: "store", password: "a \"b\" \\ c", settings: #{ maxmemory: "64mb" } });
        let open = deploy_redis(cluster, #{ name: "open", password: "" });
        let row = sql(other, "SELECT current_user AS u, current_database() AS d, current_setting('work_mem') AS w, current_setting('max_connections')::int AS c")[0];
        output(#{
            row: row, memory: redis_command(store, ["CONFIG", "GET", "maxmemory"]), url: other.url,
            open: redis_command(open, ["PING"]), same: open.url == `redis://127.0.0.1:${open.port}`,
            psql: sh("psql \"$DB\" -tAc 'SELECT 42'", #{ env: #{ DB: other.url } }).stdout.trim(),
            cli: sh("redis-cli --no-auth-warning -u \"$STORE\" PING", #{ env: #{ STORE: store.url } }).stdout.trim(),
        });"#,
    );
    assert_eq!(found["row"], json!({ "u": "Ann O-Hara é", "d": "Shop \"1\"", "w": "7MB", "c": 33 }));
    assert_eq!(found["memory"], json!(["maxmemory", "67108864"]));
    assert_eq!((&found["open"], &found["same"]), (&json!("PONG"), &json!(true)));
    assert_eq!((&found["psql"], &found["cli"]), (&json!("42"), &json!("PONG")));
    assert!(
        found["url"]
            .as_str()
            .unwrap()
            .starts_with("postgres://Ann%20O-Hara%20%C3%A9:p%40ss%3Aw%2For%20d%27%5C@127")
    );
}

#[test]
fn names_are_taken_once_and_safe() {
    let found = outputs(
        r#"fn message(work) { try { work.call(); } catch (e) { return e.message + " | " + e.hint; } }
        output(#{
            twice: message(|| deploy_redis(cluster)),
            outside: message(|| deploy_redis(cluster, #{ name: "../x" })),
            capital: message(|| deploy_service(cluster, "My_Service", #{ command: ["sleep", "1"] })),
        });
        delete_cluster(create_cluster("other"));
        output(#{ alive: redis_command(redis, ["PING"]) });
        delete_cluster(cluster);
        let cluster = create_cluster("c");
        let tries = 0;
        let again = retry(#{ delay: "1ms" }, || {
            tries += 1;
            deploy_redis(cluster, if tries == 1 { #{ settings: #{ nonsense: "1" } } } else { #{} })
        });
        output(#{ again: redis_command(again, ["PING"]) });"#,
    );
    for (name, says) in [
        ("twice", "there is a `redis` in this environment already | give one of them another name"),
        ("outside", "`../x` cannot be the name of a server or service | use up to 63 small letters"),
        ("capital", "`My_Service` cannot be the name"),
        ("alive", "PONG"),
        ("again", "PONG"),
    ] {
        assert!(found[name].as_str().unwrap().contains(says), "{says} is not in {found:#}");
    }
}
