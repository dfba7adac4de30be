//! Recipes that are clumsy, and right: `recipe check` has nothing to say of any
//! `tests/blameless/*.rhai` beside the files in `tests/blameless/files`, nor of
//! what this repository ships.

mod harness;

use std::path::{Path, PathBuf};

use harness::Sandbox;

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blameless");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut recipes: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "rhai")).collect();
    recipes.sort();
    assert!(recipes.len() >= 15, "{}", recipes.len());
    recipes
}

#[test]
fn nothing_is_said_of_recipes_that_are_right() {
    let mut said = String::new();
    for recipe in recipes() {
        let files = recipe.parent().unwrap().join("files");
        let sandbox = Sandbox::with(&std::fs::read_to_string(&recipe).unwrap()).folder(&files);
        let output = sandbox.recipe(["check", "recipe.rhai"]);
        if output.stderr.trim() != "recipe.rhai: no problems" {
            said += &format!("=== {}\n{}\n", recipe.display(), output.stderr);
        }
    }
    assert!(said.is_empty(), "{said}");
}
