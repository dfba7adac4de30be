//! A session in the environment of a run that failed, on a real cluster. Run by
//! `make test-kind`, which prepares the container engine and the images.

mod harness;

use std::io::Write;
use std::process::Stdio;

use harness::{Output, Sandbox, told};

const RECIPE: &str = r#"
let cluster = create_cluster("attach");
let cache = deploy_redis(cluster, #{ name: "my-cache", image: param("redis") });
let app = deploy_service(cluster, "app", #{
    image: param("base"), command: ["sh", "-c", "echo begun; exec sleep inf"], env: #{ COLOUR: "green" },
});
wait_ready(app);
redis_command(cache, ["SET", "fruit", "pear"]);
sh("test -e go");
output(#{ fruit: redis_command(cache, ["GET", "fruit"]), url: cache.url });
"#;

/// Changes the manifest of services: what it sets shows inside of the pod.
const PATCH: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: {{ name | tojson }} }
spec:
  template:
    spec:
      containers:
        - name: {{ name | tojson }}
          env: [{ name: ADDED, value: "by the patch" }]
"#;

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn a_failed_run_on_a_cluster_is_attached_to_and_resumed() {
    let sandbox = Sandbox::with(RECIPE)
        .file("recipe.toml", "[override]\n\"manifests/service.yaml\" = \"patch.yaml\"")
        .file("patch.yaml", PATCH);
    let images = [("redis", "REDIS"), ("base", "BASE")]
        .map(|(name, variable)| format!("--set={name}={}", told(&format!("RECIPE_TEST_{variable}_IMAGE"))));
    let run = ["run", "--target", "kind", "--keep", "on-failure", "recipe.rhai"].map(str::to_owned);
    sandbox.recipe(run.into_iter().chain(images.clone())).exits(1).says(&["test -e go"]);
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();

    let mut child = sandbox
        .command(["repl", "--attach", &run].map(str::to_owned).into_iter().chain(images))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let entries = "redis_command(cache, [\"GET\", \"fruit\"])\n\
                   logs(app).trim()\n\
                   exec(app, [\"printenv\", \"COLOUR\", \"ADDED\"]).stdout\n\
                   let early = cache.url;\n\
                   write_file(\"go\", \"\");\n\
                   let all = resume()\n\
                   [all.fruit, all.url == early]\n";
    child.stdin.take().unwrap().write_all(entries.as_bytes()).unwrap();
    let output = Output::from(child.wait_with_output().unwrap()).success().says(&[
        "is kept; handles: ",
        "app",
        "cache",
        "cluster",
        "is up:",
    ]);
    let expected = "\"pear\"\n\"begun\"\ngreen\nby the patch\n[\"pear\", true]\n";
    assert_eq!(output.stdout, expected, "{}", output.stderr);
    assert_eq!(sandbox.runs()[0]["state"], "up");
    sandbox.recipe(["down", &run]).success();
    sandbox.assert_nothing_left();
}
