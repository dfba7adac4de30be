//! `recipe cache`, and builds that are left out.

use super::*;

#[test]
fn what_is_kept_is_listed_verified_and_removed() {
    let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}"));
    sandbox.recipe(["cache", "ls"]).success().says(&["nothing is kept"]);
    sandbox.recipe(["cache", "why"]).exits(1).says(&["there is no run yet"]);
    run(&sandbox, &[]);
    let listed = || -> Value {
        serde_json::from_str(&sandbox.recipe(["cache", "ls", "--output", "json"]).success().stdout).unwrap()
    };
    let databases = listed()["databases"].clone();
    assert_eq!(databases.as_array().unwrap().len(), 2, "{databases:#}");
    assert!(!databases.to_string().contains("password"), "{databases:#}");
    let text = sandbox.recipe(["cache", "ls"]).success().stdout;
    assert!(text.contains("database app with 2 migrations") && text.contains(", initialised"), "{text}");

    let why = sandbox.recipe(["cache", "why"]).success().stdout;
    assert!(why.contains("  migrate sql: not cached, nothing cached yet"), "{why}");
    let why = sandbox.recipe(["cache", "why", "deploy_postgres"]).success().stdout;
    assert!(why.contains("deploy_postgres") && !why.contains("migrate"), "{why}");
    sandbox.recipe(["cache", "why", "sh"]).exits(1).says(&["has no step `sh` that could be cached"]);

    let verified = sandbox.recipe(["cache", "verify"]).success().stdout;
    assert_eq!(verified.matches('✓').count(), 2, "{verified}");
    sandbox.assert_nothing_left();
    // One byte that nobody would miss at once.
    let key =
        databases.as_array().unwrap().iter().find(|entry| entry["database"] == "app").unwrap()["key"].clone();
    let entry = sandbox.path().join("cache/postgres/entries").join(key.as_str().unwrap());
    let file = entry.join("data/PG_VERSION");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace('\n', " ")).unwrap();
    let verified = sandbox.recipe(["cache", "verify"]).exits(1).stdout;
    assert!(verified.contains('✗') && verified.contains("damaged"), "{verified}");
    assert!(!entry.exists());

    sandbox.recipe(["cache", "prune"]).success().says(&["nothing was removed"]);
    sandbox.recipe(["cache", "prune", "--all"]).success().says(&["removed 1 databases and 0 layers"]);
    assert_eq!(listed(), json!({ "databases": [], "layers": [] }));
}

#[test]
fn the_least_used_databases_make_room() {
    let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}")).file("recipe.toml", "[cache]\ndatabases_mb = 40\n");
    run(&sandbox, &[]);
    assert_eq!(entries(&sandbox).len(), 1, "both take more than that");
    let sandbox = sandbox.file("recipe.toml", "[cache]\ndatabases_mb = \"many\"\n");
    sandbox.recipe(["run", "recipe.rhai"]).exits(2).says(&["recipe.toml is wrong"]);
}

const BUILD: &str = r#"build_image("x", #{ build: "cargo build --quiet", binary: "target/debug/x" });
output(#{ says: sh("target/debug/x").stdout.trim() });"#;

/// Runs until the build was left out: sources that have only just been written
/// are not trusted at first.
fn settled(sandbox: &Sandbox) -> Seen {
    loop {
        let seen = run(sandbox, &[]);
        if seen.hit("build_image") {
            return seen;
        }
    }
}

#[test]
fn a_build_is_left_out_only_if_nothing_has_changed() {
    let main = |text: &str| format!("mod other;\nfn main() {{ println!(\"{text} {{}}\", other::NAME); }}\n");
    let sandbox = Sandbox::with(BUILD)
        .file("Cargo.toml", "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n")
        .file("src/main.rs", &main("one"))
        .file("src/other.rs", "pub const NAME: &str = \"fig\";\n")
        // Not that of whoever runs these tests.
        .env("CARGO_TARGET_DIR", "target");
    let write = |name: &str, text: &str| {
        let path = sandbox.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    run(&sandbox, &[]).missed("build_image", "nothing cached yet");
    assert_eq!(settled(&sandbox).outputs["says"], "one fig");
    run(&sandbox, &["--no-cache=images"]).missed("build_image", "--no-cache");

    settled(&sandbox);
    write("src/other.rs", "pub const NAME: &str = \"pear\";\n");
    let changed = run(&sandbox, &[]);
    changed.missed("build_image", "src/other.rs changed since ");
    assert_eq!(changed.outputs["says"], "one pear");

    settled(&sandbox);
    write(".cargo/config.toml", "[build]\nrustflags = [\"--cfg\", \"extra\"]\n");
    run(&sandbox, &[]).missed("build_image", ".cargo/config.toml is new since ");

    settled(&sandbox);
    let program = std::fs::File::options().append(true).open(sandbox.path().join("target/debug/x"));
    program.unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    run(&sandbox, &[]).missed("build_image", "target/debug/x changed since ");

    settled(&sandbox);
    let output =
        sandbox.command(["run", "--rm", "-v", "recipe.rhai"]).env("RUSTFLAGS", "--cfg other").output();
    let output = Output::from(output.unwrap()).success();
    output.says(&["not cached: environment variables have changed since "]);

    // What a build script reads is known to cargo alone.
    settled(&sandbox);
    write("build.rs", "fn main() {}");
    run(&sandbox, &[]).missed("build_image", "build.rs is new since ");
    for _ in 0..3 {
        run(&sandbox, &[]).missed("build_image", "nothing cached yet");
    }
}
