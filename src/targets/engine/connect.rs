//! Finding the container engine, as the CLIs `docker` and `kind` find it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};

use super::docker_config::{ContextEndpoint, DockerConfig};
use super::failure::told;
use super::{Engine, Inner};
use crate::fault::{self, Seam};
use crate::run::{Failure, Kind};

/// A socket that accepts and says nothing belongs to no engine.
const ANSWER: Duration = Duration::from_secs(10);
/// What needs no work is answered in this time even by an engine that is busy.
const PROMPT: Duration = Duration::from_mins(1);
/// Seconds until the engine begins its answer. An export of large images takes
/// minutes before its first byte; those who wait have their own deadlines.
const PATIENCE: u64 = 24 * 60 * 60;

/// Names the kind of engine that the CLI `kind` uses.
const KIND_PROVIDER: &str = "KIND_EXPERIMENTAL_PROVIDER";

/// Kinds of container engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Docker Engine.
    Docker,
    /// Podman.
    Podman,
}

impl Provider {
    /// The name that the CLI `kind` knows it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// A place where an engine may answer.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    certificates: Option<PathBuf>,
    /// What names it, for people.
    named_by: String,
}

impl Place {
    fn new(host: impl Into<String>, named_by: impl Into<String>) -> Self {
        Self { host: host.into(), certificates: None, named_by: named_by.into() }
    }
}

impl Engine {
    /// Finds Docker or Podman: by `DOCKER_HOST`, by the `docker` CLI's current
    /// context, then at the usual sockets; `KIND_EXPERIMENTAL_PROVIDER` decides
    /// first between the two.
    ///
    /// # Errors
    /// Of kind [`Kind::TargetUnusable`] when none answers, saying what was tried.
    pub async fn connect() -> Result<Self, Failure> {
        let config = DockerConfig::read()?;
        let places = places(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()), &config)?;
        let mut tried = Vec::new();
        let mut forbidden = false;
        for place in &places {
            match answer(place).await {
                Ok(engine) => return Ok(engine),
                Err(why) => {
                    forbidden |= why.contains("ermission denied");
                    tried.push(format!("{} ({}): {why}", place.host, place.named_by));
                }
            }
        }
        let hint = if forbidden {
            "this user may not use the engine's socket: join the group `docker`, or use a rootless engine"
        } else {
            "start Docker or Podman (`systemctl start docker`, `systemctl --user start podman.socket`), \
             or set DOCKER_HOST to where it answers"
        };
        Err(Failure::new(Kind::TargetUnusable, "no container engine answers").hint(hint).evidence(tried))
    }
}

/// Where to look, in order.
fn places(variable: &dyn Fn(&str) -> Option<String>, config: &DockerConfig) -> Result<Vec<Place>, Failure> {
    let runtime = variable("XDG_RUNTIME_DIR");
    let home = variable("HOME");
    let podman = || {
        if let Some(host) = variable("CONTAINER_HOST") {
            return vec![Place::new(host, "CONTAINER_HOST")];
        }
        let rootless = runtime.as_ref().map(|folder| format!("unix://{folder}/podman/podman.sock"));
        [Some("unix:///run/podman/podman.sock".to_owned()), rootless]
            .into_iter()
            .flatten()
            .map(|host| Place::new(host, "Podman's usual place"))
            .collect()
    };
    let docker = || {
        if let Some(host) = variable("DOCKER_HOST") {
            let certificates =
                variable("DOCKER_TLS_VERIFY").and_then(|_| variable("DOCKER_CERT_PATH")).map(PathBuf::from);
            return Ok(vec![Place { certificates, ..Place::new(host, "DOCKER_HOST") }]);
        }
        if let Some(name) = config.context() {
            let Some(ContextEndpoint { host, certificates }) = config.endpoint(&name) else {
                let what = format!("docker's context `{name}` does not exist");
                return Err(Failure::new(Kind::TargetUnusable, what).hint(
                    "`docker context ls` lists them; `docker context use default` goes back to the default",
                ));
            };
            return Ok(vec![Place {
                certificates,
                ..Place::new(host, format!("docker's context `{name}`"))
            }]);
        }
        let rootless = runtime.as_ref().map(|folder| format!("unix://{folder}/docker.sock"));
        let desktop = home.as_ref().map(|folder| format!("unix://{folder}/.docker/run/docker.sock"));
        Ok([Some("unix:///var/run/docker.sock".to_owned()), rootless, desktop]
            .into_iter()
            .flatten()
            .map(|host| Place::new(host, "Docker's usual place"))
            .collect::<Vec<_>>())
    };
    match variable(KIND_PROVIDER).as_deref() {
        Some("podman") => Ok(podman()),
        Some("docker") => docker(),
        Some(other) => {
            let what =
                format!("{KIND_PROVIDER} is `{other}`, which recipe cannot build and load images with");
            Err(Failure::new(Kind::TargetUnusable, what).hint("set it to `docker` or `podman`, or unset it"))
        }
        None => {
            let mut places = docker()?;
            // Whoever names a place means that place alone.
            if variable("DOCKER_HOST").is_none() && config.context().is_none() {
                places.extend(podman());
            }
            Ok(places)
        }
    }
}

