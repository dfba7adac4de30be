//! `recipe down`.

use super::Done;
use super::environment::{self, Standing};
use crate::cli::DownArgs;
use crate::exit;
use crate::run::folder::Facts;
use crate::run::{Failure, Kind, RunFolder};
use crate::tell::tell;

pub(super) fn down(args: &DownArgs) -> Done {
    let runs = chosen(args)?;
    if runs.is_empty() {
        tell!("nothing is up");
        return Ok(exit::DONE);
    }
    super::block_on(async {
        for (folder, facts) in &runs {
            if environment::standing(facts).is_up() {
                environment::take_down(folder, facts).await?;
                tell!("{} is down", folder.id);
            } else {
                tell!("{} was down already", folder.id);
            }
        }
        Ok(exit::DONE)
    })
}

fn chosen(args: &DownArgs) -> Result<Vec<(RunFolder, Facts)>, Failure> {
    if !args.runs.is_empty() {
        return args.runs.iter().map(|run| environment::select(Some(run))).collect();
    }
    let mut up = RunFolder::all()?;
    up.retain(|(_, facts)| environment::standing(facts).is_up());
    // Nobody waits for those that died: what they have left goes in any case.
    let alive = up.iter().filter(|(_, facts)| environment::standing(facts) != Standing::Died);
    let names: Vec<_> = alive.map(|(folder, _)| folder.id.as_str()).collect();
    if names.len() > 1 && !args.all {
        return Err(Failure::new(Kind::Usage, format!("several runs are up: {}", names.join(", ")))
            .hint("name those to take down, or take all down with --all"));
    }
    Ok(up)
}
