//! A `recipe` on a terminal: a pseudo-terminal that the test types into and
//! reads from, as a person would.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use super::Sandbox;

/// Longer than anything takes here: a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A command on a terminal of its own.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// All that was written.
    bytes: Vec<u8>,
    /// The same without colours and movements.
    written: String,
    /// Up to where the test has read.
    read: usize,
}

impl Sandbox {
    /// Starts `recipe ARGS` on a terminal.
    pub fn terminal(&self, args: &[&str]) -> Terminal {
        self.on_terminal(&self.command(args))
    }

    /// Starts an interactive shell on a terminal, in which `$RECIPE` is recipe.
    pub fn shell(&self) -> Terminal {
        let recipe = self.command([""; 0]);
        let mut shell = Command::new("bash");
        shell.args(["--norc", "--noprofile", "-i"]).env("PS1", "shell> ").env("RECIPE", recipe.get_program());
        for (name, value) in recipe.get_envs().filter_map(|(name, value)| Some((name, value?))) {
            shell.env(name, value);
        }
        self.on_terminal(&shell)
    }

    /// Starts any command on a terminal, of which the test has the other end.
    pub fn on_pty(&self, plain: &Command) -> (Child, OwnedFd) {
        let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        // It is closed when the test closes it.
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        // The signals that keys send go to whom the terminal belongs to.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(plain.get_program()).args(plain.get_args());
        command.current_dir(self.path());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("TERM", "xterm-256color").env_remove("CI").env_remove("NO_COLOR");
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
        (command.spawn().unwrap(), pty.master)
    }

    /// Starts any command on a terminal.
    pub fn on_terminal(&self, plain: &Command) -> Terminal {
        let (child, keyboard) = self.on_pty(plain);
        let (sender, screen) = channel();
        let mut master = File::from(keyboard.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The last reader of a terminal gets an error instead of its end.
            while let Ok(count @ 1..) = master.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal {
            child,
            keyboard: keyboard.into(),
            screen,
            bytes: Vec::new(),
            written: String::new(),
            read: 0,
        }
    }
}

impl Terminal {
    /// Types text and Enter.
    pub fn enter(&mut self, text: &str) {
        self.keys(&format!("{text}\r"));
    }

    /// Presses keys.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// How the terminal treats what is typed and written.
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.keyboard).unwrap()
    }

    /// Waits until `text` is written after all that the test has read, and
    /// gives what was written before it.
    #[track_caller]
    pub fn says(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.written[self.read..].find(text) {
                let before = self.written[self.read..self.read + at].to_owned();
                self.read += at + text.len();
                return before;
            }
            match self.screen.recv_timeout(PATIENCE) {
                Ok(bytes) => self.hear(&bytes),
                Err(RecvTimeoutError::Timeout) => panic!("no `{text}` in\n{}", self.written),
                Err(RecvTimeoutError::Disconnected) => panic!("over without `{text}`:\n{}", self.written),
            }
        }
    }

    /// Sequences may come in two parts.
    fn hear(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.written = plain(&String::from_utf8_lossy(&self.bytes));
    }

    /// Waits for the prompt.
    #[track_caller]
    pub fn prompt(&mut self) -> String {
        self.says("recipe> ")
    }

    /// Waits for the end and gives the exit code.
    #[track_caller]
    pub fn end(mut self) -> i32 {
        while let Ok(bytes) = self.screen.recv_timeout(PATIENCE) {
            self.hear(&bytes);
        }
        self.child.wait().unwrap().code().unwrap_or_else(|| panic!("killed:\n{}", self.written))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without escape sequences.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            plain.push(c);
        } else if rest.next_if_eq(&'[').is_some() {
            while rest.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
        }
    }
    plain
}
