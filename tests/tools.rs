//! What surrounds recipes: documentation for people and editors, completion in
//! shells, pages of the manual, first recipes, doctor, and recipe in another
//! program.

mod harness;

use std::path::PathBuf;
use std::process::Command;

use harness::Sandbox;
use serde_json::Value;

fn doc(format: &str) -> String {
    Sandbox::new().recipe(["doc", "--format", format]).success().stdout
}

fn names() -> Vec<String> {
    let all: Vec<Value> = serde_json::from_str(&doc("json")).unwrap();
    all.iter().map(|primitive| primitive["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_form_of_the_reference_has_every_primitive() {
    let (man, definitions) = (doc("man"), doc("definitions"));
    let grammar: Value = serde_json::from_str(&doc("grammar")).unwrap();
    let snippets: Value = serde_json::from_str(&doc("snippets")).unwrap();
    assert!(names().len() > 30);
    for name in names() {
        assert!(man.contains(&format!(".SS \"{name}(")), "{name}");
        assert!(definitions.contains(&format!("\nfn {name}(")), "{name}");
        assert!(grammar.to_string().contains(&name), "{name}");
        assert_eq!(snippets[&name]["prefix"], name.as_str());
    }
    assert!(
        definitions.contains("fn deploy_redis(cluster: Cluster, options: Map) -> Redis;"),
        "{definitions}"
    );
    assert_eq!(grammar["scopeName"], "source.rhai");
}

/// Ask as a shell does.
fn completed(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let mut command = sandbox.command(["--", "recipe"].iter().chain(words));
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    command.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_COMPLETE_SPACE", "true").env("_CLAP_IFS", "\n");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn shells_complete_commands_recipes_parameters_and_runs() {
    let sandbox = Sandbox::with("param(\"size\", 1);\nparam(\"speed\", 1);\nparam(\"name\", \"\");")
        .file("recipes/shop.rhai", "print(1);");
    sandbox.run().success();
    let run = sandbox.runs()[0]["run_id"].as_str().unwrap().to_owned();
    assert_eq!(completed(&sandbox, &["rep"]), ["repl", "report"]);
    assert!(completed(&sandbox, &["run", "rec"]).contains(&"recipe.rhai".to_owned()));
    assert_eq!(completed(&sandbox, &["run", "recipe.rhai", "--set", "s"]), ["size=", "speed="]);
    assert_eq!(completed(&sandbox, &["report", &run[..9]]), [run.as_str()]);
    assert_eq!(completed(&sandbox, &["doc", "deploy_r"]), ["deploy_redis"]);
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.recipe(["completions", shell]).success().stdout;
        assert!(script.contains("COMPLETE") && script.contains("recipe"), "{shell}: {script}");
    }
}

/// Whether a shell is there. CI installs all of them.
fn has(shell: &str) -> bool {
    let found = Command::new(shell).arg("--version").output().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "{shell} is missing; .ci/setup tests installs it");
    if !found {
        eprintln!("SKIPPED: {shell} is not installed; .ci/setup tests installs it");
    }
    found
}

/// Types in a shell and presses Tab, until it has written the rest of the words.
fn completes_in(shell: &str, args: &[&str], start: &str) {
    let recipe = env!("CARGO_BIN_EXE_recipe");
    let start = start.replace("RECIPE", recipe) + "\nPS1='ready> '\n";
    let sandbox = Sandbox::with("param(\"size\", 1);").file(".zshrc", &start).file("bashrc", &start);
    let mut plain = Command::new(shell);
    plain.args(args);
    let recipe = sandbox.command([""; 0]);
    for (name, value) in recipe.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        plain.env(name, value);
    }
    plain.env("ZDOTDIR", sandbox.path()).env("HOME", sandbox.path());
    let mut terminal = sandbox.on_terminal(&plain);
    for (typed, rest) in [("doc deploy_r", "edis"), ("run recipe.rhai --set si", "ze="), ("comp", "letions")]
    {
        terminal.says("ready> ");
        terminal.keys(&format!("recipe {typed}\t"));
        terminal.says(rest);
        // Clears the line. A Ctrl-C might still meet the completion, and be lost with it.
        terminal.keys("\x15\r");
    }
    terminal.says("ready> ");
    terminal.enter("exit 0");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn bash_completes_on_a_terminal() {
    if has("bash") {
        completes_in("bash", &["--rcfile", "bashrc", "-i"], "source <(RECIPE completions bash)");
    }
}

