//! Services as processes of this machine.

mod harness;

use harness::Sandbox;
use harness::live::eventually;
use serde_json::{Value, json};

const CLUSTER: &str = "let cluster = create_cluster(\"c\");\n";

#[track_caller]
fn outputs(script: &str) -> Value {
    let sandbox = Sandbox::with(&format!("{CLUSTER}{script}"));
    let (output, summary) = sandbox.summary();
    output.success();
    sandbox.assert_nothing_left();
    summary["outputs"].clone()
}

#[test]
fn a_service_is_told_where_to_listen_and_what_to_use() {
    let found = outputs(
        r#"let port = random_port();
        let s = deploy_service(cluster, "s", #{
            command: ["sh", "-c", "echo started as $0; exec python3 -m http.server --bind $HOST --directory $FILES $PORT", "$(URL)"],
            args: ["extra"],
            port: 8080, ports: #{ "my-metrics": 9090 }, host_port: port, ready: "conf.d/app.yaml",
            env: #{ URL: "http://$(HOST):$(PORT_MY_METRICS)/$$(PORT)/$(NONE)", GREETING: "it's $HOME" },
            files: #{ "conf.d/app.yaml": "a: 1\n", "empty": "" },
        });
        let same = wait_ready(s);
        let exec = exec(s, ["sh", "-c", "printf '%s ' $URL $PORT; pwd; cat $FILES/conf.d/app.yaml; echo to stderr >&2; exit 2"], #{ check: false });
        let foreign = exec(s, ["sh", "-c", "echo ${CARGO_MANIFEST_DIR:-none} $GREETING"]);
        output(#{
            name: same.name, port: s.port == port, url: s.url == `http://127.0.0.1:${port}`, internal: s.internal_url == s.url,
            metrics: s.urls["my-metrics"], file: http(s.url + "/conf.d/app.yaml").body, exec: exec, own: port,
            foreign: foreign.stdout.trim(), log: logs(s, #{ lines: 100 }),
        });"#,
    );
    assert_eq!(found["name"], "s");
    assert_eq!(
        (&found["port"], &found["url"], &found["internal"]),
        (&json!(true), &json!(true), &json!(true))
    );
    assert_eq!(found["file"], "a: 1\n");
    let metrics = found["metrics"].as_str().unwrap();
    let stdout = found["exec"]["stdout"].as_str().unwrap();
    let start = format!("{metrics}/$(PORT)/$(NONE) {} /", found["own"]);
    assert!(
        stdout.starts_with(&start) && stdout.ends_with("/s\na: 1\n"),
        "{stdout} does not start with {start}"
    );
    assert_eq!((&found["exec"]["code"], &found["exec"]["stderr"]), (&json!(2), &json!("to stderr\n")));
    assert_eq!(found["foreign"], "none it's $HOME", "only what a container would have");
    assert!(found["log"].as_str().unwrap().contains(&format!("started as {metrics}")), "{found}");
}

