//! Recipes that nobody trusts: `--untrusted`.

mod harness;

use std::os::unix::fs::symlink;

use harness::{Output, Sandbox};

#[track_caller]
fn refused(sandbox: &Sandbox) -> Output {
    let output = sandbox.recipe(["run", "--rm", "--untrusted", "recipe.rhai"]).exits(1);
    sandbox.assert_nothing_left();
    output.says(&["run it without --untrusted if you trust it"])
}

#[test]
fn what_acts_on_this_machine_is_refused() {
    for (call, place) in [
        ("sh(\"touch done\")", "recipe.rhai:2:1"),
        ("Fn(\"sh\").call(\"touch done\")", "recipe.rhai:2:10"),
        ("env(\"HOME\")", "recipe.rhai:2:1"),
        ("deploy_service(c, \"s\", #{ command: [\"touch\", \"done\"] })", "recipe.rhai:2:1"),
        ("build_image(\"i\", #{ build: \"touch done\", binary: \"x\" })", "recipe.rhai:2:21"),
        ("deploy_postgres(c, #{ settings: #{ archive_command: \"touch done\" } })", "recipe.rhai:2:23"),
        ("sql(deploy_postgres(c), \"COPY (SELECT 1) TO PROGRAM 'touch done'\")", "recipe.rhai:2:1"),
        ("redis_command(deploy_redis(c), [\"CONFIG\", \"SET\", \"dir\", \"/\"])", "recipe.rhai:2:1"),
        ("parallel([|| sh(\"touch done\")])", "recipe.rhai:2:14"),
    ] {
        let sandbox = Sandbox::with(&format!("let c = create_cluster(\"c\");\n{call};"));
        refused(&sandbox).says(&["untrusted", "an untrusted recipe cannot", place, "this machine"]);
        assert!(!sandbox.path().join("done").exists(), "{call}");
    }
}

#[test]
fn files_outside_the_workspace_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "not yours").unwrap();
    std::fs::write(outside.path().join("module.rhai"), "fn f() { \"not yours\" }").unwrap();
    let there = outside.path().display();
    for call in [
        format!("read_file(\"{there}/file\")"),
        "read_file(\"../file\")".to_owned(),
        "read_file(\"link\")".to_owned(),
        "read_file(\"folder/file\")".to_owned(),
        "migrate(deploy_postgres(create_cluster(\"c\")), \"folder\")".to_owned(),
        "build_image(\"i\", #{ binary: \"link\" })".to_owned(),
        "build_image(\"i\", #{ dockerfile: \"Dockerfile\", context: \"folder\" })".to_owned(),
        format!("import \"{there}/module\" as m"),
        "let name = \"folder/module\"; import name as m".to_owned(),
    ] {
        let sandbox = Sandbox::with(&format!("{call};"));
        symlink(outside.path().join("file"), sandbox.path().join("link")).unwrap();
        symlink(outside.path(), sandbox.path().join("folder")).unwrap();
        let output = refused(&sandbox).never_says(&["not yours"]);
        assert!(
            call.starts_with("migrate") || output.stderr.contains("is outside the workspace"),
            "{output:?}"
        );
    }
}

#[test]
fn writing_stays_in_the_workspace_for_everybody() {
    let outside = tempfile::tempdir().unwrap();
    let sandbox = Sandbox::with("write_file(\"folder/file\", \"x\");");
    symlink(outside.path(), sandbox.path().join("folder")).unwrap();
    sandbox.recipe(["run", "--rm", "recipe.rhai"]).exits(1).says(&["is outside the workspace"]);
    sandbox
        .recipe(["run", "--rm", "--untrusted", "recipe.rhai"])
        .exits(1)
        .says(&["is outside the workspace"]);
    assert!(std::fs::read_dir(outside.path()).unwrap().next().is_none());
}

#[test]
fn other_addresses_are_refused() {
    // Something that listens, of which the recipe has not made anything.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = other.local_addr().unwrap();
    for call in [
        format!("http(\"http://{other}/\")"),
        format!("wait_http(\"http://{other}/\")"),
        "http(\"https://example.com/\")".to_owned(),
        "http(\"http://127.0.0.1@example.com/\")".to_owned(),
        "let p = random_port(); http(`http://example.com:${p}/`)".to_owned(),
        "let p = random_port(); http(`https://127.0.0.1:${p}/`)".to_owned(),
    ] {
        refused(&Sandbox::with(&format!("{call};"))).says(&["it is no address of the environment"]);
    }
}

#[test]
fn what_stays_in_the_environment_is_allowed() {
    let sandbox = Sandbox::with(
        r#"
        let c = create_cluster("c");
        let env = parallel(#{ pg: || deploy_postgres(c), redis: || deploy_redis(c), port: || random_port() });
        write_file("made/file", "text");
        output(#{ text: read_file("made/file"), secret: random_password(), url: env.pg.url });
        for url in [`http://127.0.0.1:${env.port}/`, `http://localhost:${env.redis.port}/`, `http://127.0.0.1:${env.pg.port}/`] {
            try { http(url); print("answered"); } catch (e) { print(e.kind); }
        }
        import "made/module" as m;
        print(m::f());
        reset(env.pg);
        wait_ready([env.pg, env.redis]);
        "#,
    )
    .file("made/module.rhai", "fn f() { \"from the module\" }");
    let output = sandbox.recipe(["run", "--rm", "--untrusted", "recipe.rhai"]).success();
    output.says(&["unreachable", "from the module"]).never_says(&["untrusted"]);
}

#[test]
fn it_can_be_known_before() {
    let sandbox = Sandbox::with(
        "if false { sh(\"x\"); }\nlet c = create_cluster(\"c\", #{ mounts: #{ a: \"/\" } });\n",
    );
    let refusals = [
        "an untrusted recipe cannot call `sh`",
        "the option `mounts`",
        "recipe.rhai:1:12",
        "recipe.rhai:2:9",
    ];
    sandbox.recipe(["check", "--untrusted", "recipe.rhai"]).exits(2).says(&refusals);
    sandbox.recipe(["check", "recipe.rhai"]).success();
    sandbox.recipe(["plan", "--untrusted", "recipe.rhai"]).exits(1).says(&refusals);
    sandbox.recipe(["plan", "recipe.rhai"]).success();
}
