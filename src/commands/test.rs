//! `recipe test`: sets up, tests with a command, takes down.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::session::Purpose;
use super::stage::Stage;
use super::stop::Stop;
use super::{Done, env, run};
use crate::cli::TestArgs;
use crate::report::test_results;
use crate::run::event::{EventKind, Level, TestResults};
use crate::run::foreground::{self, Foreground};
use crate::run::{Events, Failure, Kind};
use crate::tell::tell;

/// Names the run for the command, so that it can ask `recipe logs` and others.
const RUN_VARIABLE: &str = "RECIPE_RUN";

/// What a shell says of a command that it cannot execute.
const NOT_EXECUTED: u8 = 127;

/// File systems take their time from a clock that ticks this rarely.
const CLOCK: Duration = Duration::from_millis(20);

pub(super) fn test(args: &TestArgs) -> Done {
    run::play(&args.run, Purpose::Test(args), args.reuse)
}

/// Becomes the test command of a run, in a process of its own.
pub(super) fn exec(command: &[OsString]) -> ExitCode {
    let error = foreground::exec(command);
    tell!("error: `{}` cannot be executed: {error}", command[0].display());
    ExitCode::from(NOT_EXECUTED)
}

/// Runs the command against the environment on `stage`; `code` becomes its exit
/// code, 128 + n when signal n ended it.
pub(super) async fn run(
    args: &TestArgs,
    stage: &Stage,
    stop: &mut Stop,
    events: &Events,
    code: &mut Option<i32>,
) -> Result<(), Failure> {
    let outputs = stage.host.environment.outputs_json();
    if let Some(path) = &args.env_file {
        write_private(path, &env::file(&outputs))?;
    }
    let words: Vec<String> = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let since = SystemTime::now() - CLOCK;
    events.emit(EventKind::TestStarted { command: words.clone() });
    // From now on the terminal is the command's.
    events.settle();
    let run = (RUN_VARIABLE.to_owned(), stage.folder.id.clone());
    let variables = env::variables(&outputs).chain([run]);
    let started = Foreground::start(stop.children(), &args.command, variables).await;
    let foreground = started.map_err(|error| {
        *code = Some(NOT_EXECUTED.into());
        events.emit(EventKind::TestFinished { code: NOT_EXECUTED.into(), results: None });
        Failure::new(Kind::NotFound, format!("the test command `{}` cannot be executed", words[0]))
            .hint("name a program in PATH, or its path, after `--`")
            .cause(error)
    })?;
    let relay = foreground.relay();
    let ended = stop.passing_on(foreground.wait(), relay).await;
    let ended = ended.map_err(|error| {
        Failure::new(Kind::Io, "it cannot be told how the test command ended").cause(error)
    })?;
    let warn = |text: String| {
        events.emit(EventKind::Message { level: Level::Warning, branch: "".into(), text });
    };
    let results = results(args, since).map_err(warn).unwrap_or_default();
    if ended.left_processes {
        warn("the test command has left processes running, which were stopped".to_owned());
    }
    events.emit(EventKind::TestFinished { code: ended.code, results });
    *code = Some(ended.code);
    Ok(())
}

/// Tests that leave no results are told of, but their exit code is what counts.
fn results(args: &TestArgs, since: SystemTime) -> Result<Option<TestResults>, String> {
    if args.results.is_empty() {
        return Ok(None);
    }
    test_results(&args.results, since).map(Some).map_err(|error| {
        let mut causes = vec![error.to_string()];
        let mut next = std::error::Error::source(&error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        format!("there are no results of the tests: {}", causes.join(": "))
    })
}

/// Passwords are among the outputs.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    fs_err::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        Failure::new(Kind::Io, "the outputs cannot be written to the file of --env-file")
            .hint("name a file in a folder that exists and can be written")
            .cause(error)
    })
}
