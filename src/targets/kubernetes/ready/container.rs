//! What is to become of a container.

use std::fmt;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::crashes::Crash;
use super::image;
use super::told::Told;
use super::verdict::{Doom, Verdict};
use crate::run::Kind;

/// Seconds after which the kubelet has looked anew for what was missing, and
/// not only come by a second time.
const AGAIN: i64 = 5;

/// A container of a pod, and what is known of it.
pub(super) struct Contained<'a> {
    /// Its pod.
    pub pod: &'a str,
    /// As it was asked for.
    pub spec: &'a Container,
    /// As it is.
    pub status: &'a ContainerStatus,
    /// Whether it runs before the others.
    pub is_init: bool,
    /// Whether it is the only one.
    pub is_alone: bool,
    /// Whether the workload makes up for failed pods by itself.
    pub is_retried: bool,
    /// What events say about its pod.
    pub told: &'a Told<'a>,
    /// How it ended, oldest first.
    pub crashes: &'a [Crash],
}

/// `pod web-1`, `pod web-1, init container wait`.
impl fmt::Display for Contained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}", self.pod)?;
        match (self.is_init, self.is_alone) {
            (true, _) => write!(f, ", init container {}", self.spec.name),
            (false, false) => write!(f, ", container {}", self.spec.name),
            (false, true) => Ok(()),
        }
    }
}

impl Contained<'_> {
    /// Ready when nothing more is to be expected of it.
    pub(super) fn outlook(&self) -> Verdict {
        let state = self.status.state.clone().unwrap_or_default();
        if let Some(waiting) = state.waiting {
            let said = waiting.message.unwrap_or_default();
            return self.waits(waiting.reason.as_deref().unwrap_or_default(), &said);
        }
        if let Some(ended) = state.terminated {
            if ended.exit_code == 0 && (self.is_init || self.is_retried) {
                return Verdict::Ready;
            }
            return self.crashed();
        }
        // An init container holds up the others until it has ended; one that
        // stays (a sidecar), until it has started.
        let stays = self.spec.restart_policy.as_deref() == Some("Always");
        if self.is_init && !stays {
            return Verdict::Waiting(format!("{self} to end"));
        }
        if self.status.started == Some(false) || (stays && self.status.started != Some(true)) {
            return Verdict::Waiting(self.probed("Startup", self.spec.startup_probe.as_ref()));
        }
        if !self.status.ready && !stays {
            return Verdict::Waiting(self.probed("Readiness", self.spec.readiness_probe.as_ref()));
        }
        Verdict::Ready
    }

    fn waits(&self, reason: &str, said: &str) -> Verdict {
        let image = self.spec.image.as_deref().unwrap_or_default();
        match reason {
            "ErrImageNeverPull" => self.doomed(
                Kind::NotFound,
                format!("{self}: image `{image}` is not on the node, and imagePullPolicy is Never"),
                "bring it there with load_image before it is deployed, or correct its name",
                said,
            ),
            "InvalidImageName" => self.doomed(
                Kind::Usage,
                format!("{self}: `{image}` is not the name of an image"),
                "an image is named like `repository/name:tag`, in lower case",
                said,
            ),
            "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" | "ImageInspectError" => {
                image::outlook(&self.to_string(), image, said, self.told)
            }
            "CreateContainerConfigError" => self.misconfigured(said),
            "CreateContainerError" | "PreStartHookError" | "PreCreateHookError" => self.not_created(said),
            // Its end is told right after it.
            "RunContainerError" if is_not_executable(said) => self.not_executable(said),
            "RunContainerError" | "CrashLoopBackOff" | "PostStartHookError" => self.crashed(),
            _ => Verdict::Waiting(self.being_made(image)),
        }
    }

    fn being_made(&self, image: &str) -> String {
        let of_image = |message: &str| message.contains(&format!("\"{image}\""));
        let pulling = self.told.of("Pulling", of_image).times();
        let pulled = self.told.of("Pulled", of_image).times();
        if pulling > pulled {
            return format!("{self}: image `{image}` to be pulled");
        }
        format!("{self} to start")
    }

    /// A ConfigMap, Secret or key that is not there, a user that it may not run
    /// as. The kubelet says so twice at once, and again some ten seconds later.
    fn misconfigured(&self, said: &str) -> Verdict {
        // Comes into every new namespace by itself.
        let comes_late = said.contains("\"kube-root-ca.crt\" not found");
        let failures = self.failures(said);
        if comes_late || failures.times() < 2 || failures.seconds() < AGAIN {
            return Verdict::Waiting(format!("{self} to start; last: {said}"));
        }
        let kind = if said.contains("not found") || said.contains("couldn't find") {
            Kind::NotFound
        } else {
            Kind::Kubernetes
        };
        let hint = match kind {
            Kind::NotFound => "apply it before what uses it, and under the name and key that are used",
            _ => "change the manifest as the message says",
        };
        self.doomed(kind, format!("{self} cannot start: {said}"), hint, said)
    }

    fn not_created(&self, said: &str) -> Verdict {
        // The runtime is still busy with an earlier try.
        let is_busy =
            ["reserved", "deadline exceeded", "DeadlineExceeded"].iter().any(|busy| said.contains(busy));
        if is_busy || self.failures(said).times() < 2 {
            return Verdict::Waiting(format!("{self} to be created; last: {said}"));
        }
        let hint = "change the manifest or the image as the message says";
        self.doomed(Kind::Kubernetes, format!("{self} cannot be created: {}", last_cause(said)), hint, said)
    }

    fn failures(&self, said: &str) -> Told<'_> {
        let error = format!("Error: {said}");
        self.told.of("Failed", |message| message == error)
    }

    fn not_executable(&self, said: &str) -> Verdict {
        let cause = said.split("unable to start container process: ").last().unwrap_or(said);
        let cause = cause.trim_end_matches(": unknown");
        self.doomed(
            Kind::NotFound,
            format!("{self}: its command cannot be executed: {cause}"),
            "correct `command`, or put the program into the image, built for the node's architecture",
            said,
        )
    }

    /// Twice the same end is no accident. Where the workload makes up for
    /// failures it also says when it has had enough.
    fn crashed(&self) -> Verdict {
        let Some(last) = self.crashes.last() else {
            return Verdict::Waiting(format!("{self} to start"));
        };
        if last.reason == "StartError" && is_not_executable(&last.message) {
            return self.not_executable(&last.message);
        }
        let told = last.told();
        let ends = self
            .crashes
            .iter()
            .rev()
            .take_while(|crash| (crash.code, &crash.reason) == (last.code, &last.reason));
        let alike = ends.count();
        let restarts = usize::try_from(self.status.restart_count).unwrap_or(0);
        if self.is_retried || (alike < 2 && restarts < 2) {
            return Verdict::Waiting(format!("{self} to start again: it {told}"));
        }
        let times = if alike >= restarts {
            format!("{alike} times")
        } else {
            format!("the last of {} times", restarts + 1)
        };
        let what = format!("{self} {told}, {times}").replace(", 2 times", ", twice");
        let probe = self.told.of("Killing", |message| {
            message.contains("failed liveness probe") || message.contains("failed startup probe")
        });
        let (hint, evidence) = match (last.reason.as_str(), last.code, probe.last()) {
            ("OOMKilled", ..) => {
                ("raise `resources.limits.memory`, or let it use less", self.told.warnings(2))
            }
            (_, 137 | 143, Some(_)) => (
                "its liveness or startup probe failed and the kubelet ended it; correct the probe, or give it more time",
                self.told.warnings(3),
            ),
            (_, 0, _) => (
                "a container of a workload that is to stay up must not end; is its command right?",
                Vec::new(),
            ),
            _ => ("its last lines say why; `recipe logs` shows more", Vec::new()),
        };
        Verdict::Doomed(Box::new(
            Doom::new(Kind::Exited, what).hint(hint).evidence(evidence).log_of(self.pod, &self.spec.name),
        ))
    }

    /// `readiness probe GET :8080/readyz to succeed; last: connection refused`.
    fn probed(&self, name: &str, probe: Option<&Probe>) -> String {
        let failed = format!("{name} probe failed: ");
        let last = self.told.of("Unhealthy", |message| message.starts_with(&failed)).last();
        let last =
            last.map(|last| format!("; last: {}", last_cause(&last[failed.len()..]))).unwrap_or_default();
        match probe {
            Some(probe) => format!("{self}: {} probe {} to succeed{last}", name.to_lowercase(), asked(probe)),
            None => format!("{self} to be ready{last}"),
        }
    }

    fn doomed(&self, kind: Kind, what: String, hint: &str, said: &str) -> Verdict {
        Verdict::Doomed(Box::new(Doom::new(kind, what).hint(hint).evidence(vec![said.to_owned()])))
    }
}

