//! The target `kube:CONTEXT`, on a kind cluster that somebody else has made,
//! with a registry between this machine and the nodes. Run by `make test-kind`.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Sandbox, told};

/// Runs a program to its end and returns what it wrote.
#[track_caller]
fn call(program: impl AsRef<Path>, args: &[&str]) -> String {
    let output = Command::new(program.as_ref()).args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {args:?}: {stderr}", program.as_ref().display());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A cluster of somebody else's, and a registry that its nodes pull from.
struct Elsewhere {
    name: String,
    kubeconfig: PathBuf,
    registry: String,
    _files: tempfile::TempDir,
}

impl Elsewhere {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let kubeconfig = files.path().join("kubeconfig");
        let name = format!("elsewhere-{}", std::process::id());
        let registry = call("tests/kind/registry", &["up"]);
        let config = kubeconfig.to_str().unwrap();
        let image = told("RECIPE_KIND_NODE_IMAGE");
        call(
            "kind",
            &["create", "cluster", "--quiet", "--name", &name, "--image", &image, "--kubeconfig", config],
        );
        call("tests/kind/registry", &["join", &name]);
        Self { name, kubeconfig, registry, _files: files }
    }

    fn kubectl(&self, args: &[&str]) -> String {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        call("kubectl", &[&[kubeconfig.as_str()], args].concat())
    }

    fn target(&self) -> String {
        format!("kube:kind-{}", self.name)
    }

    /// Puts an image of this machine into the registry.
    fn offer(&self, image: &str) -> String {
        let offered = format!("{}/{}", self.registry, image.rsplit('/').next().unwrap());
        call("docker", &["tag", image, &offered]);
        call("docker", &["push", "--quiet", &offered]);
        offered
    }

    fn sandbox(&self, recipe: &str) -> Sandbox {
        Sandbox::with(recipe).env("KUBECONFIG", &self.kubeconfig)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = Command::new("kind").args(["delete", "cluster", "--quiet", "--name", &self.name]).status();
        let _ = Command::new("tests/kind/registry").arg("down").status();
    }
}

const RECIPE: &str = r#"
let built = build_image("echo", #{ binary: "echo.sh", base: param("base") });
let cluster = create_cluster("shop");
let redis = deploy_redis(cluster, #{ image: param("redis") });
apply_manifest(cluster, "extra.yaml", #{ vars: #{ colour: "green" } });
let echo = deploy_service(cluster, "echo", #{ image: load_image(cluster, built) });
wait_ready(echo);
print(exec(echo, ["cat", "/proc/1/cmdline"]).stdout);
print(redis_command(redis, ["PING"]));
output(#{ namespace: cluster.namespace });
"#;

const EXTRA: &str = "
apiVersion: apps.example.org/v1
kind: Paint
metadata: { name: wall }
spec: { colour: {{ colour }} }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: paints.apps.example.org }
spec:
  group: apps.example.org
  scope: Namespaced
  names: { plural: paints, singular: paint, kind: Paint }
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: { spec: { type: object, properties: { colour: { type: string } } } }
";

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn a_run_has_a_namespace_of_its_own_and_leaves_nothing_else() {
    let elsewhere = Elsewhere::new();
    let target = elsewhere.target();
    let sandbox =
        elsewhere.sandbox(RECIPE).file("echo.sh", "#!/bin/sh\nexec sleep 1000\n").file("extra.yaml", EXTRA);
    let base = format!("base={}", told("RECIPE_TEST_BASE_IMAGE"));
    let redis = format!("redis={}", elsewhere.offer(&told("RECIPE_TEST_REDIS_IMAGE")));
    let common = ["run", "recipe.rhai", "--target", &target, "--set", &base, "--set", &redis];

    // Without a registry the image cannot get there.
    sandbox.recipe(common).exits(1).says(&["there is no registry to push echo to", "--registry"]);
    let namespaces = elsewhere.kubectl(&["get", "namespaces", "-l", "recipe/run", "-o", "name"]);
    let gone = namespaces.is_empty()
        || elsewhere.kubectl(&["get", namespaces.as_str(), "-o", "jsonpath={.status.phase}"])
            == "Terminating";
    assert!(gone, "{namespaces}");

    let output = sandbox.recipe(common.iter().chain(&["--registry", &elsewhere.registry])).success();
    output.says(&["PONG", "is up"]);
    let outputs = sandbox.recipe(["env"]).success().stdout;
    let namespace = outputs.trim().rsplit(['=', ' ']).next().unwrap().trim_matches('\'');
    let run = sandbox.run_folder().file_name().unwrap().to_str().unwrap().to_owned();
    let label =
        elsewhere.kubectl(&["get", "namespace", namespace, "-o", "jsonpath={.metadata.labels.recipe/run}"]);
    assert_eq!(label, run);
    let colour =
        elsewhere.kubectl(&["-n", namespace, "get", "paint", "wall", "-o", "jsonpath={.spec.colour}"]);
    assert_eq!(colour, "green");

    sandbox.recipe(["down"]).success();
    sandbox.assert_nothing_left();
    elsewhere.kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("namespace/{namespace}")]);
    let definitions = elsewhere.kubectl(&["get", "crds", "-o", "name"]);
    assert!(!definitions.contains("paints"), "{definitions}");
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn a_context_that_cannot_be_used_is_refused_before_anything_is_made() {
    let elsewhere = Elsewhere::new();
    let sandbox = elsewhere.sandbox(r#"create_cluster("shop");"#);
    sandbox
        .recipe(["run", "recipe.rhai", "--target", "kube:nowhere"])
        .exits(3)
        .says(&["has no context `nowhere`", &format!("kind-{}", elsewhere.name)]);

    // A user who may look at pods alone.
    elsewhere.kubectl(&["create", "serviceaccount", "looker"]);
    elsewhere.kubectl(&["create", "clusterrole", "looker", "--verb=get,list,watch", "--resource=pods"]);
    elsewhere.kubectl(&[
        "create",
        "clusterrolebinding",
        "looker",
        "--clusterrole=looker",
        "--serviceaccount=default:looker",
    ]);
    let token = elsewhere.kubectl(&["create", "token", "looker"]);
    elsewhere.kubectl(&["config", "set-credentials", "looker", &format!("--token={token}")]);
    let cluster = format!("--cluster=kind-{}", elsewhere.name);
    elsewhere.kubectl(&["config", "set-context", "looker", &cluster, "--user=looker"]);
    sandbox
        .recipe(["run", "recipe.rhai", "--target", "kube:looker"])
        .exits(3)
        .says(&["lacks rights that a run needs", "create namespaces", "patch deployments"])
        .never_says(&[&token]);
}
