//! Secrets of every source, and every place that could give them away.

#[path = "../harness/mod.rs"]
mod harness;
mod kind;
mod reveals;
mod scan;

use std::process::Stdio;

use harness::{Output, Sandbox};
use scan::{hides, hides_all};

/// Of each source one, hard to quote.
const SET: &str = "C4nary \"set\" %a/é";
const FILE: &str = "Fil3+canary=='x'\\y";
const VARIABLE: &str = "3nv-Canary-of-a-variable";
const POSTGRES: &str = "PgGiv3n-canary'z";
const REDIS: &str = "R3disGiven-canary";
const URL: &str = "Url-C4nary-1";
const BEARER: &str = "Bear3r-canary-22";
const SUBSTITUTED: &str = "Env5ub-Canary";
const SERVICE: &str = "S3rviceToken-canary";
const BASIC: &str = "Bas1c-canary-333";

const ALL: [&str; 10] = [SET, FILE, VARIABLE, POSTGRES, REDIS, URL, BEARER, SUBSTITUTED, SERVICE, BASIC];

/// Writes a secret in all ways that programs know, and over lines.
const LEAK: &str = r#"
    echo "plain $S"; echo "on stderr $S" >&2
    printf 'user:%s' "$S" | base64 -w 11; printf %s "$S" | base64; printf 'x%s\n' "$S" | base64
    printf %s "$S" | od -An -v -tx1 | tr -d ' \n'; echo
    printf %s "$S" | fold -w 7; echo
    python3 -c 'import json, os, urllib.parse as u
s = os.environ["S"]
print(json.dumps({"s": s}), repr(s), ascii(s), u.quote(s), u.quote(s, safe=""), u.quote_plus(s), s.replace("\"", "\"\""))'
"#;