#[test]
fn zsh_completes_on_a_terminal() {
    if has("zsh") {
        completes_in(
            "zsh",
            &["-i"],
            "autoload -U compinit; compinit -u -D; source <(RECIPE completions zsh)",
        );
    }
}

#[test]
fn fish_completes() {
    if !has("fish") {
        return;
    }
    let sandbox = Sandbox::with("param(\"size\", 1);");
    let recipe = env!("CARGO_BIN_EXE_recipe");
    for (typed, whole) in
        [("doc deploy_r", "deploy_redis"), ("run recipe.rhai --set si", "size="), ("rep", "repl")]
    {
        let asked = format!("{recipe} completions fish | source; complete -C 'recipe {typed}'");
        let output = Command::new("fish")
            .args(["--no-config", "-c", &asked])
            .current_dir(sandbox.path())
            .env("HOME", sandbox.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let found = said.lines().any(|line| line.split('\t').next() == Some(whole));
        assert!(output.status.success() && found, "{typed}: {output:?}");
    }
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let sandbox = Sandbox::new();
    sandbox.recipe(["man", "pages"]).success();
    let page = |name: &str| std::fs::read_to_string(sandbox.path().join("pages").join(name)).unwrap();
    assert!(page("recipe.1").starts_with(".ie") || page("recipe.1").contains(".TH recipe 1"));
    assert!(page("recipe-repl.1").contains("attach"));
    assert!(page("recipe-primitives.7").contains("deploy_postgres"));
    assert!(sandbox.recipe(["man"]).success().stdout.contains(".TH recipe 1"));
}

#[test]
fn the_schema_knows_what_recipe_toml_may_hold() {
    let sandbox = Sandbox::with("print(1);");
    let schema: Value = serde_json::from_str(&sandbox.recipe(["schema"]).success().stdout).unwrap();
    let known: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    // The error of an unknown key lists the known ones.
    let sandbox = sandbox.file("recipe.toml", "unheard = 1");
    let said = sandbox.run().exits(2).stderr;
    for key in &known {
        assert!(said.contains(&format!("`{key}`")), "{key}: {said}");
    }
    assert_eq!(said.matches('`').count() / 2, known.len() + 1, "{said}");
}

const COMPOSE: &str = r#"
services:
  web:
    build: .
    ports: ["8080:80"]
    depends_on: [worker, db]
    environment:
      DATABASE_URL: postgres://app:secret@db:5432/orders
      CACHE: redis://cache:6379
      WORKER: http://worker:9000/jobs
      MODE: fast
  worker:
    image: example/worker:1
    command: ["sh", "-c", "sleep 60"]
    environment: ["DB_HOST=db"]
    expose: ["9000"]
  db:
    image: postgres:16-alpine
    environment: { POSTGRES_DB: orders, POSTGRES_USER: app }
  cache:
    image: docker.io/valkey/valkey:8
"#;

#[test]
fn init_makes_a_draft_of_a_compose_file() {
    let sandbox = Sandbox::new()
        .file("compose.yaml", COMPOSE)
        .file("Dockerfile", "FROM scratch\n")
        .file("migrations/001_a.sql", "CREATE TABLE a (id int);\n");
    sandbox.recipe(["init"]).success().says(&["found compose.yaml: 4 services", "wrote recipe.rhai"]);
    let recipe = std::fs::read_to_string(sandbox.path().join("recipe.rhai")).unwrap();
    for line in [
        "    db: || migrate(deploy_postgres(cluster, #{ database: \"orders\", image: \"postgres:16-alpine\", name: \
         \"db\", user: \"app\" }), \"migrations\"),",
        "    cache: || deploy_redis(cluster, #{ image: \"docker.io/valkey/valkey:8\", name: \"cache\" }),",
        "        DATABASE_URL: data.db.internal_url,",
        "        CACHE: data.cache.internal_url,",
        "        WORKER: worker.internal_url + \"/jobs\",",
        "        DB_HOST: data.db.host,",
        "        MODE: \"fast\",",
        "let web_image = load_image(cluster, build_image(\"web\", #{ dockerfile: \"Dockerfile\" }));",
    ] {
        assert!(recipe.contains(line), "{line} is not in\n{recipe}");
    }
    assert!(recipe.find("let worker =").unwrap() < recipe.find("let web =").unwrap(), "{recipe}");
    sandbox.recipe(["check", "recipe.rhai"]).success().says(&["no problems"]);
    sandbox.recipe(["init"]).exits(2).says(&["recipe.rhai is there already"]);
}

#[test]
fn init_fits_a_cargo_project_and_runs() {
    let sandbox = Sandbox::new()
        .file("Cargo.toml", "[package]\nname = \"shop\"\nedition = \"2024\"\n[workspace]\n")
        .file("db/migrations/001_a.sql", "CREATE TABLE a (id int);\n");
    sandbox.recipe(["init", "e2e.rhai"]).success();
    sandbox.recipe(["check", "e2e.rhai"]).success().says(&["no problems"]);
    let recipe = std::fs::read_to_string(sandbox.path().join("e2e.rhai")).unwrap();
    assert!(recipe.contains("DATABASE_URL: postgres.internal_url"), "{recipe}");
    let planned = sandbox.recipe(["plan", "e2e.rhai"]).success().stdout;
    for step in ["migrate", "build_image shop", "deploy_service shop", "wait_ready shop"] {
        assert!(planned.contains(step), "{planned}");
    }
    // Without anything to find, the draft still runs.
    let bare = Sandbox::new();
    bare.recipe(["init"]).success();
    bare.run().success();
}

#[test]
fn doctor_says_what_is_there_and_how_to_get_what_is_not() {
    let sandbox = Sandbox::new();
    let found: Vec<Value> = serde_json::from_str(
        &sandbox.recipe(["doctor", "--target", "local", "--output", "json"]).success().stdout,
    )
    .unwrap();
    assert!(found.iter().all(|finding| finding["found"].is_string()), "{found:#?}");
    let missing = sandbox.env("RECIPE_REDIS_SERVER", "/nowhere/redis-server");
    let output = missing.recipe(["doctor", "--target", "local"]).exits(3);
    assert!(output.stdout.contains("✗ Redis"), "{}", output.stdout);
    assert!(output.stdout.contains("/nowhere/redis-server"), "{}", output.stdout);
    // Nobody can be asked here.
    missing.recipe(["doctor", "--target", "local", "--fix"]).exits(2).says(&["nobody can be asked"]);
    let config = "contexts:\n- name: staging\n  context: { cluster: a }\n";
    let kube = missing.file("config", config);
    let path = kube.path().join("config");
    let kube = kube.env("KUBECONFIG", path);
    let output = kube.recipe(["doctor", "--target", "kube"]).success();
    assert!(output.stdout.contains("kube:staging"), "{}", output.stdout);
}

/// A machine with a package manager that writes down what it is asked for, and
/// brings a server.
fn with_apt() -> Sandbox {
    let sandbox = Sandbox::new()
        .file("bin/apt-get", "#!/bin/sh\necho \"$@\" >> asked\ncp server bin/redis-server\n")
        .file("bin/sudo", "#!/bin/sh\nexec \"$@\"\n")
        .file("server", "#!/bin/sh\necho Redis server v=7.0.15\n")
        .file("bin/postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 16.4'\n")
        .file("bin/initdb", "");
    let bin = sandbox.path().join("bin");
    for file in ["bin/apt-get", "bin/sudo", "server", "bin/postgres"] {
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(sandbox.path().join(file), executable).unwrap();
    }
    for program in ["sh", "cp", "setsid"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|folder| folder.join(program))
            .find(|file| file.is_file());
        std::os::unix::fs::symlink(found.unwrap(), bin.join(program)).unwrap();
    }
    let redis = bin.join("redis-server");
    sandbox.env("PATH", &bin).env("RECIPE_PG_BIN", &bin).env("RECIPE_REDIS_SERVER", redis)
}

