//! Progress on a terminal: what has ended scrolls by as with
//! [`super::plain`], what runs now stays below it.

use std::io::{self, Stderr, Write};
use std::time::{Duration, Instant};

use terminal_size::{Height, Width};

use super::Verbosity;
use super::frame::{View, frame};
use super::narration::Narration;
use super::screen::Screen;
use super::shared::SharedModel;
use crate::run::{Event, EventKind, Reporter};

/// Events that come faster than this share a redraw.
const REDRAW: Duration = Duration::from_millis(40);

/// Shows what runs, and writes what has ended above it.
pub struct Live<W = Stderr> {
    narration: Narration,
    screen: Screen<W>,
    /// Lines to be written with the next redraw.
    lines: Vec<String>,
    drawn: Option<Instant>,
    /// Whether the terminal is somebody else's until the next event.
    settled: bool,
}

impl Live {
    /// Draws on stderr, which should be a terminal that shows colours.
    #[must_use]
    pub fn new(verbosity: Verbosity, model: &SharedModel) -> Self {
        Self::on(io::stderr(), verbosity, model)
    }
}

impl<W: Write> Live<W> {
    /// Draws on `out`, which is as large as stderr.
    pub fn on(out: W, verbosity: Verbosity, model: &SharedModel) -> Self {
        let (narration, screen) = (Narration::new(verbosity, model), Screen::new(out));
        Self { narration, screen, lines: Vec::new(), drawn: None, settled: false }
    }

    fn redraw(&mut self) -> io::Result<()> {
        // Asked each time, for the window may have changed its size.
        let (Width(columns), Height(height)) =
            terminal_size::terminal_size_of(io::stderr()).unwrap_or((Width(80), Height(24)));
        let view = View {
            now_ms: self.narration.now_ms(),
            columns: columns.into(),
            height: height.into(),
            branch_width: self.narration.branch_width(),
        };
        let rows = self.narration.model.read(|model| {
            let over = self.settled || model.finished.is_some();
            if over { Vec::new() } else { frame(model, view) }
        });
        self.drawn = Some(Instant::now());
        self.screen.draw(&std::mem::take(&mut self.lines), rows, view.columns)
    }
}

impl<W: Write + Send> Reporter for Live<W> {
    fn event(&mut self, event: &Event) -> anyhow::Result<()> {
        self.settled = false;
        self.lines.extend(self.narration.hear(event));
        let due = self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW);
        if due || matches!(event.kind, EventKind::RunFinished { .. }) {
            self.redraw()?;
        }
        Ok(())
    }

    fn tick(&mut self) {
        if !self.settled {
            // A terminal that is gone shows with the next event.
            let _ = self.redraw();
        }
    }

    fn settle(&mut self) {
        self.settled = true;
        let _ = self.redraw();
    }
}
