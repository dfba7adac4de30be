//! What becomes of each primitive's steps in a run that takes an environment
//! over, and the things that they have made.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use rhai::{Dynamic, Map};
use serde_json::Value;

use super::kept;
use super::services::workload;
use crate::run::{Failure, Step};
use crate::script::{Environment, Policy, Reusing};
use crate::targets::Cluster;

pub(super) const REUSING: Reusing = Reusing { policy, verify, remove, address };

fn policy(primitive: &str) -> Policy {
    match primitive {
        "create_cluster" => Policy::Place("cluster"),
        "create_namespace" => Policy::Place("namespace"),
        "deploy_postgres" | "deploy_redis" | "deploy_service" => Policy::Thing,
        // A reset that is done again would undo the statements after it, which are not.
        "sql" | "redis_command" | "reset" => Policy::Effect,
        "random_password" => Policy::Secret,
        "random_port" => Policy::Value,
        "sh" => Policy::Again("run again: what a command depends on is not known"),
        "exec" => Policy::Again("run again: what a command changes is not known"),
        "apply_manifest" => Policy::Again("applied again: Kubernetes changes only what differs"),
        _ => Policy::Again(""),
    }
}

fn verify(
    known: Value,
    environment: Arc<Environment>,
    step: Step,
) -> BoxFuture<'static, Result<Dynamic, Failure>> {
    async move {
        let target = environment.target.clone();
        let handle = kept::open(known, environment).await?;
        if let Some(cluster) = handle.clone().try_cast::<Cluster>() {
            target.rejoin(&cluster).await?;
        }
        if let Some(workload) = workload(&handle) {
            workload.ready(&step, target.patience()).await?;
        }
        Ok(handle)
    }
    .boxed()
}

fn remove(name: String, environment: Arc<Environment>) -> BoxFuture<'static, Result<(), Failure>> {
    async move { environment.target.remove(&name).await }.boxed()
}

/// A server that is made anew keeps its password and its port, so that URLs
/// which people hold stay true.
fn address(known: &Value) -> Map {
    let mut options = Map::new();
    if let Some(password) = known["password"].as_str() {
        options.insert("password".into(), password.into());
    }
    if let (Some("127.0.0.1"), Some(port)) = (known["host"]["host"].as_str(), known["host"]["port"].as_i64())
    {
        options.insert("host_port".into(), port.into());
    }
    options
}
