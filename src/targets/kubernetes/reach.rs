//! How this machine reaches what runs in a cluster: a port on 127.0.0.1, and a
//! process behind it that forwards.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::forward::{Forward, SUBCOMMAND};
use super::place::Site;
use super::{Kubernetes, pod};
use crate::run::{Failure, Kind};
use crate::supervise::{Signal, Spawn, StopPolicy};
use crate::targets::Endpoint;
use crate::targets::deployed::supervisor_failure;
use crate::targets::process::SupervisedProcess;

/// The forwarding process of `name`; no server or service can be called so.
pub(super) fn process_of(name: &str) -> String {
    format!("{name}.forward")
}

/// What leads to pods.
pub(super) struct Reached {
    /// On this machine, in the order of the ports they lead to.
    pub endpoints: Vec<Endpoint>,
    /// The process that forwards; none without ports.
    pub process: Option<SupervisedProcess>,
}

impl Kubernetes {
    /// Leads from ports of this machine to `targets`, ports of the pods of
    /// `name`; the first comes from `host_port`, if given.
    pub(super) async fn reach(
        &self,
        site: &Site,
        name: &str,
        host_port: Option<u16>,
        targets: &[u16],
    ) -> Result<Reached, Failure> {
        let mut endpoints = Vec::new();
        let mut ports = BTreeMap::new();
        for (target, preferred) in targets.iter().zip([host_port].into_iter().chain(std::iter::repeat(None)))
        {
            let port = self.deployed.port(name, preferred).await?;
            ports.insert(port, *target);
            endpoints.push(Endpoint { host: "127.0.0.1".to_owned(), port });
        }
        if ports.is_empty() {
            return Ok(Reached { endpoints, process: None });
        }
        let forward = Forward {
            access: site.made.access.clone(),
            namespace: site.space.namespace.to_string(),
            selector: pod::selector(name),
            ports,
        };
        let process = self.forward(name, &forward).await?;
        Ok(Reached { endpoints, process: Some(process) })
    }

    async fn forward(&self, name: &str, forward: &Forward) -> Result<SupervisedProcess, Failure> {
        let file = self.forward_file(name);
        let written = fs_err::write(&file, serde_json::to_vec(forward).unwrap_or_default());
        written.map_err(|error| unmade(name, error))?;
        self.start_forward(name).await
    }

    /// Leads to `name` again where it was led to, if it was.
    pub(super) async fn forward_again(&self, name: &str) -> Result<Option<SupervisedProcess>, Failure> {
        if self.forward_file(name).exists() { self.start_forward(name).await.map(Some) } else { Ok(None) }
    }

    fn forward_file(&self, name: &str) -> PathBuf {
        self.run.scratch.join(format!("{}.json", process_of(name)))
    }

    async fn start_forward(&self, name: &str) -> Result<SupervisedProcess, Failure> {
        let (process, file) = (process_of(name), self.forward_file(name));
        let exe = std::env::current_exe().map_err(|error| unmade(name, error))?;
        let spawn = Spawn {
            name: process.clone(),
            log: self.run.folder.log(&process),
            program: exe,
            args: vec![SUBCOMMAND.to_owned(), file.display().to_string()],
            // Kubeconfigs name programs, files and variables of their user's.
            env: std::env::vars().collect(),
            cwd: self.run.scratch.clone(),
            user: None,
            stop: StopPolicy { signal: Signal::Kill, grace_ms: 1000, wave: 2 },
            on_supervisor_death: Signal::Kill,
            overlay: None,
        };
        self.run.spawn(spawn).await
    }

    /// Ends the port-forward of `name`, if it has one.
    pub(super) async fn unreach(&self, name: &str) -> Result<(), Failure> {
        let process = process_of(name);
        let status = self.run.supervisor.status().await.map_err(supervisor_failure)?;
        if status.processes.iter().any(|known| known.name == process && known.ended.is_none()) {
            self.run.supervisor.stop(&process).await.map_err(supervisor_failure)?;
            self.run.journal.removed("process", &process);
        }
        Ok(())
    }
}

fn unmade(name: &str, error: std::io::Error) -> Failure {
    Failure::new(Kind::Io, format!("the port-forward of `{name}` cannot be made")).cause(error)
}
