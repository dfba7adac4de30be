//! What is served, and what never is.

use super::*;

#[test]
fn the_second_run_is_served_and_equal() {
    within_a_day(|| {
        let sandbox = sandbox(&format!(
            "{DEPLOY}{MIGRATE}{DUMP}\noutput(#{{ password: pg.password, \
             mem: sql(pg, \"SHOW work_mem\")[0].work_mem, \
             databases: sql(pg, \"SELECT datname FROM pg_database ORDER BY 1\") }});"
        ));
        let first = run(&sandbox, &[]);
        first.missed("deploy_postgres", "nothing cached yet");
        first.missed("migrate", "nothing cached yet");
        let second = run(&sandbox, &[]);
        assert!(second.hit("deploy_postgres") && second.hit("migrate"), "{}", second.cache);
        assert!(second.cache["migrate"]["why"].as_str().unwrap().starts_with("all 2 were applied at "));
        let fresh = run(&sandbox, &["--no-cache=postgres"]);
        fresh.missed("deploy_postgres", "--no-cache");
        for other in [&first, &fresh] {
            assert_eq!(second.outputs["dump"], other.outputs["dump"]);
            assert_eq!(second.outputs["mem"], "5MB");
            // Each has a password of its own, and none of it is kept.
            assert_ne!(second.outputs["password"], other.outputs["password"]);
        }
        assert!(second.outputs["dump"].as_str().unwrap().contains("apple"));
        for seen in [&first, &second] {
            let password = seen.outputs["password"].as_str().unwrap();
            let found =
                Command::new("grep").args(["-rlF", password]).arg(sandbox.path().join("cache")).output();
            assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
        }
    });
}

#[test]
fn only_what_follows_is_applied_and_changes_are_told() {
    within_a_day(|| {
        let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
        run(&sandbox, &[]);
        let sandbox = sandbox.file("sql/003_new.sql", "CREATE TABLE third (id int);");
        let longer = run(&sandbox, &[]);
        longer.missed("migrate", "sql/003_new.sql is new since ");
        longer.missed("migrate", "; 2 of 3 were applied at ");
        assert_eq!(longer.outputs["dump"], run(&sandbox, &["--no-cache"]).outputs["dump"]);
        // Written again and again, it is the only one that is applied.
        let write = |text: &str| std::fs::write(sandbox.path().join("sql/003_new.sql"), text).unwrap();
        for text in ["CREATE TABLE third (id bigint);", "CREATE TABLE third (id text);"] {
            write(text);
            let changed = run(&sandbox, &[]);
            changed.missed("migrate", "sql/003_new.sql changed since ");
            changed.missed("migrate", "; 2 of 3 were applied at ");
            assert_eq!(changed.outputs["dump"], run(&sandbox, &["--no-cache"]).outputs["dump"]);
        }
        assert!(run(&sandbox, &[]).hit("migrate"));
        // Nothing of the later files shows when there are fewer.
        std::fs::remove_file(sandbox.path().join("sql/003_new.sql")).unwrap();
        std::fs::remove_file(sandbox.path().join("sql/002_more.sql")).unwrap();
        let fewer = run(&sandbox, &[]);
        fewer.missed("migrate", "is gone since ");
        assert_eq!(fewer.outputs["dump"], run(&sandbox, &["--no-cache"]).outputs["dump"]);
    });
}

