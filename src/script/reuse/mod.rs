//! Taking over an environment that is up: which steps of the run that made it
//! still hold, and what has to be made anew.
//!
//! What a run has done is known in the order in which it was done. A step is
//! spared when the same call is known, when nothing that it holds was made
//! after it, and when what it made answers. A thing is held by every call whose
//! arguments have its handle, its address or its password in them.
//!
//! ```text
//!  values.jsonl ─> Takeover ─> step: equal? held things older? answers? ── yes ─> spared
//!                     ^                       │ no
//!                     └── what it made <── made anew, as is what holds it
//! ```
//!
//! A server that was migrated or written to otherwise than the recipe says now
//! cannot be corrected in place: it is spoilt, the script begins again, and
//! makes that server anew.

mod parts;
mod step;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use rhai::{Dynamic, Map};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::environment::Environment;
use super::host::Host;
use super::memory::Remembered;
use crate::run::event::Level;
use crate::run::{EventKind, Failure, Step};

pub(super) use parts::Parts;

/// How the steps of a primitive are taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It makes something with a name, which is kept while it answers and
    /// nothing of the call has changed.
    Thing,
    /// It makes a place for things, kept likewise. Its name is one among those
    /// of its sort alone, which is what they are called: `cluster`.
    Place(&'static str),
    /// It changes a server, and is not done a second time.
    Effect,
    /// It gives a value that is to stay.
    Value,
    /// The same, and nothing must show it.
    Secret,
    /// It is done again; the reason, if it is worth telling.
    Again(&'static str),
}

impl Policy {
    fn is_value(self) -> bool {
        matches!(self, Self::Value | Self::Secret)
    }

    fn is_thing(self) -> bool {
        matches!(self, Self::Thing | Self::Place(_))
    }
}

/// Work on a target.
type Working<T> = BoxFuture<'static, Result<T, Failure>>;

/// What the script layer is given to take things over.
#[derive(Clone, Copy)]
pub struct Reusing {
    /// How the steps of the primitive of this name are taken over.
    pub policy: fn(&str) -> Policy,
    /// Opens the handle of a thing and makes sure that it answers.
    pub verify: fn(Value, Arc<Environment>, Step) -> Working<Dynamic>,
    /// Takes down the thing of this name and frees the name.
    pub remove: fn(String, Arc<Environment>) -> Working<()>,
    /// Options of the call that makes a thing anew, by which it is reached as before.
    pub address: fn(&Value) -> Map,
}

/// What is known of the environment that a run takes over.
pub struct Takeover {
    reusing: Reusing,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order in which it was done.
    known: Vec<Remembered>,
    /// Values that are still to be given out.
    values: HashMap<Key, VecDeque<Value>>,
    /// How many of a server's known effects this pass has come to, by branch.
    effects: BTreeMap<(String, String), usize>,
    /// Things that this pass has asked for.
    asked: BTreeSet<String>,
    /// Things that this run has made.
    made: BTreeSet<String>,
    /// Things that must be made anew, and why.
    spoilt: BTreeMap<String, String>,
    /// The script has to begin again.
    again: bool,
    /// Ends this pass of the script.
    pass: CancellationToken,
}

/// Branch, primitive and a digest of the arguments.
type Key = (String, String, String);

/// What becomes of a thing that a script asks for.
enum Verdict {
    /// It may still serve.
    Keep(Value),
    /// It has to be made, for this reason; what there was of it.
    Make(String, Option<Value>),
}

/// What becomes of an effect.
enum Repeat {
    /// It was had already, with this value.
    Had(Value),
    /// It follows on what was done before.
    Follows,
    /// Another one was done in its place; why.
    Differs(String),
}

impl Takeover {
    /// Takes over from a run that `remembered` what it did.
    #[must_use]
    pub fn new(reusing: Reusing, remembered: Vec<Remembered>) -> Self {
        let takeover = Self { reusing, state: Mutex::default() };
        for each in remembered {
            takeover.state().learn(reusing.policy, each);
        }
        takeover
    }

    /// What is known, in the order in which it was done.
    #[must_use]
    pub fn known(&self) -> Vec<Remembered> {
        self.state().known.clone()
    }

    /// Begins a pass of the script, which ends with `token`.
    pub fn begin(&self, token: CancellationToken) {
        let mut state = self.state();
        let mut values: HashMap<Key, VecDeque<Value>> = HashMap::new();
        for known in &state.known {
            if (self.reusing.policy)(&known.primitive).is_value() {
                values.entry(known.key()).or_default().push_back(known.value.clone());
            }
        }
        state.values = values;
        state.effects.clear();
        state.asked.clear();
        state.again = false;
        state.pass = token;
    }

    /// Whether the script has to begin again, now that it has ended; after a
    /// `success` also because something was done to a server that the recipe
    /// does not do any more.
    pub fn begins_again(&self, success: bool) -> bool {
        let mut state = self.state();
        let unmatched = if success && !state.again { state.unmatched() } else { Vec::new() };
        for (server, why) in unmatched {
            state.again |= state.spoil(&server, &why);
        }
        state.again
    }

    /// Things that the script has not asked for, the latest first.
    #[must_use]
    pub fn unasked(&self) -> Vec<String> {
        let state = self.state();
        let things = state.known.iter().rev().filter(|known| self.is_thing(known));
        things.map(|known| known.title.clone()).filter(|name| !state.asked.contains(name)).collect()
    }

    /// Forgets a thing that is gone, and what was done to it.
    pub fn forget(&self, name: &str) {
        let mut state = self.state();
        state.known.retain(|known| !(self.is_thing(known) && known.title == name));
        state.known.retain(|known| known.on.as_deref() != Some(name));
    }

    fn is_thing(&self, known: &Remembered) -> bool {
        (self.reusing.policy)(&known.primitive).is_thing()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a thing called `name` that `primitive` makes may still serve a
    /// call with these `parts`.
    fn judge(&self, primitive: &str, name: &str, parts: &Parts) -> Verdict {
        let mut state = self.state();
        state.asked.insert(name.to_owned());
        let spoilt = state.spoilt.remove(name);
        let found = state.known.iter().rposition(|known| self.is_thing(known) && known.title == name);
        let Some(at) = found else {
            return Verdict::Make("it was not there".to_owned(), None);
        };
        let known = &state.known[at];
        let changed = (known.primitive != primitive)
            .then(|| format!("it was made by {}", known.primitive))
            .or_else(|| parts.difference(&known.parts));
        let newer = || {
            let later = state.known[at + 1..].iter().filter(|later| self.is_thing(later));
            let held = later.into_iter().find(|later| parts.hold(&later.value));
            held.map(|held| format!("`{}`, which it uses, was made anew", held.title))
        };
        match spoilt.or(changed).or_else(newer) {
            Some(why) => Verdict::Make(why, Some(known.value.clone())),
            None => Verdict::Keep(known.value.clone()),
        }
    }

    /// Whether an effect on `server` was had before.
    fn repeat(&self, server: &str, call: &Remembered) -> Repeat {
        let mut state = self.state();
        let place = (server.to_owned(), call.branch.clone());
        let at = *state.effects.entry(place.clone()).or_default();
        let Some(known) = state.effects_on(&place).nth(at) else { return Repeat::Follows };
        if known.primitive == call.primitive && known.parts == call.parts {
            let value = known.value.clone();
            *state.effects.entry(place).or_default() += 1;
            return Repeat::Had(value);
        }
        Repeat::Differs(format!(
            "`{} {}` was done to it, where now is another call",
            known.primitive, known.title
        ))
    }

    /// Has the server of this name made anew, by another pass of the script.
    /// False where this run has made it already.
    fn spoil(&self, server: &str, why: &str) -> bool {
        let mut state = self.state();
        let spoilt = state.spoil(server, why);
        if spoilt {
            state.again = true;
            state.pass.cancel();
        }
        spoilt
    }

    /// Takes note of what this run has done.
    fn learn(&self, done: Remembered) {
        let mut state = self.state();
        match (self.reusing.policy)(&done.primitive) {
            Policy::Thing | Policy::Place(_) => {
                state.made.insert(done.title.clone());
            }
            Policy::Effect => {
                if let Some(server) = done.on.clone() {
                    *state.effects.entry((server, done.branch.clone())).or_default() += 1;
                }
            }
            Policy::Value | Policy::Secret | Policy::Again(_) => {}
        }
        state.learn(self.reusing.policy, done);
    }

    /// The value that this call gave before; once for each time.
    fn value(&self, call: &Remembered) -> Option<Value> {
        self.state().values.get_mut(&call.key())?.pop_front()
    }
}

impl Host {
    /// The same host, for a run that takes an environment over.
    #[must_use]
    pub fn taking_over(self: Arc<Self>, takeover: Takeover) -> Arc<Self> {
        let mut host = Arc::into_inner(self).unwrap_or_else(|| unreachable!("nobody else has it yet"));
        host.takeover = Some(Arc::new(takeover));
        Arc::new(host)
    }

    /// Forgets what a pass of the script has left, and says why another begins.
    pub fn begin_again(&self) {
        let spoilt = self.takeover.iter().flat_map(|takeover| takeover.state().spoilt.clone());
        for (server, why) in spoilt {
            let text = format!("the recipe begins again, with another `{server}`: {why}");
            self.events.emit(EventKind::Message { level: Level::Info, branch: "".into(), text });
        }
        self.on_exit.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.environment.outputs.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl State {
    fn learn(&mut self, policy: fn(&str) -> Policy, done: Remembered) {
        match policy(&done.primitive) {
            Policy::Thing | Policy::Place(_) => {
                // What was done to the one before is gone with it.
                self.known.retain(|known| known.on.as_deref() != Some(&done.title));
                self.known.retain(|known| !policy(&known.primitive).is_thing() || known.title != done.title);
                if done.undone {
                    return;
                }
            }
            Policy::Effect | Policy::Value | Policy::Secret => {}
            Policy::Again(_) => return,
        }
        self.known.push(done);
    }

    fn spoil(&mut self, server: &str, why: &str) -> bool {
        let spoils = !self.made.contains(server);
        if spoils {
            self.spoilt.insert(server.to_owned(), why.to_owned());
        }
        spoils
    }

    /// Effects on a server in a branch, in their order.
    fn effects_on<'a>(
        &'a self,
        (server, branch): &'a (String, String),
    ) -> impl Iterator<Item = &'a Remembered> {
        self.known.iter().filter(move |known| known.on.as_ref() == Some(server) && known.branch == *branch)
    }

    /// Servers to which something was done that this pass has not come to.
    fn unmatched(&self) -> Vec<(String, String)> {
        let places: BTreeSet<_> =
            self.known.iter().filter_map(|known| Some((known.on.clone()?, known.branch.clone()))).collect();
        let unmatched = places.into_iter().filter_map(|place| {
            let come_to = self.effects.get(&place).copied().unwrap_or_default();
            let known = self.effects_on(&place).nth(come_to)?;
            let why =
                format!("`{} {}` was done to it, and is not in the recipe now", known.primitive, known.title);
            // One that is not asked for any more goes as a whole.
            self.asked.contains(&place.0).then_some((place.0, why))
        });
        unmatched.collect()
    }
}

impl Remembered {
    fn key(&self) -> Key {
        (self.branch.clone(), self.primitive.clone(), self.arguments.clone())
    }
}
