//! Services on this machine.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::adopt::ServiceOwn;
use super::{Local, ready};
use crate::run::child::{Children, Command, exit_code};
use crate::run::{Failure, Kind, Step, not_executed};
use crate::supervise::{Signal, Spawn, StopPolicy};
use crate::targets::handles::{ServiceParts, empty_command};
use crate::targets::process::SupervisedProcess;
use crate::targets::variables::{expand, port_variable, substitute};
use crate::targets::{Endpoint, Executed, Service, ServiceRequest, Workload, probe};

/// Variables of this process that a service keeps: a container would have them
/// from its image.
const INHERITED: [&str; 6] = ["PATH", "HOME", "USER", "LANG", "TMPDIR", "TZ"];

impl Local {
    pub(super) async fn start_service(&self, request: ServiceRequest) -> Result<Service, Failure> {
        if request.replicas != 1 {
            return Err(Failure::new(
                Kind::Unsupported,
                "the target `local` runs one process of each service",
            )
            .hint("leave out `replicas`, or deploy it under several names"));
        }
        let command = command_line(&request)?;
        let home = self.home(&request.name, None)?;
        let files = home.join("files");
        write_files(&files, &request.files)?;
        let ports = self.ports(&request).await?;

        let mut env: BTreeMap<String, String> = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect();
        env.insert("FILES".to_owned(), files.display().to_string());
        // What a container has for itself, the local target tells: listen here.
        env.insert("HOST".to_owned(), "127.0.0.1".to_owned());
        for (name, endpoint) in &ports {
            env.insert(port_variable(name), endpoint.port.to_string());
        }
        let env = expand(env, &request.env);
        let mut command = command.into_iter().map(|word| substitute(&word, &env));
        let program = command.next().unwrap_or_default();
        let process = self
            .run
            .spawn(Spawn {
                name: request.name.clone(),
                log: self.run.folder.log(&request.name),
                program: program.into(),
                args: command.collect(),
                env: env.clone(),
                cwd: home.clone(),
                user: None,
                stop: StopPolicy { signal: Signal::Term, grace_ms: 5000, wave: 0 },
                on_supervisor_death: Signal::Kill,
                overlay: None,
            })
            .await?;
        let (main, more): (Vec<_>, Vec<_>) = ports.into_iter().partition(|(name, _)| name.is_empty());
        let main = main.into_iter().next().map(|(_, endpoint)| endpoint);
        Ok(Service(Arc::new(ServiceParts {
            name: request.name,
            host: main.clone(),
            internal: main.clone(),
            ports: more,
            workload: Arc::new(ServiceProcess {
                process,
                endpoint: main,
                path: request.ready,
                env,
                home,
                children: self.run.children.clone(),
            }),
        })))
    }

    /// Ports on this machine, by name; the main one's is empty.
    async fn ports(&self, request: &ServiceRequest) -> Result<Vec<(String, Endpoint)>, Failure> {
        let mut ports = Vec::new();
        let main = request.port.map(|_| (String::new(), request.host_port));
        for (name, preferred) in main.into_iter().chain(request.ports.keys().map(|name| (name.clone(), None)))
        {
            let port = self.deployed.port(&request.name, preferred).await?;
            ports.push((name, Endpoint { host: "127.0.0.1".to_owned(), port }));
        }
        Ok(ports)
    }
}

/// The command as in a container: `command` replaces the image's program, in
/// which its own name means the program; `args` follow.
fn command_line(request: &ServiceRequest) -> Result<Vec<String>, Failure> {
    let binary = request.image.as_ref().and_then(|image| image.binary.as_ref());
    let mut words = match (&request.command, binary) {
        (Some(command), _) if command.is_empty() => {
            return Err(
                Failure::new(Kind::Usage, "option `command` is empty").hint("its first item is the program")
            );
        }
        (Some(command), binary) => {
            let mut words = command.clone();
            if let Some(binary) =
                binary.filter(|binary| binary.file_name().is_some_and(|name| name == words[0].as_str()))
            {
                words[0] = binary.display().to_string();
            }
            words
        }
        (None, Some(binary)) => vec![binary.display().to_string()],
        (None, None) if let Some(image) = &request.image => {
            let what = format!("the target `local` has no container engine to run the image {}", image.name);
            return Err(Failure::new(Kind::Unsupported, what)
                .hint("give the option `command`, which is run on this machine instead"));
        }
        (None, None) => {
            return Err(Failure::new(Kind::Usage, "it is not said what the service runs")
                .hint("give the option `image`, made by build_image, or the option `command`"));
        }
    };
    words.extend(request.args.iter().cloned());
    Ok(words)
}

fn write_files(folder: &Path, files: &BTreeMap<String, String>) -> Result<(), Failure> {
    let failed = |name: &str, error| {
        Failure::new(Kind::Io, format!("the file `{name}` of the service cannot be written")).cause(error)
    };
    std::fs::create_dir(folder).map_err(|error| failed("", error))?;
    for (name, text) in files {
        let plain = Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !plain || name.is_empty() {
            return Err(Failure::new(
                Kind::Usage,
                format!("option `files` has the name `{name}`, which leaves its folder"),
            )
            .hint("name files relative to $(FILES), such as \"config.yaml\""));
        }
        let path = folder.join(name);
        path.parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path))
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .map_err(|error| failed(name, error))?;
    }
    Ok(())
}

/// The running service.
pub(super) struct ServiceProcess {
    pub process: SupervisedProcess,
    pub endpoint: Option<Endpoint>,
    pub path: Option<String>,
    pub env: BTreeMap<String, String>,
    pub home: PathBuf,
    pub children: Children,
}

#[async_trait]
impl Workload for ServiceProcess {
    fn remains(&self) -> serde_json::Value {
        let Self { path, env, home, .. } = self;
        let own = ServiceOwn { path: path.clone(), env: env.clone(), home: home.clone() };
        serde_json::to_value(own).unwrap_or_default()
    }

    async fn ready(&self, step: &Step, timeout: Duration) -> Result<(), Failure> {
        match (&self.endpoint, &self.path) {
            (Some(endpoint), Some(path)) => {
                let url = probe::url(endpoint, path);
                let what = format!("GET {url} to answer 200");
                let probe = || crate::targets::http::probe(&url, 200..=299);
                ready::wait(&self.process, step, &what, timeout, probe).await
            }
            (Some(endpoint), None) => {
                let what = format!("port {} to accept connections", endpoint.port);
                ready::wait(&self.process, step, &what, timeout, || probe::connect(endpoint)).await
            }
            (None, _) => self.process.running(),
        }
    }

    async fn logs(&self, lines: usize) -> Result<String, Failure> {
        Ok(self.process.last_lines(lines))
    }

    async fn exec(&self, step: &Step, command: &[String]) -> Result<Executed, Failure> {
        let Some((program, args)) = command.split_first() else { return Err(empty_command()) };
        let command = Command {
            program: program.into(),
            args: args.iter().map(Into::into).collect(),
            env: self.env.clone(),
            only_env: true,
            cwd: Some(self.home.clone()),
            ..Command::default()
        };
        let finished = self.children.run(&command, |stream, line| step.output(stream, line)).await;
        let finished = finished.map_err(|error| not_executed(&format!("`{program}`"), error))?;
        let code = exit_code(finished.status);
        Ok(Executed { code, stdout: finished.stdout, stderr: finished.stderr })
    }
}
