//! Measures how long images take into the nodes of a real cluster, against
//! `kind load docker-image` on the same cluster, in turns:
//!
//! - the first load of an image, which the nodes lack entirely;
//! - a load after a change of the last layer;
//! - the same after `Engine::prepare` has fetched the layer from the engine, as
//!   it does while a cluster comes up;
//! - a load of what the nodes have already.
//!
//! Once for an image of a Dockerfile and once for a program on a base.
//! Needs `kind`, and RECIPE_KIND_NODE_IMAGE where `kindest/node` cannot be
//! pulled. `cargo bench --bench load`.

#![expect(clippy::cast_precision_loss, reason = "no image has 2^52 bytes")]

#[path = "../tests/support/engine.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use recipe::targets::engine::{BuiltImage, Engine, Node};
use support::{Images, Watched, base, docker, engine, folder, request};

const TIMES: usize = 3;
const CLUSTER: &str = "recipe-bench-load";
/// Bytes of the layer that changes.
const LAYER: usize = 10_000_000;

/// Made of a Dockerfile, or of a program and a base.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Dockerfile,
    Program,
}

#[derive(Default)]
struct Times {
    first: Vec<f64>,
    changed: Vec<f64>,
    prepared: Vec<f64>,
    again: Vec<f64>,
}

struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    fn create() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut create = Command::new("kind");
        create.args(["create", "cluster", "--name", CLUSTER, "--wait", "60s", "--quiet", "--kubeconfig"]);
        create.arg(folder.path().join("kubeconfig"));
        if let Ok(image) = std::env::var("RECIPE_KIND_NODE_IMAGE") {
            create.args(["--image", &image]);
        }
        assert!(create.status().unwrap().success(), "kind makes no cluster");
        let nodes = Command::new("kind").args(["get", "nodes", "--name", CLUSTER]).output().unwrap();
        let nodes = String::from_utf8_lossy(&nodes.stdout);
        Self { nodes: nodes.lines().map(|node| Node { container: node.to_owned() }).collect() }
    }

    /// Takes images and what only they need from all nodes.
    fn forget(&self, images: &[&BuiltImage]) {
        for node in &self.nodes {
            let mut remove = vec!["exec", &node.container, "ctr", "-n", "k8s.io", "images", "rm", "--sync"];
            remove.extend(images.iter().flat_map(|image| [&*image.reference, &image.facts.id]));
            let _ = Command::new("docker").args(&remove).output();
            let left = docker(&["exec", &node.container, "ctr", "-n", "k8s.io", "images", "ls", "-q"]);
            assert!(images.iter().all(|image| !left.contains(&image.reference)), "{left}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("kind").args(["delete", "cluster", "--name", CLUSTER]).output();
    }
}

#[tokio::main]
async fn main() {
    let Some(engine) = engine().await else { return };
    let cluster = Cluster::create();
    println!("medians of {TIMES}, {} node(s), last layer {} MB\n", cluster.nodes.len(), LAYER / 1_000_000);
    println!("{:<12} {:<24} {:>9} {:>9} {:>7} {:>6}", "image", "load", "kind", "recipe", "ratio", "goal");
    for (name, way) in [("Dockerfile", Way::Dockerfile), ("program", Way::Program)] {
        let (kind, recipe, sent) = measure(&engine, &cluster, way).await;
        row(name, "first", &kind.first, &recipe.first, Some(0.8));
        row(name, "last layer changed", &kind.changed, &recipe.changed, Some(0.3));
        row(name, "the same, prepared", &kind.changed, &recipe.prepared, Some(0.3));
        row(name, "nothing changed", &kind.again, &recipe.again, None);
        let times = sent / LAYER as f64;
        println!("{name:<12} bytes sent after the change: {times:.2} times the layer (goal 1.10)");
    }
}

fn row(image: &str, load: &str, kind: &[f64], recipe: &[f64], goal: Option<f64>) {
    let (kind, recipe) = (median(kind), median(recipe));
    let ratio = recipe / kind;
    let goal =
        goal.map_or(String::new(), |goal| format!("{goal}{}", if ratio <= goal { "" } else { " MISSED" }));
    println!("{image:<12} {load:<24} {kind:>7.0}ms {recipe:>7.0}ms {ratio:>7.2} {goal:>6}");
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Times of both, and the bytes that recipe sent after a change, at most.
async fn measure(engine: &Engine, cluster: &Cluster, way: Way) -> (Times, Times, f64) {
    let mut images = Images::default();
    let (mut kind, mut recipe, mut most) = (Times::default(), Times::default(), 0.0_f64);
    let files = folder(&[("Dockerfile", &format!("FROM {}\nCOPY layer /layer\n", base()))]);
    let mut serial = 0;
    for _ in 0..TIMES {
        for (ours, times) in [(false, &mut kind), (true, &mut recipe)] {
            let before = build(engine, &mut images, files.path(), way, &mut serial).await;
            cluster.forget(&[&before]);
            times.first.push(load(engine, cluster, &before, ours).await.0);
            let after = build(engine, &mut images, files.path(), way, &mut serial).await;
            let (changed, sent) = load(engine, cluster, &after, ours).await;
            times.changed.push(changed);
            if ours {
                // As while a cluster comes up.
                let next = build(engine, &mut images, files.path(), way, &mut serial).await;
                engine.prepare(&Watched::new().step, &next.reference).await.unwrap();
                times.prepared.push(load(engine, cluster, &next, ours).await.0);
            }
            times.again.push(load(engine, cluster, &after, ours).await.0);
            if ours {
                most = most.max(sent);
            }
            cluster.forget(&[&before, &after]);
        }
    }
    (kind, recipe, most)
}

/// Builds an image whose last layer no other has.
async fn build(engine: &Engine, images: &mut Images, folder: &Path, way: Way, serial: &mut u8) -> BuiltImage {
    *serial += 1;
    // Neither compressible nor ever the same.
    let mut bytes = vec![0; LAYER];
    blake3::Hasher::new().update(&[*serial, way as u8]).finalize_xof().fill(&mut bytes);
    fs_err::write(folder.join("layer"), bytes).unwrap();
    let mut request = request("bench-load", folder);
    if way == Way::Program {
        (request.binary, request.base) = (Some("layer".into()), Some(base()));
    }
    images.keep(Watched::new().build(engine, &request).await.unwrap())
}

/// Milliseconds, and bytes sent where recipe did it.
async fn load(engine: &Engine, cluster: &Cluster, image: &BuiltImage, ours: bool) -> (f64, f64) {
    let watched = Watched::new();
    let began = Instant::now();
    let mut sent = 0.0;
    if ours {
        let loaded =
            engine.load(&watched.step, &cluster.nodes, std::slice::from_ref(&image.reference)).await.unwrap();
        sent = loaded.sent_bytes as f64 / cluster.nodes.len() as f64;
    } else {
        let loaded = Command::new("kind")
            .args(["load", "docker-image", &image.reference, "--name", CLUSTER, "--quiet"])
            .output()
            .unwrap();
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    }
    (began.elapsed().as_secs_f64() * 1000.0, sent)
}
