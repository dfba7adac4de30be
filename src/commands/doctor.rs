//! `recipe doctor`: what each target needs, and how to get what is missing.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Command;

use owo_colors::OwoColorize;
use serde::Serialize;

use super::{Done, terminal};
use crate::cli::{DoctorArgs, Need, Output};
use crate::exit;
use crate::run::folder::runs_directory;
use crate::run::{Failure, Kind, find_program};
use crate::targets::local;

/// Something that a target needs.
#[derive(Serialize)]
struct Finding {
    /// The target, or `recipe`.
    target: &'static str,
    what: &'static str,
    /// Where or what it is; none where it is missing.
    found: Option<String>,
    /// Why it cannot be used.
    problem: Option<String>,
    /// What installs it.
    install: Option<String>,
}

impl Finding {
    fn of(target: &'static str, what: &'static str, found: Result<String, String>) -> Self {
        let (found, problem) = match found {
            Ok(found) => (Some(found), None),
            Err(problem) => (None, Some(problem)),
        };
        Self { target, what, found, problem, install: None }
    }

    fn install(mut self, command: Option<String>) -> Self {
        self.install = command.filter(|_| self.problem.is_some());
        self
    }
}

pub(super) fn doctor(args: &DoctorArgs) -> Done {
    let mut findings = examine(args.target);
    if args.fix {
        for finding in findings.iter().filter(|finding| finding.problem.is_some()) {
            fix(finding, args.yes)?;
        }
        findings = examine(args.target);
    }
    match args.output {
        Output::Json => terminal::print_json(&findings)?,
        Output::Text => terminal::print_coloured(&text(&findings))?,
    }
    // Unless one target is asked for, it is enough that there is one.
    let lacks =
        |target: &str| findings.iter().any(|finding| finding.target == target && finding.problem.is_some());
    let usable = match args.target {
        Some(_) => !findings.iter().any(|finding| finding.problem.is_some()),
        None => !lacks("recipe") && ["local", "kind", "kube"].iter().any(|target| !lacks(target)),
    };
    Ok(if usable { exit::DONE } else { exit::TARGET })
}

fn examine(target: Option<Need>) -> Vec<Finding> {
    let wanted = |need| target.is_none_or(|target| target == need);
    let mut findings = vec![records()];
    if wanted(Need::Local) {
        findings.extend([postgres(), redis()]);
    }
    if wanted(Need::Kind) {
        findings.extend([engine(), kind()]);
    }
    if wanted(Need::Kube) {
        findings.push(kubeconfig());
    }
    findings
}

fn records() -> Finding {
    let writable = runs_directory().and_then(|runs| {
        fs_err::create_dir_all(&runs)
            .map(|()| runs.display().to_string())
            .map_err(|error| Failure::new(Kind::Io, "cannot be written").cause(error))
    });
    Finding::of("recipe", "records", writable.map_err(|failure| failure.to_string()))
}

fn postgres() -> Finding {
    let found = local::postgres_program().map_err(|failure| failure.to_string());
    let found = found.and_then(|program| version(&program, &["--version"], "PostgreSQL", 13));
    Finding::of("local", "PostgreSQL 13 or later", found).install(package(
        "postgresql",
        "postgresql-server postgresql-contrib",
        "postgresql@16",
    ))
}

fn redis() -> Finding {
    let found = local::redis_program().map_err(|failure| failure.to_string());
    let found = found.and_then(|program| version(&program, &["--version"], "Redis", 5));
    Finding::of("local", "Redis", found).install(package("redis-server", "redis", "redis"))
}

/// What a program says of its version, if that is at least `least`.
fn version(program: &Path, args: &[&str], name: &str, least: u32) -> Result<String, String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{} cannot be executed: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.len() > 1);
    let number = number.ok_or_else(|| format!("{} does not say its version", program.display()))?;
    let major = number.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < least) {
        return Err(format!("{name} {number} in {} is too old", program.display()));
    }
    Ok(format!("{number}, {}", program.display()))
}

