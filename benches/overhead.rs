//! Measures what recording and showing a run costs: 2,000 steps of 1 ms in 50
//! branches, with all reporters of a run and without any.
//!
//! The two take turns, in one process. Goals: at most 5 % of the time by the
//! clock, and 20 µs of processor time a step. `cargo bench --bench overhead`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use recipe::report::{Live, Record, SharedModel, Verbosity};
use recipe::run::event::{SCHEMA, StepKind, Stream};
use recipe::run::{Dispatcher, EventKind, Events, Outcome, Reporter, Secrets, StepId};

const BRANCHES: u64 = 50;
const STEPS: u64 = 40;
const STEP: Duration = Duration::from_millis(1);
const TIMES: usize = 15;

/// Milliseconds by the clock, and of processor time.
type Cost = (f64, f64);

fn main() {
    let files = tempfile::tempdir().unwrap();
    let mut bare = Vec::new();
    let mut told = Vec::new();
    for _ in 0..TIMES {
        bare.push(measured(|| work(None)));
        // A run looks at it once more at its end.
        let model = SharedModel::default();
        told.push(measured(|| {
            let record = Record::create(&files.path().join("events.jsonl")).unwrap();
            let live = Live::on(std::io::sink(), Verbosity::Normal, &model);
            let reporters: Vec<Box<dyn Reporter>> =
                vec![Box::new(record), Box::new(model.clone()), Box::new(live)];
            let dispatcher = Dispatcher::start(Instant::now(), Secrets::default(), reporters);
            work(Some(&dispatcher.events()));
            let _ = dispatcher.finish();
        }));
    }
    let (wall, processor) = (ratio(&told, &bare), median(told.iter().zip(&bare).map(|(a, b)| a.1 - b.1)));
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let a_step = processor * 1000.0 / (BRANCHES * STEPS) as f64;
    println!("{} steps of 1 ms in {BRANCHES} branches, medians of {TIMES}\n", BRANCHES * STEPS);
    println!("  bare            {:7.1} ms", median(bare.iter().map(|cost| cost.0)));
    println!("  told            {:7.1} ms", median(told.iter().map(|cost| cost.0)));
    println!("  by the clock    {:7.1} %    goal 5 % or less: {}", 100.0 * wall, verdict(wall <= 0.05));
    println!("  processor time  {a_step:7.1} µs   a step; goal 20 µs or less: {}", verdict(a_step <= 20.0));
}

/// What each branch does, telling of it or not.
fn work(events: Option<&Events>) {
    let tell = |kind: &dyn Fn() -> EventKind| {
        if let Some(events) = events {
            events.emit(kind());
        }
    };
    tell(&|| EventKind::RunStarted {
        schema: SCHEMA,
        run_id: "bench-aaaaaa".into(),
        recipe: "bench.rhai".into(),
        target: "local".into(),
        sequential: false,
    });
    std::thread::scope(|scope| {
        for branch in 0..BRANCHES {
            let tell = &tell;
            scope.spawn(move || {
                let name: Arc<str> = format!("branch-{branch}").into();
                for n in 0..STEPS {
                    let step = StepId(1 + branch * STEPS + n);
                    tell(&|| EventKind::StepStarted {
                        step,
                        parent: None,
                        branch: name.clone(),
                        kind: StepKind::Primitive,
                        primitive: "sh".into(),
                        title: format!("step {n}"),
                        position: None,
                        waits_for: None,
                    });
                    tell(&|| EventKind::StepOutput {
                        step,
                        stream: Stream::Stdout,
                        line: "a line of output".to_owned(),
                    });
                    std::thread::sleep(STEP);
                    tell(&|| EventKind::StepFinished {
                        step,
                        outcome: Outcome::Succeeded,
                        cache: None,
                        error: None,
                    });
                }
            });
        }
    });
    tell(&|| EventKind::SetupFinished { outcome: Outcome::Succeeded });
}

fn measured(work: impl FnOnce()) -> Cost {
    let (began, before) = (Instant::now(), processor_ms());
    work();
    (began.elapsed().as_secs_f64() * 1000.0, processor_ms() - before)
}

/// Of this process so far.
fn processor_ms() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let ms = |time: nix::sys::time::TimeVal| {
        #[expect(clippy::cast_precision_loss, reason = "seconds, not years")]
        let ms = time.tv_sec() as f64 * 1000.0 + time.tv_usec() as f64 / 1000.0;
        ms
    };
    ms(usage.user_time()) + ms(usage.system_time())
}

/// The median of how much longer it took, as a share.
fn ratio(told: &[Cost], bare: &[Cost]) -> f64 {
    median(told.iter().zip(bare).map(|(told, bare)| told.0 / bare.0 - 1.0))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
