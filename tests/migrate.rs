//! Migrations on a real PostgreSQL.

use std::path::{Path, PathBuf};

use recipe::migrate::{
    self, Applied, ApplyError, Drift, Format, Location, Plan, Progress, StatementError, Style,
};
use tempfile::TempDir;
use tokio_postgres::Client;

#[path = "support/postgres.rs"]
mod postgres;

use postgres::Server;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/migrations").join(name)
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&dir, name, text);
    }
    dir
}

fn write(dir: &TempDir, name: &str, text: &str) {
    fs_err::write(dir.path().join(name), text).unwrap();
}

fn plan(dir: &Path) -> Plan {
    migrate::read(dir, Format::Auto).unwrap()
}

async fn try_apply(client: &mut Client, dir: &Path) -> Result<Applied, ApplyError> {
    migrate::apply(client, &plan(dir), None, &mut |_| {}).await
}

async fn apply(client: &mut Client, dir: &Path) -> Applied {
    try_apply(client, dir).await.unwrap()
}

async fn statement_error(client: &mut Client, dir: &Path) -> StatementError {
    match try_apply(client, dir).await.unwrap_err() {
        ApplyError::Statement(error) => *error,
        other => panic!("{other}"),
    }
}

async fn drift(client: &mut Client, dir: &Path) -> Drift {
    match try_apply(client, dir).await.unwrap_err() {
        ApplyError::Drift(drift) => drift,
        other => panic!("{other}"),
    }
}

async fn exists(client: &Client, relation: &str) -> bool {
    client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&relation]).await.unwrap().get(0)
}

#[tokio::test]
async fn each_style_is_found_applied_in_order_and_only_once() {
    for (name, style, files) in [
        ("updown", Style::UpDown, ["1_tables.up.sql", "2_total.up.sql", "11_index.up.sql"].as_slice()),
        (
            "versioned",
            Style::Versioned,
            &["V1__parts.sql", "V1.2__weight.sql", "V1.10__wider.sql", "R__heavy.sql"],
        ),
        ("plain", Style::Plain, &["001_schema.sql", "002_seed.sql"]),
    ] {
        let database = Server::shared().database(&format!("style_{name}")).await;
        let client = &mut database.connect().await;
        let plan = plan(&fixture(name));
        assert_eq!(plan.style, style, "{}", plan.why);

        let mut seen = Vec::new();
        let progress = &mut |progress: Progress<'_>| {
            if let Progress::Finished { file, .. } = progress {
                seen.push(file.to_owned());
            }
        };
        let applied = migrate::apply(client, &plan, None, progress).await.unwrap();
        assert_eq!(applied.applied, files);
        assert_eq!(seen, files);
        let schema = database.schema("");
        let again = migrate::apply(client, &plan, None, &mut |_| {}).await.unwrap();
        assert_eq!((again.applied.len(), again.already), (0, files.len()));
        assert_eq!(database.schema(""), schema);
    }
}

#[tokio::test]
async fn a_table_of_ones_own_in_a_schema() {
    let database = Server::shared().database("own_table").await;
    let client = &mut database.connect().await;
    client.batch_execute("CREATE SCHEMA app").await.unwrap();
    let plan = plan(&fixture("plain"));
    let applied = migrate::apply(client, &plan, Some("app.Versions"), &mut |_| {}).await.unwrap();
    assert_eq!(applied.table, "app.versions");
    assert!(exists(client, "app.versions").await);
    assert!(!exists(client, "recipe_migrations").await);
    let error = migrate::apply(client, &plan, Some("a; b"), &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, ApplyError::Table(_)));
}

#[tokio::test]
async fn two_at_once_apply_each_file_once() {
    let database = Server::shared().database("at_once").await;
    let dir = fixture("updown");
    let (mut first, mut second) = (database.connect().await, database.connect().await);
    let (first, second) = tokio::join!(apply(&mut first, &dir), apply(&mut second, &dir));
    assert_eq!(first.applied.len() + second.applied.len(), 3);
    assert_eq!(first.already + second.already, 3);
}

