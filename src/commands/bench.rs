//! `recipe bench`: measures a set-up several ways, in turn.
//!
//! Each run is a process of its own, as in real life, and leaves its record to
//! be summed up. A first one is not counted: it compiles what there is to
//! compile, and fills caches.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::{Done, terminal};
use crate::cli::{BenchArgs, Output};
use crate::primitives::{TABLE, declared_params};
use crate::report::{
    Baseline, Bench, Comparison, Entry, History, Model, Totals, bench_text, comparison_text, duration,
    fresh_runs, params_digest, read,
};
use crate::run::child::{Children, Command};
use crate::run::event::CancelReason;
use crate::run::signal::Signals;
use crate::run::{Failure, Kind, RunFolder, folder};
use crate::script::Program;
use crate::tell::tell;
use crate::{exit, settings};

/// The word that stands for all earlier runs.
const HISTORY: &str = "history";

/// The ways, with what they add to the command line.
const SEQUENTIAL: (&str, &[&str]) = ("sequential", &["--no-cache", "--sequential"]);
const PARALLEL: (&str, &[&str]) = ("parallel", &["--no-cache"]);
const WARM: (&str, &[&str]) = ("warm", &[]);

/// What `--output json` prints.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    bench: &'a Bench,
    comparison: Option<&'a Comparison>,
}

pub(super) fn bench(args: &BenchArgs) -> Done {
    let history = History::at(folder::history()?).entries();
    let base = base(args)?;
    // What is wrong with the recipe is told by the first run.
    let declared = Program::compile(TABLE, &args.recipe).ok().and_then(|program| declared_params(&program));
    let params = settings::params(&args.set, args.params.as_deref(), declared.as_deref())?;
    let measured = super::block_on(Measuring::new(args)?.all())?;
    let Measured { target, modes } = match measured {
        Ok(measured) => measured,
        Err(reason) => return Ok(exit::SIGNAL + reason.signal().unwrap_or_default()),
    };
    let bench = Bench::new(&args.recipe, target, &modes);
    let base = match base {
        Some(Base::File(baseline)) => Some(baseline),
        Some(Base::History) => of_history(&bench, &params_digest(&params), &history),
        Some(Base::Run(run)) => Baseline::of_runs(&run, &run_named(&history, &run)?),
        None => None,
    };
    let comparison = base.map(|base| Comparison::new(&bench, &base));
    match args.output {
        Output::Json => terminal::print_json(&Report { bench: &bench, comparison: comparison.as_ref() })?,
        Output::Text => {
            let compared = comparison.as_ref().map(|comparison| comparison_text(comparison, args.fail_over));
            terminal::print_coloured(&(bench_text(&bench) + compared.as_deref().unwrap_or_default()))?;
        }
    }
    let is_slower =
        args.fail_over.zip(comparison).is_some_and(|(limit, comparison)| comparison.is_slower(limit));
    Ok(if is_slower { exit::FAILED } else { exit::DONE })
}

/// What to compare with.
enum Base {
    File(Baseline),
    Run(String),
    History,
}

/// Looked up before anything is measured.
fn base(args: &BenchArgs) -> Result<Option<Base>, Failure> {
    let name = match (&args.compare, args.fail_over) {
        (Some(name), _) if name != HISTORY => name,
        (None, None) => return Ok(None),
        _ => return Ok(Some(Base::History)),
    };
    if !Path::new(name).is_file() {
        run_named(&History::at(folder::history()?).entries(), name)?;
        return Ok(Some(Base::Run(name.clone())));
    }
    let wrong = || {
        Failure::new(Kind::Usage, format!("{name} is not what `recipe bench` printed"))
            .hint("write it with `recipe bench RECIPE --output json > FILE`")
    };
    let text = fs_err::read(name).map_err(|error| wrong().cause(error))?;
    let bench: Bench = serde_json::from_slice(&text).map_err(|error| wrong().cause(error))?;
    Baseline::of_bench(name, &bench).map(|base| Some(Base::File(base))).ok_or_else(wrong)
}

fn run_named<'e>(history: &'e [Entry], run: &str) -> Result<Vec<&'e Entry>, Failure> {
    let found: Vec<&Entry> = history.iter().filter(|entry| &*entry.run_id == run).collect();
    if found.is_empty() {
        return Err(Failure::new(
            Kind::NotFound,
            format!("there is no file and no run `{run}` in the history"),
        )
        .hint("name a file that `recipe bench --output json` wrote, a run of this machine, or `history`"));
    }
    Ok(found)
}

/// The first bench of a recipe has nothing to be compared with, which is told,
/// and no failure.
fn of_history(bench: &Bench, params: &str, history: &[Entry]) -> Option<Baseline> {
    let recipe = absolute(&bench.recipe);
    let runs = fresh_runs(history, &recipe, &bench.target, params, bench.mode(WARM.0).is_some());
    let name = match runs.len() {
        1 => "1 run of the history".to_owned(),
        count => format!("{count} runs of the history"),
    };
    let base = Baseline::of_runs(&name, &runs);
    if base.is_none() {
        tell!(
            "  the history has no runs of {} with these parameters to compare with yet",
            bench.recipe.display()
        );
    }
    base
}

