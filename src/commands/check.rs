//! `recipe check`.

use serde_json::{Value, json};

use super::{Done, terminal};
use crate::cli::{CheckArgs, CheckFormat};
use crate::primitives::TABLE;
use crate::run::Failure;
use crate::script::{Diagnostic, Program, workspace_of};
use crate::tell::tell;
use crate::{exit, settings};

pub(super) fn check(args: &CheckArgs) -> Done {
    let mut found = Vec::new();
    for recipe in &args.recipes {
        let mut problems = Program::problems(TABLE, recipe);
        if let (true, Ok(program)) = (args.untrusted, Program::compile(TABLE, recipe)) {
            problems.extend(program.untrusted(&settings::target(None, &workspace_of(recipe))?));
        }
        found.push((recipe, problems));
    }
    match args.output {
        CheckFormat::Text => {
            for (recipe, problems) in &found {
                problems.iter().for_each(terminal::show);
                tell!("{}: {}", recipe.display(), count(problems));
            }
        }
        CheckFormat::Json => {
            let all: Vec<_> = found.iter().flat_map(|(_, problems)| problems).map(json).collect();
            terminal::print_json(&all)?;
        }
        CheckFormat::Github => found.iter().flat_map(|(_, problems)| problems).try_for_each(annotate)?,
    }
    let mut problems = found.iter().flat_map(|(_, problems)| problems);
    Ok(if problems.any(|problem| !problem.warning) { exit::USAGE } else { exit::DONE })
}

fn count(problems: &[Diagnostic]) -> String {
    let warnings = problems.iter().filter(|problem| problem.warning).count();
    let parts: Vec<_> = [(problems.len() - warnings, "problem"), (warnings, "warning")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
        .collect();
    if parts.is_empty() { "no problems".to_owned() } else { parts.join(", ") }
}

fn json(problem: &Diagnostic) -> Value {
    let at = problem.position.as_ref();
    json!({
        "file": at.map(|at| &at.file), "line": at.map(|at| at.line), "column": at.map(|at| at.column),
        "severity": severity(problem), "code": problem.code, "message": problem.message, "hint": problem.hint,
    })
}

fn severity(problem: &Diagnostic) -> &'static str {
    if problem.warning { "warning" } else { "error" }
}

/// One workflow command, which stands on a line.
fn annotate(problem: &Diagnostic) -> Result<(), Failure> {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let place = problem
        .position
        .as_ref()
        .map(|at| format!("file={},line={},col={},", property(&at.file), at.line, at.column));
    let hint = problem.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    terminal::print(&format!(
        "::{} {}title={}::{}\n",
        severity(problem),
        place.unwrap_or_default(),
        property(&format!("recipe check ({})", problem.code)),
        data(&format!("{}{hint}", problem.message)),
    ))
}
