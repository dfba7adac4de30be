//! `:commands` of the prompt.

use std::path::Path;
use std::time::Instant;

use super::room::{Room, Stay};
use crate::commands::{doc, terminal};
use crate::report::{duration, timeline};
use crate::run::{Failure, Kind};
use crate::script::interactive::Refused;
use crate::script::suggest;
use crate::tell::tell;

/// A command, for `:help` and completion.
pub(super) struct Command {
    pub name: &'static str,
    pub argument: &'static str,
    pub doc: &'static str,
}

pub(super) const COMMANDS: [Command; 12] = [
    Command { name: "help", argument: "", doc: "this list" },
    Command {
        name: "doc",
        argument: "[NAME]",
        doc: "the primitives, or one with its options and an example",
    },
    Command { name: "vars", argument: "", doc: "the variables and functions so far" },
    Command { name: "time", argument: "EXPR", doc: "runs an entry and says how long it took" },
    Command { name: "steps", argument: "", doc: "a timeline of all that was done" },
    Command { name: "load", argument: "FILE", doc: "runs a recipe as an entry" },
    Command { name: "save", argument: "FILE", doc: "writes the entries that worked as a recipe" },
    Command { name: "logs", argument: "NAME", doc: "the log of a server or service" },
    Command { name: "target", argument: "", doc: "where things are set up" },
    Command { name: "down", argument: "", doc: "takes everything down; plain variables and functions stay" },
    Command { name: "resume", argument: "", doc: "goes on with an attached recipe where it failed" },
    Command { name: "quit", argument: "", doc: "ends the session, as Ctrl-D does" },
];

impl Room<'_> {
    /// Does what `:text` says.
    pub(super) async fn command(&mut self, text: &str) -> Result<Stay, Refused> {
        let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let argument = argument.trim();
        match name {
            "help" => terminal::print(&help())?,
            "doc" => terminal::print(&doc::text((!argument.is_empty()).then_some(argument))?)?,
            "vars" => terminal::print(&self.variables())?,
            "time" if argument.is_empty() => {
                return Err(wants("time", "an entry, such as `:time sleep(1)`").into());
            }
            "time" => {
                let began = Instant::now();
                self.enter(argument.to_owned(), None).await?;
                tell!("  took {}", duration(began.elapsed().as_secs_f64() * 1000.0));
            }
            "steps" => {
                let steps = self
                    .model
                    .read(|model| (!model.steps.is_empty()).then(|| timeline(model, terminal::columns())));
                terminal::print_coloured(&steps.unwrap_or_else(|| "  no steps yet\n".to_owned()))?;
            }
            "load" | "save" if argument.is_empty() => return Err(wants(name, "a file").into()),
            "load" => self.load(Path::new(argument)).await?,
            "save" => self.save(Path::new(argument))?,
            "logs" if argument.is_empty() => {
                return Err(wants("logs", "the name of a server or service").into());
            }
            "logs" => terminal::print(&self.logs(argument)?)?,
            "target" => terminal::print(&format!("  {}\n", self.target()))?,
            "down" => self.down().await?,
            "resume" => self.resume().await?,
            "quit" => return Ok(Stay::Leave),
            _ => {
                let mut failure = Failure::new(Kind::Usage, format!("there is no command `:{name}`"));
                let near = suggest::nearest(name, COMMANDS.iter().map(|command| command.name));
                failure.hint = Some(
                    near.map_or("`:help` lists them".to_owned(), |near| format!("did you mean `:{near}`?")),
                );
                return Err(failure.into());
            }
        }
        Ok(Stay::Here)
    }
}

fn wants(name: &str, what: &str) -> Failure {
    Failure::new(Kind::Usage, format!("`:{name}` wants {what}"))
}

fn help() -> String {
    let calls = COMMANDS.iter().map(|command| format!(":{} {}", command.name, command.argument));
    let lines = calls.zip(&COMMANDS).map(|(call, command)| format!("  {call:14}  {}\n", command.doc));
    let mut text: String = lines.collect();
    text.push_str(
        "\n  Everything else is recipe: an entry goes on until it is complete, and its value is shown.\n  \
         Tab completes, Ctrl-C stops what runs and keeps the variables, an empty line ends an entry early.\n",
    );
    text
}
