//! `recipe plan`: what a run would do, without doing it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Done, terminal};
use crate::cli::{Output, PlanArgs};
use crate::primitives::{TABLE, declared_params};
use crate::report::{Durations, Model, RUNS, SharedModel, plan, plan_json, read};
use crate::run::child::Children;
use crate::run::event::{EventKind, SCHEMA};
use crate::run::{Dispatcher, Failure, Kind, RunFolder, Secrets};
use crate::script::unknown::End;
use crate::script::{Environment, Host, Limits, Plan, Program, Taken, Trust, workspace_of};
use crate::targets::planned::Planned;
use crate::{exit, settings};

/// Name of the run that there is none of.
const NAME: &str = "plan";

pub(super) fn plan_run(args: &PlanArgs) -> Done {
    let workspace = workspace_of(&args.recipe);
    let target = settings::target(args.target.as_deref(), &workspace)?;
    let problems = Program::problems(TABLE, &args.recipe);
    if problems.iter().any(|problem| !problem.warning) {
        problems.iter().for_each(terminal::show);
        return Ok(exit::USAGE);
    }
    let program = match Program::compile_for_plan(TABLE, &args.recipe) {
        Ok(program) => program,
        Err(diagnostic) => {
            terminal::show(&diagnostic);
            return Ok(exit::USAGE);
        }
    };
    let refused = if args.untrusted { program.untrusted(&target) } else { Vec::new() };
    refused.iter().for_each(terminal::show);
    let declared = declared_params(&program);
    let params = settings::params(&args.set, args.params.as_deref(), declared.as_deref())?;

    let (secrets, model) = (Secrets::default(), SharedModel::default());
    secrets.add_environment();
    let dispatcher = Dispatcher::start(Instant::now(), secrets.clone(), vec![Box::new(model.clone())]);
    let recipe = args.recipe.display().to_string();
    dispatcher.events().emit(EventKind::RunStarted {
        schema: SCHEMA,
        run_id: NAME.into(),
        recipe: recipe.as_str().into(),
        target: target.as_str().into(),
        sequential: false,
    });
    let environment = Arc::new(Environment {
        // Nothing is written there.
        folder: RunFolder { id: NAME.to_owned(), path: std::env::temp_dir().join(NAME) },
        target: Arc::new(Planned(target.clone())),
        workspace,
        params,
        secrets,
        children: Children::default(),
        trust: Trust::Full,
        limits: Limits::default(),
        taken: Taken::default(),
        outputs: std::sync::Mutex::default(),
    });
    let runtime = super::runtime()?;
    let told = Arc::new(Plan::default());
    let host =
        Host::planning(&program, runtime.handle().clone(), dispatcher.events(), environment, told.clone());
    let (done, over) = oneshot::channel();
    host.run(&program, CancellationToken::new(), move |result| drop(done.send(result)))
        .map_err(|error| Failure::new(Kind::Io, "no thread can be started for the script").cause(error))?;
    let result = runtime.block_on(over).unwrap_or(Ok(()));
    let _ = dispatcher.finish();
    if let Err(error) = result
        && !host.ends_plan("", &error)
    {
        terminal::show(&host.diagnose(&error));
        return Ok(exit::FAILED);
    }
    show(args.output, &model.take(), &history(&recipe, &target)?, &told.ends())?;
    Ok(if refused.is_empty() { exit::DONE } else { exit::FAILED })
}

fn show(output: Output, model: &Model, history: &Durations, ends: &[End]) -> Done {
    match output {
        Output::Json => {
            let mut json = plan_json(model, history);
            let places =
                ends.iter().map(|end| serde_json::json!({ "position": end.position, "branch": end.branch }));
            json["unknown_from"] = places.collect();
            terminal::print_json(&json)?;
        }
        Output::Text => {
            let mut text = plan(model, history);
            for End { position, branch } in ends {
                let place = position.as_ref().map_or_else(|| "somewhere".to_owned(), ToString::to_string);
                let who =
                    if branch.is_empty() { "the script".to_owned() } else { format!("branch `{branch}`") };
                text.push_str(&format!(
                    "  {place}: here {who} goes on by a value that only a run has; what follows is not planned\n"
                ));
            }
            terminal::print_coloured(&text)?;
        }
    }
    Ok(exit::DONE)
}

/// The newest runs of this recipe on this target that came to their end.
fn history(recipe: &str, target: &str) -> Result<Durations, Failure> {
    let mut history = Durations::default();
    let same = RunFolder::all()?
        .into_iter()
        .filter(|(_, facts)| facts.recipe == recipe && facts.target == target)
        .filter_map(|(folder, _)| Some(Model::of(&read(&folder.events()).ok()?)))
        .filter(|model| model.setup.is_some_and(|(outcome, _)| outcome == crate::run::Outcome::Succeeded));
    same.take(RUNS).for_each(|model| history.add(&model));
    Ok(history)
}
