//! Databases: asking and changing them.

use futures::FutureExt;
use redis::Value;
use rhai::{Array, Dynamic, Map};
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::{Kind as SqlKind, Type as SqlType};
use tokio_postgres::{Column, SimpleQueryMessage, Statement};

use super::Done;
use crate::fault::{self, Seam};
use crate::run::failure::word_length;
use crate::run::{Excerpt, Failure, Kind};
use crate::script::json::{from_json, to_json};
use crate::script::{Arguments, Call, Family, Param, Primitive, Reach, Run, Type};
use crate::targets::{Endpoint, Postgres, Redis, Session};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "sql",
        family: Family::Data,
        reach: Reach::Programs,
        params: &[
            Param::new("postgres", Type::Handle("Postgres")),
            Param::new("text", Type::String),
            Param::optional("params", Type::Array),
        ],
        options: &[],
        returns: "array of maps",
        doc: "Runs SQL and returns the rows, each a map from column to value.\n\n\
              `params` are the values of `$1`, `$2` and so on. Numbers, booleans, text, JSON and NULL become script \
              values; other types come as PostgreSQL writes them. Without `params` the text may hold several \
              statements; the rows of the last one are returned, their values as text.",
        example: r#"let pg = deploy_postgres(create_cluster("demo"));
sql(pg, "CREATE TABLE fruit (name text, price int)");
sql(pg, "INSERT INTO fruit VALUES ($1, $2), ('pear', 3)", ["apple", 2]);
for row in sql(pg, "SELECT * FROM fruit ORDER BY price") {
    print(`${row.name}: ${row.price}`);
}"#,
        run: Run::Step(|call, args| sql(call, args).boxed()),
    },
    Primitive {
        name: "redis_command",
        family: Family::Data,
        reach: Reach::Programs,
        params: &[Param::new("redis", Type::Handle("Redis")), Param::new("command", Type::Array)],
        options: &[],
        returns: "any",
        doc: "Sends one command to Redis and returns its reply.\n\nA nil reply is `()`, a status is a string.",
        example: r#"let redis = deploy_redis(create_cluster("demo"));
redis_command(redis, ["RPUSH", "queue", "a", "b"]);
print(redis_command(redis, ["LLEN", "queue"]));"#,
        run: Run::Step(|call, args| redis_command(call, args).boxed()),
    },
];

/// Connects to the database.
pub(super) async fn connect(postgres: &Postgres) -> Result<Session, Failure> {
    match postgres.0.workload.session() {
        Some(session) => Ok(session),
        None => connect_to(postgres, &postgres.0.database).await,
    }
}

/// Connects to another database of the server.
pub(super) async fn connect_to(postgres: &Postgres, database: &str) -> Result<Session, Failure> {
    let silent = || silent(&postgres.0.name, &postgres.0.host);
    fault::at(Seam::Sql).await.map_err(|error| silent().cause(error))?;
    Session::open(&postgres.config(), database).await.map_err(|error| silent().cause(error))
}

fn silent(name: &str, host: &Endpoint) -> Failure {
    Failure::new(Kind::Unreachable, format!("`{name}` does not answer at {host}")).hint(log_of(name))
}

/// Where a server says why it does not answer.
pub(super) fn log_of(name: &str) -> String {
    format!("`recipe logs RUN {name}` shows its log")
}

async fn sql(_call: Call, args: Arguments) -> Done {
    let session = connect(&args.the::<Postgres>("postgres")).await?;
    let (text, params) = (args.text("text"), args.array("params").unwrap_or_default());
    let refused = |error: tokio_postgres::Error| sql_failure(&error, &text);
    fault::sql(&session.client).await;
    let prepared = match session.client.prepare(&text).await {
        Ok(prepared) => Some(prepared),
        // Several statements cannot be prepared together.
        Err(error) if error.code() == Some(&SqlState::SYNTAX_ERROR) && params.is_empty() => None,
        Err(error) => return Err(refused(error)),
    };
    let types = prepared.as_ref().map_or(&[][..], Statement::params);
    if types.len() != params.len() {
        let (wanted, given) = (types.len(), params.len());
        let what = format!("the statement has {wanted} parameters, but {given} values were given");
        return Err(Failure::new(Kind::Usage, what));
    }
    let messages = if params.is_empty() {
        session.client.simple_query(&text).await.map_err(refused)?
    } else {
        // The text protocol lets PostgreSQL read each value as the type that
        // its parameter has.
        session.client.batch_execute(&format!("PREPARE recipe AS {text}")).await.map_err(refused)?;
        let values: Vec<_> = params.iter().zip(types).map(|(value, ty)| literal(value, ty)).collect();
        let execute = format!("EXECUTE recipe({})", values.join(", "));
        // Places in this text are none in the recipe's.
        session.client.simple_query(&execute).await.map_err(|error| sql_failure(&error, ""))?
    };
    let columns = prepared.iter().flat_map(|prepared| prepared.columns().iter().map(Column::type_));
    Ok(rows(&messages, &columns.collect::<Vec<_>>()).into())
}

/// The rows of the last statement. Where the types of its columns are not
/// known, values are text.
fn rows(messages: &[SimpleQueryMessage], types: &[&SqlType]) -> Array {
    let mut rows = Array::new();
    let mut complete = false;
    for message in messages {
        if std::mem::take(&mut complete) {
            rows.clear();
        }
        match message {
            SimpleQueryMessage::Row(row) => {
                let columns = row.columns().iter().enumerate();
                let fields = columns
                    .map(|(i, column)| (column.name().into(), value(row.get(i), types.get(i).copied())));
                rows.push(fields.collect::<Map>().into());
            }
            SimpleQueryMessage::CommandComplete(_) => complete = true,
            _ => {}
        }
    }
    rows
}