/// Recipes that do something else than the last run: each after a run that has
/// kept a migrated database.
#[test]
fn what_a_recipe_does_not_ask_for_never_shows() {
    within_a_day(|| {
        let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
        run(&sandbox, &[]);
        let write = |text: &str| std::fs::write(sandbox.path().join("recipe.rhai"), text).unwrap();
        let both = |script: &str| {
            write(&format!("{DEPLOY}{script}{DUMP}"));
            let cached = run(&sandbox, &[]);
            assert!(cached.hit("deploy_postgres"));
            let fresh = run(&sandbox, &["--no-cache"]);
            assert_eq!(cached.outputs, fresh.outputs, "{script}");
            // The next one has something to be wrong about again.
            write(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
            assert!(run(&sandbox, &[]).hit("deploy_postgres"));
            cached
        };
        let tables = "output(#{ before: sql(pg, \"SELECT tablename FROM pg_tables WHERE schemaname = 'public'\") });\n";

        // It looks, and does not migrate.
        assert_eq!(both(tables).outputs["before"], json!([]));
        // It looks, and then migrates: looking changes nothing.
        let looked = both(&format!("{tables}{MIGRATE}"));
        assert_eq!(looked.outputs["before"], json!([]));
        assert!(looked.hit("migrate"));
        // It writes in between.
        let wrote = both(&format!("sql(pg, \"CREATE TABLE own (id int)\");\n{MIGRATE}"));
        wrote.missed("migrate", "something was written to the server before");
        assert!(wrote.outputs["dump"].as_str().unwrap().contains("public.own"));
        // Somebody else does, whom recipe cannot see.
        let psql =
            "sh(\"psql -q \\\"$DB\\\" -c 'CREATE TABLE theirs (id int)'\", #{ env: #{ DB: pg.url } });\n";
        let wrote = both(&format!("{psql}{MIGRATE}"));
        wrote.missed("migrate", "something was written to the server before");
        assert!(wrote.outputs["dump"].as_str().unwrap().contains("public.theirs"));
        // Another folder.
        std::fs::create_dir_all(sandbox.path().join("other")).unwrap();
        std::fs::write(sandbox.path().join("other/001_x.sql"), "CREATE TABLE x (id int);").unwrap();
        both("migrate(pg, \"other\");\n").missed("migrate", "other/001_x.sql is new since ");
        // Another table of versions.
        both("migrate(pg, \"sql\", #{ table: \"versions\" });\n").missed("migrate", "in another way since ");
        // Two folders, of which the second one follows on the first.
        both(&format!("{MIGRATE}migrate(pg, \"other\", #{{ table: \"others\" }});\n"));
    });
}

#[test]
fn two_folders_are_served_one_after_the_other() {
    within_a_day(|| {
        let other = "migrate(pg, \"other\", #{ table: \"others\" });\n";
        let look = "output(#{ between: sql(pg, \"SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1\") });\n";
        let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{look}{other}{DUMP}"))
            .file("other/001_x.sql", "CREATE TABLE x AS SELECT name FROM fruit;");
        let first = run(&sandbox, &[]);
        let second = run(&sandbox, &[]);
        assert_eq!(second.outputs, first.outputs);
        // The last of them is what the map has.
        assert!(second.hit("migrate"), "{}", second.cache);
        assert_eq!(run(&sandbox, &["--no-cache"]).outputs, first.outputs);
        // With something written in between the second one is applied.
        let write = "sql(pg, \"INSERT INTO fruit (name) VALUES ('fig')\");\n";
        let recipe = format!("{DEPLOY}{MIGRATE}{write}{other}{DUMP}");
        std::fs::write(sandbox.path().join("recipe.rhai"), recipe).unwrap();
        let wrote = run(&sandbox, &[]);
        wrote.missed("migrate", "something was written to the server before");
        assert_eq!(wrote.outputs, run(&sandbox, &["--no-cache"]).outputs);
        assert!(wrote.outputs["dump"].as_str().unwrap().matches("fig").count() > 1);
    });
}

#[test]
fn a_database_in_use_is_left_alone() {
    within_a_day(|| {
        let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
        run(&sandbox, &[]);
        let held = format!(
            "{DEPLOY}let idle = deploy_service(create_cluster(\"d\"), \"idle\", #{{ env: #{{ DB: pg.url }}, \
             command: [\"psql\", pg.url, \"-c\", \"SELECT pg_sleep(600)\"] }});\n\
             wait_for(\"the client\", || sql(pg, \"SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' \
             AND pid <> pg_backend_pid()\")[0].n > 0);\n{MIGRATE}\
             output(#{{ still: sql(pg, \"SELECT count(*) AS n FROM pg_stat_activity WHERE datname = 'app' AND query LIKE '%pg_sleep(600)%' \
             AND pid <> pg_backend_pid()\")[0].n }});{DUMP}"
        );
        std::fs::write(sandbox.path().join("recipe.rhai"), held).unwrap();
        let seen = run(&sandbox, &[]);
        seen.missed("migrate", "somebody is connected to the database");
        assert_eq!(seen.outputs["still"], 1);
        assert_eq!(seen.outputs["dump"], run(&sandbox, &["--no-cache"]).outputs["dump"]);
    });
}

#[test]
fn migrations_that_change_the_server_are_not_kept() {
    within_a_day(|| {
        let roles =
            "output(#{ roles: sql(pg, \"SELECT rolname FROM pg_roles WHERE rolname = 'reader'\") });\n";
        let sandbox = Sandbox::with(&format!("{DEPLOY}{roles}{MIGRATE}{DUMP}")).file(
            "sql/001_role.sql",
            "CREATE ROLE reader; CREATE TABLE t (id int); GRANT SELECT ON t TO reader;",
        );
        let first = run(&sandbox, &[]);
        for _ in 0..2 {
            let again = run(&sandbox, &[]);
            assert!(again.hit("deploy_postgres"));
            again.missed("migrate", "they change what belongs to the whole server, such as roles");
            assert_eq!(again.outputs, first.outputs);
            assert_eq!(again.outputs["roles"], json!([]));
        }
    });
}

#[test]
fn another_cluster_is_told_from_the_last() {
    within_a_day(|| {
        let recipe = "let memory = param(\"memory\", \"4MB\");\n\
            let pg = deploy_postgres(create_cluster(\"c\"), #{ user: param(\"user\", \"app\"), settings: #{ work_mem: memory } });\n";
        let sandbox =
            sandbox(&format!("{recipe}{MIGRATE}output(#{{ mem: sql(pg, \"SHOW work_mem\")[0].work_mem }});"));
        run(&sandbox, &[]);
        assert!(run(&sandbox, &[]).hit("migrate"));
        let other = run(&sandbox, &["--set", "memory=9MB"]);
        other.missed("deploy_postgres", "setting work_mem is 9MB, and was 4MB at ");
        other.missed("migrate", "their server is another one");
        run(&sandbox, &["--set", "user=ann"]).missed("deploy_postgres", "user is ann, and was app at ");

        // The same program at another path may be another build.
        let bin = sandbox.path().join("pg");
        std::fs::create_dir(&bin).unwrap();
        let installed =
            Command::new("sh").args(["-c", "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1"]).output();
        let installed = String::from_utf8(installed.unwrap().stdout).unwrap();
        if !installed.trim().is_empty() {
            for program in ["initdb", "postgres"] {
                std::os::unix::fs::symlink(format!("{}/{program}", installed.trim()), bin.join(program))
                    .unwrap();
            }
            std::os::unix::fs::chown(&bin, None, None).unwrap();
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(sandbox.path(), open).unwrap();
            let sandbox = sandbox.env("RECIPE_PG_BIN", &bin);
            run(&sandbox, &["--set", "user=ann"]).missed("deploy_postgres", "was installed anew since ");
        }
    });
}

#[test]
fn nothing_is_used_or_kept_without_cache() {
    let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}"));
    for flag in ["--no-cache", "--no-cache=postgres", "--no-cache=images,postgres"] {
        run(&sandbox, &[flag]).missed("deploy_postgres", "--no-cache");
    }
    assert_eq!(entries(&sandbox), Vec::<PathBuf>::new());
    let refused = sandbox.recipe(["run", "--no-cache=redis", "recipe.rhai"]);
    refused.exits(2).says(&["invalid value 'redis'"]);
}

