//! The recipe that the README opens with, run as it stands on a small project.

mod harness;

use harness::Sandbox;

const MANIFEST: &str = r#"
[package]
name = "shop"
edition = "2024"

[workspace]
"#;

/// Answers every request, once it was told where its databases are.
const SHOP: &str = r#"
use std::io::{Read, Write};

fn main() {
    let variable = |name: &str| std::env::var(name).expect(name);
    assert!(variable("DATABASE_URL").starts_with("postgres://"));
    assert!(variable("REDIS_URL").starts_with("redis://"));
    let listener = std::net::TcpListener::bind(format!("{}:{}", variable("HOST"), variable("PORT"))).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    }
}
"#;

#[test]
fn its_recipe_sets_up() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let recipe = readme.split("```rhai\n").nth(1).and_then(|rest| rest.split("```").next());
    let sandbox = Sandbox::with(recipe.expect("it shows a recipe"))
        .file("Cargo.toml", MANIFEST)
        .file("src/main.rs", SHOP)
        .file("migrations/001_orders.sql", "CREATE TABLE orders (id bigint PRIMARY KEY);");
    let output = sandbox
        .command(["run", "--rm", "--output", "json", "recipe.rhai"])
        // The project builds into its own folder, where the recipe looks.
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(summary["outputs"]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{summary:#}");
    sandbox.assert_nothing_left();
}
