//! Handles written down, so that a later process can open them again.
//!
//! They hold passwords: whoever writes them to a file lets only its owner read it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::handles::{PostgresParts, RedisParts, ServiceParts};
use super::{Cluster, Endpoint, Image, Postgres, Redis, Service, Target};
use crate::run::Failure;

/// A handle without the connection to what it stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "handle")]
#[expect(missing_docs, reason = "the fields are those of the handles")]
pub enum Kept {
    /// A [`Cluster`].
    Cluster { name: Arc<str>, namespace: Option<Arc<str>>, kubeconfig: Option<PathBuf> },
    /// An [`Image`].
    Image { name: Arc<str>, binary: Option<PathBuf>, reference: Option<Arc<str>>, digest: Arc<str> },
    /// A [`Postgres`].
    Postgres {
        name: String,
        host: Endpoint,
        internal: Endpoint,
        user: String,
        password: String,
        database: String,
        /// What its target needs beside that.
        own: Value,
    },
    /// A [`Redis`].
    Redis { name: String, host: Endpoint, internal: Endpoint, password: String, own: Value },
    /// A [`Service`].
    Service {
        name: String,
        host: Option<Endpoint>,
        internal: Option<Endpoint>,
        ports: Vec<(String, Endpoint)>,
        own: Value,
    },
}

/// A handle of any sort.
#[expect(missing_docs, reason = "the variants are the handles")]
pub enum Handle {
    Cluster(Cluster),
    Image(Image),
    Postgres(Postgres),
    Redis(Redis),
    Service(Service),
}

impl From<&Handle> for Kept {
    fn from(handle: &Handle) -> Self {
        match handle {
            Handle::Cluster(Cluster { name, namespace, kubeconfig }) => Self::Cluster {
                name: name.clone(),
                namespace: namespace.clone(),
                kubeconfig: kubeconfig.clone(),
            },
            Handle::Image(Image { name, binary, reference, digest }) => Self::Image {
                name: name.clone(),
                binary: binary.clone(),
                reference: reference.clone(),
                digest: digest.clone(),
            },
            Handle::Postgres(Postgres(parts)) => Self::Postgres {
                name: parts.name.clone(),
                host: parts.host.clone(),
                internal: parts.internal.clone(),
                user: parts.user.clone(),
                password: parts.password.clone(),
                database: parts.database.clone(),
                own: parts.workload.remains(),
            },
            Handle::Redis(Redis(parts)) => Self::Redis {
                name: parts.name.clone(),
                host: parts.host.clone(),
                internal: parts.internal.clone(),
                password: parts.password.clone(),
                own: parts.workload.remains(),
            },
            Handle::Service(Service(parts)) => Self::Service {
                name: parts.name.clone(),
                host: parts.host.clone(),
                internal: parts.internal.clone(),
                ports: parts.ports.clone(),
                own: parts.workload.remains(),
            },
        }
    }
}

impl Kept {
    /// The name of what it stands for.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster { name, .. } | Self::Image { name, .. } => name,
            Self::Postgres { name, .. } | Self::Redis { name, .. } | Self::Service { name, .. } => name,
        }
    }

    /// The ports by which this machine reaches it.
    pub(super) fn ports(&self) -> Vec<u16> {
        match self {
            Self::Cluster { .. } | Self::Image { .. } => Vec::new(),
            Self::Postgres { host, .. } | Self::Redis { host, .. } => vec![host.port],
            Self::Service { host, ports, .. } => {
                host.iter().chain(ports.iter().map(|(_, endpoint)| endpoint)).map(|at| at.port).collect()
            }
        }
    }

    /// Opens the handle again.
    ///
    /// # Errors
    /// When it is gone, or the target cannot open it.
    pub async fn open(&self, target: &dyn Target) -> Result<Handle, Failure> {
        Ok(match self.clone() {
            Self::Cluster { name, namespace, kubeconfig } => {
                Handle::Cluster(Cluster { name, namespace, kubeconfig })
            }
            Self::Image { name, binary, reference, digest } => {
                Handle::Image(Image { name, binary, reference, digest })
            }
            Self::Postgres { name, host, internal, user, password, database, .. } => {
                let workload = target.adopt(self).await?;
                Handle::Postgres(Postgres(Arc::new(PostgresParts {
                    name,
                    host,
                    internal,
                    user,
                    password,
                    database,
                    workload,
                })))
            }
            Self::Redis { name, host, internal, password, .. } => {
                let workload = target.adopt(self).await?;
                Handle::Redis(Redis(Arc::new(RedisParts { name, host, internal, password, workload })))
            }
            Self::Service { name, host, internal, ports, .. } => {
                let workload = target.adopt(self).await?;
                Handle::Service(Service(Arc::new(ServiceParts { name, host, internal, ports, workload })))
            }
        })
    }
}