#[tokio::test]
async fn whoever_waits_says_so() {
    let database = Server::shared().database("waits").await;
    let (mut client, holder) = (database.connect().await, database.connect().await);
    let lock = 0x7265_6369_7065_0001_i64;
    holder.execute("SELECT pg_advisory_lock($1)", &[&lock]).await.unwrap();
    let (waits, waiting) = tokio::sync::oneshot::channel();
    let mut waits = Some(waits);
    let plan = plan(&fixture("plain"));
    let mut progress = |progress: Progress<'_>| {
        if progress == Progress::WaitingForLock {
            waits.take().expect("said once").send(()).unwrap();
        }
    };
    let release = async {
        waiting.await.unwrap();
        drop(holder);
    };
    let (applied, ()) = tokio::join!(migrate::apply(&mut client, &plan, None, &mut progress), release);
    assert_eq!(applied.unwrap().applied.len(), 2);
}

#[tokio::test]
async fn a_failing_statement_is_found_by_count() {
    let database = Server::shared().database("by_count").await;
    let client = &mut database.connect().await;
    let error = statement_error(client, &fixture("goose_broken")).await;
    assert!(error.file.ends_with("goose_broken/00002_broken.sql"));
    assert_eq!(error.at, Location { line: 5, column: 1 });
    assert_eq!(error.statement, "INSERT INTO ok (id)");
    assert_eq!((error.code.as_str(), error.severity.as_str()), ("23505", "ERROR"));
    assert_eq!(error.detail.as_deref(), Some("Key (id)=(1) already exists."));
    assert!(error.undone);
    let rows: i64 = client.query_one("SELECT count(*) FROM ok", &[]).await.unwrap().get(0);
    assert_eq!(rows, 0, "the file is undone, the session is usable");
}

#[tokio::test]
async fn a_failing_statement_is_found_by_position() {
    let database = Server::shared().database("by_position").await;
    let client = &mut database.connect().await;
    let sql = "CREATE TABLE t (id int); -- größer\r\n\r\nSELECT 'é',\r\n  nope FROM t;\r\nSELECT 1;";
    let error = statement_error(client, folder(&[("1.sql", sql)]).path()).await;
    assert_eq!(error.at, Location { line: 4, column: 3 });
    assert_eq!(error.statement_at, Location { line: 3, column: 1 });
    assert_eq!((error.statement.as_str(), error.code.as_str()), ("SELECT 'é',", "42703"));
    let text = error.to_string();
    assert!(
        text.ends_with("1.sql:4:3: column \"nope\" does not exist (SQLSTATE 42703) in `SELECT 'é',`"),
        "{text}"
    );

    let goose =
        "-- +goose Up\nSELECT 1;\n-- +goose StatementBegin\nSELECT 2\n-- +goose StatementEnd\n\n SELEC 3;\n";
    let error = statement_error(client, folder(&[("1_a.sql", goose)]).path()).await;
    assert_eq!(error.at, Location { line: 7, column: 2 }, "a syntax error, before anything ran");
    assert_eq!((error.statement.as_str(), error.code.as_str()), ("SELEC 3;", "42601"));

    let unfinished = folder(&[("1.sql", "SELECT 1;\nCREATE TABLE u (\n  id int\n")]);
    let error = statement_error(client, unfinished.path()).await;
    assert_eq!((error.at.line, error.statement.as_str()), (3, "CREATE TABLE u ("));
}

#[tokio::test]
async fn an_error_in_a_function_names_the_calling_statement() {
    let database = Server::shared().database("in_function").await;
    let client = &mut database.connect().await;
    let sql = "SELECT 1;\nDO $$ BEGIN\n  EXECUTE 'SELECT nope';\nEND $$;";
    let error = statement_error(client, folder(&[("1.sql", sql)]).path()).await;
    assert_eq!(error.at, Location { line: 2, column: 1 });
    assert!(error.context.unwrap().contains("PL/pgSQL function"));
}

