//! What a record can be made into, and the files that `recipe run` leaves.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use fs_err::File;

use super::terminal;
use crate::cli::{ReportFormat, RunArgs};
use crate::report::{Model, ReadError, Summary, html, junit, read, svg, timeline, trace};
use crate::run::folder::SOURCES;
use crate::run::{Event, Failure, Kind, RunFolder};
use crate::tell::tell;

/// What is known of a run that is over, or dead.
pub(super) struct Story {
    events: Vec<Event>,
    /// Texts by the names that positions have; empty for a record outside of a
    /// run's folder.
    sources: BTreeMap<Arc<str>, Arc<str>>,
}

/// The run in another form; text is coloured.
pub(super) fn render(format: ReportFormat, story: &Story) -> Result<String, Failure> {
    let Story { events, sources } = story;
    match format {
        ReportFormat::Html => Ok(html(events, sources)),
        ReportFormat::Svg => Ok(svg(&Model::of(events))),
        ReportFormat::Text => Ok(text(&Model::of(events))),
        ReportFormat::Json => json(&Model::of(events)),
        ReportFormat::Trace => trace(events).map_err(|error| formless("a trace").cause(error)),
        ReportFormat::Junit => junit(events).map_err(|error| formless("JUnit XML").cause(error)),
    }
}

fn text(model: &Model) -> String {
    let mut text = timeline(model, terminal::columns());
    match &model.finished {
        Some(finished) => {
            if let Some(error) = &finished.error {
                text.push_str(&format!("\n{}\n", error.trim_end()));
            }
        }
        None => text.push_str("\n  it ended without a word: it was killed, or still goes on\n"),
    }
    text
}

fn json(model: &Model) -> Result<String, Failure> {
    let error = model.finished.as_ref().and_then(|finished| finished.error.clone());
    let summary = Summary::new(model, model.outputs.clone(), error);
    let text = serde_json::to_string_pretty(&summary).map_err(|error| formless("JSON").cause(error))?;
    Ok(text + "\n")
}

fn formless(form: &str) -> Failure {
    Failure::new(Kind::Bug, format!("the run has no form as {form}"))
}

impl Story {
    /// Reads a record, and what lies beside it.
    pub(super) fn read(record: &Path) -> Result<Self, Failure> {
        let events = read(record).map_err(|error| {
            // What can be read, but is no record, was wrongly named.
            let kind = if matches!(error, ReadError::File(_)) { Kind::Io } else { Kind::Usage };
            Failure::new(kind, "the run cannot be reported").cause(error)
        })?;
        let sources = fs_err::read(record.with_file_name(SOURCES)).unwrap_or_default();
        Ok(Self { events, sources: serde_json::from_slice(&sources).unwrap_or_default() })
    }
}

/// Files to be written when a run is over.
pub(super) struct Exports(Vec<(ReportFormat, File)>);

impl Exports {
    /// Opens and empties the files that were asked for, so that none is found
    /// to be out of reach after minutes of work, or is left of an earlier run.
    pub(super) fn open(args: &RunArgs) -> Result<Self, Failure> {
        let files = [
            (ReportFormat::Html, &args.report),
            (ReportFormat::Trace, &args.trace),
            (ReportFormat::Junit, &args.junit),
        ];
        let wanted = files.into_iter().filter_map(|(format, path)| Some((format, path.as_ref()?)));
        let open = |(format, path)| match File::create(path) {
            Ok(file) => Ok((format, file)),
            Err(error) => Err(Failure::new(Kind::Usage, "a report of the run cannot be written")
                .hint("name a file in a folder that exists and can be written")
                .cause(error)),
        };
        wanted.map(open).collect::<Result<_, _>>().map(Self)
    }

    /// Writes them from the record of the run, and the page in its folder. What
    /// keeps it from that is only told, for the run is over, with an outcome of
    /// its own.
    pub(super) fn write(self, folder: &RunFolder) {
        let Self(mut files) = self;
        match File::create(folder.page()) {
            Ok(page) => files.push((ReportFormat::Html, page)),
            Err(error) => warn(&Failure::new(Kind::Io, "its page cannot be written").cause(error)),
        }
        match Story::read(&folder.events()) {
            Ok(story) => files.into_iter().for_each(|(format, file)| {
                if let Err(failure) = write(file, format, &story) {
                    warn(&failure);
                }
            }),
            Err(failure) => warn(&failure),
        }
    }
}

fn write(mut file: File, format: ReportFormat, story: &Story) -> Result<(), Failure> {
    let text = render(format, story)?;
    let written = file.write_all(text.as_bytes());
    written.map_err(|error| Failure::new(Kind::Io, "its file cannot be written").cause(error))
}

fn warn(failure: &Failure) {
    let why = [vec![failure.to_string()], failure.causes()].concat().join(": ");
    tell!("warning: a report of this run is missing: {why}");
}
