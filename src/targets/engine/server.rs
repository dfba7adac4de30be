//! A container that serves for a while, and leaves its files.

use std::collections::BTreeMap;
use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptions, InspectContainerOptions, RemoveContainerOptions,
    StartContainerOptions, StopContainerOptions,
};
use futures::{TryFutureExt, TryStreamExt};

use super::failure::{engine_failure, is_absent};
use super::{Engine, panicked};
use crate::run::{Failure, Kind};

/// Seconds that a server may take to stop.
const GRACE: i32 = 30;

/// What a container runs.
pub struct ServerRequest<'a> {
    /// The container's name, which must be new.
    pub name: &'a str,
    /// An image that the engine has.
    pub image: &'a str,
    /// Its environment. May hold secrets.
    pub env: BTreeMap<&'a str, &'a str>,
    /// Arguments for its entry point.
    pub args: &'a [String],
    /// The TCP port it listens on.
    pub port: u16,
    /// Labels by which it is known.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Starts a container. Returns the port of this machine that leads to it.
    ///
    /// # Errors
    /// When the engine does not take it.
    pub async fn start_server(&self, request: &ServerRequest<'_>) -> Result<u16, Failure> {
        let name = request.name;
        let failed = |error| engine_failure(&format!("the container {name} cannot be started"), error);
        let port = format!("{}/tcp", request.port);
        let loopback = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
        let host = HostConfig {
            port_bindings: Some([(port.clone(), Some(vec![loopback]))].into()),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(request.image.to_owned()),
            env: Some(request.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(request.args.to_vec()),
            labels: Some(request.labels.clone().into_iter().collect()),
            exposed_ports: Some(vec![port.clone()]),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        let engine = self.worked().await.map_err(failed)?;
        engine.create_container(Some(options), body).await.map_err(failed)?;
        engine.start_container(name, None::<StartContainerOptions>).await.map_err(failed)?;
        let found = engine.inspect_container(name, None::<InspectContainerOptions>).await;
        let ports = found.map_err(failed)?.network_settings.and_then(|network| network.ports);
        let bindings = ports.and_then(|mut ports| ports.remove(&port)).flatten();
        let host_port = bindings.and_then(|bindings| bindings.first()?.host_port.as_ref()?.parse().ok());
        host_port.ok_or_else(|| {
            Failure::new(Kind::Unreachable, format!("the engine leads from no port to the container {name}"))
        })
    }

    /// Stops a container by its image's own signal, and waits until it has ended.
    ///
    /// # Errors
    /// When there is none.
    pub async fn stop_server(&self, name: &str) -> Result<(), Failure> {
        let options = StopContainerOptions { t: Some(GRACE), ..Default::default() };
        let stopped = async { self.worked().await?.stop_container(name, Some(options)).await }.await;
        stopped.map_err(|error| engine_failure(&format!("the container {name} cannot be stopped"), error))
    }

    /// Copies the folder `path` of a container into the folder `into`, under its
    /// last name.
    ///
    /// # Errors
    /// When it has no such folder, or the copy cannot be written.
    pub async fn copy_out(&self, name: &str, path: &str, into: &Path) -> Result<(), Failure> {
        let options = DownloadFromContainerOptions { path: path.to_owned() };
        let chunks = async { Ok(self.worked().await?.download_from_container(name, Some(options))) };
        let chunks = chunks.try_flatten_stream().try_collect::<Vec<_>>().await.map_err(|error| {
            engine_failure(&format!("{path} of the container {name} cannot be copied"), error)
        })?;
        let into = into.to_owned();
        let unpack = move || tar::Archive::new(&*chunks.concat()).unpack(into);
        let unpacked = tokio::task::spawn_blocking(unpack).await.map_err(panicked)?;
        unpacked
            .map_err(|error| Failure::new(Kind::Io, format!("{path} cannot be written down")).cause(error))
    }

    /// Removes a container and its volumes, also while it runs. That it is gone
    /// already is well; what has the name and not the label stays.
    ///
    /// # Errors
    /// When the engine does not do it.
    pub async fn remove_server(&self, name: &str, label: (&str, &str)) -> Result<(), Failure> {
        let removed = async {
            let engine = self.worked().await?;
            let found = engine.inspect_container(name, None::<InspectContainerOptions>).await?;
            let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
            // By its identity: the name may be another's by now.
            let Some(id) = found.id.filter(|_| labels.get(label.0).is_some_and(|value| value == label.1))
            else {
                return Ok(());
            };
            let options = RemoveContainerOptions { v: true, force: true, ..Default::default() };
            engine.remove_container(&id, Some(options)).await
        }
        .await;
        match removed {
            Err(error) if !is_absent(&error) => {
                Err(engine_failure(&format!("the container {name} cannot be removed"), error))
            }
            _ => Ok(()),
        }
    }
}
