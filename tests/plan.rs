//! `recipe plan`, and what a recipe can be told: parameters.

mod harness;

use harness::Sandbox;
use serde_json::Value;

const SHOP: &str = r#"
let size = param("size", 2, #{ help: "how many tables" });
let cluster = create_cluster("c");
let env = parallel(#{
    db: || sql(deploy_postgres(cluster), "SELECT 1"),
    cache: || deploy_redis(cluster),
});
step("look", || redis_command(env.cache, ["PING"]));
write_file("made.txt", env.cache.url);
output(#{ url: env.cache.url, size: size });
"#;

fn plan(sandbox: &Sandbox, more: &[&str]) -> Value {
    let args = ["plan", "--output", "json", "recipe.rhai"].iter().chain(more);
    serde_json::from_str(&sandbox.recipe(args).success().stdout).unwrap()
}

fn names(steps: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for step in steps.as_array().unwrap() {
        names.push(format!("{} {}", step["primitive"].as_str().unwrap(), step["title"].as_str().unwrap()));
        names.extend(names_of(&step["steps"]));
    }
    names
}

fn names_of(steps: &Value) -> Vec<String> {
    names(steps).into_iter().map(|name| format!("  {name}")).collect()
}

#[test]
fn it_tells_the_steps_and_does_none() {
    let sandbox = Sandbox::with(SHOP);
    let planned = plan(&sandbox, &[]);
    let expected = [
        "create_cluster c",
        "parallel 2 branches",
        "  parallel cache",
        "    deploy_redis redis",
        "  parallel db",
        "    deploy_postgres postgres",
        "    sql SELECT 1",
        "step look",
        "  redis_command redis",
        "write_file made.txt",
        "output ",
    ];
    let found: Vec<_> = names(&planned["steps"]).iter().map(|name| name.trim_end().to_owned()).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for name in ["deploy_postgres postgres", "deploy_redis redis", "sql SELECT 1", "write_file made.txt"] {
        assert!(found.iter().any(|found| found.trim() == name), "{found:#?}");
    }
    assert_eq!(planned["unknown_from"], serde_json::json!([]));
    assert!(planned["estimate_ms"].is_null());
    assert!(sandbox.events().is_none() && !sandbox.path().join("made.txt").exists());
    sandbox.assert_nothing_left();
}

#[test]
fn times_are_those_of_earlier_runs() {
    let sandbox = Sandbox::with("sleep(\"30ms\");\nparallel([|| sleep(\"50ms\"), || sleep(\"10ms\")]);");
    sandbox.run().success();
    let planned = plan(&sandbox, &[]);
    assert_eq!(planned["earlier_runs"], 1);
    let estimate = planned["estimate_ms"].as_f64().unwrap();
    assert!(estimate >= 80.0, "{planned:#}");
    assert!(planned["steps"][1]["estimate_ms"].as_f64().unwrap() >= 50.0, "{planned:#}");
    sandbox.recipe(["plan", "recipe.rhai"]).success();
}

#[test]
fn values_of_other_steps_are_handed_on() {
    let sandbox = Sandbox::with(
        "let c = create_cluster(\"c\");\nlet pg = deploy_postgres(c);\n\
         deploy_service(c, \"shop\", #{ command: [\"shop\", pg.url], env: #{ URL: pg.internal_url, PORT: `${pg.port}` } });",
    );
    assert_eq!(plan(&sandbox, &[])["unknown_from"], serde_json::json!([]));
}

#[test]
fn it_ends_where_a_value_decides() {
    let sandbox = Sandbox::with(
        "let pg = deploy_postgres(create_cluster(\"c\"));\n\
         let both = parallel(#{\n    a: || if sql(pg, \"SELECT 1\")[0].n > 1 { sleep(1) },\n    b: || sql(pg, \"SELECT 2\"),\n});\n\
         for row in both.b {\n    print(row);\n}\n",
    );
    let planned = plan(&sandbox, &[]);
    let ends = planned["unknown_from"].as_array().unwrap();
    let places: Vec<_> =
        ends.iter().map(|end| (end["branch"].as_str().unwrap(), &end["position"]["line"])).collect();
    assert_eq!(places, [("a", &3.into()), ("", &6.into())], "{planned:#}");
    assert!(names(&planned["steps"]).iter().any(|name| name.trim() == "sql SELECT 2"), "{planned:#}");
}

#[test]
fn it_ends_where_a_switch_decides() {
    let sandbox = Sandbox::with(
        "let pg = deploy_postgres(create_cluster(\"c\"));\n\
         let size = switch param(\"size\", \"s\") { \"s\" => 1, _ => 2 };\n\
         parallel(#{\n    a: || { sleep(size); switch (pg.port + size) { 5432 => sleep(1), _ => deploy_redis(create_cluster(\"d\")) } },\n    \
         b: || sleep(2),\n});\n\
         fn pick(n) {\n    switch n { 1 => sleep(\"3s\"), _ => sleep(\"4s\") }\n}\npick(size); // switch\n\
         switch sql(pg, \"SELECT 1\") { [] => 1, _ => log(\"never\") }\n",
    );
    let planned = plan(&sandbox, &[]);
    let places = planned["unknown_from"].as_array().unwrap().iter().map(|end| {
        let at = &end["position"];
        (end["branch"].as_str().unwrap(), at["line"].as_u64().unwrap(), at["column"].as_u64().unwrap())
    });
    assert_eq!(places.collect::<Vec<_>>(), [("a", 4, 26), ("", 11, 1)], "{planned:#}");
    let found: Vec<_> = names(&planned["steps"]).iter().map(|name| name.trim().to_owned()).collect();
    assert!(found.iter().any(|name| name == "sleep 3.00 s"), "{found:#?}");
    assert!(
        !found.iter().any(|name| name == "sleep 4.00 s" || name.starts_with("deploy_redis")),
        "{found:#?}"
    );
}

#[test]
fn help_lists_the_parameters_of_the_recipe() {
    let sandbox = Sandbox::with(
        r#"param("replicas", 1, #{ help: "how many workers", choices: [1, 2] });
           param("token", (), #{ type: "string", secret: true });
           param("wait", "5s", #{ type: "duration" });"#,
    );
    let help = sandbox.recipe(["run", "recipe.rhai", "--help"]).success().stdout;
    let own = help.split("Parameters of recipe.rhai").nth(1).expect("it lists them");
    assert_eq!(
        own,
        " (--set NAME=VALUE, or RECIPE_PARAM_NAME):\n\
         \x20 replicas  how many workers (int, default 1, one of 1, 2)\n\
         \x20 token     (string, must be given, secret)\n\
         \x20 wait      (duration, default \"5s\")\n"
    );
}

#[test]
fn parameters_come_from_flags_variables_and_files() {
    let sandbox = Sandbox::with(
        "output(#{ a: param(\"a\", 0), b_c: param(\"b-c\", 0), d: param(\"d\", 0), e: param(\"e\", false) });",
    )
    .file("p.toml", "a = 1\nb-c = 1\nd = 1\n");
    let output = sandbox
        .command(["run", "--rm", "--output", "json", "--params", "p.toml", "--set", "a=3", "recipe.rhai"])
        .env("RECIPE_PARAM_A", "2")
        .env("RECIPE_PARAM_B_C", "2")
        .env("RECIPE_PARAM_E", "true")
        .env("RECIPE_PARAM_OF_ANOTHER_RECIPE", "x")
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["outputs"], serde_json::json!({ "a": 3, "b_c": 2, "d": 1, "e": true }));
}

#[test]
fn wrong_parameters_are_told_before_the_run_begins() {
    let sandbox = Sandbox::with(
        "print(\"never\");\nparam(\"count\", 1);\nparam(\"mode\", \"fast\", #{ choices: [\"fast\", \"slow\"] });\n\
         param(\"wait\", \"5s\", #{ type: \"duration\" });",
    );
    sandbox
        .recipe([
            "run",
            "--set",
            "count=many",
            "--set",
            "mode=fats",
            "--set",
            "wait=long",
            "--set",
            "cuont=1",
            "recipe.rhai",
        ])
        .exits(2)
        .never_says(&["never"])
        .says(&[
            "the parameter `count` must be a whole number, got `many`",
            "the recipe has no parameter `cuont`",
            "the parameter `mode` is fats, but must be one of fast, slow",
            "the parameter `wait` must be a duration",
        ]);
    assert!(sandbox.events().is_none());
}
