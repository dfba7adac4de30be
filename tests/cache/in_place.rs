//! Servers that read what is kept where it is (Linux).

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;

use super::*;

const NOBODY: u32 = 65534;

/// What the server sees mounted on its data directory.
fn mounted(sandbox: &Sandbox) -> String {
    let lock = format!("{}/*/postgres/data/postmaster.pid", sandbox.scratch().display());
    format!(
        "output(#{{ mounted: sh(\"grep -c '^overlay .*/postgres/data ' /proc/$(head -1 {lock})/mounts || true\").stdout.trim() }});"
    )
}

fn with_mounts(recipe: &str) -> Sandbox {
    let sandbox = sandbox("");
    let recipe = format!("{recipe}{}", mounted(&sandbox));
    sandbox.file("recipe.rhai", &recipe)
}

/// Contents, owners and modes of all that is kept of databases.
fn kept(folder: &Path, found: &mut BTreeMap<PathBuf, (u32, u32, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        let about = path.symlink_metadata().unwrap();
        let contents = if kind.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        found.insert(path.clone(), (about.uid(), about.mode(), contents));
        if kind.is_dir() {
            kept(&path, found);
        }
    }
}

#[test]
fn what_is_kept_is_read_in_place_and_stays_as_it_is() {
    let changes = r#"
        sql(pg, "INSERT INTO fruit (name) SELECT 'x' || n FROM generate_series(1, 20000) n");
        sql(pg, "UPDATE pg_proc SET procost = procost + 1");
        sql(pg, "CREATE DATABASE another");
        sql(pg, "DROP TABLE fruit");
        sql(pg, "CHECKPOINT");
    "#;
    within_a_day(|| {
        let sandbox = with_mounts(&format!("{DEPLOY}{MIGRATE}{DUMP}{changes}"));
        let first = run(&sandbox, &[]);
        assert_eq!(first.outputs["mounted"], "0");
        let all = || {
            let mut found = BTreeMap::new();
            for entry in entries(&sandbox) {
                kept(&entry.join("data"), &mut found);
            }
            found
        };
        let before = all();
        for _ in 0..2 {
            let seen = run(&sandbox, &[]);
            assert!(seen.hit("deploy_postgres") && seen.hit("migrate"), "{}", seen.cache);
            assert_eq!(seen.outputs["mounted"], "1", "{}", seen.stderr);
            assert_eq!(seen.outputs["dump"], first.outputs["dump"]);
            let after = all();
            let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
            let changed: Vec<_> = before.keys().chain(after.keys()).filter(differs).collect();
            assert!(changed.is_empty(), "{changed:?}");
        }
        sandbox.recipe(["cache", "verify"]).success();
    });
}

#[test]
fn what_an_environment_reads_is_not_removed() {
    within_a_day(|| {
        let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}output(#{{ url: pg.url }});"));
        run(&sandbox, &[]);
        let up = sandbox.recipe(["run", "--output", "json", "recipe.rhai"]).success();
        let up: Value = serde_json::from_str(&up.stdout).unwrap();
        sandbox.recipe(["cache", "prune", "--all"]).success().says(&["removed 1 databases"]);
        assert_eq!(entries(&sandbox).len(), 1);
        let url = up["outputs"]["url"].as_str().unwrap();
        let dump = Command::new("pg_dump").arg(url).output().unwrap();
        assert!(String::from_utf8_lossy(&dump.stdout).contains("apple"), "{dump:?}");
        sandbox.recipe(["down"]).success();
        sandbox.recipe(["cache", "prune", "--all"]).success().says(&["removed 1 databases"]);
        sandbox.assert_nothing_left();
    });
}

/// A colon parts the options of a mount. The port was that of the first try.
#[test]
fn what_cannot_be_mounted_is_copied() {
    let deploy = "let port = random_port();
        let pg = deploy_postgres(create_cluster(\"c\"), #{ host_port: port });\n";
    within_a_day(|| {
        let sandbox = with_mounts(&format!("{deploy}{MIGRATE}{DUMP}"));
        let cache = sandbox.path().join("a:b");
        let sandbox = sandbox.env("RECIPE_CACHE_DIR", cache);
        let first = run(&sandbox, &[]);
        let second = run(&sandbox, &[]);
        assert!(second.hit("deploy_postgres") && second.hit("migrate"), "{}", second.cache);
        assert_eq!(second.outputs["mounted"], "0");
        assert_eq!(second.outputs["dump"], first.outputs["dump"]);
    });
}

/// Root leaves its user; whoever is nobody needs a namespace of users. Where the
/// system lets them have none, the data is copied.
#[test]
fn others_than_root_have_it_too() {
    assert!(nix::unistd::geteuid().is_root(), "leave this test out with `--skip others_than_root`");
    within_a_day(|| {
        let sandbox = with_mounts(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
        // Where tests are built, others may not look.
        let program = sandbox.path().join("recipe");
        std::fs::copy(env!("CARGO_BIN_EXE_recipe"), &program).unwrap();
        let mut give = Command::new("chown");
        give.args(["-R", "65534:65534"]).args([sandbox.path(), sandbox.scratch()]);
        assert!(give.status().unwrap().success());
        std::fs::set_permissions(sandbox.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let as_nobody = || {
            let named = sandbox.command(["run", "--rm", "--output", "json", "recipe.rhai"]);
            let mut command = Command::new(&program);
            command.args(named.get_args()).current_dir(sandbox.path()).uid(NOBODY).gid(NOBODY);
            for (name, value) in named.get_envs() {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            }
            let output = Output::from(command.env("HOME", sandbox.path()).output().unwrap()).success();
            sandbox.assert_nothing_left();
            serde_json::from_str::<Value>(&output.stdout).unwrap()
        };
        let (first, second) = (as_nobody(), as_nobody());
        let hit = |step: &&Value| step["primitive"] == "migrate" && step["cache"]["hit"] == true;
        assert!(second["steps"].as_array().unwrap().iter().find(hit).is_some(), "{second:#}");
        assert_eq!(second["outputs"]["dump"], first["outputs"]["dump"]);
        let probe = ["-Um", "--map-root-user", "true"];
        let namespaces = Command::new("unshare").args(probe).uid(NOBODY).gid(NOBODY).status();
        let expected = if namespaces.unwrap().success() { "1" } else { "0" };
        assert_eq!(second["outputs"]["mounted"], expected);
    });
}
