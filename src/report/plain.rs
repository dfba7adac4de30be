//! Progress as plain lines, for logs and for terminals that cannot do more.

use std::io::Write;

use super::Verbosity;
use super::narration::Narration;
use super::shared::SharedModel;
use crate::run::{Event, Reporter};

/// Steps that wait are looked for this often at most: there may be many.
const LOOK_MS: f64 = 500.0;

/// Writes what is worth telling, a line each, as it happens.
pub struct Plain<W> {
    narration: Narration,
    looked_ms: f64,
    out: W,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`, with colours; wrap it in an [`anstream::AutoStream`]
    /// to have them only where they are wanted.
    pub fn new(out: W, verbosity: Verbosity, model: &SharedModel) -> Self {
        Self { narration: Narration::new(verbosity, model), looked_ms: 0.0, out }
    }

    fn remind(&mut self, now_ms: f64) -> std::io::Result<()> {
        if now_ms < self.looked_ms + LOOK_MS {
            return Ok(());
        }
        self.looked_ms = now_ms;
        let lines = self.narration.reminders(now_ms);
        self.write(&lines)
    }

    /// In one write, so that the lines of other processes stay outside.
    fn write(&mut self, lines: &[String]) -> std::io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.out.write_all((lines.join("\n") + "\n").as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        let lines = self.narration.hear(event);
        self.write(&lines)?;
        // One noisy step keeps the clock from ticking; others may wait.
        self.remind(event.ms)?;
        Ok(())
    }

    fn tick(&mut self) {
        // A broken pipe shows with the next event.
        let _ = self.remind(self.narration.now_ms());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use crate::run::event::{CancelReason, Level, StepKind};
    use crate::run::{EventKind, Outcome};

    fn told(events: &[Event], verbosity: Verbosity) -> String {
        let mut model = SharedModel::default();
        let mut plain = Plain::new(Vec::new(), verbosity, &model);
        for event in events {
            model.event(event).unwrap();
            plain.event(event).unwrap();
        }
        text(plain)
    }

    /// With the blanks at the end of lines, which no snapshot keeps, removed.
    fn text(plain: Plain<Vec<u8>>) -> String {
        let text = String::from_utf8(plain.out).unwrap();
        let text = anstream::adapter::strip_str(&text).to_string();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_good_run() {
        insta::assert_snapshot!(told(&sample::environment(), Verbosity::Normal), @r"
        recipes/datastorage.rhai on local  run calm-otter
          ✓     12 ms         create_cluster datastorage-e2e
          ✓     32 ms  env/redis     deploy_redis redis
          ↺    308 ms  image         build_image datastorage  cached: same sources as 4 minutes ago
          ✓     12 ms  env/image     load_image datastorage
          ✓    420 ms  env/postgres  deploy_postgres postgres
          ✓     80 ms  env/postgres  migrate migrations
          · environment is up, starting the service
        service
          ✓     24 ms                deploy_service datastorage
          ✓    695 ms                wait_ready datastorage
        ");
    }

    #[test]
    fn a_good_run_in_quiet_says_nothing() {
        assert_eq!(told(&sample::environment(), Verbosity::Quiet), "");
    }

    #[test]
    fn a_failure_shows_the_last_lines() {
        insta::assert_snapshot!(told(&sample::failure(), Verbosity::Normal), @r"
        recipes/datastorage.rhai on local  run calm-otter
          ✓      9 ms  create_cluster e2e
          ✗     70 ms  postgres  deploy_postgres postgres
                                 postgres exited with status 1 before it was ready
                                 │ LOG:  starting PostgreSQL 16.4
                                 │ FATAL:  could not create lock file
          ⊘    120 ms  redis     deploy_redis redis  cancelled
        ");
    }

    #[test]
    fn a_failure_is_told_in_quiet_too() {
        insta::assert_snapshot!(told(&sample::failure(), Verbosity::Quiet), @r"
        ✗     70 ms  postgres  deploy_postgres postgres
                               postgres exited with status 1 before it was ready
                               │ LOG:  starting PostgreSQL 16.4
                               │ FATAL:  could not create lock file
        ");
    }

    #[test]
    fn verbose_shows_output_as_it_comes_and_resources() {
        let mut run = Sample::new();
        run.push(
            2.0,
            EventKind::ResourceCreated {
                kind: "process".into(),
                name: "postgres".into(),
                detail: "pid 17".into(),
            },
        );
        run.events.extend(sample::failure().into_iter().skip(1));
        insta::assert_snapshot!(told(&run.events, Verbosity::Verbose), @r"
        recipes/datastorage.rhai on local  run calm-otter
          + process postgres: pid 17
          ✓      9 ms  create_cluster e2e
                       postgres  deploy_postgres postgres │ LOG:  starting PostgreSQL 16.4
                       postgres  deploy_postgres postgres │ FATAL:  could not create lock file
          ✗     70 ms  postgres  deploy_postgres postgres
                                 postgres exited with status 1 before it was ready
          ⊘    120 ms  redis     deploy_redis redis  cancelled
        ");
    }

    #[test]
    fn messages_cancellation_and_teardown() {
        let mut run = Sample::new();
        run.start(1.0, 1, 0, "", StepKind::Phase, "step Prepare the data");
        run.start(1.0, 2, 1, "seed", StepKind::Primitive, "sql insert into orders\nvalues (1)");
        run.say(2.0, Level::Info, "seed", "first line\nsecond line");
        run.say(3.0, Level::Warning, "", "no tmpfs here: the data directory is on disk");
        run.push(4.0, EventKind::CancelBegan { reason: CancelReason::Interrupt });
        run.push(5.0, EventKind::KillBegan);
        run.end_as(6.0, 2, Outcome::Cancelled, None);
        run.push(7.0, EventKind::TeardownStarted);
        run.push(8.0, EventKind::TeardownFinished { left: 2 });
        run.push(9.0, EventKind::TeardownStarted);
        run.push(129.0, EventKind::TeardownFinished { left: 0 });
        insta::assert_snapshot!(told(&run.events, Verbosity::Normal), @r"
        recipes/datastorage.rhai on local  run calm-otter
        Prepare the data
          ·            seed  first line
                       seed  second line
          ! warning: no tmpfs here: the data directory is on disk
          ! cancelling: Ctrl-C; once more to kill what still runs
          ! killing what still runs
          ⊘      5 ms  seed  sql insert into orders values (1)  cancelled
        teardown
          ! warning: 2 resources left behind; try `recipe down calm-otter`
        teardown
          ✓    120 ms        nothing is left
        ");
    }

    #[test]
    fn a_long_wait_is_told_ever_more_rarely() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "db", StepKind::Primitive, "deploy_postgres postgres");
        run.wait(1000.0, 1, "the image postgres:16 to be pulled");
        let mut model = SharedModel::default();
        let mut plain = Plain::new(Vec::new(), Verbosity::Normal, &model);
        for event in &run.events[1..] {
            model.event(event).unwrap();
            plain.event(event).unwrap();
        }
        for seconds in 0..60 {
            plain.remind(f64::from(seconds) * 1000.0).unwrap();
        }
        insta::assert_snapshot!(text(plain), @r"
        …    5.00 s  db  deploy_postgres postgres  still waiting for the image postgres:16 to be pulled
        …    10.0 s  db  deploy_postgres postgres  still waiting for the image postgres:16 to be pulled
        …    20.0 s  db  deploy_postgres postgres  still waiting for the image postgres:16 to be pulled
        …    40.0 s  db  deploy_postgres postgres  still waiting for the image postgres:16 to be pulled
        ");
    }
}