#[test]
fn doctor_installs_what_it_is_told_to() {
    let sandbox = with_apt();
    let asked = || std::fs::read_to_string(sandbox.path().join("asked")).unwrap_or_default();
    let fix = ["doctor", "--target", "local", "--fix"];

    let mut terminal = sandbox.terminal(&fix);
    terminal.says("apt-get install -y redis-server`? [y/N]");
    terminal.enter("n");
    terminal.says("✗ Redis");
    assert_eq!(terminal.end(), 3);
    assert_eq!(asked(), "");

    let mut terminal = sandbox.terminal(&fix);
    terminal.says("[y/N]");
    terminal.enter("y");
    terminal.says("✓ Redis");
    assert_eq!(terminal.end(), 0);
    assert_eq!(asked(), "install -y redis-server\n");
    sandbox.recipe(fix).success();
    assert_eq!(asked(), "install -y redis-server\n", "nothing is missing");
}

#[test]
fn doctor_says_which_command_has_failed() {
    let sandbox = with_apt();
    std::fs::write(sandbox.path().join("bin/apt-get"), "#!/bin/sh\necho no network >&2\nexit 100\n").unwrap();
    let output = sandbox.recipe(["doctor", "--target", "local", "--fix", "--yes"]);
    output.exits(1).says(&["no network", "apt-get install -y redis-server` failed"]);
}

