//! The same goose files, applied by goose itself and by recipe, on a real PostgreSQL.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use recipe::migrate::{self, Applied, Format, PlanError};

#[path = "support/postgres.rs"]
mod postgres;

use postgres::{Database, Server};

const INSTALL: &str = "goose is needed, in PATH or as RECIPE_TEST_GOOSE: go install -tags \
    'no_clickhouse no_libsql no_mssql no_mysql no_sqlite3 no_vertica no_ydb' \
    github.com/pressly/goose/v3/cmd/goose@latest";

/// recipe's own table beside goose's, of which goose knows nothing.
const CHECKSUMS: &str = "*_checksums";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/migrations").join(name)
}

fn goose_program() -> PathBuf {
    if let Some(path) = env::var_os("RECIPE_TEST_GOOSE") {
        return path.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let gopath = Command::new("go").args(["env", "GOPATH"]).output().ok();
    let gopath = gopath.map(|output| String::from_utf8(output.stdout).unwrap());
    env::split_paths(&path)
        .chain(gopath.map(|path| Path::new(path.trim()).join("bin")))
        .map(|directory| directory.join("goose"))
        .find(|path| path.exists())
        .expect(INSTALL)
}

/// What goose says, or its complaint.
fn goose(database: &Database, dir: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(goose_program())
        .arg("-dir")
        .arg(dir)
        .args(["-table", "goose_db_version", "postgres", &database.conninfo()])
        .args(arguments)
        .output()
        .expect(INSTALL);
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    if output.status.success() { Ok(said) } else { Err(said) }
}

async fn recipe(database: &Database, dir: &Path) -> Applied {
    let plan = migrate::read(dir, Format::Auto).unwrap();
    migrate::apply(&mut database.connect().await, &plan, None, &mut |_| {}).await.unwrap()
}

/// In a module, so that a machine without goose can skip them all by name.
mod parity {
    use super::*;

    async fn versions(database: &Database) -> Vec<(i64, bool)> {
        let select = "SELECT version_id, is_applied FROM goose_db_version ORDER BY id";
        let rows = database.connect().await.query(select, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    #[tokio::test]
    async fn same_schema_same_rows_same_versions() {
        let dir = fixture("goose_full");
        let theirs = Server::shared().database("parity_theirs").await;
        let ours = Server::shared().database("parity_ours").await;
        goose(&theirs, &dir, &["up"]).unwrap();
        let applied = recipe(&ours, &dir).await;

        assert_eq!(applied.applied.len(), 6);
        assert_eq!(ours.schema(CHECKSUMS), theirs.schema(CHECKSUMS));
        assert_eq!(versions(&ours).await, versions(&theirs).await);
        assert_eq!(versions(&ours).await, [0, 1, 2, 3, 4, 10, 11].map(|version| (version, true)));
        for select in [
            "SELECT string_agg(c::text, ',' ORDER BY c) FROM \"odd;name\"",
            "SELECT string_agg(note, ',') FROM owned_by_nobody",
        ] {
            let row = |row: tokio_postgres::Row| row.get::<_, Option<String>>(0);
            let ours = row(ours.connect().await.query_one(select, &[]).await.unwrap());
            let theirs = row(theirs.connect().await.query_one(select, &[]).await.unwrap());
            assert_eq!(ours, theirs, "{select}");
        }
    }

    #[tokio::test]
    async fn goose_finds_nothing_to_do_after_us_and_can_go_down() {
        let dir = fixture("goose_full");
        let database = Server::shared().database("parity_after_us").await;
        recipe(&database, &dir).await;
        let said = goose(&database, &dir, &["up"]).unwrap();
        assert!(said.contains("no migrations to run. current version: 11"), "{said}");

        goose(&database, &dir, &["down-to", "2"]).unwrap();
        assert_eq!(recipe(&database, &dir).await.applied.len(), 4, "what goose took back is applied again");
        goose(&database, &dir, &["reset"]).unwrap();
        assert_eq!(versions(&database).await, [(0, true)]);
    }

    #[tokio::test]
    async fn we_find_nothing_to_do_after_goose() {
        let dir = fixture("goose_full");
        let database = Server::shared().database("parity_after_goose").await;
        goose(&database, &dir, &["up"]).unwrap();
        let applied = recipe(&database, &dir).await;
        assert_eq!((applied.applied.len(), applied.already), (0, 6));
    }

    #[tokio::test]
    async fn we_go_on_where_goose_stopped() {
        let dir = fixture("goose_full");
        let database = Server::shared().database("parity_on_from_goose").await;
        goose(&database, &dir, &["up-to", "2"]).unwrap();
        assert_eq!(recipe(&database, &dir).await.already, 2);
        let said = goose(&database, &dir, &["up"]).unwrap();
        assert!(said.contains("no migrations to run"), "{said}");
    }

    #[tokio::test]
    async fn both_refuse_a_file_without_up() {
        let dir = fixture("goose_missing_up");
        let database = Server::shared().database("parity_missing_up").await;
        let complaint = goose(&database, &dir, &["up"]).unwrap_err();
        assert!(complaint.contains("must start with '-- +goose Up'"), "{complaint}");

        let error = migrate::read(&dir, "goose".parse().unwrap()).unwrap_err();
        let PlanError::Text { file, problem, .. } = &error else { panic!("{error}") };
        assert!(file.ends_with("00002_no_mark.sql"));
        assert!(problem.to_string().starts_with("`-- +goose Up` is missing"), "{problem}");
    }

    #[tokio::test]
    async fn both_stop_at_a_broken_file_and_keep_the_ones_before() {
        let dir = fixture("goose_broken");
        let theirs = Server::shared().database("parity_broken_theirs").await;
        let ours = Server::shared().database("parity_broken_ours").await;
        goose(&theirs, &dir, &["up"]).unwrap_err();
        let plan = migrate::read(&dir, Format::Auto).unwrap();
        migrate::apply(&mut ours.connect().await, &plan, None, &mut |_| {}).await.unwrap_err();
        assert_eq!(ours.schema(CHECKSUMS), theirs.schema(CHECKSUMS));
        assert_eq!(versions(&ours).await, versions(&theirs).await);
    }
}
