//! Values of scripts written down, and read again.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rhai::{Array, Dynamic, Map};
use serde_json::Value;

use crate::run::Failure;
use crate::script::Environment;
use crate::script::json::{from_json, to_json};
use crate::targets::kept::{Handle, Kept};
use crate::targets::{Cluster, Image, Postgres, Redis, Service};

/// A value as JSON, handles in full. None of what ends with the process, such
/// as closures.
pub(super) fn keep(value: &Dynamic) -> Option<Value> {
    if let Some(handle) = handle(value) {
        return serde_json::to_value(Kept::from(&handle)).ok();
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(keep).collect::<Option<Vec<_>>>().map(Value::Array);
    }
    if let Some(map) = value.read_lock::<Map>() {
        let fields = map.iter().map(|(key, value)| Some((key.to_string(), keep(value)?)));
        return fields.collect::<Option<serde_json::Map<_, _>>>().map(Value::Object);
    }
    let is_plain = value.is_unit()
        || value.is_string()
        || value.is_int()
        || value.is_float()
        || value.is_bool()
        || value.is_char();
    is_plain.then(|| to_json(value))
}

fn handle(value: &Dynamic) -> Option<Handle> {
    if let Some(cluster) = value.read_lock::<Cluster>() {
        Some(Handle::Cluster(cluster.clone()))
    } else if let Some(image) = value.read_lock::<Image>() {
        Some(Handle::Image(image.clone()))
    } else if let Some(postgres) = value.read_lock::<Postgres>() {
        Some(Handle::Postgres(postgres.clone()))
    } else if let Some(redis) = value.read_lock::<Redis>() {
        Some(Handle::Redis(redis.clone()))
    } else {
        value.read_lock::<Service>().map(|service| Handle::Service(service.clone()))
    }
}

/// Reads what [`keep`] has written, and opens the handles in it.
pub(super) fn open(
    value: Value,
    environment: Arc<Environment>,
) -> BoxFuture<'static, Result<Dynamic, Failure>> {
    async move {
        if let Ok(kept) = serde_json::from_value::<Kept>(value.clone()) {
            let secrets = match &kept {
                Kept::Postgres { password, .. } | Kept::Redis { password, .. } => Some(password.as_str()),
                _ => None,
            };
            secrets.filter(|secret| !secret.is_empty()).into_iter().for_each(|secret| {
                environment.secrets.add(secret);
            });
            return Ok(match kept.open(&*environment.target).await? {
                Handle::Cluster(handle) => Dynamic::from(handle),
                Handle::Image(handle) => Dynamic::from(handle),
                Handle::Postgres(handle) => Dynamic::from(handle),
                Handle::Redis(handle) => Dynamic::from(handle),
                Handle::Service(handle) => Dynamic::from(handle),
            });
        }
        Ok(match value {
            Value::Array(items) => {
                let mut opened = Array::with_capacity(items.len());
                for item in items {
                    opened.push(open(item, environment.clone()).await?);
                }
                opened.into()
            }
            Value::Object(fields) => {
                let mut opened = Map::new();
                for (key, value) in fields {
                    opened.insert(key.into(), open(value, environment.clone()).await?);
                }
                opened.into()
            }
            plain => from_json(&plain),
        })
    }
    .boxed()
}
