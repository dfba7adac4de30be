//! Images that a real container engine builds.

#[path = "support/engine.rs"]
#[expect(dead_code, reason = "each test target uses some of it")]
mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use recipe::run::event::EventKind;
use support::{Images, Watched, base, docker, engine, folder, request, unique};

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_dockerfile_is_built_once() {
    let Some(engine) = engine().await else { return };
    let mut images = Images::default();
    let text = format!(
        "FROM {} AS one\nARG WORD\nCOPY . /all/\nRUN echo said $WORD > /word && echo building\n\
         FROM one AS two\nRUN echo never > /word && exit 1\n",
        base()
    );
    let files = folder(&[
        ("Dockerfile", &text),
        (".dockerignore", "*\n!src\nsrc/*.tmp\nDockerfile\n"),
        ("src/a", "a"),
        ("src/b.tmp", "b"),
        ("target/big", "big"),
    ]);
    symlink("a", files.path().join("src/link")).unwrap();
    let mut request = request(&unique("built"), files.path());
    request.args = BTreeMap::from([("WORD".to_owned(), "hello".to_owned())]);
    request.target = Some("one".to_owned());

    let first = Watched::new();
    let built = images.keep(first.build(&engine, &request).await.unwrap());
    assert!(!first.cache().hit);
    let output = first.output();
    assert!(output.iter().any(|line| line == "building"), "{output:?}");
    let tag = built.reference.rsplit(':').next().unwrap();
    assert!(tag.len() == 12 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", built.reference);
    let found = docker(&[
        "run",
        "--rm",
        &built.reference,
        "sh",
        "-c",
        "cat /word; cd /all; find . -type f -o -type l",
    ]);
    let mut lines: Vec<_> = found.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["./src/a", "./src/link", "said hello"]);

    // Neither times nor files that are left out matter.
    fs_err::write(files.path().join("target/big"), "other").unwrap();
    fs_err::write(files.path().join("src/a"), "a").unwrap();
    let second = Watched::new();
    assert_eq!(second.build(&engine, &request).await.unwrap(), built);
    let cache = second.cache();
    assert!(cache.hit && cache.why.contains("has changed"), "{cache:?}");
    assert_eq!(second.output(), Vec::<String>::new());

    // All else does.
    let mut tags = vec![built.reference.clone()];
    fs_err::write(files.path().join("src/a"), "A").unwrap();
    tags.push(images.keep(Watched::new().build(&engine, &request).await.unwrap()).reference);
    std::fs::set_permissions(files.path().join("src/a"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    tags.push(images.keep(Watched::new().build(&engine, &request).await.unwrap()).reference);
    request.args.insert("WORD".to_owned(), "bye".to_owned());
    tags.push(images.keep(Watched::new().build(&engine, &request).await.unwrap()).reference);
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "{tags:?}");

    request.no_cache = true;
    let again = Watched::new();
    let forced = images.keep(again.build(&engine, &request).await.unwrap());
    assert!(!again.cache().hit && again.output().iter().any(|line| line == "building"));
    assert!(tags.contains(&forced.reference));
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn a_failed_build_shows_the_line() {
    let Some(engine) = engine().await else { return };
    let text = format!("# first\nFROM {}\n\nRUN echo fine\nRUN echo one; \\\n  echo two; exit 7\n", base());
    let files = folder(&[("docker/app.Dockerfile", &text), ("a", "")]);
    let mut request = request(&unique("failed"), files.path());
    request.dockerfile = Some("docker/app.Dockerfile".into());
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.message.contains("failed at `RUN echo one;"), "{failure}");
    assert_eq!(failure.evidence.last().unwrap(), "two");
    let excerpt = failure.excerpt.as_ref().unwrap();
    assert_eq!(&excerpt.text[excerpt.span.0..][..excerpt.span.1], "RUN echo one; \\");
    assert_eq!(excerpt.label, "ended with exit code 7");

    fs_err::write(files.path().join("docker/app.Dockerfile"), format!("FROM {}\nRUNN x\n", base())).unwrap();
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    let excerpt = failure.excerpt.as_ref().unwrap();
    assert_eq!(&excerpt.text[excerpt.span.0..][..excerpt.span.1], "RUNN x");

    let cached = format!("FROM {}\nRUN --mount=type=cache,target=/c ls\n", base());
    fs_err::write(files.path().join("docker/app.Dockerfile"), cached).unwrap();
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.hint.as_ref().unwrap().contains("line 2 needs BuildKit"), "{failure:?}");
}

#[tokio::test]
#[ignore = "needs a container engine: make test-kind"]
async fn what_is_absent_is_named() {
    let Some(engine) = engine().await else { return };
    let files = folder(&[("Dockerfile", "FROM recipe.local/no/such:image\n")]);
    let mut request = request(&unique("absent"), files.path());
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.message.contains("recipe.local/no/such:image is not on this machine"), "{failure}");
    request.context = Some("nowhere".into());
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.message.contains("there is no Dockerfile"), "{failure}");
    request.dockerfile = Some("Dockerfile".into());
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.message.contains("there is no context"), "{failure}");
    request.context = None;
    request.base = Some("debian".to_owned());
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.message.contains("exclude each other"), "{failure}");
    request.base = None;
    "Bad Name".clone_into(&mut request.name);
    fs_err::write(files.path().join("Dockerfile"), format!("FROM {}\n", base())).unwrap();
    let failure = Watched::new().build(&engine, &request).await.unwrap_err();
    assert!(failure.message.contains("cannot be the name"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine: make test-kind"]
async fn the_same_image_is_built_once_by_all_branches() {
    let Some(engine) = engine().await else { return };
    let mut images = Images::default();
    let files = folder(&[("Dockerfile", &format!("FROM {}\nRUN echo {}\n", base(), unique("same")))]);
    let request = request(&unique("same"), files.path());
    let watched = [Watched::new(), Watched::new(), Watched::new()];
    let built = futures::future::join_all(watched.iter().map(|one| one.build(&engine, &request))).await;
    let built: Vec<_> = built.into_iter().map(|built| images.keep(built.unwrap())).collect();
    assert!(built.iter().all(|one| *one == built[0]));
    let builds =
        watched.iter().filter(|one| one.output().iter().any(|line| line.contains("Step 1/"))).count();
    assert_eq!(builds, 1);
    assert_eq!(watched.iter().filter(|one| one.cache().hit).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine: make test-kind"]
async fn a_cancelled_build_leaves_nothing() {
    let Some(engine) = engine().await else { return };
    let seconds = 100_000 + std::process::id();
    let text = format!("FROM {}\nRUN echo begun && sleep {seconds}\n", base());
    let files = folder(&[("Dockerfile", &text)]);
    let request = request(&unique("cancelled"), files.path());
    let watched = Watched::new();
    let building = {
        let (engine, step, children) = (engine.clone(), watched.step.clone(), watched.children.clone());
        tokio::spawn(async move { engine.build(&step, &children, &request, &BTreeMap::new()).await })
    };
    tokio::task::block_in_place(|| {
        watched.wait(|event| matches!(event, EventKind::StepOutput { line, .. } if line == "begun"));
    });
    let ours =
        || docker(&["ps", "-a", "--no-trunc", "--format", "{{.Command}}"]).contains(&seconds.to_string());
    assert!(ours());
    building.abort();
    assert!(building.await.unwrap_err().is_cancelled());
    // The engine notices by itself; it is only asked whether it has.
    while ours() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