#[tokio::test]
async fn without_a_transaction_earlier_statements_stay() {
    let database = Server::shared().database("no_transaction").await;
    let client = &mut database.connect().await;
    let sql = "-- no-transaction\nCREATE TABLE stays (id int);\nSELECT 1; SELECT 1 / 0;";
    let dir = folder(&[("1.sql", sql)]);
    let error = statement_error(client, dir.path()).await;
    assert_eq!(error.at, Location { line: 3, column: 11 });
    assert!(!error.undone);
    assert!(exists(client, "stays").await);

    let concurrently = folder(&[("1.sql", "CREATE INDEX CONCURRENTLY i ON stays (id);")]);
    let error = statement_error(client, concurrently.path()).await;
    assert!(error.hint.unwrap().contains("-- no-transaction"));
}

#[tokio::test]
async fn changed_missing_and_late_files_are_refused() {
    let database = Server::shared().database("drift").await;
    let client = &mut database.connect().await;
    let dir = folder(&[("2.sql", "SELECT 2;\n"), ("3.sql", "SELECT 3;\n")]);
    apply(client, dir.path()).await;

    write(&dir, "2.sql", "SELECT 2;\r\n");
    assert_eq!(apply(client, dir.path()).await.already, 2, "another line end is no change");
    write(&dir, "2.sql", "SELECT 20;\n");
    assert_eq!(drift(client, dir.path()).await, Drift::Changed { file: "2.sql".to_owned() });
    fs_err::remove_file(dir.path().join("2.sql")).unwrap();
    assert!(matches!(drift(client, dir.path()).await, Drift::Missing { file, .. } if file == "2.sql"));
    write(&dir, "2.sql", "SELECT 2;\n");
    write(&dir, "1.sql", "SELECT 1;\n");
    assert!(matches!(drift(client, dir.path()).await, Drift::OutOfOrder { file, .. } if file == "1.sql"));
}

#[tokio::test]
async fn a_repeatable_file_is_applied_whenever_it_changes() {
    let database = Server::shared().database("repeatable").await;
    let client = &mut database.connect().await;
    let dir =
        folder(&[("V1__t.sql", "CREATE TABLE t (id int);"), ("R__v.sql", "CREATE VIEW v AS SELECT 1;")]);
    assert_eq!(apply(client, dir.path()).await.applied, ["V1__t.sql", "R__v.sql"]);
    write(&dir, "R__v.sql", "CREATE OR REPLACE VIEW v AS SELECT 2;");
    assert_eq!(apply(client, dir.path()).await.applied, ["R__v.sql"]);
    assert_eq!(apply(client, dir.path()).await.already, 2);
}

#[tokio::test]
async fn what_a_file_sets_in_the_session_ends_with_it() {
    let database = Server::shared().database("session").await;
    let client = &mut database.connect().await;
    client.batch_execute("CREATE ROLE powerless").await.unwrap();
    let dump = "SET statement_timeout = 12345;\nSELECT pg_catalog.set_config('search_path', '', false);\n\
                CREATE TABLE public.first (id int);\nSET ROLE powerless;\n";
    let dir = folder(&[("1.sql", dump), ("2.sql", "-- no-transaction\nCREATE TABLE second (id int);")]);
    assert_eq!(apply(client, dir.path()).await.applied.len(), 2);
    assert!(exists(client, "public.second").await);
    let timeout: String = client.query_one("SHOW statement_timeout", &[]).await.unwrap().get(0);
    assert_eq!(timeout, "0");
}

#[tokio::test]
async fn a_check_deferred_to_the_end_blames_the_file() {
    let database = Server::shared().database("deferred").await;
    let client = &mut database.connect().await;
    let sql = "CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t DEFERRABLE INITIALLY DEFERRED);\n\
               INSERT INTO t VALUES (1, 2);";
    let error = try_apply(client, folder(&[("1.sql", sql)]).path()).await.unwrap_err();
    let ApplyError::Finish { file, source } = &error else { panic!("{error}") };
    assert!(file.ends_with("1.sql"));
    assert_eq!(source.code().unwrap().code(), "23503");
    assert!(!exists(client, "t").await);
}

#[tokio::test]
async fn the_future_can_move_between_threads() {
    let database = Server::shared().database("send").await;
    let mut client = database.connect().await;
    let applied = tokio::spawn(async move { apply(&mut client, &fixture("plain")).await });
    assert_eq!(applied.await.unwrap().applied.len(), 2);
}
