//! Programs that are put on base images, without a Dockerfile.

#[path = "support/engine.rs"]
#[expect(dead_code, reason = "each test target uses some of it")]
mod support;

use std::collections::BTreeMap;

use support::{Images, Watched, base, docker, engine, folder, program, request, unique};

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_program_runs_on_its_base() {
    let Some(engine) = engine().await else { return };
    let mut images = Images::default();
    let files = folder(&[]);
    program(files.path(), "one", false);
    let name = unique("program");
    let mut request = request(&name, files.path());
    (request.binary, request.base) = (Some("program".into()), Some(base()));

    let first = Watched::new();
    let labels = BTreeMap::from([("by".to_owned(), "test".to_owned())]);
    let built = engine.build(&first.step, &first.children, &request, &labels).await.unwrap();
    let built = images.keep(built);
    assert!(!first.cache().hit);
    assert_eq!(docker(&["run", "--rm", &built.reference]), format!("/app/{name} one"));
    let label = docker(&["image", "inspect", "-f", "{{.Config.Labels.by}}", &built.reference]);
    assert_eq!(label, "test");

    let second = Watched::new();
    assert_eq!(second.build(&engine, &request).await.unwrap(), built);
    assert!(second.cache().hit);

    program(files.path(), "two", false);
    let changed = images.keep(Watched::new().build(&engine, &request).await.unwrap());
    assert_ne!(changed.reference, built.reference);
    assert_eq!(docker(&["run", "--rm", &changed.reference]), format!("/app/{name} two"));

    request.tag = Some("stable".to_owned());
    let tagged = images.keep(Watched::new().build(&engine, &request).await.unwrap());
    assert_eq!(tagged.reference, format!("recipe.local/{name}:stable"));
    assert_eq!(tagged.facts, changed.facts);
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_static_program_needs_no_base() {
    let Some(engine) = engine().await else { return };
    let mut images = Images::default();
    let files = folder(&[]);
    let name = unique("scratch");
    let mut request = request(&name, files.path());
    (request.binary, request.base) = (Some("program".into()), Some("scratch".to_owned()));
    program(files.path(), "alone", true);
    let watched = Watched::new();
    let built = images.keep(watched.build(&engine, &request).await.unwrap());
    assert_eq!(built.facts.diff_ids.len(), 1);
    assert_eq!(docker(&["run", "--rm", &built.reference]), format!("/app/{name} alone"));
    assert_eq!(watched.output(), Vec::<String>::new());

    program(files.path(), "needs libraries", false);
    let watched = Watched::new();
    images.keep(watched.build(&engine, &request).await.unwrap());
    let output = watched.output();
    assert!(output.iter().any(|line| line.contains("will not start on `scratch`")), "{output:?}");
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_program_is_built_by_its_command_first() {
    let Some(engine) = engine().await else { return };
    let mut images = Images::default();
    let files = folder(&[]);
    let mut request = request(&unique("command"), files.path());
    (request.binary, request.base) = (Some("made".into()), Some(base()));
    request.build = Some("printf '#!/bin/sh\\necho made' > made".to_owned());
    let built = images.keep(Watched::new().build(&engine, &request).await.unwrap());
    assert_eq!(docker(&["run", "--rm", &built.reference]), "made");

    request.build = Some("echo broken; exit 3".to_owned());
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.message.contains("exit code 3") && failure.evidence == ["broken"], "{failure}");

    request.build = None;
    request.binary = Some("absent".into());
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.message.contains("there is no program"), "{failure}");
}
