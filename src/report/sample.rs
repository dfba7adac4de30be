//! Hand-made streams for tests.

use jiff::Timestamp;

use crate::run::event::{CacheUse, Level, SCHEMA, StepKind, Stream};
use crate::run::{Event, EventKind, Outcome, StepId};

/// Writes a stream: each method appends an event at `ms`.
pub(super) struct Sample {
    pub(super) events: Vec<Event>,
}

impl Sample {
    pub(super) fn new() -> Self {
        let mut sample = Self { events: Vec::new() };
        sample.push(
            0.0,
            EventKind::RunStarted {
                schema: SCHEMA,
                run_id: "calm-otter".into(),
                recipe: "recipes/datastorage.rhai".into(),
                target: "local".into(),
                sequential: false,
            },
        );
        sample
    }

    pub(super) fn push(&mut self, ms: f64, kind: EventKind) {
        let at = Timestamp::UNIX_EPOCH;
        self.events.push(Event { seq: self.events.len() as u64, at, ms, kind });
    }

    /// `name` is `primitive` or `primitive title`; a parent of 0 means none.
    pub(super) fn start(
        &mut self,
        ms: f64,
        step: u64,
        parent: u64,
        branch: &str,
        kind: StepKind,
        name: &str,
    ) {
        self.start_join(ms, step, parent, branch, kind, name, None);
    }

    pub(super) fn join(&mut self, ms: f64, step: u64, parent: u64, branch: &str, task: u64) {
        self.start_join(ms, step, parent, branch, StepKind::Join, "join image", Some(StepId(task)));
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the event, in its order")]
    fn start_join(
        &mut self,
        ms: f64,
        step: u64,
        parent: u64,
        branch: &str,
        kind: StepKind,
        name: &str,
        waits_for: Option<StepId>,
    ) {
        let (primitive, title) = name.split_once(' ').unwrap_or((name, ""));
        self.push(
            ms,
            EventKind::StepStarted {
                step: StepId(step),
                parent: (parent > 0).then_some(StepId(parent)),
                branch: branch.into(),
                kind,
                primitive: primitive.into(),
                title: title.into(),
                position: None,
                waits_for,
            },
        );
    }

    pub(super) fn end(&mut self, ms: f64, step: u64) {
        self.end_as(ms, step, Outcome::Succeeded, None);
    }

    pub(super) fn end_as(&mut self, ms: f64, step: u64, outcome: Outcome, error: Option<&str>) {
        let error = error.map(str::to_owned);
        self.push(ms, EventKind::StepFinished { step: StepId(step), outcome, cache: None, error });
    }

    pub(super) fn end_cached(&mut self, ms: f64, step: u64, why: &str) {
        let cache = Some(CacheUse { hit: true, why: why.to_owned() });
        let outcome = Outcome::Succeeded;
        self.push(ms, EventKind::StepFinished { step: StepId(step), outcome, cache, error: None });
    }

    pub(super) fn wait(&mut self, ms: f64, step: u64, what: &str) {
        self.push(ms, EventKind::StepWaiting { step: StepId(step), what: what.to_owned() });
    }

    pub(super) fn write(&mut self, ms: f64, step: u64, line: &str) {
        let line = line.to_owned();
        self.push(ms, EventKind::StepOutput { step: StepId(step), stream: Stream::Stderr, line });
    }

    pub(super) fn say(&mut self, ms: f64, level: Level, branch: &str, text: &str) {
        self.push(ms, EventKind::Message { level, branch: branch.into(), text: text.to_owned() });
    }

    pub(super) fn finish(&mut self, ms: f64, outcome: Outcome) {
        self.push(ms, EventKind::SetupFinished { outcome });
        let (wall_ms, teardown_ms, up) = (ms, 0.0, outcome == Outcome::Succeeded);
        self.push(ms, EventKind::RunFinished { outcome, wall_ms, teardown_ms, up, error: None });
    }
}

/// The recipe of the README, as it went on a good day.
pub(super) fn environment() -> Vec<Event> {
    use StepKind::{Branch, Group, Phase, Primitive, Task};
    let mut run = Sample::new();
    run.start(1.0, 1, 0, "image", Task, "start image");
    run.start(1.5, 2, 1, "image", Primitive, "build_image datastorage");
    run.start(2.0, 3, 0, "", Primitive, "create_cluster datastorage-e2e");
    run.end(14.0, 3);
    run.start(14.5, 4, 0, "", Group, "parallel");
    run.start(15.0, 5, 4, "env/image", Branch, "parallel image");
    run.join(15.5, 6, 5, "env/image", 1);
    run.start(15.2, 7, 4, "env/postgres", Branch, "parallel postgres");
    run.start(15.5, 8, 7, "env/postgres", Primitive, "deploy_postgres postgres");
    run.start(15.3, 9, 4, "env/redis", Branch, "parallel redis");
    run.start(15.6, 10, 9, "env/redis", Primitive, "deploy_redis redis");
    run.wait(20.0, 8, "PostgreSQL to accept connections on 127.0.0.1:5433");
    run.end(48.0, 10);
    run.end(48.1, 9);
    run.write(90.0, 2, "   Compiling datastorage v0.1.0");
    run.end_cached(310.0, 2, "same sources as 4 minutes ago");
    run.end(310.2, 1);
    run.end(310.4, 6);
    run.start(310.5, 11, 5, "env/image", Primitive, "load_image datastorage");
    run.end(322.0, 11);
    run.end(322.1, 5);
    run.end(435.0, 8);
    run.start(435.2, 12, 7, "env/postgres", Primitive, "migrate migrations");
    run.end(515.0, 12);
    run.end(515.1, 7);
    run.end(515.3, 4);
    run.say(515.5, Level::Info, "", "environment is up, starting the service");
    run.start(516.0, 13, 0, "", Phase, "step service");
    run.start(516.2, 14, 13, "", Primitive, "deploy_service datastorage");
    run.end(540.0, 14);
    run.start(540.2, 15, 13, "", Primitive, "wait_ready datastorage");
    run.end(1235.0, 15);
    run.end(1235.2, 13);
    run.finish(1240.0, Outcome::Succeeded);
    run.events
}

/// PostgreSQL fails, so that its sibling is cancelled.
pub(super) fn failure() -> Vec<Event> {
    use StepKind::{Branch, Group, Primitive};
    let mut run = Sample::new();
    run.start(1.0, 1, 0, "", Primitive, "create_cluster e2e");
    run.end(10.0, 1);
    run.start(10.0, 2, 0, "", Group, "parallel");
    run.start(10.0, 3, 2, "postgres", Branch, "parallel postgres");
    run.start(10.0, 4, 3, "postgres", Primitive, "deploy_postgres postgres");
    run.start(10.0, 5, 2, "redis", Branch, "parallel redis");
    run.start(10.0, 6, 5, "redis", Primitive, "deploy_redis redis");
    run.write(60.0, 4, "LOG:  starting PostgreSQL 16.4");
    run.write(61.0, 4, "\u{1b}[31mFATAL:\u{1b}[0m  could not create lock file");
    run.end_as(80.0, 4, Outcome::Failed, Some("postgres exited with status 1 before it was ready"));
    run.end_as(80.0, 3, Outcome::Failed, Some("postgres exited with status 1 before it was ready"));
    run.end_as(130.0, 6, Outcome::Cancelled, None);
    run.end_as(130.0, 5, Outcome::Cancelled, None);
    run.end_as(131.0, 2, Outcome::Failed, None);
    run.finish(132.0, Outcome::Failed);
    run.events
}
