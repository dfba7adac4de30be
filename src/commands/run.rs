//! `recipe run`: set up, report, and leave up or take down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::export::Exports;
use super::session::{Ended, Purpose, Session};
use super::{Done, bench, listener, reuse, terminal};
use crate::cli::{CacheSort, Output, RunArgs, UpArgs};
use crate::primitives::{TABLE, declared_params};
use crate::report::{Entry, History, Summary, Totals, params_digest, timeline};
use crate::run::duration::show;
use crate::run::event::{CancelReason, Outcome};
use crate::run::{Failure, folder};
use crate::script::call::quieten_panics;
use crate::script::{Diagnostic, Program, workspace_of};
use crate::targets::caches::Caches;
use crate::tell::tell;
use crate::{exit, settings};

pub(super) fn run(args: &UpArgs) -> Done {
    play(&args.run, if args.rm { Purpose::Nothing } else { Purpose::Use }, args.reuse)
}

/// A run from its command line to its exit code.
pub(super) fn play(args: &RunArgs, purpose: Purpose<'_>, reuse: bool) -> Done {
    let done = set_up(args, purpose, reuse);
    if let Err(failure) = &done {
        // Told on standard error by the caller; programs read the other one.
        print_failed(args, &Diagnostic::from(failure.clone()).render(false, 100))?;
    }
    done
}

fn set_up(args: &RunArgs, purpose: Purpose<'_>, reuse: bool) -> Done {
    let began = Instant::now();
    // Before anything else is opened, so that the descriptor can only be the
    // one that was handed down.
    let listener = listener::open(args)?;
    quieten_panics();
    let workspace = workspace_of(&args.recipe);
    let target = settings::target(args.target.as_deref(), &workspace)?;
    let registry = settings::registry(args.registry.as_deref(), &workspace)?;
    let program = match Program::compile(TABLE, &args.recipe) {
        Ok(program) => Arc::new(program),
        Err(diagnostic) => return refuse(args, &[*diagnostic]),
    };
    let problems = program.refusals();
    if !problems.is_empty() {
        return refuse(args, &problems);
    }
    let declared = declared_params(&program);
    let params = settings::params(&args.set, args.params.as_deref(), declared.as_deref())?;
    let digest = params_digest(&params);
    let caches = Caches {
        postgres: args.may_cache(CacheSort::Postgres),
        images: args.may_cache(CacheSort::Images),
        limit: settings::database_limit(&workspace)?,
        recipe: bench::absolute(&args.recipe),
    };
    let exports = Exports::open(args)?;

    let runtime = super::runtime()?;
    let mut session = Session {
        args,
        purpose,
        began,
        listener,
        workspace,
        target,
        registry,
        params,
        caches,
        program,
        runtime: runtime.handle().clone(),
        reuse: None,
    };
    if reuse {
        session.reuse = Some(reuse::find(&session.setting().identity())?);
    }
    let ended = runtime.block_on(session.run())?;
    // Work that a cancelled branch left behind must not hold the process up.
    runtime.shutdown_background();
    exports.write(&ended.folder);
    remember(args, digest, &ended);
    report(args, &ended)?;
    if matches!(purpose, Purpose::Test(_)) && ended.test_code.is_none() {
        tell!("\n  the tests were not run");
    }
    Ok(code(&ended))
}

/// Adds the run to the history, which is only for comparison.
fn remember(args: &RunArgs, params: String, ended: &Ended) {
    if ended.reused {
        // What a set-up takes is not to be learned from it.
        return;
    }
    let model = &ended.model;
    let entry = Entry {
        at: Timestamp::now(),
        run_id: model.run_id.clone(),
        recipe: bench::absolute(&args.recipe),
        target: model.target.clone(),
        params,
        sequential: args.sequential,
        fresh: args.no_cache.contains(&CacheSort::All),
        outcome: model.setup_outcome(),
        totals: Totals::of(model),
    };
    let history = folder::history().map(History::at);
    if let Some(Err(error)) = history.ok().map(|history| history.append(&entry)) {
        tracing::warn!(%error, "the run is not in the history");
    }
}

/// A recipe that is wrong before it runs.
fn refuse(args: &RunArgs, problems: &[Diagnostic]) -> Done {
    problems.iter().for_each(terminal::show);
    let error: String = problems.iter().map(|problem| problem.render(false, 100)).collect();
    print_failed(args, &error)?;
    Ok(exit::USAGE)
}

/// What programs are told of a run that did not begin.
fn print_failed(args: &RunArgs, error: &str) -> Result<(), Failure> {
    if args.output != Output::Json {
        return Ok(());
    }
    terminal::print_json(&serde_json::json!({
        "run_id": null, "recipe": args.recipe, "outcome": Outcome::Failed, "steps": [], "outputs": {}, "error": error,
    }))
}

fn report(args: &RunArgs, ended: &Ended) -> Result<(), Failure> {
    if !args.quiet && !ended.model.steps.is_empty() {
        tell!("\n{}", timeline(&ended.model, terminal::columns()).trim_end());
    }
    if let Some(diagnostic) = &ended.error {
        tell!();
        terminal::show(diagnostic);
    }
    for left in &ended.left {
        terminal::show(left);
    }
    if !args.quiet {
        describe(ended, args.ttl);
    }
    if args.output == Output::Json {
        let error = ended.error.as_ref().map(|error| ended.secrets.masked(&error.render(false, 100)));
        terminal::print_json(&Summary::new(&ended.model, ended.outputs.clone(), error))?;
    }
    Ok(())
}

/// What is up now, how to reach it and how to take it down.
fn describe(ended: &Ended, ttl: Option<Duration>) {
    let id = &ended.folder.id;
    tell!("\n  all about it: {}", ended.folder.page().display());
    if ended.reason.is_some() || ended.has_failed() {
        tell!("  records and logs: {}", ended.folder.path.display());
        if let Some(diagnostics) = &ended.diagnostics {
            tell!("  diagnostics:      {}", diagnostics.display());
        }
    }
    if !ended.up {
        return;
    }
    let word = if ended.kept { "was kept" } else { "is up" };
    tell!("\n  {id} {word}");
    let width = ended.outputs.keys().map(String::len).max().unwrap_or_default();
    for (name, value) in &ended.outputs {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        tell!("    {name:width$}  {}", ended.secrets.masked(&text));
    }
    if !ended.outputs.is_empty() {
        tell!("  as environment variables:  eval \"$(recipe env {id})\"");
    }
    if ended.has_failed() {
        tell!("  what its servers wrote:    recipe logs {id}");
    }
    if ended.reused && ended.kept {
        tell!("  it is as far as this run came; the next one with --reuse goes on from there");
    }
    tell!("  take it down:              recipe down {id}");
    if let Some(ttl) = ttl {
        tell!("  by itself it goes down in  {}", show(ttl));
    }
}

fn code(ended: &Ended) -> u8 {
    if let Some(signal) = ended.reason.and_then(CancelReason::signal) {
        return exit::SIGNAL + signal;
    }
    match (&ended.error, ended.test_code) {
        // A shell knows no other codes.
        (_, Some(code @ 1..)) => u8::try_from(code).unwrap_or(exit::FAILED),
        (Some(error), _) => exit::of(error.kind),
        (None, _) if ended.left.is_empty() => exit::DONE,
        (None, _) => exit::FAILED,
    }
}
