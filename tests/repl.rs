//! `recipe repl`, typed into on a terminal and through a pipe.

mod harness;

use std::io::Write;
use std::process::Stdio;

use harness::live::eventually;
use harness::{Output, Sandbox};

fn piped(sandbox: &Sandbox, args: &[&str], text: &str) -> Output {
    let mut child = sandbox
        .command(std::iter::once("repl").chain(args.iter().copied()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn entries_build_on_each_other() {
    let sandbox = Sandbox::new().file("lib/sums.rhai", "fn sum(a, b) { a + b }");
    let output = piped(
        &sandbox,
        &[],
        "import \"lib/sums\" as sums;\nlet a = 1;\nfn twice(n) {\n  n * 2\n}\nsums::sum(a, twice(3))\n\
         let b = parallel(#{ x: || a + 1, y: || twice(a) });\nb\nlet a = 10;\na + b.x\n:vars\n",
    )
    .success();
    assert_eq!(
        output.stdout, "7\n#{ x: 2, y: 2 }\n12\n  b  map  #{ x: 2, y: 2 }\n  a  int  10\n  fn twice\n",
        "{}",
        output.stderr
    );
    sandbox.assert_nothing_left();
}

#[test]
fn an_error_shows_its_place_and_keeps_the_variables() {
    let sandbox = Sandbox::new();
    let output = piped(
        &sandbox,
        &[],
        "let a = 1;\nlet b = [1][7];\nslep(1)\nparallel(#{ x: || a.push(2) })\nsleep(\"1 parsec\")\na\n",
    )
    .exits(1)
    .says(&[
        "[entry 2:1:",
        "unknown function `slep`",
        "did you mean `sleep`?",
        "[entry 5:1:",
        "`time` is wrong",
    ]);
    assert_eq!(output.stdout, "1\n");
}

#[test]
fn what_is_piped_in_is_taken_down_at_the_end() {
    let sandbox = Sandbox::new();
    piped(
        &sandbox,
        &[],
        "let redis = deploy_redis(create_cluster(\"c\"));\nredis_command(redis, [\"PING\"])\n",
    )
    .success()
    .says(&["taking down: redis"]);
    sandbox.assert_nothing_left();
}

#[test]
fn what_worked_is_saved_and_runs() {
    let sandbox = Sandbox::new();
    piped(
        &sandbox,
        &[],
        "let a = 20\nboom(1)\na\nfn more(n) { n + 1 }\noutput(#{ it: more(a) })\n:save shop\n",
    )
    .exits(1)
    .says(&["lines in shop.rhai"]);
    let saved = std::fs::read_to_string(sandbox.path().join("shop.rhai")).unwrap();
    assert_eq!(
        saved,
        "// Written by `recipe repl`.\nlet a = 20;\nfn more(n) { n + 1 }\noutput(#{ it: more(a) });\n"
    );
    sandbox.recipe(["check", "shop.rhai"]).success();
    let summary = sandbox.recipe(["run", "--rm", "--output", "json", "shop.rhai"]).success().stdout;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&summary).unwrap()["outputs"]["it"], 21);
    // A recipe that somebody wrote is not written over.
    let own = sandbox.file("own.rhai", "print(1);");
    piped(&own, &[], ":save own.rhai\n").exits(1).says(&["is there already"]);
}

#[test]
fn a_recipe_is_loaded_as_an_entry() {
    let sandbox = Sandbox::new().file("parts.rhai", "let port = 80;\nfn twice(n) { n * 2 }");
    assert_eq!(piped(&sandbox, &[], ":load parts.rhai\ntwice(port)\n").success().stdout, "160\n");
    let broken = sandbox.file("broken.rhai", "let a = 1;\nlet b = ;");
    piped(&broken, &[], ":load broken.rhai\n").exits(1).says(&["[broken.rhai:2:"]);
}

#[test]
fn down_takes_everything_down_and_goes_on() {
    let sandbox = Sandbox::new();
    let output = piped(
        &sandbox,
        &[],
        "let name = \"again\";\nlet redis = deploy_redis(create_cluster(\"c\"));\n:down\n:vars\n\
         let redis = deploy_redis(create_cluster(name));\nredis\n",
    )
    .success();
    assert_eq!(output.stdout, "  name  string  \"again\"\nRedis(redis)\n", "{}", output.stderr);
    sandbox.assert_nothing_left();
}

#[test]
fn on_a_terminal_it_completes_and_goes_on_over_lines() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&["repl"]);
    terminal.prompt();
    terminal.enter("let cluster = create_cluster(\"c\");");
    terminal.prompt();
    // A name, then a key of its options, then a property.
    terminal.keys("let db = deploy_red\t");
    terminal.says("deploy_redis(");
    terminal.keys("cluster, #{ na\t");
    terminal.says("name: ");
    terminal.enter("\"db\",");
    terminal.enter("});");
    terminal.says("deploy_redis db");
    terminal.prompt();
    terminal.keys("db.internal\t");
    terminal.says("db.internal_url");
    terminal.enter("");
    terminal.says("\"redis://default:***@127.0.0.1:");
    terminal.prompt();
    terminal.keys("\x04");
    terminal.says("db is still up. Take down? [Y/n] ");
    terminal.enter("y");
    terminal.says("nothing is left");
    assert_eq!(terminal.end(), 0);
    sandbox.assert_nothing_left();
}

