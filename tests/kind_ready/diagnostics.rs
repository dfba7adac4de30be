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
    assert_eq!((collected.files, collected.missing.len()), (names.len(), 0));
    let pod = pods(&ground).await.remove(0);
    assert!(read(&into, "events.txt").contains(&format!("Pod/{pod} BackOff")));
    assert!(read(&into, &format!("pods/{pod}.yaml")).contains("redis://u:***@host"));
    assert!(!read(&into, &format!("pods/{pod}.yaml")).contains("managedFields"));
    assert_eq!(read(&into, &format!("pods/{pod}/c.previous.log")), "connecting to redis://u:***@host\n");
    assert!(read(&into, "objects/Deployment-web.yaml").contains("redis://u:***@host"));
    let node = names.iter().find(|name| name.starts_with("nodes/") && name.ends_with(".yaml")).unwrap();
    for wanted in ["DiskPressure", "allocatable", "images:"] {
        assert!(read(&into, node).contains(wanted), "{wanted}");
    }
    assert!(read(&into, &node.replace(".yaml", ".usage.json")).contains("availableBytes"));
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

/// Returns once the log has these words.
async fn until_logged(folder: &RunFolder, name: &str, words: &str) -> String {
    let log = async {
        loop {
            let text = std::fs::read_to_string(folder.log(name)).unwrap_or_default();
            if text.contains(words) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, log).await.unwrap_or_else(|_| panic!("{name} never logged {words:?}"))
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
    let _follower = Follower::start(&ground.space, &folder, secrets);
    let pod = format!(
        "{{terminationGracePeriodSeconds: 0, initContainers: [{{name: first, image: IMAGE, \
         command: [sh, -c, 'echo preparing']}}], containers: [{{name: c, image: IMAGE, \
         volumeMounts: [{{name: v, mountPath: /v}}], \
         command: [sh, -c, 'mkdir /v/second && echo crashed once && exit 3; echo secret {SECRET}; exec sleep inf']}}], \
         volumes: [{{name: v, emptyDir: {{}}}}]}}"
    );
    ground.apply(&deployment("web", &pod)).await;
    until_logged(&folder, "web", "secret ***").await;
    let first = pods(&ground).await.remove(0);
    ground.delete("v1", "Pod", &first).await;
    let second = loop {
        let log = until_logged(&folder, "web", "secret ***").await;
        if log.matches("secret ***").count() == 2 {
            break log;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    eprintln!("{second}");
    for line in ["preparing", "crashed once", "secret ***"] {
        let times = second.lines().filter(|said| *said == line).count();
        assert_eq!(times, 2, "{line:?} by either pod, once:\n{second}");
    }
    assert!(second.contains(&format!("/{first}/c <==\n")), "{second}");
    assert!(!second.contains(SECRET));
    ground.clear().await;
}
