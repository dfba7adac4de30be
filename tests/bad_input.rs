//! What a person gets wrong before anything runs: exit codes, words, places
//! and hints.

mod harness;

use std::process::Stdio;

use harness::Sandbox;

#[test]
fn a_recipe_that_is_not_there() {
    let sandbox = Sandbox::with("");
    sandbox.recipe(["run", "none.rhai"]).exits(2).says(&["there is no file `none.rhai`"]);
}

#[test]
fn an_option_that_does_not_exist() {
    let sandbox = Sandbox::with("");
    sandbox.recipe(["run", "--kep", "recipe.rhai"]).exits(2).says(&["--kep", "--keep"]);
    sandbox.recipe(["run", "--set", "x", "recipe.rhai"]).exits(2).says(&["write NAME=VALUE"]);
    sandbox.recipe(["run", "--timeout", "soon", "recipe.rhai"]).exits(2).says(&["--timeout", "soon"]);
}

#[test]
fn records_that_cannot_be_written() {
    let sandbox = Sandbox::with("").file("file", "");
    let below_a_file = sandbox.path().join("file/state");
    let sandbox = sandbox.env("RECIPE_STATE_DIR", below_a_file);
    sandbox.run().exits(3).says(&[
        "the run's records cannot be written below",
        "file/state/runs",
        "Not a directory",
        "set RECIPE_STATE_DIR to another directory",
    ]);
    sandbox.assert_nothing_left();
}

