//! Every example of the reference is a recipe that runs on the local target.

use serde_json::Value;

use crate::harness::Sandbox;

mod harness;

const NEEDS: &str = "the examples need real servers: apt-get install postgresql redis-server python3";

#[test]
fn of_every_primitive() {
    let reference: Value = {
        let output = Sandbox::new().recipe(["doc", "--format", "json"]).success();
        serde_json::from_str(&output.stdout).unwrap()
    };
    let mut failed = String::new();
    for primitive in reference.as_array().unwrap() {
        let (name, example) = (primitive["name"].as_str().unwrap(), primitive["example"].as_str().unwrap());
        let sandbox = Sandbox::with(example);
        let output = sandbox.run();
        if output.code == 0 {
            sandbox.assert_nothing_left();
        } else {
            failed += &format!("=== {name}, exit {}\n{}\n", output.code, output.stderr);
        }
    }
    assert!(failed.is_empty(), "{failed}\n{NEEDS}");
}