/// Files that a server is known to write to are copied before it starts.
#[test]
fn a_kept_database_that_lacks_a_file_is_made_anew() {
    let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
    let first = run(&sandbox, &[]);
    assert!(run(&sandbox, &[]).hit("migrate"));
    for entry in entries(&sandbox) {
        std::fs::remove_file(entry.join("data/base/5/1259")).unwrap();
    }
    let second = run(&sandbox, &[]);
    second.missed("deploy_postgres", "what was kept of it was damaged");
    assert_eq!(second.outputs["dump"], first.outputs["dump"]);
    assert!(run(&sandbox, &[]).hit("migrate"), "it is kept again");
}

/// What is found only when the server has started on a part of the copy.
#[test]
fn a_kept_database_that_is_cut_is_made_anew() {
    let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
    let first = run(&sandbox, &[]);
    let databases = entries(&sandbox).into_iter().flat_map(|entry| {
        std::fs::read_dir(entry.join("data/base")).unwrap().map(|database| database.unwrap().path())
    });
    for database in databases {
        std::fs::write(database.join("PG_VERSION"), "").unwrap();
    }
    let second = run(&sandbox, &[]);
    second.missed("deploy_postgres", "what was kept of it was damaged");
    assert_eq!(second.outputs["dump"], first.outputs["dump"]);
    assert!(run(&sandbox, &[]).hit("deploy_postgres"), "it is kept again");
}
