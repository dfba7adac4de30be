//! `reset`: back to the database as `migrate` left it.
//!
//! A copy of the database stands beside it, called [`COPY`]. It is made right
//! after `migrate`, before anybody uses the database, and only for recipes that
//! call `reset`: others do not pay for it. Copying the files of a database takes
//! a third of the time that truncating its tables does.

use futures::FutureExt;
use rhai::Dynamic;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::Done;
use super::database::{connect, connect_to, log_of};
use crate::fault;
use crate::run::{Failure, Kind};
use crate::script::{Arguments, Call, Family, Param, Primitive, Reach, Run, Type};
use crate::targets::{Postgres, Session};

/// The copy to go back to.
const COPY: &str = "recipe_copy";
/// What is to be the database.
const NEW: &str = "recipe_new";

pub(super) const TABLE: &[Primitive] = &[Primitive {
    name: "reset",
    family: Family::Data,
    reach: Reach::Run,
    params: &[Param::new("postgres", Type::Handle("Postgres"))],
    options: &[],
    returns: "Postgres",
    doc: "Brings the database back to how the last `migrate` left it, or to an empty one in a recipe without \
          `migrate`, and returns the handle.\n\n\
          The database is replaced by a copy, so that whoever is connected to it is disconnected, and has to connect \
          again. The copy is made by `migrate`, which takes some milliseconds longer in a recipe that calls `reset`. \
          What belongs to the whole server, such as roles, stays as it is.",
    example: r#"let pg = deploy_postgres(create_cluster("demo"));
sql(pg, "CREATE TABLE fruit (name text)");
reset(pg);
print(sql(pg, "SELECT count(*) AS tables FROM pg_tables WHERE schemaname = 'public'")[0].tables);"#,
    run: Run::Step(|call, args| reset(call, args).boxed()),
}];

/// Makes the copy of a database that `primitive` has made, if the recipe may ask
/// for it. `session`, if any, is connected to the database.
pub(super) async fn prepare(
    call: &Call,
    postgres: &Postgres,
    session: Option<Session>,
) -> Result<(), Failure> {
    let host = call.host();
    // A copy of the empty database would only be replaced, and `migrate` finds
    // what is kept only where nothing else was written before.
    let is_early = call.primitive == "deploy_postgres" && host.calls("migrate");
    if !host.may_call("reset") || is_early {
        return Ok(());
    }
    let session = match session {
        Some(session) => session,
        None => connect(postgres).await?,
    };
    let made = async {
        session.client.batch_execute(&format!("DROP DATABASE IF EXISTS {COPY}")).await?;
        copy(&session.client, &postgres.0.database, COPY).await?;
        session.client.batch_execute(&format!("ALTER DATABASE {COPY} ALLOW_CONNECTIONS false")).await
    };
    made.await.map_err(|error| refused(postgres, "the copy that `reset` needs cannot be made", error))
}

async fn reset(_call: Call, args: Arguments) -> Done {
    let postgres = args.the::<Postgres>("postgres");
    let database = &postgres.0.database;
    if database == "postgres" {
        let what = "the database `postgres` cannot be reset, as servers need it";
        return Err(Failure::new(Kind::Unsupported, what)
            .hint("give deploy_postgres another one by the option `database`"));
    }
    let session = connect_to(&postgres, "postgres").await?;
    let failed = |error| refused(&postgres, "the database cannot be reset", error);
    let find = format!("SELECT 1 FROM pg_database WHERE datname = '{COPY}'");
    if session.client.simple_query(&find).await.map_err(failed)?.iter().all(|message| !is_row(message)) {
        let what = format!("there is no copy of the database `{database}` to go back to");
        return Err(Failure::new(Kind::NotFound, what).hint(
            "`migrate` makes one where the recipe calls `reset`, if only in a function that is not called",
        ));
    }
    fault::sql(&session.client).await;
    let replaced = async {
        session.client.batch_execute(&format!("DROP DATABASE IF EXISTS {NEW}")).await?;
        // First, so that the old one stays where there is no room for a new one.
        copy(&session.client, COPY, NEW).await?;
        let name = quoted(database);
        session.client.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        session.client.batch_execute(&format!("ALTER DATABASE {NEW} RENAME TO {name}")).await
    };
    replaced.await.map_err(failed)?;
    Ok(Dynamic::from(postgres))
}

/// Makes the database `to`, which is as `from`, also in what is set for it and
/// in who may use it; `CREATE DATABASE` leaves that out.
async fn copy(client: &Client, from: &str, to: &str) -> Result<(), Error> {
    let version = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await?;
    // The default since 15 writes all of it to the log; before, files are copied.
    let way = if version.try_get::<_, i32>(0)? >= 150_000 { "STRATEGY FILE_COPY" } else { "" };
    client.batch_execute(&format!("CREATE DATABASE {} TEMPLATE {} {way}", quoted(to), quoted(from))).await?;
    let from = from.replace('\'', "''");
    let from = format!("(SELECT oid FROM pg_database WHERE datname = '{from}')");
    let to = format!("(SELECT oid FROM pg_database WHERE datname = '{to}')");
    let settings = format!("FROM pg_db_role_setting WHERE setdatabase = {from}");
    let rights = format!("FROM pg_database old WHERE old.oid = {from}");
    let has = format!(
        "SELECT 1 WHERE EXISTS (SELECT {settings}) OR EXISTS (SELECT {rights} AND (datacl IS NOT NULL OR datconnlimit <> -1))"
    );
    if client.simple_query(&has).await?.iter().all(|message| !is_row(message)) {
        return Ok(());
    }
    let carry = format!(
        "INSERT INTO pg_db_role_setting SELECT {to}, setrole, setconfig {settings}; \
         UPDATE pg_database new SET datacl = old.datacl, datconnlimit = old.datconnlimit {rights} AND new.oid = {to}"
    );
    client.batch_execute(&carry).await
}

fn is_row(message: &SimpleQueryMessage) -> bool {
    matches!(message, SimpleQueryMessage::Row(_))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn refused(postgres: &Postgres, what: &str, error: Error) -> Failure {
    let name = &postgres.0.name;
    let what = format!("{what} on `{name}`");
    let Some(refusal) = error.as_db_error() else {
        return Failure::new(Kind::Unreachable, what).hint(log_of(name)).cause(error);
    };
    let mut failure = Failure::new(Kind::Sql, what);
    failure.hint = refusal.hint().map(str::to_owned);
    failure.cause(error)
}
