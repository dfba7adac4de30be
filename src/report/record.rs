//! The stored record of a run: its events as JSON lines.

use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err::File;
use serde::Deserialize;

use crate::run::event::SCHEMA;
use crate::run::{Event, EventKind, Reporter};

/// Bytes of lines that are held back at most.
const MOST_HELD: usize = 64 << 10;

/// Writes each event as a line.
///
/// Lines are written at once after the last event that waited: a SIGKILL takes
/// those that are held back no sooner than those that still wait to be told.
pub struct Record {
    file: File,
    lines: Vec<u8>,
}

impl Record {
    /// Begins a record at `path`, in place of any file there.
    ///
    /// # Errors
    /// When the file cannot be created; the message names it.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: File::create(path)?, lines: Vec::new() })
    }
}

impl Reporter for Record {
    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.lines, event)?;
        self.lines.push(b'\n');
        if self.lines.len() < MOST_HELD { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let written = self.file.write_all(&self.lines);
        self.lines.clear();
        Ok(written?)
    }
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file itself.
    #[error("cannot read the record of the run")]
    File(#[source] std::io::Error),
    /// A line, other than a last one that was cut, is no event.
    #[error("{}:{line} is not an event of a recorded run", .path.display())]
    Line {
        /// The record.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The record was written by a newer version, or one too old.
    #[error(
        "{} has schema {found}, but this recipe reads schema {SCHEMA}; \
         read it with the version that wrote it",
        .path.display()
    )]
    Schema {
        /// The record.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// It lacks the first event of a run.
    #[error("{} does not begin with the beginning of a run", .path.display())]
    Headless {
        /// The record.
        path: PathBuf,
    },
}

/// All that is needed of a first line to know whether the rest can be read.
#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// Reads the record at `path`.
///
/// A last line without an end that is no event was cut when the run died, and
/// is left out.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path) -> Result<Vec<Event>, ReadError> {
    parse(path, &fs_err::read(path).map_err(ReadError::File)?)
}

/// The events in `content`, which `path` holds.
pub(super) fn parse(path: &Path, content: &[u8]) -> Result<Vec<Event>, ReadError> {
    let mut events = Vec::new();
    for (index, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if index == 0
            && let Ok(Schema { schema: found }) = serde_json::from_slice(line)
            && found != SCHEMA
        {
            return Err(ReadError::Schema { path: path.to_owned(), found });
        }
        match serde_json::from_slice(line) {
            Ok(event) => events.push(event),
            // Only the last line can lack its end.
            Err(_) if !line.ends_with(b"\n") => break,
            Err(source) => return Err(ReadError::Line { path: path.to_owned(), line: index + 1, source }),
        }
    }
    if !matches!(events.first(), Some(Event { kind: EventKind::RunStarted { .. }, .. })) {
        return Err(ReadError::Headless { path: path.to_owned() });
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::report::sample;

    fn recorded(events: &[Event]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut record = Record::create(&path).unwrap();
        for event in events {
            record.event(event).unwrap();
        }
        record.flush().unwrap();
        (dir, path)
    }

    #[test]
    fn what_was_written_is_read() {
        let events = sample::environment();
        let (_dir, path) = recorded(&events);
        assert_eq!(read(&path).unwrap(), events);
    }

    #[test]
    fn lines_are_on_disk_as_soon_as_no_event_waits() {
        let events = sample::environment();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut record = Record::create(&path).unwrap();
        for (index, event) in events.iter().enumerate() {
            record.event(event).unwrap();
            record.flush().unwrap();
            assert_eq!(read(&path).unwrap().len(), index + 1);
        }
        let path = dir.path().join("many.jsonl");
        let mut record = Record::create(&path).unwrap();
        let lines = 2 * MOST_HELD / serde_json::to_vec(&events[0]).unwrap().len();
        (0..lines).for_each(|_| record.event(&events[0]).unwrap());
        assert!(read(&path).unwrap().len() > lines / 3, "no more is held back than that");
    }

    #[test]
    fn a_cut_last_line_is_left_out() {
        let events = sample::environment();
        let (_dir, path) = recorded(&events);
        let content = fs_err::read(&path).unwrap();
        fs_err::write(&path, &content[..content.len() - 30]).unwrap();
        assert_eq!(read(&path).unwrap(), events[..events.len() - 1]);
        // A last line that lost only its end is whole.
        fs_err::write(&path, &content[..content.len() - 1]).unwrap();
        assert_eq!(read(&path).unwrap(), events);
    }

    #[test]
    fn a_bad_line_is_named() {
        let (_dir, path) = recorded(&sample::environment());
        let content = fs_err::read_to_string(&path).unwrap();
        fs_err::write(&path, content.replacen("step_finished", "step_vanished", 1)).unwrap();
        let error = read(&path).unwrap_err();
        let bad = content.lines().position(|line| line.contains("step_finished")).unwrap() + 1;
        assert_eq!(error.to_string(), format!("{}:{bad} is not an event of a recorded run", path.display()));
        assert!(error.source().unwrap().to_string().contains("unknown variant `step_vanished`"));
    }

    #[test]
    fn another_schema_is_refused() {
        let (_dir, path) = recorded(&sample::environment());
        let content = fs_err::read_to_string(&path).unwrap();
        for found in [0, 7] {
            // Another first line need not be an event that this version knows.
            let other = content.replacen("\"schema\":1", &format!("\"schema\":{found},\"recipe\":{{}}"), 1);
            fs_err::write(&path, other).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("schema {found}, but this recipe reads schema 1")), "{error}");
        }
    }

    #[test]
    fn a_part_of_a_record_is_refused() {
        let (_dir, path) = recorded(&sample::environment()[1..]);
        assert!(matches!(read(&path), Err(ReadError::Headless { .. })));
        fs_err::write(&path, "").unwrap();
        assert!(matches!(read(&path), Err(ReadError::Headless { .. })));
    }
}
