//! The main job on a real cluster: the same recipe, the same service, the same
//! answers as on this machine. Run by `make test-kind`, which prepares the
//! container engine and the images.

mod harness;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use harness::live::eventually;
use harness::{Output, Sandbox, told};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};

const RECIPE: &str = "recipes/datastorage.rhai";
const NAMESPACE: &str = "datastorage-e2e";

fn set_up(sandbox: &Sandbox, args: &[&str]) -> (Output, Value) {
    let images = [("postgres_image", "POSTGRES"), ("redis_image", "REDIS"), ("base", "BASE")]
        .map(|(name, variable)| format!("--set={name}={}", told(&format!("RECIPE_TEST_{variable}_IMAGE"))));
    let common = ["run", "--output", "json", "--set", "profile=dev", RECIPE].map(str::to_owned);
    let args = args.iter().map(|arg| (*arg).to_owned());
    let command = common.into_iter().chain(images).chain(args);
    let output = sandbox.command(command).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = Output::from(output.unwrap()).success();
    let summary = serde_json::from_str(&output.stdout).unwrap();
    (output, summary)
}

/// Runs a shell command with the environment's outputs as variables.
fn sh(sandbox: &Sandbox, script: &str) -> Result<String, String> {
    let exports = sandbox.recipe(["env"]).success().stdout;
    let output = Command::new("sh").arg("-c").arg(format!("{exports}\n{script}")).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

const EVENTS: &str = "$URL/api/v1/audit/events";

fn post(kind: &str, outcome: &str) -> String {
    let event = json!({
        "event_type": kind, "actor": "test", "resource_type": "order", "resource_id": "7",
        "outcome": outcome, "event_data": { "amount": 3 },
    });
    format!("curl -sS -w '\\n%{{http_code}}' -H 'content-type: application/json' -d '{event}' \"{EVENTS}\"")
}

/// What the service answers to good and bad requests, without what differs from
/// run to run.
fn answers(sandbox: &Sandbox) -> Vec<String> {
    let requests = [
        post("order.placed", "success"),
        post("order.paid", "failure"),
        post("", "success"),
        post("order.placed", "perhaps"),
        format!("curl -sS -w '\\n%{{http_code}}' \"{EVENTS}?event_type=order.placed\""),
        format!("curl -sS -w '\\n%{{http_code}}' \"{EVENTS}?resource_id=7&limit=1\""),
        format!("curl -sS -w '\\n%{{http_code}}' \"{EVENTS}?limit=none\""),
        format!("curl -sS -w '\\n%{{http_code}}' \"{EVENTS}/00000000-0000-0000-0000-000000000000\""),
        "curl -sS -w '\\n%{http_code}' \"$URL/readyz\"".to_owned(),
        "curl -sS -w '\\n%{http_code}' \"$URL/nowhere\"".to_owned(),
        r#"psql "$DATABASE_URL" -tAc "SELECT event_type, actor, outcome FROM audit_events ORDER BY 1, 2""#
            .to_owned(),
        r#"psql "$DATABASE_URL" -tAc "SELECT version_id FROM goose_db_version ORDER BY 1""#.to_owned(),
    ];
    requests.iter().map(|request| settled(&sh(sandbox, request).unwrap())).collect()
}

/// A text with its ids, times and addresses replaced.
fn settled(text: &str) -> String {
    let mut settled = String::new();
    for word in text.split_inclusive(['"', '\n']) {
        let inner = word.trim_end_matches(['"', '\n']);
        let is_time = inner.len() > 18 && inner.starts_with("20") && inner.contains('T');
        let is_id = inner.len() == 36 && inner.chars().filter(|c| *c == '-').count() == 4;
        let is_cursor = inner.len() > 32 && inner.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        if is_time || is_id || is_cursor {
            settled.push('~');
            settled.push_str(&word[inner.len()..]);
        } else {
            settled.push_str(word);
        }
    }
    settled
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn one_recipe_gives_the_same_answers_on_both_targets() {
    let (local, kind) = (Sandbox::new(), Sandbox::new());
    set_up(&local, &["--target", "local"]);
    set_up(&kind, &["--target", "kind"]);
    let (on_local, on_kind) = (answers(&local), answers(&kind));
    for (local, kind) in on_local.iter().zip(&on_kind) {
        assert_eq!(local, kind);
    }
    assert!(on_kind[0].ends_with("201"), "{}", on_kind[0]);
    for sandbox in [&local, &kind] {
        sandbox.recipe(["down"]).success();
        sandbox.assert_nothing_left();
    }
    assert_no_cluster_of(&kind);
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn events_outlive_a_database_that_is_gone_and_a_pod_that_is_killed() {
    let sandbox = Sandbox::new();
    let (output, summary) = set_up(&sandbox, &["--target", "kind", "--set", "storage=64Mi"]);
    output.says(&["is up", "postgres://app:***@127.0.0.1:"]);
    let cluster = Cluster::of(&sandbox);
    let waiting = r#"redis-cli --no-auth-warning -u "$REDIS_URL" XLEN datastorage:dlq"#;
    let stored = r#"psql "$DATABASE_URL" -tAc "SELECT count(*) FROM audit_events WHERE event_type = 'outage.checked'""#;

    cluster.scale("postgres", 0);
    eventually("no pod of PostgreSQL is there", || cluster.pods("postgres").is_empty());
    assert!(sh(&sandbox, &post("outage.checked", "success")).unwrap().ends_with("202"));
    assert_eq!(sh(&sandbox, waiting).unwrap(), "1");
    cluster.scale("postgres", 1);
    eventually("the queue is drained", || sh(&sandbox, waiting).unwrap() == "0");
    assert_eq!(sh(&sandbox, stored).unwrap(), "1");

    // The same URL leads to the pod that replaces a killed one.
    let before = cluster.pods("postgres");
    cluster.kill(&before[0]);
    eventually("another pod answers", || {
        cluster.pods("postgres") != before && sh(&sandbox, stored).is_ok_and(|count| count == "1")
    });

    let secret = summary["outputs"]["database_url"].as_str().unwrap().split(['@', ':']).nth(2).unwrap();
    let found =
        Command::new("grep").args(["-rlF", secret, "."]).current_dir(sandbox.run_folder()).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(found.contains("outputs.json"), "{found}");
    for file in found.lines() {
        let mode = sandbox.run_folder().join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    sandbox.recipe(["down"]).success();
    sandbox.assert_nothing_left();
    assert_no_cluster_of(&sandbox);
}

/// Fails if the newest run has left a container.
#[track_caller]
fn assert_no_cluster_of(sandbox: &Sandbox) {
    let folder = sandbox.run_folder();
    let run = folder.file_name().unwrap().to_str().unwrap().rsplit('-').next().unwrap();
    let containers = Command::new("docker").args(["ps", "-a", "--format", "{{.Names}}"]).output().unwrap();
    let containers = String::from_utf8(containers.stdout).unwrap();
    assert!(!containers.contains(run), "{run}: {containers}");
}

/// The cluster of the newest run, looked at past `recipe`.
struct Cluster {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Cluster {
    fn of(sandbox: &Sandbox) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let scratch = std::fs::read_dir(sandbox.scratch()).unwrap().next().unwrap().unwrap().path();
        let mut files = std::fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().path());
        let kubeconfig = files.find(|path| path.extension().is_some_and(|end| end == "kubeconfig")).unwrap();
        let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::ring::default_provider());
        let client = runtime.block_on(async {
            let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
            let options = KubeConfigOptions::default();
            Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap()).unwrap()
        });
        Self { runtime, client }
    }

    /// The names of the pods of a workload.
    fn pods(&self, name: &str) -> Vec<String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let selector = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
        let pods = self.runtime.block_on(api.list(&selector)).unwrap();
        pods.items.iter().map(ResourceExt::name_any).collect()
    }

    fn kill(&self, pod: &str) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        self.runtime.block_on(api.delete(pod, &DeleteParams::default().grace_period(0))).unwrap();
    }

    fn scale(&self, name: &str, replicas: u32) {
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        self.runtime.block_on(api.patch(name, &PatchParams::default(), &patch)).unwrap();
    }
}
