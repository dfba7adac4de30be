//! `recipe logs`.

use super::{Done, environment, terminal};
use crate::cli::LogsArgs;
use crate::exit;
use crate::run::child::last_lines;
use crate::run::{Failure, Kind, RunFolder};

pub(super) fn logs(args: &LogsArgs) -> Done {
    let (folder, name) = chosen(args)?;
    let mut names = logged(&folder);
    if let Some(name) = name {
        if !names.contains(&name) {
            let known = names.join(", ");
            return Err(Failure::new(Kind::NotFound, format!("run `{}` has no log of `{name}`", folder.id))
                .hint(if known.is_empty() {
                    "it has no logs".to_owned()
                } else {
                    format!("it has logs of: {known}")
                }));
        }
        names = vec![name];
    }
    let secrets = folder.secrets();
    let mut text = String::new();
    for name in &names {
        let log = fs_err::read(folder.log(name)).map_err(|error| {
            Failure::new(Kind::Io, format!("the log of `{name}` cannot be read")).cause(error)
        })?;
        let prefix = if names.len() > 1 { format!("{name} | ") } else { String::new() };
        let mut lines = last_lines(&String::from_utf8_lossy(&log), args.lines);
        secrets.mask_lines(&mut lines);
        for line in lines {
            text.push_str(&format!("{prefix}{line}\n"));
        }
    }
    terminal::print(&text)?;
    Ok(exit::DONE)
}

/// A single name may be a run's or a process' of the newest run that is up.
fn chosen(args: &LogsArgs) -> Result<(RunFolder, Option<String>), Failure> {
    match (&args.run, &args.name) {
        (Some(run), Some(name)) => Ok((RunFolder::open(run)?, Some(name.clone()))),
        (Some(word), None) => match RunFolder::open(word) {
            Ok(folder) => Ok((folder, None)),
            Err(no_run) => match environment::select(None) {
                Ok((folder, _)) if logged(&folder).contains(word) => Ok((folder, Some(word.clone()))),
                _ => Err(no_run),
            },
        },
        (None, _) => Ok((environment::select(None)?.0, None)),
    }
}

/// Names of the processes that have a log, sorted.
pub(super) fn logged(folder: &RunFolder) -> Vec<String> {
    let files = std::fs::read_dir(folder.path.join("logs")).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".log")?.to_owned())).collect();
    names.sort();
    names
}
