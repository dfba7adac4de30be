//! Recipes that take too much: they end with an error at its place, and leave
//! nothing behind.

mod harness;

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use harness::{Output, Sandbox};
use nix::sys::signal::Signal;

/// Less than the defaults, so that they are met soon.
const LIMITS: &str = "[limits]\nmemory_mb = 400\noperations = 3000000\nmessages_mb = 1\nbranches = 200\n";

#[track_caller]
fn stopped(script: &str) -> Output {
    // With something to take down.
    let recipe = format!("let redis = deploy_redis(create_cluster(\"c\"));\n{script}");
    let sandbox = Sandbox::with(&recipe).file("recipe.toml", LIMITS);
    let output = sandbox.recipe(["run", "--rm", "--keep", "never", "recipe.rhai"]).exits(1);
    sandbox.assert_failed_cleanly();
    output
}

#[test]
fn an_endless_loop() {
    stopped("loop { }").says(&["3000000 operations without a step", "recipe.rhai:2:", "`operations`"]);
    stopped("parallel([|| { let n = 0; loop { n += 1; } }, || sleep(600)]);")
        .says(&["branch `0`", "without a step"]);
}

#[test]
fn functions_that_call_each_other_for_ever() {
    stopped("fn f(n) { f(n + 1) }\nf(1);").says(&["too deeply (64 levels)", "recipe.rhai:3:"]);
}

#[test]
fn a_text_that_grows_for_ever() {
    stopped("let text = \"0123456789\"; loop { text += text; }")
        .says(&["longer than 64 MB", "recipe.rhai:2:"]);
    stopped("let text = \"x\"; text.pad(1000000000, \"x\");").says(&["longer than 64 MB", "recipe.rhai:2:"]);
}

#[test]
fn an_array_that_grows_for_ever() {
    stopped("let a = [1]; loop { a += a; }").says(&["more than 10000000 items", "recipe.rhai:2:"]);
    stopped("let a = []; a.pad(1000000000, 1);").says(&["more than 10000000 items", "recipe.rhai:2:"]);
}

#[test]
fn a_map_that_grows_for_ever() {
    // Nobody looks at it as a whole.
    let output = stopped(
        "let text = \"\"; text.pad(1000000, \"x\"); let m = #{}; for n in 0..100000 { m[`${n}`] = text + n; }",
    );
    output.says(&["more than 400 MB of memory", "recipe.rhai:2:", "`memory_mb`"]);
}

#[test]
fn printing_for_ever() {
    stopped("loop { print(\"again\"); }").says(&[
        "printed more than 1 MB",
        "recipe.rhai:2:",
        "`messages_mb`",
    ]);
    stopped("loop { log(\"again\"); }").says(&["printed more than 1 MB"]);
}

#[test]
fn tasks_that_start_tasks() {
    let output = stopped("fn f() { start(\"a\", || f()); start(\"b\", || f()); }\nf();");
    output.says(&["200 are running already", "recipe.rhai:2:"]);
}

#[test]
fn a_line_without_end() {
    let sandbox = Sandbox::with(
        "let out = sh(\"head -c 1000000000 /dev/zero | tr '\\\\0' x\").stdout;\nprint(out.len() < 64000000);",
    );
    sandbox.run().success().says(&["true"]);
}

#[test]
fn a_stop_does_not_count() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    let sandbox = Sandbox::with(&format!(
        "let asked = start(\"asked\", || http(\"{url}\", #{{ timeout: 20 }}).body);\n\
         timeout(20, || sh(\"echo begun; while ! test -e go; do sleep 0.02; done\", #{{ timeout: 20 }}));\n\
         print(`answered ${{asked.join()}}`);"
    ));
    let mut live = sandbox.start(&["--rm", "--timeout", "20s"]);
    let (mut asked, _) = server.accept().unwrap();
    live.says("begun");
    live.signal(Signal::SIGSTOP);
    // Longer than all that would end it.
    std::thread::sleep(Duration::from_secs(22));
    live.signal(Signal::SIGCONT);
    std::fs::write(sandbox.path().join("go"), "").unwrap();
    asked.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate").unwrap();
    live.end().success().says(&["answered late"]);
}