/// The engine at a place, or why there is none.
async fn answer(place: &Place) -> Result<Engine, String> {
    let docker = client(place)?;
    let introduced = async {
        fault::at(Seam::Docker).await?;
        let docker = docker.negotiate_version().await?;
        let (version, info) = tokio::try_join!(docker.version(), docker.info())?;
        Ok((docker, version, info))
    };
    let (docker, version, info) = tokio::time::timeout(ANSWER, introduced)
        .await
        .map_err(|_| format!("it did not answer in {} s", ANSWER.as_secs()))?
        .map_err(|error| told(&error))?;
    let components = version.components.unwrap_or_default();
    let is_podman = components.iter().any(|component| component.name.contains("Podman"));
    let provider = if is_podman { Provider::Podman } else { Provider::Docker };
    let driver = info.driver_status.unwrap_or_default();
    let on_containerd = driver.iter().flatten().any(|word| word.starts_with("io.containerd.snapshotter"));
    let mut environment = BTreeMap::from([(KIND_PROVIDER.to_owned(), provider.name().to_owned())]);
    // Podman's CLI reads CONTAINER_HOST; the CLI `docker` may stand in for it.
    environment.insert("DOCKER_HOST".to_owned(), place.host.clone());
    if is_podman {
        environment.insert("CONTAINER_HOST".to_owned(), place.host.clone());
    }
    if let Some(certificates) = &place.certificates {
        environment.insert("DOCKER_TLS_VERIFY".to_owned(), "1".to_owned());
        environment.insert("DOCKER_CERT_PATH".to_owned(), certificates.display().to_string());
    }
    Ok(Engine(Arc::new(Inner {
        asked: docker.clone().with_timeout(PROMPT),
        docker,
        provider,
        environment,
        classic_store: !is_podman && !on_containerd,
        architecture: version.arch.unwrap_or_else(|| "amd64".to_owned()),
        builds: Mutex::new(HashMap::new()),
        loads: Mutex::new(HashMap::new()),
        programs: Mutex::new(HashMap::new()),
    })))
}

fn client(place: &Place) -> Result<Docker, String> {
    let host = place.host.as_str();
    let docker = if let Some(path) = host.strip_prefix("unix://") {
        if !Path::new(path).exists() {
            return Err("there is no such socket".to_owned());
        }
        Docker::connect_with_unix(host, PATIENCE, API_DEFAULT_VERSION)
    } else if let Some(folder) = &place.certificates {
        // Fails when it is installed already, which is as good.
        let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::ring::default_provider());
        let file = |name: &str| folder.join(name);
        let (key, cert, ca) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
        Docker::connect_with_ssl(host, &key, &cert, &ca, PATIENCE, API_DEFAULT_VERSION)
    } else if host.starts_with("tcp://") || host.starts_with("http://") {
        Docker::connect_with_http(host, PATIENCE, API_DEFAULT_VERSION)
    } else if host.starts_with("ssh://") {
        return Err("engines behind SSH are not supported; forward the socket with `ssh -L`".to_owned());
    } else {
        return Err("it begins with neither unix:// nor tcp://".to_owned());
    };
    docker.map_err(|error| told(&error))
}

#[cfg(test)]
mod tests {
    use super::super::docker_config::config_in;
    use super::*;

    fn hosts(variables: &[(&str, &str)], config: &str) -> Result<Vec<String>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("config.json"), config).unwrap();
        let variable = |name: &str| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        };
        let places = places(&variable, &config_in(folder.path()))?;
        Ok(places.into_iter().map(|place| place.host).collect())
    }

    #[test]
    fn looks_where_it_is_told_to() {
        let docker = "unix:///var/run/docker.sock";
        let podman = "unix:///run/podman/podman.sock";
        let rootless = ("XDG_RUNTIME_DIR", "/run/user/7");
        assert_eq!(hosts(&[], "{}").unwrap(), [docker, podman]);
        assert_eq!(hosts(&[("DOCKER_HOST", "tcp://x:1")], "{}").unwrap(), ["tcp://x:1"]);
        assert_eq!(
            hosts(&[(KIND_PROVIDER, "podman"), rootless], "{}").unwrap(),
            [podman, "unix:///run/user/7/podman/podman.sock"]
        );
        assert_eq!(
            hosts(&[(KIND_PROVIDER, "docker"), rootless], "{}").unwrap(),
            [docker, "unix:///run/user/7/docker.sock"]
        );
        assert_eq!(
            hosts(&[(KIND_PROVIDER, "podman"), ("CONTAINER_HOST", "unix:///c")], "{}").unwrap(),
            ["unix:///c"]
        );
    }

    #[test]
    fn says_what_cannot_be() {
        let failure = hosts(&[(KIND_PROVIDER, "nerdctl")], "{}").unwrap_err();
        assert!(failure.message.contains("nerdctl"));
        let failure = hosts(&[], r#"{"currentContext":"gone"}"#).unwrap_err();
        assert!(failure.message.contains("context `gone` does not exist"));
    }
}
