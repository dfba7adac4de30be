//! Secrets of the sources that only the target `kind` has: the credentials of
//! registries, build arguments, kubeconfigs and pods.

use crate::harness::{Sandbox, told};
use crate::scan::{REPORTS, hides_all};

const REGISTRY: &str = "R3gistry-canary-of-auths";
const ARGUMENT: &str = "Build4rg-canary";
const PARAMETER: &str = "P4rameter-canary";
const POSTGRES: &str = "PgOnKind-c4nary";
const SERVICE: &str = "Pod-T0ken-canary";

/// Prints each as whoever holds it would, and ends with a service that tells all
/// and crashes.
const RECIPE: &str = r#"
let parameter = param("parameter", "", #{ secret: true });
let base = param("base", "");
let postgres = param("postgres", "");
try {
    build_image("away", #{ build: "true", binary: "program", base: "127.0.0.1:1/away:1" });
} catch (e) { print(e.message); print(e.causes); print(e.evidence); }
print(sh("cat config/config.json").stdout);
build_image("told", #{
    dockerfile: "Dockerfile", no_cache: true,
    args: #{ BASE: base, API_TOKEN: ARGUMENT, PLAIN: parameter },
});
let cluster = create_cluster("secrets-test", #{ images: [postgres] });
sh(`cp ${cluster.kubeconfig} kubeconfig`);
print(sh("cat kubeconfig; kubectl --kubeconfig kubeconfig config view --raw -o json").stdout);
let pg = deploy_postgres(cluster, #{ image: postgres, password: POSTGRES, settings: #{ log_statement: "all" } });
sh("kubectl --kubeconfig kubeconfig get pods,secrets --all-namespaces --output yaml");
try { sql(pg, `SELECT '${POSTGRES}'::int`); } catch (e) { print(e.message); print(e.causes); }
print(logs(pg));
let site = deploy_service(cluster, "site", #{
    image: base, port: 80, ready: "/",
    command: ["sh", "-c", "env; printf %s \"$API_TOKEN\" | base64; echo \"$PLAIN\" >&2; exit 3"],
    env: #{ API_TOKEN: SERVICE, PLAIN: parameter, DATABASE_URL: pg.internal_url },
});
wait_ready(site, #{ timeout: "20s" });
"#;

const DOCKERFILE: &str = r#"
ARG BASE
FROM $BASE
ARG API_TOKEN
ARG PLAIN
RUN echo "token $API_TOKEN" && printf %s "$PLAIN" | base64 && echo "wrong $PLAIN" >&2
"#;

/// The private keys in a kubeconfig.
fn keys(kubeconfig: &str) -> Vec<String> {
    let all = kubeconfig.lines().filter_map(|line| line.trim().strip_prefix("client-key-data: "));
    all.map(str::to_owned).collect()
}

#[test]
#[ignore = "needs a container engine: make test-kind"]
fn a_run_on_kind_shows_none() {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("user:{REGISTRY}"));
    let recipe = RECIPE
        .replace("ARGUMENT", &format!("\"{ARGUMENT}\""))
        .replace("POSTGRES", &format!("\"{POSTGRES}\""))
        .replace("SERVICE", &format!("\"{SERVICE}\""));
    let config = serde_json::json!({ "auths": { "127.0.0.1:1": { "auth": auth } } });
    let sandbox = Sandbox::with(&recipe)
        .file("program", "#!/bin/sh\n")
        .file("Dockerfile", DOCKERFILE)
        .file("config/config.json", &config.to_string());
    let folder = sandbox.path().join("config");
    let sandbox = sandbox.env("DOCKER_CONFIG", folder);
    let set = [
        ("parameter", PARAMETER.to_owned()),
        ("base", told("RECIPE_TEST_BASE_IMAGE")),
        ("postgres", told("RECIPE_TEST_POSTGRES_IMAGE")),
    ]
    .map(|(name, value)| format!("--set={name}={value}"));
    let args = ["run", "--rm", "--target", "kind", "-v", "recipe.rhai"].into_iter().chain(REPORTS);
    let output = sandbox.recipe(args.map(str::to_owned).chain(set)).exits(1);
    let output = output.says(&["token ***", "client-key-data: ***", "API_TOKEN=***", "`site`"]);
    let kubeconfig = std::fs::read_to_string(sandbox.path().join("kubeconfig")).unwrap();
    let keys = keys(&kubeconfig);
    assert!(!keys.is_empty(), "{kubeconfig}");
    let own = [REGISTRY, ARGUMENT, PARAMETER, POSTGRES, SERVICE];
    let all: Vec<_> = own.into_iter().chain(keys.iter().map(String::as_str)).collect();
    hides_all(&sandbox, &output, &all, &[]);
    sandbox.assert_nothing_left();
}
