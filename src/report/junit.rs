//! A run as JUnit XML, for CI systems that show tests: each piece of work is a
//! case.

use std::time::Duration;

use chrono::DateTime;
use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::line::{clean, label};
use super::model::{Model, Step};
use super::tested::Tested;
use crate::run::{Event, Outcome, StepId};

/// Writes the run as one suite, with a case for each step that did work itself.
///
/// Something in it fails if and only if the run did. A failure that no step
/// had, for the script itself was wrong or the run died, is that of a case of
/// its own, which stands for the set-up as a whole. A failure that the recipe
/// caught, or tried again after, is told with its case but is none.
///
/// # Errors
/// When the XML cannot be written, which would be a bug.
pub fn junit(events: &[Event]) -> Result<String, SerializeError> {
    let model = Model::of(events);
    let first_failed = first_failed(&model);
    let mut suite = TestSuite::new(&*model.recipe);
    suite.set_time(seconds(model.setup_ms()));
    let begun = events.first().and_then(|event| DateTime::from_timestamp_micros(event.at.as_microsecond()));
    if let Some(begun) = begun {
        suite.set_timestamp(begun);
    }
    suite.add_properties([
        Property::new("run_id", &*model.run_id),
        Property::new("target", &*model.target),
        Property::new("sequential", if model.sequential { "true" } else { "false" }),
    ]);
    let leaves = model.steps.values().filter(|step| step.is_leaf());
    suite.add_test_cases(leaves.map(|step| case(&model, step, first_failed == Some(step.id))));
    suite.add_test_cases(model.tested.as_ref().map(|tested| tests(&model, tested)));
    let told = suite.failures + suite.errors > 0 || model.outcome() == Some(Outcome::Succeeded);
    if !told || suite.tests == 0 {
        suite.add_test_case(whole(&model));
    }
    let mut report = Report::new("recipe");
    report.set_time(seconds(model.setup_ms()));
    report.add_test_suite(suite);
    Ok(report.to_string()? + "\n")
}

/// A step. The first to fail also has the run's own account of what went wrong.
fn case(model: &Model, step: &Step, first_failed: bool) -> TestCase {
    let caught = step.outcome == Some(Outcome::Failed) && was_caught(model, step);
    let mut status = match step.outcome {
        Some(Outcome::Succeeded) => TestCaseStatus::success(),
        Some(Outcome::Failed) if caught => TestCaseStatus::success(),
        Some(Outcome::Failed) => bad(NonSuccessKind::Failure, &step.primitive),
        Some(Outcome::Cancelled | Outcome::Skipped) => TestCaseStatus::skipped(),
        None => bad(NonSuccessKind::Error, &step.primitive),
    };
    let message = match (&step.error, step.outcome) {
        (Some(error), _) => clean(error),
        (None, Some(outcome)) => outcome.to_string(),
        (None, None) => "it had not ended when the record did".to_owned(),
    };
    status.set_message(&message);
    if let Some(error) = model.finished.as_ref().and_then(|run| run.error.as_deref()).filter(|_| first_failed)
    {
        status.set_description(lines(error.lines()));
    }
    let mut case = TestCase::new(label(step), status);
    let branch = if step.branch.is_empty() { &model.recipe } else { &step.branch };
    case.set_classname(&**branch).set_time(seconds(model.took(step)));
    if let Some(position) = &step.position {
        case.extra.insert("file".into(), (&*position.file).into());
        case.extra.insert("line".into(), position.line.to_string().into());
    }
    if step.outcome != Some(Outcome::Succeeded) && !step.tail.is_empty() {
        case.set_system_out(lines(step.tail.iter().map(String::as_str)));
    }
    if caught {
        case.set_system_err(format!("it failed, and the recipe went on: {message}"));
    }
    case
}

/// The command that tested the environment, as one case: its own have files of
/// their own.
fn tests(model: &Model, tested: &Tested) -> TestCase {
    let mut status = match tested.outcome() {
        Some(Outcome::Succeeded) => TestCaseStatus::success(),
        Some(_) => bad(NonSuccessKind::Failure, "test"),
        None => bad(NonSuccessKind::Error, "test"),
    };
    status.set_message(tested.told());
    let mut case = TestCase::new(clean(&format!("test {}", tested.command.join(" "))), status);
    case.set_classname(&*model.recipe).set_time(seconds(tested.took().unwrap_or_default()));
    case
}

/// The set-up as a whole.
fn whole(model: &Model) -> TestCase {
    let error = model.finished.as_ref().and_then(|run| run.error.as_deref());
    let (mut status, message) = match model.outcome() {
        Some(Outcome::Succeeded) => (TestCaseStatus::success(), String::new()),
        Some(Outcome::Failed) => (bad(NonSuccessKind::Failure, "run"), "the recipe failed".to_owned()),
        Some(Outcome::Cancelled | Outcome::Skipped) => {
            let reason = model.cancelled.map(|reason| format!(": {reason}")).unwrap_or_default();
            (bad(NonSuccessKind::Error, "run"), format!("the run was cancelled{reason}"))
        }
        None => (bad(NonSuccessKind::Error, "run"), "the record ends before the run did".to_owned()),
    };
    status.set_message(message);
    if let Some(error) = error {
        status.set_description(lines(error.lines()));
    }
    let mut case = TestCase::new("set-up", status);
    case.set_classname(&*model.recipe).set_time(seconds(model.setup_ms()));
    case
}