/// The example lies beside the binary, where cargo has put it with all tests.
fn embedding(sandbox: &Sandbox, args: &[&str]) -> harness::Output {
    let example = PathBuf::from(env!("CARGO_BIN_EXE_recipe")).with_file_name("examples/embedding");
    let build = ["build", "--quiet", "--example", "embedding"];
    let built = Command::new(env!("CARGO")).args(build).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.unwrap().success());
    let plain = sandbox.command(args);
    let mut command = Command::new(example);
    command.args(args).current_dir(sandbox.path());
    for (name, value) in plain.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.output().unwrap().into()
}

#[test]
fn another_program_adds_its_own_primitives() {
    let sandbox = Sandbox::with(
        "let a = deploy_mailbox(\"orders\", #{ quota: 3 });\nprint(`${a.address} ${a.quota}`);",
    )
    .file(
        "wrong.rhai",
        "deploy_mailbox(\"orders\", #{ qota: 3 });\ndeploy_mailbox(\"a\", #{ delay: \"soon\" });",
    );
    embedding(&sandbox, &["run", "--rm", "recipe.rhai"])
        .success()
        .says(&["orders@localhost 3", "deploy_mailbox orders"]);
    embedding(&sandbox, &["check", "wrong.rhai"])
        .exits(2)
        .says(&["did you mean `quota`?", "option `delay` is wrong"]);
    let page = embedding(&sandbox, &["doc", "deploy_mailbox"]).success().stdout;
    assert!(page.contains("quota  how many mails it takes (int, default 10)"), "{page}");
    // recipe itself does not know it.
    sandbox.recipe(["check", "recipe.rhai"]).exits(2).says(&["unknown function `deploy_mailbox`"]);
    sandbox.assert_nothing_left();
}

#[test]
fn what_is_pressed_in_a_pager_is_for_the_pager() {
    let sandbox = Sandbox::new();
    let mut doc = sandbox.command(["doc"]);
    // Interrupted before it reads or while it does, the shell reads what follows.
    let pager =
        "trap 'echo held' INT; tail -n 2; echo shown; until read a </dev/tty; do :; done; echo over $a";
    doc.env("PAGER", pager);
    let mut terminal = sandbox.on_terminal(&doc);
    terminal.says("`recipe doc NAME` shows options and an example.");
    terminal.says("shown");
    terminal.keys("\x03");
    terminal.says("held");
    terminal.enter("now");
    terminal.says("over now");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn lines_of_the_reference_fit_the_terminal() {
    let sandbox = Sandbox::new();
    let mut doc = sandbox.command(["doc", "deploy_service"]);
    doc.env("PAGER", "");
    let mut terminal = sandbox.on_terminal(&doc);
    let options = terminal.says("example");
    let too_long: Vec<_> = options.lines().filter(|line| line.trim_end().chars().count() > 120).collect();
    assert!(too_long.is_empty(), "{too_long:#?}");
    assert_eq!(terminal.end(), 0);
}