#[test]
fn ctrl_c_stops_an_entry_and_keeps_the_variables() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&["repl"]);
    terminal.prompt();
    terminal.enter("let n = 41;");
    terminal.prompt();
    terminal.enter("n += 1; sh(\"touch up; sleep 600\");");
    let up = sandbox.path().join("up");
    eventually("the command to run", || up.exists());
    terminal.keys("\x03");
    terminal.says("stopped");
    terminal.prompt();
    assert!(!sandbox.processes().iter().any(|process| process.contains("sleep 600")));
    // At the prompt it only throws away what was typed.
    terminal.keys("let n = 0\x03");
    terminal.prompt();
    terminal.enter("`n is ${n}`");
    terminal.says("\"n is 42\"");
    terminal.enter(":quit");
    assert_eq!(terminal.end(), 0);
    sandbox.assert_nothing_left();
}

#[test]
fn what_is_up_can_stay() {
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.terminal(&["repl"]);
    terminal.prompt();
    terminal.enter("let cache = deploy_redis(create_cluster(\"c\"));");
    terminal.says("deploy_redis redis");
    terminal.prompt();
    terminal.keys("\x04");
    terminal.says("[Y/n] ");
    terminal.enter("n");
    terminal.says("take it down: recipe down repl-");
    assert_eq!(terminal.end(), 0);
    let runs = sandbox.runs();
    assert_eq!(runs[0]["state"], "up");
    // The handles are there under the names that the session gave them.
    let run = runs[0]["run_id"].as_str().unwrap().to_owned();
    let output = piped(&sandbox, &["--attach", &run], "redis_command(cache, [\"PING\"])\n").success();
    assert_eq!(output.stdout, "\"PONG\"\n", "{}", output.stderr);
    sandbox.recipe(["down", "--all"]).success();
    sandbox.assert_nothing_left();
}

#[test]
fn a_signal_at_the_prompt_takes_everything_down() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(["repl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"let r = deploy_redis(create_cluster(\"c\"));\nprint(\"up\");\n\"ready\"\n").unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    drop(stdin);
    sandbox.assert_nothing_left();
}

const HALF: &str = r#"
let cluster = create_cluster("c");
let env = parallel(#{
    db: || deploy_postgres(cluster),
    cache: || deploy_redis(cluster, #{ name: "my-cache" }),
});
sql(env.db, "CREATE TABLE t AS SELECT 1 AS n");
let token = random_password();
sh("test -e go");
output(#{ n: sql(env.db, "SELECT n FROM t")[0].n });
"#;

#[test]
fn a_failed_run_is_attached_to_and_resumed() {
    let sandbox = Sandbox::with(HALF);
    sandbox.recipe(["run", "--keep", "on-failure", "recipe.rhai"]).exits(1);
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    // It fails again where it failed: nothing before is done twice.
    let output = piped(
        &sandbox,
        &["--attach", &run],
        "sql(env.db, \"SELECT n FROM t\")[0].n\nlogs(env.cache).len() > 0\nresume()\nwrite_file(\"go\", \"\");\n:resume\n",
    )
    .exits(1)
    .says(&["is kept; handles: cluster, env", "the command ended with exit code 1", "is up:"]);
    assert_eq!(output.stdout, "1\ntrue\n", "{}", output.stderr);
    assert_eq!(sandbox.runs()[0]["state"], "up");
    let outputs = sandbox.recipe(["env", &run, "--output", "json"]).success().stdout;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&outputs).unwrap()["n"], 1);
    sandbox.recipe(["down", &run]).success();
    sandbox.assert_nothing_left();
}

#[test]
fn what_a_resumed_recipe_puts_out_is_a_value() {
    let sandbox = Sandbox::with(
        "let cache = deploy_redis(create_cluster(\"c\"));\nlet word = param(\"word\", \"a\");\nsh(\"test -e go\");\noutput(#{ word: word });",
    );
    sandbox.recipe(["run", "--keep", "on-failure", "--set", "word=b", "recipe.rhai"]).exits(1);
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    let sandbox = sandbox.file("go", "");
    piped(&sandbox, &["--attach", &run], "resume()\n").exits(1).says(&["other parameters", "--set"]);
    let attach = ["--attach", &run, "--set", "word=b"];
    let output =
        piped(&sandbox, &attach, "let all = resume();\nall.word + word\n").success().says(&["is up:"]);
    assert_eq!(output.stdout, "\"bb\"\n", "{}", output.stderr);
    sandbox.recipe(["down", &run]).success();
    sandbox.assert_nothing_left();
}

#[test]
fn a_misspelt_variable_is_told_where_a_function_is_defined() {
    let sandbox = Sandbox::new();
    let text = "let port = 1;\nfn sum(items) { let total = 0; for (item, i) in items { totl += item + i; } total + port }\n\
                fn fine(a) { let n = 1; try { a = a.map(|b| b + n); } catch (e) { throw e; } a }\nfine([1]).len()\n";
    let output = piped(&sandbox, &[], text).success().says(&[
        "unknown variable `totl` in `sum`",
        "did you mean `total`?",
        "unknown variable `port` in `sum`",
        "give it the variable as one",
    ]);
    assert!(!output.stderr.contains("`fine`"), "{}", output.stderr);
    assert_eq!(output.stdout, "1\n", "{}", output.stderr);
}

#[test]
fn what_a_failed_recipe_did_not_bind_has_the_name_it_was_deployed_under() {
    let sandbox =
        Sandbox::with("deploy_redis(create_cluster(\"c\"), #{ name: \"my-cache\" });\nthrow \"no\";");
    sandbox.recipe(["run", "--keep", "on-failure", "recipe.rhai"]).exits(1);
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    let output = piped(&sandbox, &["--attach", &run], "redis_command(my_cache, [\"PING\"])\n").success();
    assert_eq!(output.stdout, "\"PONG\"\n", "{}", output.stderr);
    sandbox.recipe(["down", &run]).success();
    sandbox.assert_nothing_left();
}