/// Any engine that answers; an installed one that does not is told of.
fn engine() -> Finding {
    let mut problem = "neither docker nor podman is installed".to_owned();
    for name in ["docker", "podman"] {
        let format = if name == "docker" { "{{.Server.Version}}" } else { "{{.Version}}" };
        match Command::new(name).args(["version", "--format", format]).output() {
            Ok(output) if output.status.success() => {
                let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                return Finding::of("kind", "a container engine", Ok(format!("{name} {version}")));
            }
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.lines().next().unwrap_or("it says nothing");
                problem = format!("{name} is installed, but does not answer: {said}");
            }
            Err(_) => {}
        }
    }
    let start = problem.starts_with("docker is").then(|| "sudo systemctl start docker".to_owned());
    Finding::of("kind", "a container engine", Err(problem))
        .install(start.or_else(|| package("docker.io", "podman", "podman")))
}

fn kind() -> Finding {
    let found = version(Path::new("kind"), &["version"], "kind", 0);
    let found = found.map_err(|_| "kind is not installed".to_owned());
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let linux = format!(
        "sudo sh -c 'curl -fsSLo /usr/local/bin/kind https://kind.sigs.k8s.io/dl/v0.32.0/kind-linux-{machine} \
         && chmod 755 /usr/local/bin/kind'"
    );
    let install = if cfg!(target_os = "macos") { "brew install kind".to_owned() } else { linux };
    Finding::of("kind", "kind (kubectl is not needed)", found).install(Some(install))
}

fn kubeconfig() -> Finding {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config"));
    let given = std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty());
    let paths: Vec<PathBuf> = match given {
        Some(paths) => std::env::split_paths(&paths).collect(),
        None => home.into_iter().collect(),
    };
    let mut contexts = Vec::new();
    for text in paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()) {
        let config: serde_json::Value = serde_norway::from_str(&text).unwrap_or_default();
        let named = config["contexts"].as_array().cloned().unwrap_or_default();
        contexts.extend(named.iter().filter_map(|context| context["name"].as_str()).map(str::to_owned));
    }
    let found = if contexts.is_empty() {
        let places: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        Err(format!(
            "there is no context in {}; set KUBECONFIG to a cluster's configuration",
            places.join(", ")
        ))
    } else {
        Ok(format!("kube:{}", contexts.join(", kube:")))
    };
    Finding::of("kube", "contexts", found)
}

/// The command that installs a package here, by its names in Debian, Fedora and Homebrew.
fn package(debian: &str, fedora: &str, homebrew: &str) -> Option<String> {
    let has = |program: &str| find_program(program).is_some();
    let sudo = if nix::unistd::geteuid().is_root() { "" } else { "sudo " };
    if has("brew") {
        Some(format!("brew install {homebrew}"))
    } else if has("apt-get") {
        Some(format!("{sudo}apt-get install -y {debian}"))
    } else if has("dnf") {
        Some(format!("{sudo}dnf install -y {fedora}"))
    } else {
        None
    }
}

fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or_default();
    let mut text = String::new();
    let mut target = "";
    for finding in findings {
        if finding.target != target {
            target = finding.target;
            text.push_str(&format!("{}\n", target.bold()));
        }
        let what = format!("{:width$}", finding.what);
        match (&finding.found, &finding.problem) {
            (Some(found), _) => text.push_str(&format!("  {} {what}  {found}\n", "✓".green())),
            (None, problem) => {
                let problem = problem.as_deref().unwrap_or_default();
                text.push_str(&format!("  {} {what}  {problem}\n", "✗".red()));
            }
        }
        if let Some(install) = &finding.install {
            text.push_str(&format!("    {:width$}  {install}\n", ""));
        }
    }
    if findings.iter().any(|finding| finding.install.is_some()) {
        text.push_str("\n`recipe doctor --fix` runs these commands, after asking for each.\n");
    }
    text
}

/// Installs one thing, if that is wanted.
fn fix(finding: &Finding, yes: bool) -> Result<(), Failure> {
    let Some(install) = &finding.install else { return Ok(()) };
    if !yes {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::new(Kind::Usage, "nobody can be asked whether to install")
                .hint("add --yes, or run it on a terminal"));
        }
        anstream::eprint!(
            "{}: {}\n  run `{install}`? [y/N] ",
            finding.what,
            finding.problem.as_deref().unwrap_or("")
        );
        let mut answer = String::new();
        let _ = std::io::stdin().lock().read_line(&mut answer);
        if !answer.trim().eq_ignore_ascii_case("y") {
            return Ok(());
        }
    }
    let status = Command::new("sh").args(["-c", install]).status();
    let status = status.map_err(|error| Failure::new(Kind::Io, "no shell can be started").cause(error))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(Kind::Command, format!("`{install}` failed")).hint("what it wrote above says why"))
}
