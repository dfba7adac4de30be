//! PostgreSQL in a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::place::Site;
use super::workload::{Deployment, Probe};
use super::{Kubernetes, template};
use crate::run::{Failure, Step};
use crate::targets::handles::PostgresParts;
use crate::targets::{Endpoint, Postgres, PostgresRequest, Workload as _};

/// Settings of every server: its data is thrown away, so nothing is synced.
const SETTINGS: [(&str, &str); 5] = [
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_wal_senders", "0"),
    ("wal_level", "minimal"),
];

pub(super) const PORT: u16 = 5432;

/// How every cluster is made.
pub(super) const INITDB: &str =
    // A segment of the log is copied with each cluster: 1 MB instead of 16.
    "--no-sync --encoding=UTF8 --no-locale --wal-segsize=1";

/// The variables of `manifests/postgres.yaml`.
#[derive(Serialize)]
struct Values<'a> {
    name: &'a str,
    namespace: &'a str,
    run: &'a str,
    image: &'a str,
    database: &'a str,
    user: &'a str,
    password: &'a str,
    storage: Option<&'a str>,
    initdb: &'static str,
    start: Option<&'a str>,
    args: Vec<String>,
}

impl Kubernetes {
    pub(super) async fn start_postgres(
        &self,
        step: &Step,
        site: Arc<Site>,
        request: PostgresRequest,
    ) -> Result<Postgres, Failure> {
        let password = self.run.secret(request.password.clone())?;
        let base = self.base(step, &site, &request, &password).await?;
        let values = Values {
            name: &request.name,
            namespace: &site.space.namespace,
            run: &site.space.run,
            image: &base.image,
            database: &request.database,
            user: &request.user,
            password: &password,
            storage: request.storage.as_deref(),
            initdb: INITDB,
            start: base.start.as_deref(),
            args: arguments(&request.settings),
        };
        let manifest = template::render(request.manifest.as_ref(), &template::POSTGRES, &values)?;
        let ways = (request.name.as_str(), request.host_port, &[PORT][..]);
        let reached = self.put_up(step, &site, manifest, &base.image, ways).await?;
        let host = reached.endpoints[0].clone();
        let config = config(&host, &request, &password);
        // Not the database itself: what is kept takes its place only while nobody
        // is connected to it, and a connection takes a while to go.
        let mut first = config.clone();
        if base.keeps() {
            first.dbname("postgres");
        }
        let mut deployment = Deployment {
            name: request.name.clone(),
            probe: Probe::Postgres(Box::new(first)),
            forward: reached.process,
            provenance: None,
            adopted: false,
            site: site.clone(),
        };
        deployment.ready(step, request.timeout).await?;
        deployment.probe = Probe::Postgres(Box::new(config.clone()));
        deployment.provenance = self.provenance(step, base, &request, &config).await?;
        Ok(Postgres(Arc::new(PostgresParts {
            internal: Endpoint { host: format!("{}.{}.svc", request.name, site.space.namespace), port: PORT },
            host,
            name: request.name,
            user: request.user,
            password,
            database: request.database,
            workload: Arc::new(deployment),
        })))
    }
}

pub(super) fn arguments(settings: &BTreeMap<String, String>) -> Vec<String> {
    let ours = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let all: BTreeMap<_, _> = ours.chain(settings.clone()).collect();
    all.into_iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect()
}

fn config(host: &Endpoint, request: &PostgresRequest, password: &str) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host(&host.host).port(host.port).user(&request.user).password(password).dbname(&request.database);
    config
}
