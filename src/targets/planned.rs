//! The target of a plan: it has the name of another, and does nothing.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{
    Cluster, ClusterRequest, Image, ImageRequest, Postgres, PostgresRequest, Redis, RedisRequest, Service,
    ServiceRequest, Target, Template,
};
use crate::run::{Failure, Kind, Step};
use crate::supervise::Lease;

/// A target in name only.
pub struct Planned(pub String);

fn refuse<T>() -> Result<T, Failure> {
    Err(Failure::new(Kind::Bug, "a plan sets nothing up"))
}

#[async_trait]
impl Target for Planned {
    fn name(&self) -> &str {
        &self.0
    }

    async fn create_cluster(&self, _: &Step, _: ClusterRequest) -> Result<Cluster, Failure> {
        refuse()
    }

    async fn create_namespace(&self, _: &Step, _: &Cluster, _: String) -> Result<Cluster, Failure> {
        refuse()
    }

    async fn delete_cluster(&self, _: &Step, _: &Cluster) -> Result<(), Failure> {
        refuse()
    }

    async fn build_image(&self, _: &Step, _: ImageRequest) -> Result<Image, Failure> {
        refuse()
    }

    async fn load_image(&self, _: &Step, _: &Cluster, _: &Image) -> Result<Image, Failure> {
        refuse()
    }

    async fn deploy_postgres(&self, _: &Step, _: &Cluster, _: PostgresRequest) -> Result<Postgres, Failure> {
        refuse()
    }

    async fn deploy_redis(&self, _: &Step, _: &Cluster, _: RedisRequest) -> Result<Redis, Failure> {
        refuse()
    }

    async fn deploy_service(&self, _: &Step, _: &Cluster, _: ServiceRequest) -> Result<Service, Failure> {
        refuse()
    }

    async fn apply_manifest(&self, _: &Step, _: &Cluster, _: Template) -> Result<(), Failure> {
        refuse()
    }

    async fn reserve_port(&self) -> Result<u16, Failure> {
        refuse()
    }

    async fn up(&self) -> Vec<String> {
        Vec::new()
    }

    async fn diagnose(&self) -> Option<PathBuf> {
        None
    }

    async fn teardown(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn detach(&self, _: Option<Lease>) -> Result<(), Failure> {
        Ok(())
    }
}
