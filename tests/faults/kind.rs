//! Primitives of the target `kind`, with a real container engine and a real
//! cluster. Run by `make test-kind`.

use std::process::Command;

use crate::harness::live::eventually;
use crate::table::{Case, Ends, FAILS, MENDS, Table};

const HEAD: &str = "# Faults on kind, and what becomes of a run\n\n\
    As [the table of the target `local`](faults.md), on the target `kind` with a real Docker Engine and a real \
    Kubernetes. Most lines share a cluster that stays, in which each run has a namespace; where a cluster is made, it \
    is the run's own. Whatever happens, afterwards no process, container, network, namespace or other object of the run \
    is left, and no open entry of its journal (after a kill, with one `recipe gc`). What hangs is interrupted by \
    Ctrl-C, unless it has a deadline of its own. `port-forward` is the process through which this machine reaches a \
    pod; `diagnostics` is what a run asks the cluster after a failure, and `teardown` what every run does in the end.\n";

/// The cluster that stays.
const SHARED: &str = "recipe-faults";

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn every_fault_on_kind_has_the_outcome_in_the_docs() {
    let shared = Shared::new();
    let table = Table {
        page: "docs/faults-on-kind.md",
        head: HEAD,
        command: ".ci/with-kind cargo test --test faults -- --ignored",
        target: "kind",
        cases: CASES,
        left: &|run| shared.left(run),
    };
    table.holds();
    eventually("no namespace of a run is left", || {
        shared.kubectl(&["get", "namespaces", "--selector", "recipe/run", "--output", "name"]).is_empty()
    });
}

struct Shared {
    kubeconfig: tempfile::NamedTempFile,
}

impl Shared {
    /// Makes it, with the images that runs deploy.
    fn new() -> Self {
        remove_cluster();
        let sandbox =
            crate::drive::sandbox(&format!("{CLUSTER} parallel([|| {DEPLOY_REDIS}, || {DEPLOY_POSTGRES}]);"));
        let shared = Self { kubeconfig: tempfile::NamedTempFile::new().unwrap() };
        sandbox.recipe(["run", "--rm", "--no-cache", "--target", "kind", "recipe.rhai"]).success();
        let kubeconfig = call("kind", &["get", "kubeconfig", "--name", SHARED]);
        std::fs::write(shared.kubeconfig.path(), kubeconfig).unwrap();
        shared
    }

    fn kubectl(&self, args: &[&str]) -> String {
        let kubeconfig = self.kubeconfig.path().to_str().unwrap();
        call("kubectl", &[&["--kubeconfig", kubeconfig], args].concat())
    }

    /// What the run has left in the cluster and in the engine. What is on its
    /// way out is none of it.
    fn left(&self, run: &str) -> Vec<String> {
        const STAY: &str = "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}\
            {{.kind}} {{.metadata.name}}{{\"\\n\"}}{{end}}{{end}}";
        let label = format!("recipe/run={run}");
        let objects =
            self.kubectl(&["get", "namespaces,clusterroles", "--selector", &label, "--output", STAY]);
        // Names of what is a run's own end with the end of its name.
        let own = run.rsplit('-').next().unwrap();
        let named = engine().into_iter().filter(|thing| thing.contains(own));
        let labelled = format!("label={label}");
        let labelled = call("docker", &["ps", "--all", "--filter", &labelled, "--format", "{{.Names}}"]);
        objects.lines().chain(labelled.lines()).map(str::to_owned).chain(named).collect()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        remove_cluster();
        let built = call("docker", &["image", "ls", "--quiet", "recipe.local/faults"]);
        built.lines().for_each(|image| drop(call("docker", &["image", "rm", "--force", image])));
    }
}

fn remove_cluster() {
    call("kind", &["delete", "cluster", "--quiet", "--name", SHARED]);
}

/// What the engine has, but for images.
fn engine() -> Vec<String> {
    let all = |args: &[&str]| call("docker", args).lines().map(str::to_owned).collect::<Vec<_>>();
    let containers = all(&["ps", "--all", "--format", "container {{.Names}}"]);
    let networks = all(&["network", "ls", "--format", "network {{.Name}}"]);
    let volumes = all(&["volume", "ls", "--format", "volume {{.Name}}"]);
    [containers, networks, volumes].concat()
}

