//! What primitives return and take: handles on what was made. Cheap to clone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Session;
use super::migrations::{Migrations, Recalled};
use crate::run::{Failure, Kind, Step};

/// A running thing that can be waited for.
#[async_trait]
pub trait Workload: Send + Sync {
    /// Waits until it does its work, at most `timeout`. Fails at once when it
    /// never will.
    async fn ready(&self, step: &Step, timeout: Duration) -> Result<(), Failure>;

    /// The last `lines` lines of its log, oldest first.
    async fn logs(&self, lines: usize) -> Result<String, Failure>;

    /// A connection to its database that is not needed any more by whoever has
    /// made it.
    fn session(&self) -> Option<Session> {
        None
    }

    /// What its target needs to open it again in a later process, beside the
    /// handle itself. May hold secrets.
    fn remains(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Brings a database as near to what `migrations` make of it as is known
    /// from earlier runs. The rest of them is to be applied, and
    /// [`Workload::migrated`] called when that is done.
    async fn recall(&self, _migrations: &Arc<dyn Migrations>) -> Recalled {
        Recalled::default()
    }

    /// The migrations of the last [`Workload::recall`] are all applied.
    async fn migrated(&self) {}

    /// Runs a command in its surroundings and with its environment. Only
    /// services can.
    async fn exec(&self, _step: &Step, _command: &[String]) -> Result<Executed, Failure> {
        Err(Failure::new(Kind::Unsupported, "commands can be run in services of a recipe only"))
    }
}

/// Output of a command that ran inside a service's environment.
pub struct Executed {
    /// Its exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// What is said of `exec` without a program.
pub(super) fn empty_command() -> Failure {
    Failure::new(Kind::Usage, "the command is empty").hint("name a program, as in [\"ls\", \"-l\"]")
}

/// Where something answers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Endpoint {
    /// A name or address.
    pub host: String,
    /// A TCP port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A place that things are deployed to.
#[derive(Clone)]
pub struct Cluster {
    /// Its name.
    pub name: Arc<str>,
    /// The Kubernetes namespace that things go to, where there are such.
    pub namespace: Option<Arc<str>>,
    /// A kubeconfig for it, where it is one of Kubernetes.
    pub kubeconfig: Option<PathBuf>,
}

/// Something that services run.
#[derive(Clone)]
pub struct Image {
    /// Its name.
    pub name: Arc<str>,
    /// The program on this machine, where it is one.
    pub binary: Option<PathBuf>,
    /// What a container engine or a registry knows it by, where it is a
    /// container image.
    pub reference: Option<Arc<str>>,
    /// A digest of its contents.
    pub digest: Arc<str>,
}

/// A PostgreSQL server with a database of its own.
#[derive(Clone)]
pub struct Postgres(pub Arc<PostgresParts>);

/// What a [`Postgres`] is made of.
pub struct PostgresParts {
    /// Its name.
    pub name: String,
    /// Where this machine reaches it.
    pub host: Endpoint,
    /// Where services of the target reach it.
    pub internal: Endpoint,
    /// The superuser.
    pub user: String,
    /// Its password. Secret.
    pub password: String,
    /// The database.
    pub database: String,
    /// The server.
    pub workload: Arc<dyn Workload>,
}

/// A Redis server.
#[derive(Clone)]
pub struct Redis(pub Arc<RedisParts>);

/// What a [`Redis`] is made of.
pub struct RedisParts {
    /// Its name.
    pub name: String,
    /// Where this machine reaches it.
    pub host: Endpoint,
    /// Where services of the target reach it.
    pub internal: Endpoint,
    /// Its password; empty for none. Secret.
    pub password: String,
    /// The server.
    pub workload: Arc<dyn Workload>,
}

/// A service under test.
#[derive(Clone)]
pub struct Service(pub Arc<ServiceParts>);

/// What a [`Service`] is made of.
pub struct ServiceParts {
    /// Its name.
    pub name: String,
    /// Where this machine reaches its main port; none without ports.
    pub host: Option<Endpoint>,
    /// Where other services reach its main port.
    pub internal: Option<Endpoint>,
    /// Where this machine reaches its further ports, by name.
    pub ports: Vec<(String, Endpoint)>,
    /// The service.
    pub workload: Arc<dyn Workload>,
}

impl Image {
    /// One that is called `reference` where it is to be had.
    #[must_use]
    pub fn named(reference: String) -> Self {
        let reference: Arc<str> = reference.into();
        Self { name: reference.clone(), binary: None, digest: reference.clone(), reference: Some(reference) }
    }
}

impl Postgres {
    /// The connection URL for this machine. Secret.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(&self.0.host)
    }

    /// The connection URL for services of the target. Secret.
    #[must_use]
    pub fn internal_url(&self) -> String {
        self.url_at(&self.0.internal)
    }

    fn url_at(&self, endpoint: &Endpoint) -> String {
        let PostgresParts { user, password, database, .. } = &*self.0;
        format!("postgres://{}:{}@{endpoint}/{}", escape(user), escape(password), escape(database))
    }

    /// The connection settings for this machine.
    #[must_use]
    pub fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.0.host.host)
            .port(self.0.host.port)
            .user(&self.0.user)
            .password(&self.0.password)
            .dbname(&self.0.database)
            .application_name("recipe");
        config
    }
}

impl Redis {
    /// The connection URL for this machine. Secret.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(&self.0.host)
    }

    /// The connection URL for services of the target. Secret.
    #[must_use]
    pub fn internal_url(&self) -> String {
        self.url_at(&self.0.internal)
    }

    fn url_at(&self, endpoint: &Endpoint) -> String {
        match self.0.password.as_str() {
            "" => format!("redis://{endpoint}"),
            // redis-cli takes a missing user for an empty one, which may not log in.
            password => format!("redis://default:{}@{endpoint}", escape(password)),
        }
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_would_break_a_url() {
        assert_eq!(escape("a/b@c:d é"), "a%2Fb%40c%3Ad%20%C3%A9");
    }
}
