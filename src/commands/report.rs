//! `recipe report`: a run that is over, or dead, from what it recorded.

use std::path::{Path, PathBuf};

use super::export::{Story, render};
use super::{Done, terminal};
use crate::cli::{ReportArgs, ReportFormat};
use crate::exit;
use crate::run::{Failure, Kind, RunFolder};

pub(super) fn report(args: &ReportArgs) -> Done {
    let story = Story::read(&record(args.run.as_deref())?)?;
    let text = render(args.format, &story)?;
    let print = if args.format == ReportFormat::Text { terminal::print_coloured } else { terminal::print };
    print(&text)?;
    Ok(exit::DONE)
}

/// The record of the run or in the file of this name; without one, that of the
/// newest run.
fn record(name: Option<&str>) -> Result<PathBuf, Failure> {
    let Some(name) = name else {
        let newest = RunFolder::all()?.into_iter().next();
        return newest.map(|(folder, _)| folder.events()).ok_or_else(|| {
            Failure::new(Kind::NotFound, "there is no run yet")
                .hint("`recipe run RECIPE` makes one; a file that --record wrote can be named, too")
        });
    };
    match RunFolder::open(name) {
        Ok(folder) => Ok(folder.events()),
        Err(_) if Path::new(name).exists() => Ok(PathBuf::from(name)),
        Err(_) => Err(Failure::new(Kind::NotFound, format!("there is no run and no file `{name}`"))
            .hint("`recipe ls --all` lists the runs")),
    }
}
