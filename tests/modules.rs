//! Modules that are not beside the recipe: search paths, modules from elsewhere
//! with their lock, and overrides.

mod harness;

use std::path::Path;
use std::process::Command;

use harness::Sandbox;

const MAIN: &str = "import \"steps/sums\" as sums;\nprint(`sum ${sums::sum(1, 2)}`);";

#[test]
fn they_are_found_on_search_paths_after_the_files_own_folder() {
    let sandbox = Sandbox::with(MAIN)
        .file("shared/steps/sums.rhai", "fn sum(a, b) { `shared ${a + b}` }")
        .file("more/steps/sums.rhai", "fn sum(a, b) { `more ${a + b}` }");
    sandbox.run().exits(2).says(&["there is no file `steps/sums.rhai`"]);
    let sandbox = sandbox.file("recipe.toml", "path = [\"shared\"]");
    sandbox.run().success().says(&["sum shared 3"]);
    let more = sandbox.path().join("more");
    let sandbox = sandbox.env("RECIPE_PATH", more);
    sandbox.run().success().says(&["sum more 3"]);
    let sandbox = sandbox.file("steps/sums.rhai", "fn sum(a, b) { `own ${a + b}` }");
    sandbox.run().success().says(&["sum own 3"]);
}

#[test]
fn a_folder_from_elsewhere_is_pinned_by_its_contents() {
    let sandbox = Sandbox::with(MAIN)
        .file("elsewhere/sums.rhai", "fn sum(a, b) { a + b }")
        .file("recipe.toml", "[modules]\nsteps = { path = \"elsewhere\" }");
    sandbox.run().exits(2).says(&["the module `steps` is not in recipe.lock", "`recipe lock` adds it"]);
    sandbox.recipe(["lock"]).success().says(&["steps", "new"]);
    sandbox.run().success().says(&["sum 3"]);
    let sandbox = sandbox.file("elsewhere/sums.rhai", "fn sum(a, b) { a * b }");
    sandbox.run().exits(2).says(&["is not what recipe.lock pins", "recipe lock --update steps"]);
    sandbox.recipe(["check", "recipe.rhai"]).exits(2);
    sandbox.recipe(["lock"]).exits(2).says(&["is not what recipe.lock pins"]);
    sandbox.recipe(["lock", "--update", "steps"]).success().says(&["changed"]);
    sandbox.run().success().says(&["sum 2"]);
}

fn git(folder: &Path, args: &[&str]) {
    let names = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"];
    let status = Command::new("git").arg("-C").arg(folder).args(names).args(args).status().unwrap();
    assert!(status.success(), "git {args:?}");
}

#[test]
fn a_repository_is_pinned_by_its_commit() {
    let origin = tempfile::tempdir().unwrap();
    let commit = |text: &str| {
        std::fs::write(origin.path().join("sums.rhai"), text).unwrap();
        git(origin.path(), &["add", "."]);
        git(origin.path(), &["commit", "--quiet", "--message", "sums"]);
    };
    git(origin.path(), &["init", "--quiet"]);
    commit("fn sum(a, b) { a + b }");
    let sandbox = Sandbox::with(MAIN).file(
        "recipe.toml",
        &format!("[modules]\nsteps = {{ git = \"file://{}\" }}", origin.path().display()),
    );
    sandbox.recipe(["lock"]).success();
    sandbox.run().success().says(&["sum 3"]);
    // What is new there changes nothing here before it is asked for.
    commit("fn sum(a, b) { a * b }");
    sandbox.recipe(["lock"]).success().says(&["as it was"]);
    sandbox.run().success().says(&["sum 3"]);
    // Another machine fetches the same commit.
    std::fs::remove_dir_all(sandbox.path().join("state/modules")).unwrap();
    sandbox.run().exits(2).says(&["the module `steps` is not on this machine"]);
    sandbox.recipe(["lock"]).success();
    sandbox.run().success().says(&["sum 3"]);
    sandbox.recipe(["lock", "--update", "steps"]).success();
    sandbox.run().success().says(&["sum 2"]);
}

#[test]
fn functions_of_a_module_are_overridden_without_a_copy() {
    let sandbox = Sandbox::with(
        "import \"shared/db\" as db;\nprint(db::name());\nprint(db::size());\nprint(`${db::twice(2)}`);",
    )
    .file("shared/db.rhai", "fn name() { \"theirs\" }\nfn size() { \"large\" }\nfn twice(n) { n * 2 }")
    .file("mine.rhai", "import \"shared/db\" as base;\nfn name() { \"mine\" }\nfn twice(n) { n * 3 }")
    .file("recipe.toml", "[override]\n\"shared/db\" = \"mine.rhai\"");
    sandbox.run().success().says(&["mine", "large", "6"]).never_says(&["theirs"]);
    let sandbox = sandbox.file("mine.rhai", "fn name() { nope() }");
    sandbox.recipe(["check", "recipe.rhai"]).exits(2).says(&["mine.rhai:1:13"]);
    let sandbox = sandbox.file("recipe.toml", "[override]\n\"shared/dbs\" = \"mine.rhai\"");
    sandbox.run().exits(2).says(&["recipe.toml overrides `shared/dbs`, which there is none of"]);
}

#[test]
fn functions_of_the_recipe_that_is_run_are_overridden_too() {
    let sandbox = Sandbox::with(
        "let which = place();\nfn place() { `${name()} place` }\nfn name() { \"theirs\" }\nprint(which);\nprint(name());",
    )
    .file("lib/own.rhai", "fn word() { \"mine\" }")
    .file("mine.rhai", "import \"lib/own\" as own;\nfn name() { own::word() }\nfn other() { place() }")
    .file("recipe.toml", "[override]\n\"recipe\" = \"mine.rhai\"");
    sandbox.recipe(["check", "recipe.rhai"]).success().says(&["no problems"]);
    sandbox.run().success().says(&["mine place"]).never_says(&["theirs"]);
    // What is wrong in it is told there, and where it is called from.
    let sandbox = sandbox.file("mine.rhai", "fn name() {\n    read_file(\"nowhere.txt\")\n}");
    sandbox.run().exits(1).says(&["mine.rhai:2:5", "recipe.rhai:2:17  name(..)"]);
}

#[test]
fn a_manifest_of_recipes_own_is_changed_without_a_copy() {
    let sandbox = Sandbox::with(
        "deploy_service(create_cluster(\"c\"), \"shop\", #{ image: \"shop:1\", vars: #{ disk: \"fast\" } });",
    )
    .file("recipe.toml", "[override]\n\"manifests/service.yaml\" = \"e2e/service.yaml\"");
    sandbox.recipe(["check", "recipe.rhai"]).exits(2).says(&["the manifest e2e/service.yaml cannot be read"]);
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: {{ name }} }\n\
                 spec: { template: { spec: { nodeSelector: { disk: {{ disk }} } } } }\n";
    let sandbox = sandbox.file("e2e/service.yaml", patch);
    sandbox.recipe(["check", "recipe.rhai"]).success().says(&["no problems"]);
    let sandbox = sandbox.file("e2e/service.yaml", &patch.replace("disk }}", "disc }}"));
    sandbox.recipe(["check", "recipe.rhai"]).exits(2).says(&["e2e/service.yaml:4:54", "`disc` is undefined"]);
    let sandbox =
        sandbox.file("recipe.toml", "[override]\n\"manifests/servise.yaml\" = \"e2e/service.yaml\"");
    sandbox
        .recipe(["check", "recipe.rhai"])
        .exits(2)
        .says(&["`manifests/servise.yaml`", "manifests/redis.yaml"]);
}
