//! Runs that fail: exit code, words, place, evidence and hint; and nothing is
//! left of them but their records.

mod harness;

use std::net::TcpListener;
use std::process::Command;

use harness::{Output, Sandbox};

/// Runs a recipe that fails with `code`, and checks that it did so cleanly.
#[track_caller]
fn fails(sandbox: &Sandbox, code: i32) -> Output {
    let output = sandbox.run().exits(code);
    sandbox.assert_failed_cleanly();
    output
}

const CLUSTER: &str = "let cluster = create_cluster(\"c\");\n";

#[test]
fn a_folder_of_migrations_that_is_not_there() {
    let recipe = format!("{CLUSTER}let pg = deploy_postgres(cluster);\nmigrate(pg, \"db/migrations\");");
    fails(&Sandbox::with(&recipe), 1).says(&[
        "migrate:",
        "db/migrations",
        "recipe.rhai:3:1",
        "does not exist",
        "relative to",
    ]);
}

#[test]
fn a_mistake_in_the_third_migration() {
    let recipe = format!("{CLUSTER}let pg = deploy_postgres(cluster);\nmigrate(pg, \"db\");");
    let sandbox = Sandbox::with(&recipe)
        .file("db/001_a.sql", "CREATE TABLE a (id int);")
        .file("db/002_b.sql", "CREATE TABLE b (id int);")
        .file("db/003_c.sql", "CREATE TABLE c (id int);\nINSERT INTO c\n  SELECT nothing FROM a;\n");
    fails(&sandbox, 1).says(&[
        "migrate:",
        "003_c.sql",
        "column \"nothing\" does not exist",
        "SQLSTATE 42703",
        "recipe.rhai:3:1",
        "db/003_c.sql:3:10",
        "SELECT nothing FROM a;",
    ]);
}

#[test]
fn postgres_where_there_is_none() {
    let recipe = format!("{CLUSTER}deploy_postgres(cluster);");
    let sandbox = Sandbox::with(&recipe).file("empty/nothing", "");
    let empty = sandbox.path().join("empty");
    let sandbox = sandbox.env("RECIPE_PG_BIN", &empty);
    fails(&sandbox, 3).says(&[
        "RECIPE_PG_BIN names",
        "/empty",
        "apt-get install postgresql",
        "recipe.rhai:2:1",
    ]);
}

#[test]
fn postgres_and_redis_that_are_not_installed() {
    for (primitive, packages, name, install) in [
        ("deploy_postgres", "/usr/lib/postgresql", "PostgreSQL", "sudo apt-get install postgresql"),
        ("deploy_redis", "/usr/bin/redis-server", "Redis", "sudo apt-get install redis-server"),
    ] {
        let sandbox = Sandbox::with(&format!("{CLUSTER}{primitive}(cluster);"));
        let output = without(&sandbox, packages);
        output.exits(3).says(&[
            &format!("{name} is not installed on this machine"),
            install,
            "recipe.rhai:2:1",
        ]);
        sandbox.assert_failed_cleanly();
    }
}

/// Runs the recipe on a machine without `packages`: in a mount namespace of its
/// own, something empty is put over them.
fn without(sandbox: &Sandbox, packages: &str) -> Output {
    let hide = format!(
        "if [ -d {packages} ]; then mount -t tmpfs none {packages}; \
         else t=$(mktemp -u) && mknod $t c 0 0 && mount --bind $t {packages}; fi && exec \"$@\""
    );
    in_namespace(sandbox, &hide)
}

