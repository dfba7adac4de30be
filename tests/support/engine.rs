//! The container engine of this machine, for tests and benchmarks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use recipe::run::child::Children;
use recipe::run::event::{CacheUse, EventKind, StepId};
use recipe::run::{Dispatcher, Event, Failure, Reporter, Secrets, Step};
use recipe::targets::ImageRequest;
use recipe::targets::engine::{BuiltImage, Engine, Loaded, Node};

/// Set where the engine must be there: CI skips nothing.
const REQUIRED: &str = "RECIPE_TEST_ENGINE";

/// The engine; none where this machine has none and need not have one.
pub async fn engine() -> Option<Engine> {
    match Engine::connect().await {
        Ok(engine) => Some(engine),
        Err(failure) if std::env::var_os(REQUIRED).is_some() => {
            panic!("{REQUIRED} is set, but {failure}: {:?}", failure.evidence)
        }
        Err(failure) => {
            eprintln!("SKIPPED, as {failure}");
            None
        }
    }
}

/// An image with a shell.
pub fn base() -> String {
    std::env::var("RECIPE_TEST_BASE_IMAGE").unwrap_or_else(|_| "debian:12-slim".to_owned())
}

/// Runs `docker`, and returns what it printed.
#[track_caller]
pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A name that no other test has, not even one of another run.
pub fn unique(name: &str) -> String {
    format!("test-{name}-{}", &uuid::Uuid::now_v7().simple().to_string()[20..])
}

/// A request for an image of a folder.
pub fn request(name: &str, workspace: &Path) -> ImageRequest {
    ImageRequest {
        name: name.to_owned(),
        build: None,
        binary: None,
        base: None,
        dockerfile: None,
        context: None,
        args: BTreeMap::new(),
        target: None,
        tag: None,
        no_cache: false,
        workspace: workspace.to_owned(),
    }
}

/// A folder with files.
pub fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    folder
}

/// A step whose events can be looked at.
pub struct Watched {
    pub step: Step,
    pub children: Children,
    events: Receiver<EventKind>,
    _dispatcher: Dispatcher,
}

struct Forward(Sender<EventKind>);

impl Reporter for Forward {
    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        // A test that no longer looks has seen enough.
        let _ = self.0.send(event.kind.clone());
        Ok(())
    }
}

impl Watched {
    pub fn new() -> Self {
        let (sender, events) = channel();
        let dispatcher =
            Dispatcher::start(Instant::now(), Secrets::default(), vec![Box::new(Forward(sender))]);
        let step = Step::new(dispatcher.events(), Some(StepId(1)), "".into());
        Self { step, children: Children::default(), events, _dispatcher: dispatcher }
    }

    /// Builds, without labels.
    pub async fn build(&self, engine: &Engine, request: &ImageRequest) -> Result<BuiltImage, Failure> {
        engine.build(&self.step, &self.children, request, &BTreeMap::new()).await
    }

    /// Loads images into nodes.
    pub async fn load(
        &self,
        engine: &Engine,
        nodes: &[&Node],
        images: &[&BuiltImage],
    ) -> Result<Loaded, Failure> {
        let nodes: Vec<_> = nodes.iter().copied().cloned().collect();
        let images: Vec<_> = images.iter().map(|image| image.reference.clone()).collect();
        engine.load(&self.step, &nodes, &images).await
    }

    /// What the step noted of earlier work.
    pub fn cache(&self) -> CacheUse {
        self.step.cache_use().expect("the step says whether it used earlier work")
    }

    /// Waits for an event.
    pub fn wait(&self, what: impl Fn(&EventKind) -> bool) {
        while !what(&self.events.recv().expect("the step goes on")) {}
    }

    /// Lines of output so far.
    pub fn output(&self) -> Vec<String> {
        // Events pass through a thread of their own; a mark of ours comes last.
        self.step.waiting("mark");
        let mut lines = Vec::new();
        loop {
            match self.events.recv().unwrap() {
                EventKind::StepOutput { line, .. } => lines.push(line),
                EventKind::StepWaiting { what, .. } if what == "mark" => return lines,
                EventKind::Message { text, .. } => lines.push(text),
                _ => {}
            }
        }
    }
}

/// Images that are removed at the end of a test.
#[derive(Default)]
pub struct Images(Vec<String>);

impl Images {
    /// Takes care of an image's reference.
    pub fn keep(&mut self, built: BuiltImage) -> BuiltImage {
        self.0.push(built.reference.clone());
        built
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.0 {
            let _ = Command::new("docker").args(["image", "rm", "-f", image]).output();
        }
    }
}

/// A program that prints its own name and a word, linked statically or not.
pub fn program(folder: &Path, word: &str, is_static: bool) -> PathBuf {
    let (source, program) = (folder.join("program.c"), folder.join("program"));
    fs_err::write(
        &source,
        format!("#include <stdio.h>\nint main(int c, char **v) {{ printf(\"%s {word}\\n\", v[0]); }}"),
    )
    .unwrap();
    let mut compile = Command::new("cc");
    compile.arg(&source).arg("-o").arg(&program);
    if is_static {
        compile.arg("-static");
    }
    assert!(compile.status().unwrap().success());
    program
}
