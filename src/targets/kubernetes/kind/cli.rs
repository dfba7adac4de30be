//! The program `kind`, always told which engine to speak to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::run::child::{Children, Command, Finished, describe, last_lines};
use crate::run::{Failure, Kind, Step, find_program, not_executed};
use crate::targets::engine::Node;

/// Names the program, where it is not called `kind` or not in `PATH`.
const PROGRAM_VARIABLE: &str = "RECIPE_KIND";

/// How long it may take to remove the containers of a cluster, which takes
/// longest of what needs no run.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program and the variables that lead it to the engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cli {
    program: PathBuf,
    env: BTreeMap<String, String>,
}

impl Cli {
    /// The program that is installed, for the engine that `env` leads to.
    pub(super) fn find(env: BTreeMap<String, String>) -> Result<Self, Failure> {
        let named = std::env::var_os(PROGRAM_VARIABLE).map(PathBuf::from);
        let program = find_program(named.unwrap_or_else(|| "kind".into())).ok_or_else(|| {
            Failure::new(Kind::TargetUnusable, "the program `kind` is not installed").hint(format!(
                "install it from https://kind.sigs.k8s.io, or name it by the variable {PROGRAM_VARIABLE}"
            ))
        })?;
        Ok(Self { program, env })
    }

    /// Makes a cluster by `config`, the text of a configuration file.
    pub(super) async fn create(
        &self,
        step: &Step,
        children: &Children,
        name: &str,
        config: String,
        image: Option<&str>,
        kubeconfig: &Path,
    ) -> Result<(), Failure> {
        let mut args = vec!["create", "cluster", "--name", name, "--config", "-"];
        if let Some(image) = image {
            args.extend(["--image", image]);
        }
        let kubeconfig = kubeconfig.display().to_string();
        args.extend(["--kubeconfig", &kubeconfig]);
        step.waiting("kind to make the cluster");
        let command = Command { stdin: Some(config), ..self.command(&args) };
        let made = children.run(&command, |stream, line| step.output(stream, line)).await;
        let made = made.map_err(|error| self.inexecutable(error))?;
        if made.status.success() { Ok(()) } else { Err(not_made(name, image, &made)) }
    }

    /// The names of all clusters of the engine.
    pub(super) async fn clusters(&self, children: &Children) -> Result<Vec<String>, Failure> {
        self.lines(children, &["get", "clusters"]).await
    }

    /// The containers that are the nodes of a cluster.
    pub(super) async fn nodes(&self, children: &Children, name: &str) -> Result<Vec<Node>, Failure> {
        let names = self.lines(children, &["get", "nodes", "--name", name]).await?;
        Ok(names.into_iter().map(|container| Node { container }).collect())
    }

    /// The kubeconfig of a cluster, for its administrator. Secret.
    pub(super) async fn kubeconfig(&self, name: &str) -> Result<String, Failure> {
        let failed =
            Failure::new(Kind::Command, format!("the kubeconfig of the cluster {name} cannot be had"))
                .hint(format!("`docker ps` tells whether {name}-control-plane runs"));
        self.call(&["get", "kubeconfig", "--name", name], failed).await
    }

    /// Removes a cluster; it is well when there is none.
    pub(in super::super) async fn delete(&self, name: &str) -> Result<(), Failure> {
        let failed = Failure::new(Kind::Command, format!("the cluster {name} cannot be removed"))
            .hint(format!("`kind delete cluster --name {name}` tries it again"));
        self.call(&["delete", "cluster", "--name", name, "--kubeconfig", "/dev/null"], failed).await.map(drop)
    }

    /// What kind prints. Needs no run, and leaves no record of it.
    async fn call(&self, args: &[&str], failed: Failure) -> Result<String, Failure> {
        let mut command = tokio::process::Command::new(&self.program);
        command.args(args).envs(&self.env).stdin(Stdio::null()).kill_on_drop(true);
        let because = |why: String| failed.cause(std::io::Error::other(why));
        match tokio::time::timeout(PATIENCE, command.output()).await {
            Err(_) => Err(because("kind did not end within a minute".to_owned())),
            Ok(Err(error)) => Err(because(error.to_string())),
            Ok(Ok(output)) if output.status.success() => {
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            Ok(Ok(output)) => {
                let told = String::from_utf8_lossy(&output.stderr);
                Err(because(describe(output.status)).evidence(last_lines(&told, 8)))
            }
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        Command {
            program: self.program.clone().into(),
            args: args.iter().map(Into::into).collect(),
            env: self.env.clone(),
            ..Command::default()
        }
    }

    async fn output(&self, children: &Children, args: &[&str]) -> Result<String, Failure> {
        let finished = children.run(&self.command(args), |_, _| {}).await;
        let finished = finished.map_err(|error| self.inexecutable(error))?;
        if finished.status.success() {
            return Ok(finished.stdout);
        }
        let what = format!("`kind {}` ended with {}", args.join(" "), describe(finished.status));
        Err(Failure::new(Kind::Command, what).evidence(finished.tail(8)))
    }

    async fn lines(&self, children: &Children, args: &[&str]) -> Result<Vec<String>, Failure> {
        Ok(self.output(children, args).await?.lines().map(str::to_owned).collect())
    }

    fn inexecutable(&self, error: std::io::Error) -> Failure {
        not_executed(&format!("`{}`", self.program.display()), error)
    }
}

/// A cluster that kind has made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cluster {
    /// As kind knows it.
    pub name: String,
    /// Reaches the engine that its nodes are in.
    pub cli: Cli,
}

impl Cluster {
    /// Its kubeconfig, for its administrator. Secret.
    pub(in super::super) async fn kubeconfig(&self) -> Result<String, Failure> {
        self.cli.kubeconfig(&self.name).await
    }

    /// Whether somebody has removed it.
    pub(in super::super) async fn is_gone(&self) -> bool {
        let unknown = Failure::new(Kind::Command, "kind does not say which clusters there are");
        let all = self.cli.call(&["get", "clusters"], unknown).await;
        all.is_ok_and(|all| all.lines().all(|name| name != self.name))
    }
}

/// Why kind made no cluster, for a person.
fn not_made(name: &str, image: Option<&str>, finished: &Finished) -> Failure {
    let text = &finished.stderr;
    let failure = if text.contains("port is already allocated") || text.contains("address already in use") {
        Failure::new(Kind::PortTaken, "a port of this machine that the cluster is to have is taken")
            .hint("choose another one in the option `ports`, or leave it out: recipe forwards free ports")
    } else if text.contains("already exist for a cluster with the name") {
        Failure::new(Kind::Usage, format!("there is a cluster `{name}` already"))
            .hint(format!("`kind delete cluster --name {name}` removes it"))
    } else if text.contains("failed to pull image") || text.contains("No such image") {
        let image = image.map_or_else(|| "the nodes".to_owned(), |image| format!("the nodes, {image},"));
        Failure::new(Kind::NotFound, format!("the image of {image} is neither here nor can it be pulled"))
            .hint("name one that is here by the option `image` or the variable RECIPE_KIND_NODE_IMAGE")
    } else if text.contains("Cannot connect to the Docker daemon") {
        Failure::new(Kind::TargetUnusable, "the container engine does not answer kind")
    } else {
        Failure::new(Kind::Command, format!("kind ended with {}", describe(finished.status)))
            .hint("`-v` shows all that it says")
    };
    failure.evidence(last_lines(text, 12))
}
