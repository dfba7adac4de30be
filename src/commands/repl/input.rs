//! The prompt: a thread that reads lines, so that signals are heard meanwhile.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{ColorMode, CompletionType, Config, Editor};
use tokio::sync::oneshot;

use super::helper::Helper;
use crate::run::folder::runs_directory;
use crate::run::{Failure, Kind};

/// What came of a prompt.
pub(super) enum Heard {
    /// An entry, or an answer.
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D, or the end of what was piped in.
    End,
}

struct Ask {
    prompt: String,
    /// Whether it goes into the history and is completed as an entry.
    is_entry: bool,
    answer: oneshot::Sender<Heard>,
}

/// The thread that reads.
pub(super) struct Input {
    asks: Sender<Ask>,
    /// As the terminal was before.
    terminal: Option<Termios>,
    /// Whether a person answers.
    pub(super) is_interactive: bool,
}

impl Input {
    pub(super) fn start(helper: Helper, colour: bool) -> Result<Self, Failure> {
        let broken = |error| Failure::new(Kind::Io, "the prompt cannot be shown").cause(error);
        let stdin = std::io::stdin();
        let is_interactive = stdin.is_terminal();
        let terminal = is_interactive.then(|| tcgetattr(stdin.as_fd()).ok()).flatten();
        let (asks, asked) = channel::<Ask>();
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .color_mode(if colour { ColorMode::Enabled } else { ColorMode::Disabled })
            .auto_add_history(false)
            .history_ignore_space(true)
            .build();
        let mut editor = Editor::<Helper, FileHistory>::with_config(config).map_err(broken)?;
        editor.set_helper(Some(helper));
        thread::Builder::new()
            .name("prompt".to_owned())
            .spawn(move || {
                let history = history();
                if let Some(history) = &history {
                    // The first session has none yet.
                    let _ = editor.load_history(history);
                }
                let mut entered = None;
                for Ask { prompt, is_entry, answer } in asked {
                    if let (Some(line), Some(history)) = (entered.take(), &history) {
                        remember(&mut editor, line, history);
                    }
                    if let Some(helper) = editor.helper_mut() {
                        helper.is_entry = is_entry;
                    }
                    let heard = match editor.readline(&prompt) {
                        Ok(line) => Heard::Line(line),
                        Err(ReadlineError::Interrupted) => Heard::Interrupted,
                        Err(_) => Heard::End,
                    };
                    if let (Heard::Line(line), true) = (&heard, is_entry && is_interactive) {
                        entered = Some(line.trim().to_owned());
                    }
                    if answer.send(heard).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| {
                Failure::new(Kind::Io, "no thread can be started for the prompt").cause(error)
            })?;
        Ok(Self { asks, terminal, is_interactive })
    }

    /// Asks for an entry.
    pub(super) async fn entry(&self, prompt: &str) -> Heard {
        self.ask(prompt, true).await
    }

    /// Asks a question.
    pub(super) async fn question(&self, prompt: &str) -> Heard {
        self.ask(prompt, false).await
    }

    async fn ask(&self, prompt: &str, is_entry: bool) -> Heard {
        let (answer, heard) = oneshot::channel();
        let _ = self.asks.send(Ask { prompt: prompt.to_owned(), is_entry, answer });
        heard.await.unwrap_or(Heard::End)
    }

    /// Gives the terminal back as it was: for when a signal ends a session in
    /// the middle of a prompt.
    pub(super) fn restore(&self) {
        if let Some(terminal) = &self.terminal {
            let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, terminal);
        }
    }
}

/// Adds an entry to the history, now that it was run and its secrets are known.
fn remember(editor: &mut Editor<Helper, FileHistory>, entry: String, history: &Path) {
    let masked = editor.helper().map_or_else(|| entry.clone(), |helper| helper.masked(&entry));
    // A history that cannot be kept is no reason to stop.
    let _ = editor.add_history_entry(masked);
    let _ = editor.append_history(history);
}

/// Beside the folders of runs, for its owner alone.
fn history() -> Option<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let folder = runs_directory().ok()?.parent()?.to_owned();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    let path = folder.join("history");
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path).ok()?;
    Some(path)
}
