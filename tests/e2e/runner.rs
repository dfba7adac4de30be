//! Runs cases, says how each went, and writes JUnit XML.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::service::Service;

/// Longer than anything takes here: a case that takes so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A case: fails by panicking.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub run: fn(Service) -> LocalBoxFuture<'static, ()>,
}

/// A table of cases from async functions.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        pub const CASES: &[crate::runner::Case] = &[$(crate::runner::Case {
            name: concat!(module_path!(), "::", stringify!($case)),
            run: |service| Box::pin($case(service)),
        }),+];
    };
}
pub(crate) use cases;

struct Ended {
    name: &'static str,
    took: Duration,
    failure: Option<String>,
}

/// Runs the chosen cases. The exit code is a failure if one failed, and if none
/// was chosen.
pub fn run(service: &Service, together: &[Case], alone: &[Case]) -> ExitCode {
    let (junit, words) = arguments();
    let is_chosen = |case: &&Case| words.is_empty() || words.iter().any(|word| case.name.contains(word));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let began = Instant::now();
    let ended = runtime.block_on(async {
        let together = together.iter().filter(is_chosen).map(|case| play(*case, service.clone()));
        let mut ended = join_all(together).await;
        for case in alone.iter().filter(is_chosen) {
            ended.push(play(*case, service.clone()).await);
        }
        ended
    });
    let failed = ended.iter().filter(|case| case.failure.is_some()).count();
    println!("\n{} passed, {failed} failed in {:.1?}", ended.len() - failed, began.elapsed());
    if let Some(path) = junit {
        write_junit(&path, &ended);
    }
    if failed > 0 || ended.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// `--junit FILE`, and words to choose by.
fn arguments() -> (Option<PathBuf>, Vec<String>) {
    let mut args = std::env::args().skip(1);
    let (mut junit, mut words) = (None, Vec::new());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--junit" => junit = Some(args.next().expect("--junit FILE").into()),
            _ => words.push(arg),
        }
    }
    (junit, words)
}

async fn play(case: Case, service: Service) -> Ended {
    let began = Instant::now();
    let played = AssertUnwindSafe(tokio::time::timeout(PATIENCE, (case.run)(service))).catch_unwind();
    let failure = match played.await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(format!("it was not done within {PATIENCE:?}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Some(text.or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
        }
    };
    let took = began.elapsed();
    match &failure {
        None => println!("ok      {:>8.1?}  {}", took, case.name),
        Some(why) => println!("FAILED  {:>8.1?}  {}\n{why}", took, case.name),
    }
    Ended { name: case.name, took, failure }
}

fn write_junit(path: &Path, ended: &[Ended]) {
    let mut suite = TestSuite::new("datastorage");
    for Ended { name, took, failure } in ended {
        let status = match failure {
            None => TestCaseStatus::success(),
            Some(why) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(why.lines().next().unwrap_or_default()).set_description(why.as_str());
                status
            }
        };
        let (class, case) = name.rsplit_once("::").unwrap();
        let mut case = TestCase::new(case, status);
        case.set_classname(class).set_time(*took);
        suite.add_test_case(case);
    }
    let mut report = Report::new("e2e");
    report.add_test_suite(suite);
    std::fs::write(path, report.to_string().unwrap()).unwrap();
}
