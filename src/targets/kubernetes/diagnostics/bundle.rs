//! A folder of files, each of which may fail to come.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::Collected;
use crate::run::Secrets;

/// Holds the whole object again, secrets and all, in a form that hides them
/// from masking.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A folder that is being filled.
pub(super) struct Bundle {
    path: PathBuf,
    secrets: Secrets,
    deadline: Instant,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    written: usize,
    missing: Vec<String>,
}

impl Bundle {
    pub(super) fn create(path: &Path, secrets: Secrets, deadline: Instant) -> io::Result<Self> {
        fs_err::create_dir_all(path)?;
        Ok(Self { path: path.to_owned(), secrets, deadline, files: Mutex::default() })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the API answers before the deadline; what it does not is noted.
    pub(super) async fn have<T>(
        &self,
        what: &str,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Option<T> {
        let why = match timeout_at(self.deadline, answer).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(kube::Error::Api(status))) => status.message,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the cluster did not answer in time".to_owned(),
        };
        self.files().missing.push(format!("{what}: {why}"));
        None
    }

    /// Writes a file, without secrets.
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        let folder = path.parent().unwrap_or(&self.path);
        let text = self.secrets.masked(text);
        let written = fs_err::create_dir_all(folder).and_then(|()| fs_err::write(&path, text));
        let mut files = self.files();
        match written {
            Ok(()) => files.written += 1,
            Err(error) => files.missing.push(format!("{name}: {error}")),
        }
    }

    /// Writes an object as YAML, without secrets and bookkeeping.
    pub(super) fn describe<K: Resource<DynamicType = ()> + Serialize + Clone>(&self, name: &str, object: &K) {
        let mut object = object.clone();
        object.meta_mut().managed_fields = None;
        object.annotations_mut().remove(LAST_APPLIED);
        let yaml = serde_json::to_value(&object).map_err(|error| error.to_string()).and_then(|mut value| {
            // Before it is YAML, which would break up long lines and escape.
            self.secrets.mask_json(&mut value);
            serde_norway::to_string(&value).map_err(|error| error.to_string())
        });
        match yaml {
            Ok(yaml) => self.write(name, &yaml),
            Err(error) => self.files().missing.push(format!("{name}: {error}")),
        }
    }

    /// Writes all objects of a kind.
    pub(super) async fn objects<K>(&self, api: Api<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let kind = K::kind(&());
        let Some(objects) = self.have(&K::plural(&()), api.list(&ListParams::default())).await else {
            return;
        };
        for object in &objects.items {
            self.describe(&format!("objects/{kind}-{}.yaml", object.name_any()), object);
        }
    }

    /// Says what is missing, and what is there.
    pub(super) fn close(self) -> Collected {
        let missing = self.files().missing.clone();
        if !missing.is_empty() {
            self.write("missing.txt", &(missing.join("\n") + "\n"));
        }
        let Files { written, missing } = self.files.into_inner().unwrap_or_else(PoisonError::into_inner);
        Collected { path: self.path, files: written, missing }
    }
}