#[test]
fn an_image_is_the_program_that_was_built() {
    let found = outputs(
        r##"write_file("tool.sh", "#!/bin/sh\necho \"$@\" > said; exec sleep 60\n");
        let image = load_image(cluster, build_image("tool", #{ build: "chmod +x tool.sh; mkdir -p out; mv tool.sh out/", binary: "out/tool.sh" }));
        let plain = deploy_service(cluster, "plain", #{ image: image, args: ["one", "$(HOST)"] });
        let named = deploy_service(cluster, "named", #{ image: image, command: ["tool.sh", "two"] });
        wait_ready([plain, named]);
        fn said(service) {
            wait_for("its word", || exec(service, ["test", "-s", "said"], #{ check: false }).code == 0);
            exec(service, ["cat", "said"]).stdout.trim()
        }
        output(#{ digest: image.digest, plain: said(plain), named: said(named), port: plain.port, url: plain.url });"##,
    );
    assert!(found["digest"].as_str().unwrap().starts_with("blake3:"));
    assert_eq!((&found["plain"], &found["named"]), (&json!("one 127.0.0.1"), &json!("two")));
    assert_eq!((&found["port"], &found["url"]), (&Value::Null, &Value::Null), "it has no port");
}

#[test]
fn what_a_service_cannot_be() {
    let found = outputs(
        r#"fn told(options) {
            try { deploy_service(create_cluster("c"), "s", options); } catch (e) { return `${e.kind}: ${e.message}`; }
            return "deployed";
        }
        output(#{
            nothing: told(#{}), empty: told(#{ command: [] }), ready: told(#{ command: ["sleep", "1"], ready: "/" }),
            outside: told(#{ command: ["sleep", "1"], files: #{ "../x": "" } }), absolute: told(#{ command: ["sleep", "1"], files: #{ "/x": "" } }),
            good: told(#{ command: ["sleep", "60"] }), twice: told(#{ command: ["sleep", "60"] }),
        });"#,
    );
    for (name, says) in [
        ("nothing", "usage: it is not said what the service runs"),
        ("empty", "usage: option `command` is empty"),
        ("ready", "usage: option `ready` needs a `port` to ask"),
        ("outside", "usage: option `files` has the name `../x`, which leaves its folder"),
        ("absolute", "usage: option `files` has the name `/x`"),
        ("good", "deployed"),
        ("twice", "usage: there is a `s` in this environment already"),
    ] {
        assert!(found[name].as_str().unwrap().contains(says), "{says} is not in {found:#}");
    }
}

#[test]
fn a_service_that_has_ended_is_seen_whenever_it_is_waited_for() {
    let found = outputs(
        r#"let s = deploy_service(cluster, "s", #{ command: ["sh", "-c", "echo bye; exit 5"] });
        let told = "";
        wait_for("its end", || try_ready(s) != "");
        fn try_ready(s) { try { wait_ready(s); } catch (e) { return `${e.kind}: ${e.message}`; } return ""; }
        output(#{ told: try_ready(s), log: logs(s) });"#,
    );
    assert_eq!(found, json!({ "told": "exited: `s` exited with code 5", "log": "bye" }));
}

#[test]
fn a_service_has_time_to_end_but_its_children_do_not_outlive_it() {
    let sandbox = Sandbox::with(&format!(
        "{CLUSTER}let s = deploy_service(cluster, \"s\", #{{ files: #{{ \"run\": read_file(\"run\") }}, command: [\"sh\", \"$(FILES)/run\"] }});\n\
         wait_for(\"its start\", || read_file(\"ready\") != \"\");"
    ))
    .file("ready", "");
    let work = sandbox.path().display().to_string();
    let service = format!(
        "trap 'echo ended > {work}/ended; exit 0' TERM\nsetsid sleep 600 &\necho $! > {work}/ready\nwhile :; do sleep 0.01; done\n"
    );
    let sandbox = sandbox.file("run", &service);
    sandbox.run().success();
    assert_eq!(std::fs::read_to_string(sandbox.path().join("ended")).unwrap(), "ended\n");
    let child = std::fs::read_to_string(sandbox.path().join("ready")).unwrap();
    assert!(!harness::live::runs(child.trim().parse().unwrap()));
    sandbox.assert_nothing_left();
}

#[test]
fn an_environment_of_a_failed_run_can_be_kept() {
    let sandbox = Sandbox::with(&format!("{CLUSTER}deploy_redis(cluster);\nthrow \"oh\";"));
    let keep = ["run", "--keep", "on-failure", "recipe.rhai"];
    sandbox.recipe(keep).exits(1).says(&["oh", "was kept", "take it down: recipe down"]);
    assert_eq!(sandbox.runs()[0]["state"], "kept");
    eventually("redis is up", || sandbox.processes().iter().any(|process| process.contains("redis-server")));
    sandbox.recipe(["down"]).success();
    assert_eq!(sandbox.runs()[0]["state"], "down");
    sandbox.assert_nothing_left();
}