fn bad(kind: NonSuccessKind, what: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what);
    status
}

fn first_failed(model: &Model) -> Option<StepId> {
    let leaves = model.steps.values().filter(|step| step.is_leaf());
    let failed = leaves.filter(|step| step.outcome == Some(Outcome::Failed) && !was_caught(model, step));
    failed.min_by(|a, b| model.end_of(a).total_cmp(&model.end_of(b))).map(|step| step.id)
}

/// Whether something around the step succeeded in spite of it.
fn was_caught(model: &Model, step: &Step) -> bool {
    let mut around = std::iter::successors(model.parent(step), |step| model.parent(step));
    around.any(|step| step.outcome == Some(Outcome::Succeeded)) || model.outcome() == Some(Outcome::Succeeded)
}

/// No time at all where a damaged record says nonsense.
fn seconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

/// Lines that any XML reader takes: without colours and control characters.
fn lines<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.map(clean).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use crate::run::EventKind;
    use crate::run::event::{CancelReason, StepKind};

    /// The cases alone, without what is around them.
    fn cases(events: &[Event]) -> String {
        let xml = junit(events).unwrap();
        let cases = xml.split_once("</properties>\n").unwrap().1.split_once("    </testsuite>").unwrap().0;
        cases.lines().map(|line| line.strip_prefix("        ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_failure_has_its_reason_and_its_last_output() {
        let mut events = sample::failure();
        if let Some(Event { kind: EventKind::RunFinished { error, .. }, .. }) = events.last_mut() {
            *error = Some("× deploy_postgres: \u{1b}[1mno\u{1b}[0m <room>\n\thint: make some".to_owned());
        }
        insta::assert_snapshot!(cases(&events), @r#"
        <testcase name="create_cluster e2e" classname="recipes/datastorage.rhai" time="0.009"/>
        <testcase name="deploy_postgres postgres" classname="postgres" time="0.070">
            <failure message="postgres exited with status 1 before it was ready" type="deploy_postgres">× deploy_postgres: no &lt;room&gt;
         hint: make some</failure>
            <system-out>LOG:  starting PostgreSQL 16.4
        FATAL:  could not create lock file</system-out>
        </testcase>
        <testcase name="deploy_redis redis" classname="redis" time="0.120">
            <skipped message="cancelled"/>
        </testcase>
        "#);
    }

    #[test]
    fn tests_are_a_case() {
        let mut run = Sample::new();
        run.push(1.0, EventKind::SetupFinished { outcome: Outcome::Succeeded });
        run.push(1.0, EventKind::TestStarted { command: vec!["cargo".to_owned(), "test".to_owned()] });
        run.push(2501.0, EventKind::TestFinished { code: 101, results: None });
        insta::assert_snapshot!(cases(&run.events), @r#"
        <testcase name="test cargo test" classname="recipes/datastorage.rhai" time="2.500">
            <failure message="exit code 101" type="test"/>
        </testcase>
        "#);
    }

    #[test]
    fn a_failure_that_was_caught_is_none() {
        let mut run = Sample::new();
        run.start(0.0, 1, 0, "", StepKind::Primitive, "retry");
        run.start(1.0, 2, 1, "", StepKind::Primitive, "sh");
        run.end_as(3.0, 2, Outcome::Failed, Some("no"));
        run.start(13.0, 3, 1, "", StepKind::Primitive, "sh");
        run.end(15.0, 3);
        run.end(15.0, 1);
        run.finish(15.0, Outcome::Succeeded);
        insta::assert_snapshot!(cases(&run.events), @r#"
        <testcase name="sh" classname="recipes/datastorage.rhai" time="0.002">
            <system-err>it failed, and the recipe went on: no</system-err>
        </testcase>
        <testcase name="sh" classname="recipes/datastorage.rhai" time="0.002"/>
        "#);
    }

    #[test]
    fn what_no_step_is_to_blame_for_is_the_whole_set_ups() {
        let mut run = Sample::new();
        insta::assert_snapshot!(cases(&run.events), @r#"
        <testcase name="set-up" classname="recipes/datastorage.rhai" time="0.000">
            <error message="the record ends before the run did" type="run"/>
        </testcase>
        "#);
        run.start(0.0, 1, 0, "", StepKind::Primitive, "sh");
        insta::assert_snapshot!(cases(&run.events), @r#"
        <testcase name="sh" classname="recipes/datastorage.rhai" time="0.000">
            <error message="it had not ended when the record did" type="sh"/>
        </testcase>
        "#);
        run.push(4.0, EventKind::CancelBegan { reason: CancelReason::Terminate });
        run.end_as(5.0, 1, Outcome::Cancelled, None);
        run.finish(6.0, Outcome::Cancelled);
        insta::assert_snapshot!(cases(&run.events), @r#"
        <testcase name="sh" classname="recipes/datastorage.rhai" time="0.005">
            <skipped message="cancelled"/>
        </testcase>
        <testcase name="set-up" classname="recipes/datastorage.rhai" time="0.006">
            <error message="the run was cancelled: SIGTERM" type="run"/>
        </testcase>
        "#);
    }
}
