//! Images that are brought into nodes: containers with a real containerd.

#[path = "support/engine.rs"]
#[expect(dead_code, reason = "each test target uses some of it")]
mod support;

use std::path::Path;
use std::slice::from_ref;

use recipe::targets::ImageRequest;
use recipe::targets::engine::{BuiltImage, Engine, Node};
use support::{Images, Watched, base, docker, engine, folder, program, request, unique};

/// A container of the node image that runs containerd alone: it is up in a
/// second, and all of it that loading needs.
struct TestNode(Node);

impl TestNode {
    fn start() -> Self {
        let image =
            std::env::var("RECIPE_KIND_NODE_IMAGE").unwrap_or_else(|_| "kindest/node:v1.34.0".to_owned());
        let container = unique("node");
        let options = [
            "--cap-add=SYS_ADMIN",
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
        ];
        let run = ["run", "--detach", "--rm", "--volume=/var", "--entrypoint=sh", "--name", &container];
        // The pipe ends the container's start: containerd says so by its socket.
        let script = "containerd & until ctr version >/dev/null 2>&1; do sleep 0.05; done; touch /up; wait";
        docker(&[&run[..], &options, &[&image, "-c", script]].concat());
        docker(&["exec", &container, "sh", "-c", "until test -e /up; do sleep 0.05; done"]);
        Self(Node { container })
    }

    #[track_caller]
    fn ctr(&self, args: &[&str]) -> String {
        docker(&[&["exec", &self.0.container, "ctr", "-n", "k8s.io"], args].concat())
    }

    /// Whether images are whole and unpacked, so that a pod starts from them.
    fn check(&self, images: &[&BuiltImage]) {
        for image in images {
            self.check_one(image);
        }
    }

    fn check_one(&self, image: &BuiltImage) {
        let checked = self.ctr(&["images", "check", &format!("name=={}", image.reference)]);
        let line = checked.lines().nth(1).unwrap_or_default();
        assert!(line.contains(&image.reference) && line.contains("complete"), "{checked}");
        assert!(line.trim_end().ends_with("true"), "not unpacked: {checked}");
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.0.container]);
    }
}

fn program_name() -> String {
    format!("test-loaded-{}", std::process::id())
}

async fn program_image(engine: &Engine, images: &mut Images, folder: &Path, word: &str) -> BuiltImage {
    program(folder, word, false);
    let request = ImageRequest {
        binary: Some("program".into()),
        base: Some(base()),
        ..request(&program_name(), folder)
    };
    images.keep(Watched::new().build(engine, &request).await.unwrap())
}