fn value(text: Option<&str>, ty: Option<&SqlType>) -> Dynamic {
    let Some(text) = text else { return Dynamic::UNIT };
    let parsed = match ty {
        Some(&SqlType::BOOL) => Some((text == "t").into()),
        Some(&(SqlType::INT2 | SqlType::INT4 | SqlType::INT8 | SqlType::OID)) => {
            text.parse::<i64>().ok().map(Into::into)
        }
        Some(&(SqlType::FLOAT4 | SqlType::FLOAT8)) => text.parse::<f64>().ok().map(Into::into),
        Some(&(SqlType::JSON | SqlType::JSONB)) => {
            serde_json::from_str(text).ok().map(|json| from_json(&json))
        }
        _ => None,
    };
    parsed.unwrap_or_else(|| text.into())
}

/// A value as a literal of SQL, for a parameter of type `ty`.
fn literal(value: &Dynamic, ty: &SqlType) -> String {
    if value.is_unit() {
        return "NULL".to_owned();
    }
    let text = if let (Some(items), SqlKind::Array(_)) = (value.read_lock::<Array>(), ty.kind()) {
        array(&items)
    } else if value.is_map() || value.is_array() {
        to_json(value).to_string()
    } else {
        value.to_string()
    };
    // The E form means the same whatever standard_conforming_strings is.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// An array as PostgreSQL writes it.
fn array(items: &Array) -> String {
    let item = |item: &Dynamic| match item.read_lock::<Array>() {
        Some(items) => array(&items),
        None if item.is_unit() => "NULL".to_owned(),
        None if item.is_map() => quoted(&to_json(item).to_string()),
        None => quoted(&item.to_string()),
    };
    format!("{{{}}}", items.iter().map(item).collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn sql_failure(error: &tokio_postgres::Error, text: &str) -> Failure {
    let Some(refusal) = error.as_db_error() else {
        return Failure::new(Kind::Unreachable, format!("PostgreSQL was lost: {error}"))
            .hint("`recipe logs RUN` shows its log");
    };
    let mut message = format!("{} (SQLSTATE {})", refusal.message(), refusal.code().code());
    if let Some(detail) = refusal.detail() {
        message.push_str(&format!("; {detail}"));
    }
    let mut failure = Failure::new(Kind::Sql, message);
    failure.hint = refusal.hint().map(str::to_owned);
    if let (Some(ErrorPosition::Original(at)), false) = (refusal.position(), text.is_empty()) {
        let offset = text.char_indices().nth(*at as usize - 1).map_or(text.len(), |(i, _)| i);
        failure.excerpt = Some(mark("the SQL", text, offset));
    }
    failure
}

/// Marks the word at byte `offset` of a text.
pub(super) fn mark(file: &str, text: &str, offset: usize) -> Excerpt {
    let span = (offset, word_length(&text[offset..]));
    Excerpt { file: file.to_owned(), text: text.into(), span, label: "here".to_owned() }
}

async fn redis_command(_call: Call, args: Arguments) -> Done {
    let redis = args.the::<Redis>("redis");
    let words = args.array("command").unwrap_or_default();
    let Some((name, rest)) = words.split_first() else {
        return Err(
            Failure::new(Kind::Usage, "the command is empty").hint("name a command, as in [\"PING\"]")
        );
    };
    let mut command = redis::cmd(&name.to_string());
    for word in rest {
        command.arg(word.to_string());
    }
    let silent = || silent(&redis.0.name, &redis.0.host);
    let unreachable = |error: redis::RedisError| silent().cause(error);
    fault::at(Seam::Redis).await.map_err(|error| silent().cause(error))?;
    let client = redis::Client::open(redis.url()).map_err(unreachable)?;
    let mut connection = client.get_multiplexed_async_connection().await.map_err(unreachable)?;
    let reply: Value = command.query_async(&mut connection).await.map_err(|error| match error.code() {
        Some(_) => Failure::new(Kind::Redis, format!("{name}: {error}")),
        None => unreachable(error),
    })?;
    Ok(from_redis(reply))
}

fn from_redis(value: Value) -> Dynamic {
    match value {
        Value::Nil => Dynamic::UNIT,
        Value::Int(number) => number.into(),
        Value::Double(number) => number.into(),
        Value::Boolean(flag) => flag.into(),
        Value::Okay => "OK".into(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.into(),
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        Value::Array(items) | Value::Set(items) => {
            items.into_iter().map(from_redis).collect::<Array>().into()
        }
        Value::Map(pairs) => {
            let pair = |(key, value)| (from_redis(key).to_string().into(), from_redis(value));
            pairs.into_iter().map(pair).collect::<Map>().into()
        }
        other => format!("{other:?}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_cannot_be_left() {
        let array: Array = vec![1_i64.into(), r#"a"b\"#.into(), Dynamic::UNIT];
        for (value, ty, expected) in [
            (Dynamic::from("it's \\ fine"), SqlType::TEXT, r"E'it''s \\ fine'"),
            (Dynamic::from(5_i64), SqlType::INT4, "E'5'"),
            (true.into(), SqlType::BOOL, "E'true'"),
            (Dynamic::UNIT, SqlType::TEXT, "NULL"),
            (array.into(), SqlType::TEXT_ARRAY, r#"E'{"1","a\\"b\\\\",NULL}'"#),
            (vec![Dynamic::from(1_i64)].into(), SqlType::JSONB, "E'[1]'"),
        ] {
            assert_eq!(literal(&value, &ty), expected);
        }
    }
}