/// The name of a recipe in the history.
pub(super) fn absolute(recipe: &Path) -> PathBuf {
    recipe.canonicalize().unwrap_or_else(|_| recipe.to_owned())
}

/// All runs of each way.
struct Measured {
    target: Arc<str>,
    modes: Vec<(&'static str, Vec<Totals>)>,
}

struct Measuring<'a> {
    args: &'a BenchArgs,
    exe: PathBuf,
    children: Children,
}

impl<'a> Measuring<'a> {
    fn new(args: &'a BenchArgs) -> Result<Self, Failure> {
        let exe = std::env::current_exe()
            .map_err(|error| Failure::new(Kind::Io, "recipe does not find its own program").cause(error))?;
        Ok(Self { args, exe, children: Children::default() })
    }

    /// Everything, or the signal that ended it.
    async fn all(self) -> Result<Result<Measured, CancelReason>, Failure> {
        let mut signals = Signals::listen()
            .map_err(|error| Failure::new(Kind::Io, "signals cannot be listened for").cause(error))?;
        let measured = {
            tokio::select! {
                measured = self.measure() => measured.map(Ok),
                reason = signals.next() => Ok(Err(reason)),
            }
        };
        // A run that was cut short takes down what it has made.
        self.children.settle().await;
        measured
    }

    async fn measure(&self) -> Result<Measured, Failure> {
        let (target, cold) = self.run(PARALLEL.1).await?;
        let (_, warm) = self.run(WARM.1).await?;
        let mut ways = vec![SEQUENTIAL, PARALLEL];
        ways.extend((warm.cache_hits > cold.cache_hits).then_some(WARM));
        let mut modes: Vec<_> = ways.iter().map(|(name, _)| (*name, Vec::new())).collect();
        for round in 1..=self.args.rounds {
            let mut turns: Vec<usize> = (0..ways.len()).collect();
            // Each way comes as often before another as after it.
            if round % 2 == 0 {
                turns.reverse();
            }
            for turn in turns {
                modes[turn].1.push(self.run(ways[turn].1).await?.1);
            }
            let told = modes.iter().filter_map(|(name, runs): &(&str, Vec<Totals>)| {
                Some(format!("{name} {}", duration(runs.last()?.setup_ms)))
            });
            let told: Vec<String> = told.collect();
            tell!("round {round} of {}: {}", self.args.rounds, told.join(", "));
        }
        Ok(Measured { target, modes })
    }

    /// One run, from nothing to nothing.
    async fn run(&self, flags: &[&str]) -> Result<(Arc<str>, Totals), Failure> {
        let record = std::env::temp_dir().join(format!("recipe-bench-{}.jsonl", std::process::id()));
        let command = Command {
            program: self.exe.clone().into(),
            args: self.arguments(flags, &record),
            ..Command::default()
        };
        let finished = self.children.run(&command, |_, _| {}).await;
        let finished =
            finished.map_err(|error| Failure::new(Kind::Io, "recipe cannot start itself").cause(error))?;
        let events = read(&record);
        let _ = fs_err::remove_file(&record);
        if !finished.status.success() {
            return Err(Failure::new(Kind::Command, "a run failed, so that there is nothing to measure")
                .evidence(finished.tail(40))
                .hint(format!("`recipe run {}` shows all about it", self.args.recipe.display())));
        }
        let events = events.map_err(|error| Failure::new(Kind::Io, "a run left no record").cause(error))?;
        let model = Model::of(&events);
        if let Ok(folder) = RunFolder::open(&model.run_id) {
            // Nobody wants the records of all of them; the history has what they took.
            let _ = fs_err::remove_dir_all(folder.path);
        }
        Ok((model.target.clone(), Totals::of(&model)))
    }

    fn arguments(&self, flags: &[&str], record: &Path) -> Vec<OsString> {
        let args = self.args;
        let mut line: Vec<OsString> = vec!["run".into(), "--rm".into(), "--quiet".into(), "--record".into()];
        line.push(record.into());
        line.extend(flags.iter().map(OsString::from));
        for (name, value) in &args.set {
            line.extend(["--set".into(), format!("{name}={value}").into()]);
        }
        let given = [
            ("--target", args.target.as_ref().map(OsString::from)),
            ("--timeout", args.timeout.as_ref().map(OsString::from)),
        ];
        let given = given.into_iter().chain([("--params", args.params.as_ref().map(OsString::from))]);
        for (flag, value) in given {
            line.extend(value.into_iter().flat_map(|value| [flag.into(), value]));
        }
        line.extend(["--".into(), args.recipe.clone().into()]);
        line
    }
}