fn sha256sum(path: &Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn size_of_base(engine_size: u64) -> u64 {
    // Tars are a little larger than the files in them.
    engine_size * 9 / 10
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine: make test-kind"]
async fn a_node_gets_only_what_it_lacks() {
    let Some(engine) = engine().await else { return };
    let mut images = Images::default();
    let files = folder(&[]);
    let (one, two) = (TestNode::start(), TestNode::start());
    let base_size = size_of_base(engine.inspect(&base()).await.unwrap().unwrap().size);

    // All layers, by an export; to the second node as well.
    let first = program_image(&engine, &mut images, files.path(), "first").await;
    let watched = Watched::new();
    let loaded = watched.load(&engine, &[&one.0], &[&first]).await.unwrap();
    one.check(&[&first]);
    assert!(loaded.sent_bytes > base_size, "{loaded:?}");
    assert!(!watched.cache().hit);

    // Nothing, the second time.
    let watched = Watched::new();
    let loaded = watched.load(&engine, &[&one.0], &[&first]).await.unwrap();
    assert_eq!(loaded.sent_bytes, 0);
    assert!(
        watched.cache().hit && watched.cache().why.contains("already in the node"),
        "{:?}",
        watched.cache()
    );

    // The program's layer alone to one, all to the other, in one load.
    let changed = program_image(&engine, &mut images, files.path(), "changed").await;
    let watched = Watched::new();
    let loaded = watched.load(&engine, &[&one.0, &two.0], &[&changed]).await.unwrap();
    one.check(&[&changed]);
    two.check(&[&changed]);
    let program = fs_err::metadata(files.path().join("program")).unwrap().len();
    let sent: Vec<_> = loaded.nodes.iter().map(|node| node.sent_bytes).collect();
    assert!(sent[0] < program + 10_000 && sent[1] > base_size, "{loaded:?}");
    assert!(watched.cache().why.contains("saved"), "{:?}", watched.cache());

    // What a node runs is the program that was built.
    one.ctr(&["images", "mount", &changed.reference, "/mnt"]);
    let inside = format!("/mnt/app/{}", program_name());
    let found = docker(&["exec", &one.0.container, "sha256sum", &inside]);
    let built = sha256sum(&files.path().join("program"));
    assert_eq!(found.split_whitespace().next(), built.split_whitespace().next());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine: make test-kind"]
async fn images_share_a_load_and_its_layers() {
    let Some(engine) = engine().await else { return };
    let mut images = Images::default();
    let node = TestNode::start();
    let mut built = Vec::new();
    for word in ["one", "two"] {
        // The same size, and too large to be told apart by their contents in memory.
        let text =
            format!("FROM {}\nRUN yes {word} | head -c 3000000 > /file\nRUN echo {word} > /word\n", base());
        let files = folder(&[("Dockerfile", &text)]);
        built.push(
            images.keep(Watched::new().build(&engine, &request(&unique(word), files.path())).await.unwrap()),
        );
    }
    let base_size = size_of_base(engine.inspect(&base()).await.unwrap().unwrap().size);
    let watched = Watched::new();
    let loaded = watched.load(&engine, &[&node.0], &[&built[0]]).await.unwrap();
    assert!(loaded.sent_bytes > base_size);
    node.check(&[&built[0]]);

    // A layer that is as large as one in the node is still another.
    let both = [&built[0], &built[1]];
    let loaded = watched.load(&engine, &[&node.0], &both).await.unwrap();
    assert!(loaded.sent_bytes > 3_000_000 && loaded.sent_bytes < 3_100_000, "{loaded:?}");
    node.check(&both);

    // Two images at once into an empty node: what they share is sent once.
    let other = TestNode::start();
    let loaded = watched.load(&engine, &[&other.0], &both).await.unwrap();
    assert!(loaded.sent_bytes > base_size && loaded.sent_bytes < base_size * 3 / 2, "{loaded:?}");
    other.check(&both);

    // Nor is it when one of them is at hand and the other must be exported.
    let files = folder(&[]);
    let program = program_image(&engine, &mut images, files.path(), "third").await;
    let text = format!("FROM {}\nRUN yes {} | head -c 3000000 > /file\n", base(), unique("four"));
    let files = folder(&[("Dockerfile", &text)]);
    let fourth = Watched::new().build(&engine, &request(&unique("four"), files.path())).await.unwrap();
    let both = [&program, &images.keep(fourth)];
    let empty = TestNode::start();
    let loaded = watched.load(&engine, &[&empty.0], &both).await.unwrap();
    assert!(loaded.sent_bytes > base_size && loaded.sent_bytes < base_size * 3 / 2, "{loaded:?}");
    empty.check(&both);
}

/// How often the engine has exported an image.
fn exports(image: &BuiltImage) -> usize {
    let id = format!("image={}", image.facts.id);
    let until = jiff::Timestamp::now().to_string();
    let filters = ["--filter", "event=save", "--filter", &id, "--format", "{{.Action}}"];
    docker(&[&["events", "--since", "1h", "--until", &until], &filters[..]].concat()).lines().count()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine: make test-kind"]
async fn a_prepared_image_is_not_exported_again() {
    let Some(engine) = engine().await else { return };
    let mut images = Images::default();
    let (node, other) = (TestNode::start(), TestNode::start());
    let text = format!("FROM {}\nRUN head -c 3000000 /dev/urandom > /file\n", base());
    let files = folder(&[("Dockerfile", &text)]);
    let watched = Watched::new();
    let built =
        images.keep(watched.build(&engine, &request(&unique("prepared"), files.path())).await.unwrap());
    assert_eq!(exports(&built), 0);
    // A load waits for what is being prepared.
    drop(engine.prepare(&watched.step, &built.reference));
    watched.load(&engine, &[&node.0], &[&built]).await.unwrap();
    assert_eq!(exports(&built), 1);
    // So does a run after it, which knows nothing of this one.
    let again = support::engine().await.unwrap();
    watched.load(&again, &[&other.0], &[&built]).await.unwrap();
    assert_eq!(exports(&built), 1);
    node.check(&[&built]);
    other.check(&[&built]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine: make test-kind"]
async fn what_cannot_be_loaded_is_explained() {
    let Some(engine) = engine().await else { return };
    let watched = Watched::new();
    let nowhere = Node { container: unique("nowhere") };
    let absent = unique("absent");
    let failure = engine.load(&watched.step, from_ref(&nowhere), from_ref(&absent)).await.unwrap_err();
    assert!(failure.message.contains(&format!("no image {absent} to load")), "{failure}");
    let failure = engine.load(&watched.step, from_ref(&nowhere), &[base()]).await.unwrap_err();
    assert!(failure.message.contains(&format!("no node {}", nowhere.container)), "{failure}");
    // A container that runs something else.
    let other = unique("other");
    docker(&["run", "-d", "--rm", "--name", &other, &base(), "sleep", "600"]);
    let failure =
        engine.load(&watched.step, &[Node { container: other.clone() }], &[base()]).await.unwrap_err();
    docker(&["rm", "-f", &other]);
    assert!(failure.message.contains("does not say what it has"), "{failure}");
}