#[test]
fn scratch_that_cannot_be_made() {
    let sandbox = Sandbox::with("create_cluster(\"c\");").file("file", "");
    let below_a_file = sandbox.path().join("file/scratch");
    let sandbox = sandbox.env("RECIPE_RUN_DIR", below_a_file);
    sandbox.run().exits(3).says(&[
        "the scratch directory",
        "file/scratch/recipe-recipe-",
        "Not a directory",
        "set RECIPE_RUN_DIR to a directory with room",
    ]);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_path_too_long_for_a_socket() {
    let sandbox = Sandbox::with("create_cluster(\"c\");");
    let long = sandbox.scratch().join("long".repeat(20));
    std::fs::create_dir(&long).unwrap();
    let sandbox = sandbox.env("RECIPE_RUN_DIR", &long);
    sandbox.run().exits(3).says(&["too long a path for a socket", "use one of at most"]);
    assert_eq!(std::fs::read_dir(&long).unwrap().count(), 0, "the scratch directory is still there");
    std::fs::remove_dir(&long).unwrap();
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_target_that_this_version_does_not_have() {
    let sandbox = Sandbox::with("");
    let says = ["cannot set up on the target `mars`", "it can set up on: local"];
    sandbox.recipe(["run", "--target", "mars", "recipe.rhai"]).exits(3).says(&says);
    sandbox.env("RECIPE_TARGET", "mars").run().exits(3).says(&says);
    Sandbox::with("").file("recipe.toml", "target = \"mars\"").run().exits(3).says(&says);
}

#[test]
fn a_project_file_with_a_mistake() {
    let sandbox = Sandbox::with("").file("recipe.toml", "taget = \"local\"\n");
    sandbox.run().exits(2).says(&["recipe.toml", "taget", "expected one of `target`"]);
    let sandbox = Sandbox::with("").file("recipe.toml", "target = \n");
    sandbox.run().exits(2).says(&["recipe.toml", "line 1"]);
}

#[test]
fn parameters_that_the_recipe_does_not_have() {
    let sandbox =
        Sandbox::with("let size = param(\"database_size\", 1); let x = param(\"colour\", \"red\");");
    sandbox
        .recipe(["run", "--set", "database_sise=2", "recipe.rhai"])
        .exits(2)
        .says(&["the recipe has no parameter `database_sise`", "did you mean `database_size`?"]);
    sandbox.recipe(["run", "--set", "zzzzzz=2", "recipe.rhai"]).exits(2).says(&[
        "its parameters are",
        "database_size",
        "colour",
    ]);
    Sandbox::with("")
        .recipe(["run", "--set", "a=1", "recipe.rhai"])
        .exits(2)
        .says(&["the recipe has no parameter `a`"]);
}

#[test]
fn parameter_files_that_cannot_be_read() {
    for (name, text, says) in [
        ("p.toml", "a = ", "p.toml does not hold parameters"),
        ("p.toml", "a = ", "line 1"),
        ("p.yaml", "- 1\n- 2\n", "p.yaml does not hold parameters"),
        ("p.yml", "a: [", "p.yml does not hold parameters"),
        ("p.json", "{\"a\": }", "line 1 column 7"),
        ("p.json", "[]", "p.json does not hold parameters"),
        ("p.txt", "a=1", "none of the known extensions"),
    ] {
        let sandbox = Sandbox::with("param(\"a\", 1);").file(name, text);
        sandbox
            .recipe(["run", "--params", name, "recipe.rhai"])
            .exits(2)
            .says(&[says, "write a table of names and values in TOML"]);
    }
    let sandbox = Sandbox::with("param(\"a\", 1);");
    sandbox
        .recipe(["run", "--params", "none.toml", "recipe.rhai"])
        .exits(2)
        .says(&["the file of parameters cannot be read", "none.toml"]);
}

#[test]
fn parameters_of_the_wrong_type() {
    let recipe = "let a = param(\"count\", 1);\nlet b = param(\"flag\", true, #{ choices: [true] });\n\
                  let c = param(\"list\", []);\nlet d = param(\"size\", 0.5);";
    let sandbox = Sandbox::with(recipe).file("p.toml", "count = 1.5").file("q.toml", "list = true");
    for (args, says) in [
        (["--set", "count=many"], "`count` must be a whole number, got `many`"),
        (["--set", "flag=yes"], "`flag` must be true or false, got `yes`"),
        (["--set", "flag=false"], "`flag` is false, but must be one of true"),
        (["--set", "list=[1"], "`list` must be a JSON array, got `[1`"),
        (["--set", "list={}"], "`list` must be a JSON array, got `{}`"),
        (["--set", "size=big"], "`size` must be a number, got `big`"),
        (["--params", "p.toml"], "`count` must be a whole number, got `1.5`"),
        (["--params", "q.toml"], "`list` must be a JSON array, got `true`"),
    ] {
        sandbox.recipe(["run"].iter().chain(&args).chain(&["recipe.rhai"])).exits(2).says(&[says]);
    }
    Sandbox::with("let x = 1;\nlet a = param(\"must\");").run().exits(1).says(&[
        "the parameter `must` must be given",
        "recipe.rhai:2:9",
        "--set must=VALUE",
    ]);
}

#[test]
fn a_reader_who_goes_away_is_no_error() {
    let sandbox = Sandbox::with("output(#{ a: 1 });");
    let run = sandbox.command(["run", "--output", "json", "recipe.rhai"]).stdout(closed_pipe()).output();
    assert_eq!(run.unwrap().status.code(), Some(0));
    let list = sandbox.command(["ls", "--all"]).stdout(closed_pipe()).output().unwrap();
    assert!(list.status.success() && list.stderr.is_empty(), "{list:?}");
}

/// A pipe that nobody reads.
fn closed_pipe() -> Stdio {
    let (_, writer) = std::io::pipe().unwrap();
    writer.into()
}

#[test]
fn a_standard_error_that_goes_away_does_not_end_a_run() {
    let sandbox = Sandbox::with("print(\"a\"); output(#{ a: 1 });");
    let run =
        sandbox.command(["run", "--output", "json", "recipe.rhai"]).stderr(closed_pipe()).output().unwrap();
    assert_eq!(run.status.code(), Some(0));
    assert!(String::from_utf8(run.stdout).unwrap().contains("\"a\": 1"));
}

#[test]
fn runs_that_do_not_exist() {
    let sandbox = Sandbox::new();
    for command in ["env", "status", "logs", "down"] {
        sandbox.recipe([command, "nobody"]).exits(1).says(&["there is no run `nobody`", "recipe ls"]);
    }
    for command in ["env", "status", "logs"] {
        sandbox.recipe([command]).exits(1).says(&["no environment is up", "recipe run RECIPE"]);
    }
    sandbox.recipe(["down"]).success().says(&["nothing is up"]);
    sandbox.recipe(["ls"]).success().says(&["no environment is up"]);
    sandbox.recipe(["env", "../../etc"]).exits(1).says(&["there is no run"]);
}

#[test]
fn programs_are_told_of_runs_that_do_not_begin() {
    let sandbox = Sandbox::with("print(1);").file("wrong.rhai", "let x = ;").file("file", "");
    let told = |args: &[&str], state: Option<&str>| {
        let mut command = sandbox.command(["run", "--output", "json"].iter().chain(args));
        if let Some(state) = state {
            command.env("RECIPE_STATE_DIR", sandbox.path().join(state));
        }
        let output = command.output().unwrap();
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!(summary["outcome"], "failed", "{summary:#}");
        (output.status.code(), summary["error"].as_str().expect("a text").to_owned())
    };
    for (args, state, code, error) in [
        (["none.rhai"].as_slice(), None, 2, "there is no file"),
        (&["wrong.rhai"], None, 2, "wrong.rhai:1"),
        (&["recipe.rhai", "--target", "moon"], None, 3, "moon"),
        (&["recipe.rhai", "--set", "a=1"], None, 2, "no parameter `a`"),
        (&["recipe.rhai"], Some("file/below"), 3, "cannot be written"),
    ] {
        let (found, text) = told(args, state);
        assert!(found == Some(code) && text.contains(error), "{args:?}: {found:?} {text}");
    }
}
