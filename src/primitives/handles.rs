//! The types of handles, with the properties that scripts read.

use rhai::{Array, Dynamic, Engine, Map};

use crate::script::task::Task;
use crate::targets::{Cluster, Endpoint, Image, Postgres, Redis, Service};

/// Registers all handle types.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Cluster>("Cluster")
        .register_get("name", |cluster: &mut Cluster| cluster.name.to_string())
        .register_get("namespace", |cluster: &mut Cluster| text(cluster.namespace.as_deref()))
        .register_get("kubeconfig", |cluster: &mut Cluster| {
            text(cluster.kubeconfig.as_deref().and_then(std::path::Path::to_str))
        });
    engine
        .register_type_with_name::<Image>("Image")
        .register_get("name", |image: &mut Image| image.name.to_string())
        .register_get("reference", |image: &mut Image| text(image.reference.as_deref()))
        .register_get("digest", |image: &mut Image| image.digest.to_string());
    engine
        .register_type_with_name::<Postgres>("Postgres")
        .register_get("name", |pg: &mut Postgres| pg.0.name.clone())
        .register_get("url", |pg: &mut Postgres| pg.url())
        .register_get("internal_url", |pg: &mut Postgres| pg.internal_url())
        .register_get("host", |pg: &mut Postgres| pg.0.host.host.clone())
        .register_get("port", |pg: &mut Postgres| i64::from(pg.0.host.port))
        .register_get("user", |pg: &mut Postgres| pg.0.user.clone())
        .register_get("password", |pg: &mut Postgres| pg.0.password.clone())
        .register_get("database", |pg: &mut Postgres| pg.0.database.clone());
    engine
        .register_type_with_name::<Redis>("Redis")
        .register_get("name", |redis: &mut Redis| redis.0.name.clone())
        .register_get("url", |redis: &mut Redis| redis.url())
        .register_get("internal_url", |redis: &mut Redis| redis.internal_url())
        .register_get("host", |redis: &mut Redis| redis.0.host.host.clone())
        .register_get("port", |redis: &mut Redis| i64::from(redis.0.host.port))
        .register_get("password", |redis: &mut Redis| redis.0.password.clone());
    engine
        .register_type_with_name::<Service>("Service")
        .register_get("name", |service: &mut Service| service.0.name.clone())
        .register_get("url", |service: &mut Service| url(service.0.host.as_ref()))
        .register_get("internal_url", |service: &mut Service| url(service.0.internal.as_ref()))
        .register_get("host", |s: &mut Service| {
            s.0.host.as_ref().map_or(Dynamic::UNIT, |e| e.host.clone().into())
        })
        .register_get("port", |s: &mut Service| {
            s.0.host.as_ref().map_or(Dynamic::UNIT, |e| i64::from(e.port).into())
        })
        .register_get("urls", |service: &mut Service| {
            let urls = service.0.ports.iter().map(|(name, endpoint)| (name.into(), url(Some(endpoint))));
            urls.collect::<Map>()
        });
    engine.register_fn("to_string", |cluster: &mut Cluster| format!("Cluster({})", cluster.name));
    engine.register_fn("to_string", |image: &mut Image| format!("Image({})", image.name));
    engine.register_fn("to_string", |pg: &mut Postgres| format!("Postgres({} at {})", pg.0.name, pg.0.host));
    engine
        .register_fn("to_string", |redis: &mut Redis| format!("Redis({} at {})", redis.0.name, redis.0.host));
    engine.register_fn("to_string", |service: &mut Service| format!("Service({})", service.0.name));
    engine.register_fn("to_debug", |cluster: &mut Cluster| format!("Cluster({})", cluster.name));
    engine.register_fn("to_debug", |image: &mut Image| format!("Image({})", image.name));
    engine.register_fn("to_debug", |pg: &mut Postgres| format!("Postgres({} at {})", pg.0.name, pg.0.host));
    engine
        .register_fn("to_debug", |redis: &mut Redis| format!("Redis({} at {})", redis.0.name, redis.0.host));
    engine.register_fn("to_debug", |service: &mut Service| format!("Service({})", service.0.name));
}

fn text(value: Option<&str>) -> Dynamic {
    value.map_or(Dynamic::UNIT, |value| value.to_owned().into())
}

fn url(endpoint: Option<&Endpoint>) -> Dynamic {
    endpoint.map_or(Dynamic::UNIT, |endpoint| format!("http://{endpoint}").into())
}

/// The name of a handle; for an array of handles, their names.
pub(super) fn name_of(value: &Dynamic) -> Option<String> {
    if let Some(cluster) = value.read_lock::<Cluster>() {
        Some(cluster.name.to_string())
    } else if let Some(image) = value.read_lock::<Image>() {
        Some(image.name.to_string())
    } else if let Some(postgres) = value.read_lock::<Postgres>() {
        Some(postgres.0.name.clone())
    } else if let Some(redis) = value.read_lock::<Redis>() {
        Some(redis.0.name.clone())
    } else if let Some(service) = value.read_lock::<Service>() {
        Some(service.0.name.clone())
    } else if let Some(task) = value.read_lock::<Task>() {
        Some(task.name().to_owned())
    } else {
        let items = value.read_lock::<Array>()?;
        let names: Vec<_> = items.iter().map(name_of).collect::<Option<_>>()?;
        Some(names.join(", "))
    }
}
