//! Commands, files, parameters and requests of recipes.

mod harness;

use harness::Sandbox;
use serde_json::{Value, json};

#[track_caller]
fn outputs(sandbox: &Sandbox) -> Value {
    let (output, summary) = sandbox.summary();
    output.success();
    sandbox.assert_nothing_left();
    summary["outputs"].clone()
}

#[test]
fn commands_have_streams_codes_and_surroundings() {
    let sandbox = Sandbox::with(
        r#"let all = sh("cat; echo out; echo err >&2; pwd; echo $COLOUR", #{
            stdin: "in\n", cwd: "sub dir", env: #{ COLOUR: "green" } });
        let quiet = sh("printf 'no end'; exit 3", #{ check: false });
        let killed = sh("kill -9 $$", #{ check: false });
        let deaf = sh("exit 0", #{ stdin: blob(1000000).as_string() });
        let bytes = sh("printf 'a\\377b'");
        output(#{ all: all, quiet: quiet, killed: killed.code, deaf: deaf.code, bytes: bytes.stdout });"#,
    )
    .file("sub dir/file", "");
    let found = outputs(&sandbox);
    let directory = sandbox.path().join("sub dir").canonicalize().unwrap();
    let stdout = format!("in\nout\n{}\ngreen\n", directory.display());
    assert_eq!(found["all"], json!({ "code": 0, "stdout": stdout, "stderr": "err\n" }));
    assert_eq!(found["quiet"], json!({ "code": 3, "stdout": "no end", "stderr": "" }));
    assert_eq!((&found["killed"], &found["deaf"]), (&json!(137), &json!(0)));
    assert_eq!(found["bytes"], "a\u{FFFD}b");
}

#[test]
fn commands_that_fail_show_their_last_lines() {
    let sandbox = Sandbox::with("sh(\"for i in $(seq 100); do echo line $i; done; exit 3\");");
    sandbox
        .run()
        .exits(1)
        .says(&["sh: the command ended with exit code 3", "last output: line 86", "line 100"])
        .never_says(&["line 85\n"]);
    let sandbox = Sandbox::with("sh(\"true\", #{ cwd: \"nowhere\" });");
    sandbox.run().exits(1).says(&["`sh` in", "/nowhere cannot be executed", "No such file"]);
}

#[test]
fn a_command_that_takes_too_long_ends_with_its_group() {
    let sandbox = Sandbox::with(
        "try { sh(\"sh -c 'echo $$ > pid; sleep 600' & sleep 600\", #{ timeout: \"300ms\" }); }\n\
         catch (e) { output(#{ kind: e.kind, message: e.message }); }\n\
         wait_for(\"its end\", || sh(\"kill -0 $(cat pid)\", #{ check: false }).code != 0);",
    );
    let found = outputs(&sandbox);
    assert_eq!(found["kind"], "timeout");
    assert_eq!(found["message"], "the command did not end within 300 ms and was stopped");
}

#[test]
fn what_a_command_leaves_running_is_stopped() {
    // All it has written is kept, though a process holds its streams open.
    let sandbox = Sandbox::with(
        "let left = sh(\"sleep 600 & echo $! > pid; printf out; printf err >&2\");\n\
         wait_for(\"its end\", || sh(\"kill -0 $(cat pid)\", #{ check: false }).code != 0);\n\
         let clean = sh(\"true\");\n\
         output(#{ stdout: left.stdout, stderr: left.stderr });",
    );
    let (output, summary) = sandbox.summary();
    assert_eq!(summary["outputs"], json!({ "stdout": "out", "stderr": "err" }));
    let text = "the command left processes running; they were stopped";
    assert_eq!(output.stderr.matches(text).count(), 1, "{}", output.stderr);
    sandbox.assert_nothing_left();
}

#[test]
fn a_command_that_writes_too_much_does_no_harm() {
    let sandbox = Sandbox::with(
        "let lines = sh(\"yes | head -c 100000000; echo the end\").stdout;\n\
         let line = sh(\"head -c 100000000 /dev/zero | tr '\\\\0' x; printf end\").stdout;\n\
         output(#{ lines: lines.len(), end: lines.ends_with(\"the end\\n\"), line: line.len(), stop: line.ends_with(\"end\") });",
    );
    let (output, summary) = sandbox.summary();
    output.success();
    let found = &summary["outputs"];
    assert_eq!((&found["end"], &found["stop"]), (&json!(true), &json!(true)));
    for size in ["lines", "line"] {
        assert!(found[size].as_u64().unwrap() < 17 << 20, "{found}");
    }
    let record = sandbox.run_folder().join("events.jsonl");
    let outputs = std::fs::read_to_string(record).unwrap();
    assert!(outputs.contains("[recipe does not show the rest"), "the record says so");
    sandbox.assert_nothing_left();
}

#[test]
fn files_are_written_inside_the_workspace_only() {
    let sandbox = Sandbox::with(
        r#"fn kind(path) { try { write_file(path, "x"); } catch (e) { return e.kind; } return "written"; }
        let found = #{};
        for path in ["a/b/c.txt", "../x", "a/../../x", "/tmp/recipe-test-x", "out/x", "dangling", "in/x"] { found[path] = kind(path); }
        found.read = read_file("a/b/c.txt");
        found.none = "";
        try { read_file("nothing"); } catch (e) { found.none = e.kind; }
        output(found);"#,
    )
    .file("real/file", "");
    let outside = tempfile::tempdir().unwrap();
    let link = |to: &std::path::Path, name: &str| {
        std::os::unix::fs::symlink(to, sandbox.path().join(name)).unwrap();
    };
    link(outside.path(), "out");
    link(&outside.path().join("new"), "dangling");
    link(&sandbox.path().join("real"), "in");
    let found = outputs(&sandbox);
    let expected = json!({
        "a/b/c.txt": "written", "../x": "usage", "a/../../x": "usage", "/tmp/recipe-test-x": "usage",
        "out/x": "usage", "dangling": "usage", "in/x": "written", "read": "x", "none": "not_found",
    });
    assert_eq!(found, expected);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(!std::path::Path::new("/tmp/recipe-test-x").exists());
}

#[test]
fn parameters_are_read_as_their_defaults() {
    let recipe = r#"output(#{
        text: param("text", "a"), number: param("number", 1), float: param("float", 0.5), flag: param("flag", false),
        list: param("list", []), map: param("map", #{}), version: param("version", "15"), any: param("any"),
    });"#;
    let defaults = json!({
        "text": "a", "number": 1, "float": 0.5, "flag": false, "list": [], "map": {}, "version": "15", "any": "x",
    });
    let sandbox = Sandbox::with(recipe)
        .file("p.toml", "number = 2\nversion = 16\nlist = [1, 'b']\nany = [1]\n")
        .file("p.yaml", "number: 3\nfloat: 2\nversion: 17\nmap: { a: { b: true } }\nany: 1\n")
        .file("p.json", "{\"text\": \"ü\", \"flag\": true, \"any\": null}");
    let run = |args: &[&str]| -> Value {
        let common = ["run", "--rm", "--output", "json", "recipe.rhai"];
        let output = sandbox.recipe(common.iter().chain(args)).success();
        serde_json::from_str::<Value>(&output.stdout).unwrap()["outputs"].take()
    };
    let with = |changes: Value| {
        let mut expected = defaults.clone();
        expected.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        expected
    };
    assert_eq!(run(&["--set", "any=x"]), defaults);
    assert_eq!(
        run(&["--params", "p.toml"]),
        with(json!({ "number": 2, "version": "16", "list": [1, "b"], "any": [1] }))
    );
    assert_eq!(
        run(&["--params", "p.yaml"]),
        with(json!({ "number": 3, "float": 2.0, "version": "17", "map": { "a": { "b": true } }, "any": 1 }))
    );
    assert_eq!(run(&["--params", "p.json"]), with(json!({ "text": "ü", "flag": true, "any": null })));
    let set =
        ["--set", "number=-4", "--set", "float=1e3", "--set", "flag=true", "--set", "list=[{\"a\": 1}]"];
    let set = [&set[..], &["--set", "text=a=b c", "--set", "number=5", "--params", "p.toml"]].concat();
    assert_eq!(
        run(&set),
        with(json!({
            "number": 5, "float": 1000.0, "flag": true, "list": [{ "a": 1 }], "text": "a=b c", "version": "16",
            "any": [1],
        })),
        "what is set wins over the file, and the last one over others"
    );
}

#[test]
fn the_environment_of_recipe() {
    let sandbox = Sandbox::with(
        "let missing = \"\"; try { env(\"NO_SUCH\"); } catch (e) { missing = e.message; }\n\
         output(#{ set: env(\"COLOUR\"), other: env(\"NO_SUCH\", \"x\"), missing: missing, target: target(),\n\
         id: run_id(), port: random_port(), password: random_password(#{ length: 40 }).len() });",
    );
    let sandbox = sandbox.env("COLOUR", "green");
    let found = outputs(&sandbox);
    assert_eq!((&found["set"], &found["other"]), (&json!("green"), &json!("x")));
    assert_eq!(found["missing"], "the environment variable NO_SUCH is not set");
    assert_eq!((&found["target"], &found["password"]), (&json!("local"), &json!(40)));
    assert!(sandbox.run_folder().ends_with(found["id"].as_str().unwrap()));
    assert!(found["port"].as_u64().unwrap() > 1024);
}

#[test]
fn waiting_tells_what_it_last_saw() {
    let sandbox = Sandbox::with(
        "fn told(work) { try { work.call(); } catch (e) { return `${e.kind}: ${e.message}`; } return \"done\"; }\n\
         let port = random_port();\n\
         output(#{\n\
         http: told(|| wait_http(`http://127.0.0.1:${port}/`, #{ timeout: \"50ms\" })),\n\
         never: told(|| wait_for(\"the moon\", || false, #{ timeout: \"20ms\" })),\n\
         wrong: told(|| wait_for(\"it\", || 5)),\n\
         seen: told(|| wait_for(\"it\", || true, #{ timeout: \"0s\" })),\n\
         get: told(|| http(`http://127.0.0.1:${port}/`)),\n\
         url: told(|| http(\"no url\")),\n\
         });\n\
         wait_for(\"the sun\", || { throw \"it rains\" }, #{ timeout: \"20ms\" });",
    );
    let (output, summary) = sandbox.summary();
    output.exits(1).says(&["waited 20 ms for the sun in vain", "it rains"]);
    let found = &summary["outputs"];
    for (name, says) in [
        ("http", "timeout: GET http://127.0.0.1:"),
        ("http", "did not answer 200 within 50 ms"),
        ("never", "timeout: waited 20 ms for the moon in vain"),
        ("wrong", "usage: the closure must return true or false, but returned i64"),
        ("seen", "done"),
        ("get", "unreachable: GET http://127.0.0.1:"),
        ("get", "Connection refused"),
        ("url", "usage: GET no url failed"),
    ] {
        assert!(found[name].as_str().unwrap().contains(says), "{says} is not in {found:#}");
    }
}
