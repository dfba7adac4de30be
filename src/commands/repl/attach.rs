//! A session in the environment of another run: its handles, and going on with
//! its recipe where it failed.

use std::path::Path;

use serde_json::Value;
use tokio::sync::oneshot;

use super::room::Room;
use crate::commands::environment::time_left;
use crate::commands::terminal;
use crate::primitives::TABLE;
use crate::report::params_digest;
use crate::run::folder::State;
use crate::run::{Failure, Kind};
use crate::script::interactive::Refused;
use crate::script::{Memory, Program};
use crate::tell::tell;

impl Room<'_> {
    /// Binds the variables of the run's script; what it deployed and did not
    /// bind, because it failed before, under the names it was deployed under.
    pub(super) async fn bind_handles(&mut self) {
        let folder = &self.run.stage.folder;
        let mut values: Vec<_> = folder.variables().into_iter().collect();
        for remembered in Memory::read(&folder.path).unwrap_or_default() {
            if let Some(name) = remembered.value["handle"].as_str().and(remembered.value["name"].as_str()) {
                let name = identifier(name);
                let is_bound =
                    |(known, value): &(String, Value)| *known == name || holds(value, &remembered.value);
                if !values.iter().any(is_bound) {
                    values.push((name, remembered.value));
                }
            }
        }
        let mut bound = Vec::new();
        for (name, value) in values {
            let is_handle = value.to_string().contains("\"handle\"");
            match self.run.stage.host.open(value).await {
                Ok(value) => {
                    self.script().bind(&name, value);
                    if is_handle {
                        bound.push(name);
                    }
                }
                Err(failure) => terminal::show(&failure.into()),
            }
        }
        let (id, state) = (&folder.id, self.run.stage.facts.state.name());
        tell!("  {id} is {state}; handles: {}", bound.join(", "));
        if self.run.stage.facts.state == State::Kept {
            tell!("  `resume()` or `:resume` goes on with {} where it failed", self.run.stage.facts.recipe);
        }
    }

    /// Runs the recipe again; steps that were done return what they returned.
    pub(super) async fn resume(&mut self) -> Result<(), Refused> {
        if !self.run.attached {
            return Err(Failure::new(Kind::Usage, "there is no recipe to go on with")
                .hint("`recipe run --keep on-failure RECIPE` keeps a failed run; `recipe repl --attach RUN` opens it")
                .into());
        }
        let stage = &self.run.stage;
        if params_digest(self.place.params) != stage.facts.identity.params {
            let what = format!("{} was run with other parameters than this session has", stage.folder.id);
            return Err(Failure::new(Kind::Usage, what)
                .hint("give `recipe repl --attach` the same `--set` and `--params`, so that what was done is known again")
                .into());
        }
        let (recipe, folder) = (stage.facts.recipe.clone(), stage.folder.clone());
        let program = Program::compile(TABLE, Path::new(&recipe))?;
        let unreadable = |error| Failure::new(Kind::Io, "the values of the run cannot be read").cause(error);
        let remembered = Memory::read(&folder.path).map_err(unreadable)?;
        let memory = Memory::open(&folder.path).map_err(unreadable)?;
        memory.recall(remembered);
        let host = stage.host.beside(&program, memory);
        let token = self.run.token.child_token();
        let (done, over) = oneshot::channel();
        let told = move |result| drop(done.send(result));
        host.run(&program, token.clone(), told).map_err(|error| {
            Failure::new(Kind::Io, "no thread can be started for the script").cause(error)
        })?;
        let result = self.during(&token, over).await;
        for (name, value) in host.variables() {
            self.script().bind(&name, value);
        }
        match result {
            Ok(Ok(())) => {
                self.run.stage.host.set_variables(host.variables());
                let left = time_left(&self.run.stage.facts);
                self.run.stage.leave_up(State::Up, left).await?;
                let id = &folder.id;
                tell!("  {recipe} is done; {id} is up:  eval \"$(recipe env {id})\"");
                Ok(())
            }
            Ok(Err(error)) => Err(Box::new(host.diagnose(&error))),
            Err(_) => Err(Failure::new(Kind::Bug, "the script's thread has vanished").into()),
        }
    }
}

/// Whether an entry goes on with the recipe: `resume()`, or `let x = resume()`,
/// which is what the recipe puts out.
pub(super) fn resumes(entry: &str) -> bool {
    parts(entry).is_some_and(|name| name.is_empty() || resumes_into(entry).is_some())
}

/// The variable that such an entry binds.
pub(super) fn resumes_into(entry: &str) -> Option<&str> {
    let name = parts(entry)?.strip_suffix('=')?.trim_end();
    let name = name.strip_prefix("let ").or_else(|| name.strip_prefix("const ")).unwrap_or(name).trim_start();
    (!name.is_empty() && identifier(name) == name).then_some(name)
}

/// What stands before the call that an entry ends with.
fn parts(entry: &str) -> Option<&str> {
    entry.trim_end_matches([';', ' ']).strip_suffix("resume()").map(str::trim_end)
}

/// Whether a value is the handle, or holds it.
fn holds(value: &Value, handle: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            let is = |name: &str| fields.get(name).is_some_and(|field| *field == handle[name]);
            is("handle") && is("name") || fields.values().any(|field| holds(field, handle))
        }
        Value::Array(items) => items.iter().any(|item| holds(item, handle)),
        _ => false,
    }
}

/// A name that a variable can have.
fn identifier(name: &str) -> String {
    let mut name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_resumes() {
        let into = |entry| resumes(entry).then(|| resumes_into(entry));
        assert_eq!(into("resume();"), Some(None));
        assert_eq!(into("let all = resume()"), Some(Some("all")));
        assert_eq!(into("all = resume();"), Some(Some("all")));
        assert_eq!(into("if true { resume()"), None);
        assert_eq!(into("let a.b = resume()"), None);
        assert_eq!(into("my_resume()"), None);
        assert_eq!(into("resume() + 1"), None);
    }
}