#[track_caller]
fn call(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What does not answer in time is as good as absent.
const UNUSABLE: Ends = Ends { codes: [3, 3, 0, 137], ..FAILS };
/// It is a process of its own, and not recipe which dies.
const FORWARDS: Ends = Ends { codes: [0, 1, 0, 1], ..FAILS };
/// Whoever has this connection makes another one.
const CONNECTS: Ends = Ends { codes: [0, 0, 0, 1], ..FAILS };
/// The run has failed before.
const FAILED: Ends = Ends { codes: [1, 1, 1, 137], ..FAILS };

const CLUSTER: &str = r#"let c = create_cluster("recipe-faults", #{ reuse: true });"#;
const BUILT: &str = r#"let c = create_cluster("recipe-faults", #{ reuse: true });
    write_file("program", c.namespace); // So that the node has no such image.
    let image = build_image("faults", #{ binary: "program", base: "scratch" });"#;
const SITE: &str = r#"let c = create_cluster("recipe-faults", #{ reuse: true });
    let site = deploy_service(c, "site", #{ image: param("redis") });"#;
const READY: &str = r#"let c = create_cluster("recipe-faults", #{ reuse: true });
    let site = deploy_service(c, "site", #{ image: param("redis") });
    wait_ready(site);"#;
const DEPLOY_POSTGRES: &str = r#"deploy_postgres(c, #{ image: param("postgres") })"#;
const DEPLOY_REDIS: &str = r#"deploy_redis(c, #{ image: param("redis") })"#;

const CASES: &[Case] = &[
    Case {
        primitive: "create_cluster",
        before: "",
        call: r#"create_cluster("faults")"#,
        uses: &[
            ("spawn", 1, "`kind`, which makes it", FAILS),
            ("kubernetes", 1, "the namespace in it", FAILS),
        ],
    },
    Case {
        primitive: "create_cluster",
        before: "",
        call: r#"create_cluster("recipe-faults", #{ reuse: true })"#,
        uses: &[
            ("docker", 1, "whether the engine answers", UNUSABLE),
            ("kubernetes", 1, "what made the one that stays", FAILS),
            ("kubernetes", 2, "a namespace in the one that stays", FAILS),
            ("kubernetes", 3, "whether pods may be made there", FAILS),
        ],
    },
    Case {
        primitive: "create_namespace",
        before: CLUSTER,
        call: r#"create_namespace(c, "more")"#,
        uses: &[("kubernetes", 1, "the namespace", FAILS)],
    },
    Case {
        primitive: "delete_cluster",
        before: CLUSTER,
        call: "delete_cluster(c)",
        uses: &[
            ("kubernetes", 1, "the namespace", FAILS),
            ("kubernetes", 3, "its removal", FAILS),
            ("kubernetes", 4, "its end", FAILS),
        ],
    },
    Case {
        primitive: "build_image",
        before: "",
        call: r#"build_image("faults", #{ dockerfile: "Dockerfile", args: #{ BASE: param("base") } })"#,
        uses: &[
            ("docker", 1, "whether the engine answers", UNUSABLE),
            ("docker", 2, "the base image", FAILS),
            ("docker", 3, "the build", FAILS),
            ("docker", 4, "what was built", FAILS),
        ],
    },
    Case {
        primitive: "load_image",
        before: BUILT,
        call: "load_image(c, image)",
        uses: &[
            ("docker", 1, "the image", FAILS),
            ("docker", 2, "what the node has", FAILS),
            ("docker", 3, "the import", FAILS),
        ],
    },
    Case {
        primitive: "deploy_postgres",
        before: CLUSTER,
        call: DEPLOY_POSTGRES,
        uses: &[("kubernetes", 1, "its first object", FAILS)],
    },
    Case {
        primitive: "deploy_redis",
        before: CLUSTER,
        call: DEPLOY_REDIS,
        uses: &[
            ("docker", 1, "its image", FAILS),
            ("docker", 3, "what the node has", FAILS),
            ("kubernetes", 1, "its first object", FAILS),
            ("kubernetes", 3, "its last object", FAILS),
            ("kubernetes", 4, "what becomes of its pod", MENDS),
            ("server", 1, "the port-forward", FAILS),
            ("redis", 1, "the first question whether it answers", MENDS),
        ],
    },
    Case {
        primitive: "port-forward",
        before: CLUSTER,
        call: r#"deploy_redis(c, #{ image: param("redis"), timeout: "20s" })"#,
        uses: &[
            ("kubernetes", 1, "which pods there are", FORWARDS),
            ("kubernetes", 3, "a connection to a pod", CONNECTS),
        ],
    },
    Case {
        primitive: "deploy_service",
        before: CLUSTER,
        call: r#"deploy_service(c, "site", #{ image: param("redis"), port: 6379 })"#,
        uses: &[("kubernetes", 1, "its first object", FAILS)],
    },
    Case {
        primitive: "apply_manifest",
        before: CLUSTER,
        call: r#"apply_manifest(c, "objects.yaml")"#,
        uses: &[
            ("kubernetes", 1, "whose an object is", FAILS),
            ("kubernetes", 2, "an object without namespace", FAILS),
            ("kubernetes", 3, "a later object", FAILS),
        ],
    },
    Case {
        primitive: "wait_ready",
        before: SITE,
        call: "wait_ready(site)",
        uses: &[("kubernetes", 1, "what becomes of the pod", MENDS)],
    },
    Case {
        primitive: "exec",
        before: READY,
        call: r#"exec(site, ["true"])"#,
        uses: &[("kubernetes", 2, "the command", FAILS)],
    },
    Case {
        primitive: "logs",
        before: READY,
        call: "logs(site)",
        uses: &[("kubernetes", 1, "the pod", FAILS)],
    },
    Case {
        primitive: "diagnostics",
        before: CLUSTER,
        call: r#"sh("false")"#,
        uses: &[("kubernetes", 1, "the first thing", FAILED)],
    },
    Case {
        primitive: "teardown",
        before: CLUSTER,
        call: r#"sh("false")"#,
        uses: &[("kubernetes", 1, "the namespace", FAILED)],
    },
];
