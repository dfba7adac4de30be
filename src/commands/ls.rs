//! `recipe ls`.

use serde_json::json;

use super::{Done, environment, terminal};
use crate::cli::{ListArgs, Output};
use crate::exit;
use crate::run::RunFolder;
use crate::run::duration::show;
use crate::tell::tell;

pub(super) fn ls(args: &ListArgs) -> Done {
    let mut runs = RunFolder::all()?;
    runs.retain(|(_, facts)| args.all || environment::standing(facts).is_up());
    if args.output == Output::Json {
        let list: Vec<_> = runs
            .iter()
            .map(|(folder, facts)| {
                json!({
                    "run_id": folder.id, "state": environment::standing(facts).name(), "recipe": facts.recipe,
                    "target": facts.target, "started": facts.started,
                    "expires": facts.expires, "folder": folder.path,
                })
            })
            .collect();
        terminal::print_json(&list)?;
        return Ok(exit::DONE);
    }
    if runs.is_empty() {
        let more = if args.all { "" } else { "; --all lists runs that are over" };
        tell!("no environment is up{more}");
        return Ok(exit::DONE);
    }
    let width = runs.iter().map(|(folder, _)| folder.id.len()).max().unwrap_or_default().max(3);
    let has_end = runs.iter().any(|(_, facts)| facts.expires.is_some());
    let ends = |text: &str| if has_end { format!("{text:10}  ") } else { String::new() };
    let mut text = format!(
        "{:width$}  {:8}  {:10}  {}{:8}  RECIPE\n",
        "RUN",
        "STATE",
        "SINCE",
        ends("ENDS IN"),
        "TARGET"
    );
    for (folder, facts) in &runs {
        let age = jiff::Timestamp::now().duration_since(facts.started).unsigned_abs();
        let (state, since) = (environment::standing(facts).name(), show(age));
        text.push_str(&format!(
            "{:width$}  {state:8}  {since:10}  {}{:8}  {}\n",
            folder.id,
            ends(&environment::ends_in(facts).unwrap_or_default()),
            facts.target,
            facts.recipe
        ));
    }
    terminal::print(&text)?;
    Ok(exit::DONE)
}