/// Runs the recipe by a shell script that may mount things.
fn in_namespace(sandbox: &Sandbox, script: &str) -> Output {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test mounts file systems: run it as root, as in `sudo -E cargo test --test failures`"
    );
    let run = sandbox.command(["run", "--rm", "recipe.rhai"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(run.get_program()).args(run.get_args());
    command.current_dir(sandbox.path());
    command.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.output().unwrap().into()
}

#[test]
fn a_scratch_directory_that_is_full() {
    let sandbox = Sandbox::with(&format!("{CLUSTER}deploy_postgres(cluster);"));
    let scratch = sandbox.scratch().display();
    let output = in_namespace(&sandbox, &format!("mount -t tmpfs -o size=8m none {scratch} && exec \"$@\""));
    output.exits(1).says(&[
        "initdb ended with",
        "No space left on device",
        "RECIPE_RUN_DIR",
        "100 MB or more",
    ]);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_port_that_somebody_has() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for primitive in ["deploy_postgres", "deploy_redis"] {
        let sandbox = Sandbox::with(&format!("{CLUSTER}{primitive}(cluster, #{{ host_port: {port} }});"));
        let me = format!("(pid {})", std::process::id());
        fails(&sandbox, 1).says(&[&format!("port {port} is taken by failures"), &me, "choose another port"]);
    }
    let service = r#"command: ["sleep", "9"], port: 80"#;
    let recipe = format!("{CLUSTER}deploy_service(cluster, \"s\", #{{ {service}, host_port: {port} }});");
    fails(&Sandbox::with(&recipe), 1).says(&[&format!("port {port} is taken by failures")]);
}

#[test]
fn a_service_that_ends_at_once() {
    let recipe = format!(
        "{CLUSTER}let s = deploy_service(cluster, \"s\", #{{\n\
         command: [\"sh\", \"-c\", \"for i in 1 2 3; do echo line $i; done; echo no config >&2; exit 7\"], port: 80 }});\n\
         wait_ready(s, #{{ timeout: \"10m\" }});"
    );
    // The test itself would time out if it were waited for.
    fails(&Sandbox::with(&recipe), 1).says(&[
        "wait_ready: `s` exited with code 7",
        "last output: line 1 line 2 line 3 no config",
        "recipe.rhai:4:1",
    ]);
}

#[test]
fn a_service_that_never_gets_ready() {
    let server = "\
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b'still warming up')
http.server.HTTPServer(('127.0.0.1', int(__import__('os').environ['PORT'])), Handler).serve_forever()
";
    let recipe = format!(
        "{CLUSTER}let s = deploy_service(cluster, \"s\", #{{\n\
         command: [\"python3\", \"$(FILES)/server.py\"], files: #{{ \"server.py\": read_file(\"server.py\") }}, port: 80, ready: \"/readyz\" }});\n\
         wait_http(s.url, #{{ status: 503 }});\n\
         wait_ready(s, #{{ timeout: \"300ms\" }});"
    );
    fails(&Sandbox::with(&recipe).file("server.py", server), 1).says(&[
        "wait_ready: `s` was not ready within 300 ms",
        "/readyz to answer 200",
        "503 Service Unavailable: still warming up",
        "the option `timeout` gives it more time",
    ]);
}

#[test]
fn a_service_that_listens_nowhere() {
    let recipe = format!(
        "{CLUSTER}let s = deploy_service(cluster, \"s\", #{{ command: [\"sleep\", \"60\"], port: 80 }});\n\
         wait_ready(s, #{{ timeout: \"100ms\" }});"
    );
    fails(&Sandbox::with(&recipe), 1).says(&["to accept connections", "Connection refused"]);
}

#[test]
fn a_program_that_is_not_there() {
    let recipe = format!("{CLUSTER}deploy_service(cluster, \"s\", #{{ command: [\"no-such-program\"] }});");
    fails(&Sandbox::with(&recipe), 1)
        .says(&["deploy_service: cannot start s", "no program `no-such-program`"]);
    let recipe = "build_image(\"x\", #{ binary: \"target/none\" });";
    fails(&Sandbox::with(recipe), 1).says(&["there is no program", "target/none", "give the option `build`"]);
    let recipe = "build_image(\"x\", #{ build: \"true\", binary: \"none\" });";
    fails(&Sandbox::with(recipe), 1).says(&["there is no program", "made no such file"]);
    let recipe = "build_image(\"x\", #{ build: \"echo oh no >&2; exit 4\", binary: \"none\" });";
    fails(&Sandbox::with(recipe), 1).says(&["the build command ended with exit code 4", "oh no"]);
}

#[test]
fn what_this_target_cannot_do() {
    let recipe = "build_image(\"x\", #{ dockerfile: \"Dockerfile\" });";
    fails(&Sandbox::with(recipe), 1).says(&["no container engine to build Dockerfile", "#{ build:"]);
    let recipe = format!("{CLUSTER}apply_manifest(cluster, \"extra.yaml\");");
    fails(&Sandbox::with(&recipe), 1).says(&["no Kubernetes to apply extra.yaml", "use deploy_postgres"]);
    let recipe =
        format!("{CLUSTER}deploy_service(cluster, \"s\", #{{ command: [\"sleep\"], replicas: 2 }});");
    fails(&Sandbox::with(&recipe), 1).says(&["one process of each service", "leave out `replicas`"]);
}

#[test]
fn two_branches_that_fail_at_once() {
    let recipe = "parallel(#{\n  left: || { test_barrier(\"b\", 3); sh(\"echo l >&2; exit 3\") },\n  \
                  right: || { test_barrier(\"b\", 3); sh(\"echo r >&2; exit 4\") },\n  \
                  idle: || { test_barrier(\"b\", 3); sleep(\"10m\") },\n});";
    let sandbox = Sandbox::with(recipe);
    let output =
        fails(&sandbox, 1).says(&["the command ended with exit code", "cancelled because of it:", "`idle`"]);
    // Which one is first, and whether the other gets to fail, is for the machine
    // to say; but it must be accounted for.
    let (left, right) = (output.stderr.contains("`left`"), output.stderr.contains("`right`"));
    assert!(left && right, "{}", output.stderr);
}

#[test]
fn a_bug_in_a_primitive() {
    let recipe = format!(
        "{CLUSTER}deploy_redis(cluster);\n\
         parallel(#{{ bad: || test_panic(\"index out of bounds\"), good: || sh(\"sleep 600\") }});"
    );
    fails(&Sandbox::with(&recipe), 70).says(&["index out of bounds", "recipe.rhai:3:", "branch `bad`"]);
}

#[test]
fn secrets_in_errors_are_masked() {
    let recipe = format!(
        "let password = param(\"password\", \"s3cret/p@ss word\", #{{ secret: true }});\n{CLUSTER}\
         let pg = deploy_postgres(cluster, #{{ password: password }});\n\
         print(pg.url);\n\
         try {{ sh(\"echo \" + pg.url); sh(`echo '${{password}}' >&2; false`); }} catch (e) {{ print(e.message); throw e; }}"
    );
    let sandbox = Sandbox::with(&recipe);
    let output = sandbox.recipe(["run", "--rm", "--output", "json", "-v", "recipe.rhai"]).exits(1);
    for secret in ["s3cret/p@ss word", "s3cret%2Fp%40ss%20word"] {
        let found = Command::new("grep")
            .args(["-rF", secret, "."])
            .current_dir(sandbox.run_folder())
            .output()
            .unwrap();
        assert!(found.stdout.is_empty(), "{}", String::from_utf8_lossy(&found.stdout));
        assert!(!output.stderr.contains(secret) && !output.stdout.contains(secret), "{}", output.stderr);
    }
    output.says(&["the command ended with exit code 1", "***", "postgres://app:***@127.0.0.1"]);
}
