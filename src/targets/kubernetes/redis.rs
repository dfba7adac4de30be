//! Redis in a cluster.

use std::sync::Arc;

use serde::Serialize;

use super::place::Site;
use super::workload::{Deployment, Probe};
use super::{Kubernetes, template};
use crate::run::{Failure, Step};
use crate::targets::handles::RedisParts;
use crate::targets::redis_conf::redis_conf;
use crate::targets::{Endpoint, Redis, RedisRequest, probe};

const PORT: u16 = 6379;

/// The variables of `manifests/redis.yaml`.
#[derive(Serialize)]
struct Values<'a> {
    name: &'a str,
    namespace: &'a str,
    run: &'a str,
    image: &'a str,
    password: &'a str,
    configuration: String,
}

impl Kubernetes {
    pub(super) async fn start_redis(
        &self,
        step: &Step,
        site: Arc<Site>,
        request: RedisRequest,
    ) -> Result<Redis, Failure> {
        let password = if request.password.as_deref() == Some("") {
            String::new()
        } else {
            self.run.secret(request.password.clone())?
        };
        let values = Values {
            name: &request.name,
            namespace: &site.space.namespace,
            run: &site.space.run,
            image: &request.image,
            password: &password,
            configuration: redis_conf("0.0.0.0", PORT, &password, &request.settings),
        };
        let manifest = template::render(request.manifest.as_ref(), &template::REDIS, &values)?;
        let ways = (request.name.as_str(), request.host_port, &[PORT][..]);
        let reached = self.put_up(step, &site, manifest, &request.image, ways).await?;
        let host = reached.endpoints[0].clone();
        let deployment = Deployment {
            name: request.name.clone(),
            probe: Probe::Redis(probe::redis_client(&host, &password)?),
            forward: reached.process,
            provenance: None,
            adopted: false,
            site: site.clone(),
        };
        let redis = Redis(Arc::new(RedisParts {
            internal: Endpoint { host: format!("{}.{}.svc", request.name, site.space.namespace), port: PORT },
            host,
            name: request.name,
            password,
            workload: Arc::new(deployment),
        }));
        redis.0.workload.ready(step, request.timeout).await?;
        Ok(redis)
    }
}
