//! What is kept of a run that failed.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use recipe::run::{RunFolder, Secrets};
use recipe::targets::kubernetes::diagnostics::{Follower, collect};
use recipe::targets::kubernetes::ready::{WorkloadKind, rolled_out};

use crate::LONG;
use crate::cluster::{Ground, deployment};

const SECRET: &str = "hunter2hunter2";

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All files below a folder, by their names from there.
fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    files
}

async fn pods(ground: &Ground) -> Vec<String> {
    let api: Api<Pod> = Api::namespaced(ground.space.client.clone(), &ground.space.namespace);
    let pods = api.list(&ListParams::default()).await.unwrap();
    pods.items.into_iter().filter_map(|pod| pod.metadata.name).collect()
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_failed_run_can_be_looked_into() {
    let Some(ground) = Ground::new("failed").await else { return };
    let secret = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: password}}, stringData: {{p: {SECRET}}}}}"
    );
    ground.apply(&secret).await;
    let pod = format!(
        "{{containers: [{{name: c, image: IMAGE, env: [{{name: URL, value: 'redis://u:{SECRET}@host'}}], \
         command: [sh, -c, 'echo connecting to $URL; exit 3'], \
         readinessProbe: {{exec: {{command: ['true']}}, initialDelaySeconds: 2}}}}]}}"
    );
    ground.apply(&deployment("web", &pod)).await;
    rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "web", LONG).await.unwrap_err();

    let secrets = Secrets::default();
    secrets.add(SECRET);
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("diagnostics");
    let collected = collect(&ground.space, &into, &secrets, LONG).await.unwrap();
    let names = files(&into);
    eprintln!("{collected:#?}\n{names:#?}");
    assert_eq!(collected.files, names.len());
    // A node keeps the log of one start that is over.
    let is_old_log = |missing: &String| missing.contains(".previous.log: unable to retrieve container logs");
    assert!(collected.missing.iter().all(is_old_log), "{:?}", collected.missing);
    let pod = pods(&ground).await.remove(0);
    assert!(read(&into, "events.txt").contains(&format!("Pod/{pod} BackOff")));
    assert!(read(&into, &format!("pods/{pod}.yaml")).contains("redis://u:***@host"));
    assert!(!read(&into, &format!("pods/{pod}.yaml")).contains("managedFields"));
    let log = names.iter().find(|name| name.starts_with(&format!("pods/{pod}/c."))).expect("a log");
    assert_eq!(read(&into, log), "connecting to redis://u:***@host\n");
    assert!(read(&into, "objects/Deployment-web.yaml").contains("redis://u:***@host"));
    let usage = names.iter().find(|name| name.ends_with("usage.json")).unwrap();
    let node = &usage.replace("usage.json", "yaml");
    for wanted in ["DiskPressure", "allocatable", "images:"] {
        assert!(read(&into, node).contains(wanted), "{wanted}");
    }
    assert!(read(&into, usage).contains("availableBytes"));
    assert!(!names.iter().any(|name| name.contains("Secret")), "{names:?}");
    for name in &names {
        let text = read(&into, name);
        assert!(!text.contains(SECRET), "{name} tells the secret");
        // base64, as the API shows Secrets.
        assert!(!text.contains("aHVudGVyMmh1bnRlcjI"), "{name} tells the secret");
    }
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn what_cannot_be_had_in_time_is_said() {
    let Some(mut config) = crate::cluster::config().await else { return };
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.cluster_url = format!("https://{}", silent.local_addr().unwrap()).parse().unwrap();
    let ground = Ground::at(kube::Client::try_from(config).unwrap(), "nowhere");
    let folder = tempfile::tempdir().unwrap();
    let soon = Duration::from_secs(1);
    let collected = collect(&ground.space, folder.path(), &Secrets::default(), soon).await.unwrap();
    assert_eq!(collected.files, 1);
    assert!(collected.missing.contains(&"pods: the cluster did not answer in time".to_owned()));
    assert_eq!(read(folder.path(), "missing.txt").lines().count(), collected.missing.len());
}

fn count(log: &str, line: &str) -> usize {
    log.lines().filter(|said| *said == line).count()
}

/// Returns the log once it is as wanted.
async fn until_logged(folder: &RunFolder, name: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let log = async {
        while !is_wanted(&text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            text = std::fs::read_to_string(folder.log(name)).unwrap_or_default();
        }
    };
    let waited = tokio::time::timeout(LONG, log).await;
    assert!(waited.is_ok(), "{name} has logged:\n{text}");
    text
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn the_log_of_a_deleted_pod_is_kept() {
    let Some(ground) = Ground::new("follow").await else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let folder = RunFolder { id: "run-1".to_owned(), path: folder.path().to_owned() };
    let secrets = Secrets::default();
    secrets.add(SECRET);
    let _follower = Follower::start(&ground.space, &folder, secrets, None);
    let pod = format!(
        "{{terminationGracePeriodSeconds: 0, initContainers: [{{name: first, image: IMAGE, \
         command: [sh, -c, 'echo preparing']}}], containers: [{{name: c, image: IMAGE, \
         volumeMounts: [{{name: v, mountPath: /v}}], \
         command: [sh, -c, 'mkdir /v/second && echo crashed once && exit 3; echo secret {SECRET}; exec sleep inf']}}], \
         volumes: [{{name: v, emptyDir: {{}}}}]}}"
    );
    ground.apply(&deployment("web", &pod)).await;
    until_logged(&folder, "web", |log| count(log, "secret ***") == 1).await;
    let first = pods(&ground).await.remove(0);
    ground.delete("v1", "Pod", &first).await;
    let lines = ["preparing", "crashed once", "secret ***"];
    let log = until_logged(&folder, "web", |log| lines.iter().all(|line| count(log, line) == 2)).await;
    eprintln!("{log}");
    // Each start is whole before the next begins, and none comes twice.
    let said = log.lines().filter(|line| lines.contains(line)).collect::<Vec<_>>();
    assert_eq!(said, [lines, lines].concat());
    assert!(log.contains(&format!("/{first}/c <==\n")), "{log}");
    assert!(!log.contains(SECRET));
    ground.clear().await;
}
