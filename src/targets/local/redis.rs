//! Redis on this machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::home::write_private;
use super::process::LocalProcess;
use super::servers::{find_redis, unprivileged};
use super::{Local, ready};
use crate::run::{Failure, Kind, Step};
use crate::supervise::{Signal, Spawn, StopPolicy};
use crate::targets::handles::RedisParts;
use crate::targets::{Endpoint, Redis, RedisRequest, Workload};

impl Local {
    pub(super) async fn start_redis(&self, step: &Step, request: RedisRequest) -> Result<Redis, Failure> {
        let program = find_redis()?;
        let user = unprivileged(&["redis"]);
        let password = if request.password.as_deref() == Some("") {
            String::new()
        } else {
            self.secret(request.password.clone())?
        };
        let home = self.home(&request.name, user)?;
        let port = self.deployed.port(&request.name, request.host_port).await?;
        // In a file, because arguments show in the list of processes.
        let configuration = home.join("redis.conf");
        write_private(&configuration, &configure(port, &password, &request.settings), user)?;

        let process = self
            .spawn(Spawn {
                name: request.name.clone(),
                log: self.folder.log(&request.name),
                program,
                args: vec![configuration.display().to_string()],
                env: BTreeMap::from([("LC_ALL".to_owned(), "C".to_owned())]),
                cwd: home,
                user,
                // It has nothing to save, so it need not be asked first.
                stop: StopPolicy { signal: Signal::Kill, grace_ms: 1000, wave: 1 },
                on_supervisor_death: Signal::Kill,
            })
            .await?;
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port };
        let client = client(&endpoint, &password)?;
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

fn configure(port: u16, password: &str, settings: &BTreeMap<String, String>) -> String {
    let mut text = format!("bind 127.0.0.1\nport {port}\nsave \"\"\nappendonly no\ndaemonize no\n");
    if !password.is_empty() {
        text.push_str(&format!("requirepass {}\n", quote(password)));
    }
    for (name, value) in settings {
        text.push_str(&format!("{name} {}\n", quote(value)));
    }
    text
}

/// A value in the syntax of redis.conf.
fn quote(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

pub(super) fn client(endpoint: &Endpoint, password: &str) -> Result<::redis::Client, Failure> {
    let mut settings = ::redis::RedisConnectionInfo::default();
    if !password.is_empty() {
        settings = settings.set_password(password);
    }
    let address = ::redis::ConnectionAddr::Tcp(endpoint.host.clone(), endpoint.port);
    let info = ::redis::IntoConnectionInfo::into_connection_info(address)
        .map(|info| info.set_redis_settings(settings));
    info.and_then(::redis::Client::open)
        .map_err(|error| Failure::new(Kind::Bug, "the connection settings of Redis are wrong").cause(error))
}

/// The running server.
pub(super) struct RedisProcess {
    pub process: LocalProcess,
    pub client: ::redis::Client,
}

#[async_trait]
impl Workload for RedisProcess {
    async fn ready(&self, step: &Step, timeout: Duration) -> Result<(), Failure> {
        let probe = || async {
            let mut connection =
                self.client.get_multiplexed_async_connection().await.map_err(|error| error.to_string())?;
            ::redis::cmd("PING").exec_async(&mut connection).await.map_err(|error| error.to_string())
        };
        ready::wait(&self.process, step, "Redis to answer PING", timeout, probe).await
    }

    async fn logs(&self, lines: usize) -> Result<String, Failure> {
        Ok(self.process.last_lines(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_values() {
        assert_eq!(quote("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }
}
