//! A step of a run that takes an environment over.

use rhai::Dynamic;
use serde_json::Value;

use super::super::arguments::Arguments;
use super::super::call::Call;
use super::super::memory::Remembered;
use super::super::primitive::Primitive;
use super::{Parts, Policy, Repeat, Takeover, Verdict};
use crate::run::Failure;
use crate::run::event::{CacheUse, Level};

impl Call {
    /// The value of a step that need not be done, in a run that takes an
    /// environment over. Otherwise `arguments` are made such that what is made
    /// anew is reached as what was there.
    pub(in super::super) async fn spared(
        &self,
        primitive: &'static Primitive,
        arguments: &mut Arguments,
        done: &Remembered,
    ) -> Result<Option<Dynamic>, Failure> {
        let Some(takeover) = self.takeover() else { return Ok(None) };
        match (takeover.reusing.policy)(primitive.name) {
            Policy::Thing | Policy::Place(_) => self.thing(takeover, arguments, done).await,
            Policy::Effect => self.effect(takeover, done).await,
            Policy::Value | Policy::Secret => {
                let known = takeover.value(done);
                self.step.cache(known.is_some(), if known.is_some() { "as it was" } else { "it is new" });
                self.opened(known).await
            }
            Policy::Again("") => Ok(None),
            Policy::Again(why) => {
                self.step.cache(false, why);
                Ok(None)
            }
        }
    }

    async fn thing(
        &self,
        takeover: &Takeover,
        arguments: &mut Arguments,
        done: &Remembered,
    ) -> Result<Option<Dynamic>, Failure> {
        let reusing = takeover.reusing;
        let environment = &self.host().environment;
        let parts = Parts::of(arguments, self.host().table.keep);
        let (why, earlier) = match takeover.judge(&done.primitive, &done.title, &parts) {
            Verdict::Keep(known) => {
                let verified = (reusing.verify)(known.clone(), environment.clone(), self.step.clone()).await;
                match verified {
                    Ok(handle) => {
                        self.step.cache(true, "as it was: nothing of it has changed, and it answers");
                        return Ok(Some(handle));
                    }
                    Err(failure) => {
                        let why = failure.message.lines().next().unwrap_or_default().to_owned();
                        (why, Some(known))
                    }
                }
            }
            Verdict::Make(why, earlier) => (why, earlier),
        };
        self.step.cache(false, format!("made anew: {why}"));
        self.step.message(Level::Info, format!("`{}` is made anew: {why}", done.title));
        // First, so that what is made by a run that fails or is killed before it
        // can tell never passes for what was there before.
        takeover.forget(&done.title);
        self.host().memory.keep(&Remembered { undone: true, ..done.clone() });
        // Also what an earlier run began to make and did not live to tell of.
        (reusing.remove)(done.title.clone(), environment.clone()).await?;
        if let Some(earlier) = &earlier {
            arguments.complete((reusing.address)(earlier));
        }
        Ok(None)
    }

    async fn effect(&self, takeover: &Takeover, done: &Remembered) -> Result<Option<Dynamic>, Failure> {
        let Some(server) = &done.on else { return Ok(None) };
        let why = match takeover.repeat(server, done) {
            Repeat::Had(value) => {
                self.step.cache(true, format!("done before: `{server}` is the same"));
                return self.opened(Some(value)).await;
            }
            Repeat::Follows => format!("not yet done to `{server}`"),
            Repeat::Differs(why) => {
                self.make_anew(server, &why).await;
                why
            }
        };
        self.step.cache(false, why);
        Ok(None)
    }

    async fn opened(&self, known: Option<Value>) -> Result<Option<Dynamic>, Failure> {
        match known {
            Some(known) => self.host().open(known).await.map(Some),
            None => Ok(None),
        }
    }

    /// Has the server of this name made anew, because what was done to it does
    /// not fit to the recipe: the script ends here and begins again. Returns
    /// where that is not possible: no environment is taken over, or this run
    /// has made the server itself.
    pub(crate) async fn make_anew(&self, server: &str, why: &str) {
        if self.takeover().is_some_and(|takeover| takeover.spoil(server, why)) {
            std::future::pending::<()>().await;
        }
    }

    /// The value of a call that is no step, in a run that takes an environment over.
    pub(in super::super) fn value_as_it_was(
        &self,
        primitive: &Primitive,
        done: &Remembered,
    ) -> Option<Value> {
        let takeover = self.takeover()?;
        let stays = (takeover.reusing.policy)(primitive.name).is_value();
        stays.then(|| takeover.value(done)).flatten()
    }

    /// Adds why the step was not spared to what it has noted of other caches.
    pub(in super::super) fn note(&self, not_spared: Option<CacheUse>) {
        if let (Some(before), Some(after)) = (not_spared, self.step.cache_use())
            && before != after
        {
            self.step.cache(after.hit, format!("{}; {}", before.why, after.why));
        }
    }

    /// Lets nothing show a secret that an earlier process has made.
    pub(in super::super) fn cover(&self, primitive: &Primitive, value: &Dynamic) {
        if (self.host().table.reusing.policy)(primitive.name) == Policy::Secret {
            self.host().events.secrets().add(&value.to_string());
        }
    }

    /// Whether the server of this name was there before this run.
    pub(crate) fn has_taken_over(&self, server: &str) -> bool {
        self.takeover().is_some_and(|takeover| !takeover.state().made.contains(server))
    }

    /// What is taken over, where this call is to be spared.
    fn takeover(&self) -> Option<&Takeover> {
        self.host().takeover.as_deref().filter(|_| !self.branch.repeats)
    }

    /// Takes note of a step that was done.
    pub(in super::super) fn learn(&self, done: Remembered) {
        if let Some(takeover) = self.takeover() {
            takeover.learn(done);
        }
    }

    /// This call, as it is remembered.
    pub(in super::super) fn as_remembered(
        &self,
        primitive: &Primitive,
        arguments: &Arguments,
        title: String,
    ) -> Remembered {
        let table = self.host().table;
        let parts = Parts::of(arguments, table.keep);
        let policy = (table.reusing.policy)(primitive.name);
        Remembered {
            branch: self.branch.path.to_string(),
            primitive: primitive.name.to_owned(),
            arguments: arguments.digest(table.keep),
            title: match policy {
                Policy::Thing => arguments.text("name"),
                Policy::Place(sort) => format!("{sort} {}", arguments.text("name")),
                _ => title,
            },
            parts: parts.digests(),
            on: (policy == Policy::Effect).then(|| parts.first_handle(arguments)).flatten(),
            value: Value::Null,
            undone: false,
        }
    }
}
