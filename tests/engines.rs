//! Targets with containers on a machine that lacks what they need: refused with
//! what to do, before anything is made.

mod harness;

use harness::Sandbox;

const RECIPE: &str = r#"create_cluster("demo");"#;

/// A sandbox where no engine answers.
fn without_engine() -> Sandbox {
    let sandbox = Sandbox::with(RECIPE);
    let nothing = format!("unix://{}/nothing.sock", sandbox.path().display());
    sandbox.env("DOCKER_HOST", nothing)
}

#[test]
fn without_an_engine_kind_is_refused() {
    let sandbox = without_engine();
    sandbox.recipe(["run", "recipe.rhai", "--target", "kind"]).exits(3).says(&["nothing.sock", "help:"]);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_target_that_is_none_is_refused() {
    for target in ["kidn", "kube:", "kube"] {
        let sandbox = Sandbox::with(RECIPE);
        sandbox
            .recipe(["run", "recipe.rhai", "--target", target])
            .exits(3)
            .says(&[target, "local, kind, kube:CONTEXT"]);
        assert!(sandbox.events().is_none());
    }
}

#[test]
fn a_context_that_is_nowhere_is_refused() {
    let kubeconfig =
        "apiVersion: v1\nkind: Config\ncontexts:\n- { name: mine, context: { cluster: c, user: u } }\n";
    let sandbox = Sandbox::with(RECIPE).file("kubeconfig", kubeconfig);
    let path = sandbox.path().join("kubeconfig");
    let sandbox = sandbox.env("KUBECONFIG", path);
    sandbox
        .recipe(["run", "recipe.rhai", "--target", "kube:yours"])
        .exits(3)
        .says(&["has no context `yours`", "its contexts are: mine"]);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let sandbox =
        Sandbox::with(RECIPE).env("RECIPE_KIND", "/nowhere/kind").env("DOCKER_HOST", "tcp://127.0.0.1:1");
    sandbox.recipe(["run", "recipe.rhai", "--target", "kind"]).exits(3).says(&["127.0.0.1:1"]);
}
