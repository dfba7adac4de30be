//! `recipe status`.

use serde_json::json;

use super::{Done, environment, terminal};
use crate::cli::{Output, RunName};
use crate::exit;
use crate::run::duration::show;
use crate::supervise::{Status, Supervisor};

pub(super) fn status(args: &RunName) -> Done {
    let (folder, facts) = environment::select(args.run.as_deref())?;
    let standing = environment::standing(&facts);
    let status = super::block_on(async {
        let supervisor = Supervisor::connect(&facts.scratch).await.ok();
        Ok(match supervisor {
            Some(supervisor) => supervisor.status().await.ok(),
            None => None,
        })
    })?;
    if args.output == Output::Json {
        terminal::print_json(&json!({
            "run_id": folder.id, "state": standing.name(), "recipe": facts.recipe, "target": facts.target,
            "started": facts.started, "expires": facts.expires, "folder": folder.path, "processes": status.as_ref().map(|s| &s.processes),
            "ports": status.as_ref().map(|s| &s.ports),
        }))?;
        return Ok(exit::DONE);
    }
    let mut text = format!(
        "run      {}\nstate    {}\nrecipe   {}\ntarget   {}\nstarted  {:.0}\nfolder   {}\n",
        folder.id,
        standing.name(),
        facts.recipe,
        facts.target,
        facts.started,
        folder.path.display()
    );
    if let Some(left) = environment::ends_in(&facts) {
        text.push_str(&format!("ends in  {left}\n"));
    }
    if let Some(status) = status {
        text.push_str(&processes(&status));
    }
    terminal::print(&text)?;
    Ok(exit::DONE)
}

fn processes(status: &Status) -> String {
    let width = status.processes.iter().map(|process| process.name.len()).max().unwrap_or_default().max(7);
    let mut text = format!("\n{:width$}  {:>7}  STATE\n", "PROCESS", "PID");
    for process in &status.processes {
        let state = if let Some(ended) = &process.ended {
            ended.exit.to_string()
        } else {
            let age = jiff::Timestamp::now().duration_since(process.since).unsigned_abs();
            format!("running for {}", show(age))
        };
        text.push_str(&format!("{:width$}  {:>7}  {state}\n", process.name, process.process.pid));
    }
    text
}