/// Whether the runtime says that there is no such program, or none it can run.
fn is_not_executable(said: &str) -> bool {
    const SIGNS: [&str; 4] =
        ["executable file not found", "no such file or directory", "permission denied", "exec format error"];
    said.contains("exec") && SIGNS.iter().any(|sign| said.contains(sign)) && !said.contains("error mounting")
}

/// `GET :8080/readyz`, `TCP :5432`, `redis-cli ping`.
fn asked(probe: &Probe) -> String {
    let port = |port: &IntOrString| match port {
        IntOrString::Int(port) => port.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    if let Some(get) = &probe.http_get {
        return format!("GET :{}{}", port(&get.port), get.path.as_deref().unwrap_or("/"));
    }
    if let Some(tcp) = &probe.tcp_socket {
        return format!("TCP :{}", port(&tcp.port));
    }
    if let Some(grpc) = &probe.grpc {
        return format!("gRPC :{}", grpc.port);
    }
    let command = probe.exec.as_ref().and_then(|exec| exec.command.as_ref());
    format!("`{}`", command.map(|command| command.join(" ")).unwrap_or_default())
}

/// The innermost cause of what Go's network and container libraries say, in
/// one line; other texts as they are.
fn last_cause(said: &str) -> &str {
    let line = said.lines().next().unwrap_or_default();
    let is_chain = ["Get \"", "dial tcp", "failed to "].iter().any(|start| line.starts_with(start));
    let line = line.trim_end_matches(": unknown");
    if is_chain { line.rsplit(": ").next().unwrap_or(line) } else { line }
}