/// A service that shows its environment and what it is asked.
const SERVER: &str = r#"
import base64, http.server, os, sys
print(dict(os.environ), file=sys.stderr, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        word = self.headers.get("Authorization", "")
        self.log_message("asked with %s", word)
        self.send_response(500 if "fail" in self.path else 200)
        self.end_headers()
        self.wfile.write(("you sent " + word).encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

fn recipe(end: &str) -> String {
    format!(
        r#"
let set = param("set", "", #{{ secret: true }});
let more = param("more", #{{}}, #{{ secret: true }});
let variable = param("variable", "", #{{ secret: true }});
let cluster = create_cluster("c");
let pg = deploy_postgres(cluster, #{{ password: "{POSTGRES}", settings: #{{ log_statement: "all" }} }});
let other = deploy_postgres(cluster, #{{ name: "other" }});
let redis = deploy_redis(cluster, #{{ password: "{REDIS}" }});
let all = [set, more.deep[0], variable, pg.password, redis.password, other.password];
for secret in all {{
    sh(read_file("leak.sh"), #{{ env: #{{ S: secret }} }});
    sh(`# a title with ${{secret}}`);
    print([secret, #{{ key: secret }}]);
    try {{ sql(pg, `SELECT '${{secret}}'::int`); }} catch (e) {{ print(e.message); print(e.causes); }}
    try {{ sql(pg, "SELECT $1::text::int", [secret]); }} catch (e) {{ print(e.message); print(e.causes); }}
    try {{ throw secret; }} catch (e) {{ print(e); }}
}}
let site = deploy_service(cluster, "site", #{{
    command: ["python3", "$(FILES)/server.py"], port: 80, ready: "/", files: #{{ "server.py": read_file("server.py") }},
    env: #{{ API_TOKEN: "{SERVICE}", DATABASE_URL: other.internal_url, SET: set }},
}});
wait_ready(site);
let host = site.url.sub_string(7);
print(http(`http://user:{URL}@${{host}}/`).body);
print(http(site.url, #{{ headers: #{{ Authorization: "Bearer {BEARER}" }} }}).body);
try {{ http(`${{site.url}}/fail`, #{{ headers: #{{ authorization: "Basic " + read_file("basic").trim() }}, expect: 200 }}); }} catch (e) {{ print(e.message); print(e.evidence); }}
try {{ http("http://user:{URL}@127.0.0.1:1/"); }} catch (e) {{ print(e.message); }}
print(sh("env", #{{ check: false }}).stdout);
print(logs(site));
output(#{{ generated: other.password }});
write_file("generated", other.password);
sh(`: ${{set}} ${{other.password}}; touch now; while ! test -e go; do sleep 0.02; done`);
{end}"#
    )
}

fn sandbox(end: &str) -> Sandbox {
    use base64::Engine as _;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("user:{BASIC}"));
    Sandbox::with(&recipe(end))
        .file("leak.sh", LEAK)
        .file("server.py", SERVER)
        .file("basic", &basic)
        .file("params.json", &serde_json::json!({ "more": { "deep": [FILE] } }).to_string())
        .file("migrations/001_x.sql", "-- +goose ENVSUB ON\n-- +goose Up\nSELECT '${DB_PASSWORD}'::int;\n")
        .env("RECIPE_PARAM_VARIABLE", VARIABLE)
        .env("DB_PASSWORD", SUBSTITUTED)
}

/// Runs the recipe in a sandbox, and looks at its processes meanwhile.
fn run(sandbox: &Sandbox, args: &[&str]) -> Output {
    let set = format!("set={SET}");
    let mut command = sandbox.command(["run", "--set", &set, "--params", "params.json"]);
    command.args(scan::REPORTS).args(args).arg("recipe.rhai");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let now = sandbox.path().join("now");
    while !now.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // But for recipe itself, of which whoever wrote its command line knows.
    let listing = arguments_of_all_but(child.id(), sandbox);
    assert!(
        ["__supervise", "postgres -D", "server.py", "sh -c"].iter().all(|word| listing.contains(word)),
        "{listing}"
    );
    hides("the list of processes", &listing, &ALL);
    std::fs::write(sandbox.path().join("go"), "").unwrap();
    child.wait_with_output().unwrap().into()
}

/// Of the processes that belong to the sandbox, as everybody can list them.
fn arguments_of_all_but(pid: u32, sandbox: &Sandbox) -> String {
    let places = [sandbox.scratch().to_str().unwrap(), sandbox.path().to_str().unwrap()];
    let pids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let others = pids.filter(|name| name.parse::<u32>().is_ok_and(|other| other != pid));
    let read =
        |file: &str| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).replace('\0', " ");
    let listed = others.filter_map(|pid| {
        let arguments = read(&format!("/proc/{pid}/cmdline"));
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        let of = format!("{arguments} {} {}", read(&format!("/proc/{pid}/environ")), cwd.display());
        places.iter().any(|place| of.contains(place)).then_some(arguments + "\n")
    });
    listed.collect()
}

fn generated(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path().join("generated")).unwrap()
}

#[test]
fn a_run_that_succeeds_shows_none() {
    let sandbox = sandbox("");
    let output = run(&sandbox, &["-v"]).success().says(&["plain ***", "on stderr ***", "generated ***"]);
    let generated = generated(&sandbox);
    let env = sandbox.recipe(["env"]).success();
    assert!(env.stdout.contains(&generated), "that is what it is for: {env:?}");
    let logs = sandbox.recipe(["logs"]).success();
    hides("logs of what is up", &logs.stdout, &ALL);
    assert!(logs.stdout.contains("asked with Bearer ***"), "{logs:?}");
    sandbox.recipe(["down"]).success();
    hides_all(&sandbox, &output, &ALL, &[&generated]);
}

#[test]
fn a_run_that_fails_shows_none() {
    let sandbox = sandbox("migrate(other, \"migrations\");");
    let output = run(&sandbox, &["--output", "json"]).exits(1);
    let output = output.says(&["invalid input syntax for type integer: \"***\""]);
    hides_all(&sandbox, &output, &ALL, &[&generated(&sandbox)]);
}
