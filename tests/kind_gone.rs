//! Taking down what a run has in a cluster that stays, when its kubeconfig, its
//! label or the cluster is gone. Run by `make test-kind`, which prepares the
//! container engine and the images.

mod harness;

use std::process::Command;

use harness::Sandbox;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const CLUSTER: &str = "gone-test";

const RECIPE: &str = r#"
let cluster = create_cluster("gone-test", #{ reuse: true });
output(#{ namespace: cluster.namespace });
"#;

fn kind() -> Command {
    Command::new(std::env::var_os("RECIPE_KIND").unwrap_or("kind".into()))
}

fn remove_cluster() {
    let _ = kind().args(["delete", "cluster", "--quiet", "--name", CLUSTER]).status();
}

fn kubectl(args: &[&str]) -> String {
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let told = kind().args(["get", "kubeconfig", "--name", CLUSTER]).output().unwrap();
    std::fs::write(kubeconfig.path(), told.stdout).unwrap();
    let output =
        Command::new("kubectl").arg("--kubeconfig").arg(kubeconfig.path()).args(args).output().unwrap();
    assert!(output.status.success(), "kubectl {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether the API has a namespace that is not on its way out.
fn has(namespace: &str) -> bool {
    let all = kubectl(&["get", "namespaces", "-o", "custom-columns=:.metadata.name,:.status.phase"]);
    all.lines().any(|line| line.starts_with(namespace) && line.contains("Active"))
}

/// The cluster that the runs of a test share.
struct Shared;

impl Drop for Shared {
    fn drop(&mut self) {
        remove_cluster();
    }
}

/// Runs the recipe, which stays up. Returns the run and its namespace.
fn up(sandbox: &Sandbox) -> (String, String) {
    let args = ["run", "--target", "kind", "--output", "json", "recipe.rhai"];
    let output = sandbox.recipe(args).success();
    let told: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&told["run_id"]), text(&told["outputs"]["namespace"]))
}

/// Ends the supervisor, which takes the scratch directory with it.
fn end_supervisor(sandbox: &Sandbox) {
    let supervisor = sandbox.supervisor().unwrap();
    kill(Pid::from_raw(supervisor), Signal::SIGTERM).unwrap();
    harness::live::eventually("the supervisor ends", || sandbox.supervisor().is_none());
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn what_a_run_has_in_a_cluster_goes_and_nothing_else() {
    let _shared = Shared;
    remove_cluster();
    let sandbox = Sandbox::with(RECIPE);

    // The kubeconfig is gone: it goes with the supervisor.
    let (run, namespace) = up(&sandbox);
    assert!(has(&namespace));
    end_supervisor(&sandbox);
    sandbox.recipe(["gc"]).success().says(&[&run, "cleared"]);
    assert!(!has(&namespace));

    // The label is gone: it may be anybody's.
    let (run, namespace) = up(&sandbox);
    kubectl(&["label", "namespace", &namespace, "recipe/run-"]);
    sandbox.recipe(["down", &run]).success();
    assert!(has(&namespace));

    // The cluster is gone, and with it all that was in it.
    let (run, _) = up(&sandbox);
    remove_cluster();
    sandbox.recipe(["down", &run]).success();
    assert_eq!(sandbox.runs()[0]["state"], "down");

    // Both are.
    let (run, _) = up(&sandbox);
    end_supervisor(&sandbox);
    remove_cluster();
    sandbox.recipe(["gc"]).success().says(&[&run, "cleared"]);
    sandbox.assert_nothing_left();
}
