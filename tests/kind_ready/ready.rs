//! What is rolled out, and where the time went.

use recipe::targets::kubernetes::ready::{WorkloadKind, rolled_out};

use crate::LONG;
use crate::cluster::{Ground, deployment, image, workload};

const SLEEPS: &str =
    "{terminationGracePeriodSeconds: 0, containers: [{name: c, image: IMAGE, command: [sleep, inf]}]}";

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn every_kind_of_workload_becomes_ready() {
    let Some(ground) = Ground::new("ready").await else { return };
    ground.apply(&workload("Deployment", "deployment", "replicas: 2, minReadySeconds: 1,", SLEEPS)).await;
    ground.apply(&workload("StatefulSet", "set", "replicas: 2, serviceName: set,", SLEEPS)).await;
    ground.apply(&workload("DaemonSet", "daemon", "", SLEEPS)).await;
    let job = format!(
        "{{apiVersion: batch/v1, kind: Job, metadata: {{name: job}}, spec: {{template: {{spec: \
         {{restartPolicy: Never, containers: [{{name: c, image: '{}', command: ['true']}}]}}}}}}}}",
        image()
    );
    ground.apply(&job).await;
    let wait = |kind, name| rolled_out(&ground.step, &ground.space, kind, name, LONG);
    let (deployment, set, daemon, job) = tokio::join!(
        wait(WorkloadKind::Deployment, "deployment"),
        wait(WorkloadKind::StatefulSet, "set"),
        wait(WorkloadKind::DaemonSet, "daemon"),
        wait(WorkloadKind::Job, "job"),
    );
    assert_eq!(deployment.unwrap().len(), 2);
    assert_eq!(set.unwrap().len(), 2);
    assert_eq!(daemon.unwrap().len(), 1);
    assert_eq!(job.unwrap().len(), 1);
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn the_time_that_a_probe_takes_is_told() {
    let Some(ground) = Ground::new("times").await else { return };
    // Ready at once, but not asked before three seconds.
    let pod = "{containers: [{name: c, image: IMAGE, command: [sleep, inf], readinessProbe: \
               {exec: {command: ['true']}, initialDelaySeconds: 3, periodSeconds: 2}}]}";
    ground.apply(&deployment("probed", pod)).await;
    let times =
        rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "probed", LONG).await.unwrap();
    let [times] = times.try_into().unwrap();
    eprintln!("{times}");
    let probing = times.probing.unwrap();
    // Times in whole seconds lose up to one.
    assert!(probing.took.as_secs() >= 2, "{times}");
    assert_eq!(times.booting, None, "it was never found not to be ready: {times}");
    assert!(times.to_string().contains("(initialDelaySeconds 3, periodSeconds 2)"), "{times}");
    assert!(times.scheduling.is_some() && times.starting.is_some() && times.noticing.is_some(), "{times:?}");
    ground.clear().await;
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn what_is_asked_is_what_was_applied_last() {
    let Some(ground) = Ground::new("again").await else { return };
    let never = "{containers: [{name: c, image: 'absent:1', imagePullPolicy: Never}]}";
    ground.apply(&deployment("web", never)).await;
    let wait = || rolled_out(&ground.step, &ground.space, WorkloadKind::Deployment, "web", LONG);
    wait().await.unwrap_err();
    // The doomed pod is still there for a while, and none of its business.
    ground.apply(&deployment("web", SLEEPS)).await;
    wait().await.unwrap();
    ground.apply(&deployment("web", never)).await;
    let failure = wait().await.unwrap_err();
    assert!(failure.message.contains("imagePullPolicy is Never"), "{failure}");
    ground.clear().await;
}
