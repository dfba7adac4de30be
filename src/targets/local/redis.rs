//! Redis on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::home::write_private;
use super::servers::{find_redis, unprivileged};
use super::{Local, ready};
use crate::run::{Failure, Step};
use crate::supervise::{Signal, Spawn, StopPolicy};
use crate::targets::handles::RedisParts;
use crate::targets::process::SupervisedProcess;
use crate::targets::redis_conf::redis_conf;
use crate::targets::{Endpoint, Redis, RedisRequest, Workload, probe};

impl Local {
    pub(super) async fn start_redis(&self, step: &Step, request: RedisRequest) -> Result<Redis, Failure> {
        let program = find_redis()?;
        let user = unprivileged(&["redis"]);
        let password = if request.password.as_deref() == Some("") {
            String::new()
        } else {
            self.run.secret(request.password.clone())?
        };
        let home = self.home(&request.name, user)?;
        let port = self.deployed.port(&request.name, request.host_port).await?;
        // In a file, because arguments show in the list of processes.
        let configuration = home.join("redis.conf");
        write_private(&configuration, &redis_conf("127.0.0.1", port, &password, &request.settings), user)?;

        let process = self
            .run
            .spawn(Spawn {
                name: request.name.clone(),
                log: self.run.folder.log(&request.name),
                program,
                args: vec![configuration.display().to_string()],
                env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
                cwd: home,
                user,
                // It has nothing to save, so it need not be asked first.
                stop: StopPolicy { signal: Signal::Kill, grace_ms: 1000, wave: 1 },
                on_supervisor_death: Signal::Kill,
                overlay: None,
            })
            .await?;
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port };
        let client = probe::redis_client(&endpoint, &password)?;
        let redis = Redis(Arc::new(RedisParts {
            name: request.name,
            host: endpoint.clone(),
            internal: endpoint,
            password,
            workload: Arc::new(RedisProcess { process, client }),
        }));
        redis.0.workload.ready(step, request.timeout).await?;
        Ok(redis)
    }
}

/// The running server.
pub(super) struct RedisProcess {
    pub process: SupervisedProcess,
    pub client: ::redis::Client,
}

#[async_trait]
impl Workload for RedisProcess {
    async fn ready(&self, step: &Step, timeout: Duration) -> Result<(), Failure> {
        let probe = || probe::ping(&self.client);
        ready::wait(&self.process, step, "Redis to answer PING", timeout, probe).await
    }

    async fn logs(&self, lines: usize) -> Result<String, Failure> {
        Ok(self.process.last_lines(lines))
    }
}
