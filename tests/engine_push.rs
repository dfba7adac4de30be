//! Images that are pushed to a real registry.

#[path = "support/engine.rs"]
#[expect(dead_code, reason = "each test target uses some of it")]
mod support;

use std::net::TcpStream;

use support::{Images, Watched, base, docker, engine, folder, request, unique};

/// A registry in a container, on a port of this machine.
struct Registry {
    container: String,
    host: String,
}

impl Registry {
    fn start() -> Self {
        let image = std::env::var("RECIPE_TEST_REGISTRY_IMAGE").unwrap_or_else(|_| "registry:2".to_owned());
        let container = unique("registry");
        docker(&["run", "--detach", "--rm", "--publish=127.0.0.1::5000", "--name", &container, &image]);
        let host = docker(&["port", &container, "5000/tcp"]);
        // The port is open before the registry is.
        while !answers(&host) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self { container, host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.container]);
    }
}

fn answers(host: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = TcpStream::connect(host) else { return false };
    let mut answer = [0; 12];
    stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b"200")
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn an_image_is_pushed_and_pulled_by_its_digest() {
    let Some(engine) = engine().await else { return };
    let registry = Registry::start();
    let mut images = Images::default();
    let files = folder(&[("Dockerfile", &format!("FROM {}\nRUN echo {} > /word\n", base(), unique("word")))]);
    let name = unique("pushed");
    let watched = Watched::new();
    let built = images.keep(watched.build(&engine, &request(&name, files.path())).await.unwrap());
    let wanted = format!("{}/team/{name}:v1", registry.host);
    let pushed = engine.push(&watched.step, &watched.children, &built.reference, &wanted).await.unwrap();
    assert!(pushed.starts_with(&format!("{}/team/{name}@sha256:", registry.host)), "{pushed}");
    assert!(!watched.cache().hit);
    assert_eq!(engine.inspect(&wanted).await.unwrap(), None, "the name was only for the push");

    // Nothing is sent twice.
    let again = engine.push(&watched.step, &watched.children, &built.reference, &wanted).await.unwrap();
    assert_eq!(again, pushed);
    assert!(watched.cache().hit && watched.cache().why.starts_with("2 of 2 layers"), "{:?}", watched.cache());

    engine.remove_image(&built.reference).await.unwrap();
    docker(&["pull", "--quiet", &pushed]);
    assert_eq!(engine.inspect(&pushed).await.unwrap().unwrap().id, built.facts.id);
    engine.remove_image(&pushed).await.unwrap();
    assert_eq!(engine.inspect(&pushed).await.unwrap(), None);
    // It is gone already, which is what was asked for.
    engine.remove_image(&pushed).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_registry_that_is_not_there_is_named() {
    let Some(engine) = engine().await else { return };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let watched = Watched::new();
    let wanted = format!("127.0.0.1:{port}/nothing:v1");
    let failure = engine.push(&watched.step, &watched.children, &base(), &wanted).await.unwrap_err();
    assert!(failure.message.contains(&format!("cannot be pushed as {wanted}")), "{failure}");
    assert!(failure.hint.as_ref().unwrap().contains("reachable"), "{failure:?}");
    assert_eq!(engine.inspect(&wanted).await.unwrap(), None);
}
