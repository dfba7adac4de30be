//! The cluster's API out of reach.

use std::time::Duration;

use kube::Client;
use recipe::run::Kind;
use recipe::targets::kubernetes::ready::{WorkloadKind, rolled_out};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use crate::LONG;
use crate::cluster::{Ground, config, deployment};

/// Leads to the API until its connections are cut.
struct Wire {
    port: u16,
    cut: broadcast::Sender<()>,
}

impl Wire {
    async fn to(host: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, _) = broadcast::channel(1);
        let cutting = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut is_cut, host) = (cutting.subscribe(), host.clone());
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(host).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_cut.recv() => {}
                    }
                });
            }
        });
        Self { port, cut }
    }
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_cut_connection_is_made_again() {
    let Some(ground) = Ground::new("cut").await else { return };
    let mut config = config().await.unwrap();
    let url = config.cluster_url.clone();
    let wire = Wire::to(format!("{}:{}", url.host().unwrap(), url.port_u16().unwrap())).await;
    config.cluster_url = format!("https://127.0.0.1:{}", wire.port).parse().unwrap();
    let far = Ground::at(Client::try_from(config).unwrap(), &ground.space.namespace);
    let pod = "{containers: [{name: c, image: IMAGE, command: [sleep, inf], envFrom: [{configMapRef: {name: late}}]}]}";
    ground.apply(&deployment("web", pod)).await;
    let cuts = async {
        far.until_waiting_for("configmap \"late\" not found").await;
        assert!(wire.cut.send(()).unwrap() > 0, "nothing went over the wire");
        ground.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: late}, data: {A: b}}").await;
    };
    let wait = async {
        rolled_out(&far.step, &far.space, WorkloadKind::Deployment, "web", LONG).await.unwrap();
    };
    tokio::join!(wait, cuts);
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn an_api_that_never_answers_ends_at_the_timeout() {
    let Some(mut config) = config().await else { return };
    // Accepts connections, by the kernel, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.cluster_url = format!("https://{}", silent.local_addr().unwrap()).parse().unwrap();
    let ground = Ground::at(Client::try_from(config).unwrap(), "nowhere");
    let timeout = Duration::from_secs(2);
    let wait = rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "web", timeout);
    let failure = tokio::time::timeout(LONG, wait).await.expect("it ends").unwrap_err();
    assert_eq!(failure.kind, Kind::Timeout);
    assert!(failure.message.ends_with("it was waiting for the cluster's API to answer"), "{failure}");
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn an_api_that_is_not_there_is_said() {
    let Some(mut config) = config().await else { return };
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    config.cluster_url = format!("https://{closed}").parse().unwrap();
    let ground = Ground::at(Client::try_from(config).unwrap(), "nowhere");
    let timeout = Duration::from_secs(2);
    let failure =
        rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "web", timeout).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Timeout);
    assert!(failure.message.contains("the cluster's API to answer; last: Connection refused"), "{failure}");
}
