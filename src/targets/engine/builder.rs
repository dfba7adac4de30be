//! One build in the engine: what it says, and why it failed.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::errors::Error;
use bollard::models::BuildInfo;
use bollard::query_parameters::BuildImageOptions;
use futures::{StreamExt, TryFutureExt, TryStreamExt};

use super::archive;
use super::context::Context;
use super::dockerfile::{Instruction, needs_buildkit};
use super::failure::{Told, engine_failure, told};
use super::{Engine, docker_config};
use crate::run::child::Children;
use crate::run::event::Stream;
use crate::run::failure::offset_of;
use crate::run::{Excerpt, Failure, Kind, Secrets, Step};
use crate::targets::ImageRequest;

/// Lines of output that a failure shows.
const TAIL: usize = 20;

/// What is built.
pub(super) struct Plan<'a> {
    /// What the image will be called.
    pub reference: &'a str,
    /// Where the Dockerfile is.
    pub path: &'a Path,
    /// Its text.
    pub text: &'a Arc<str>,
    /// Its instructions.
    pub instructions: &'a [Instruction],
}

impl Engine {
    /// Builds an image and gives it its name. When this is dropped, the engine
    /// stops building.
    pub(super) async fn run_build(
        &self,
        step: &Step,
        children: &Children,
        request: &ImageRequest,
        labels: &BTreeMap<String, String>,
        context: Context,
        plan: &Plan<'_>,
    ) -> Result<(), Failure> {
        let owned = |map: &BTreeMap<String, String>| -> Option<HashMap<String, String>> {
            (!map.is_empty()).then(|| map.clone().into_iter().collect())
        };
        let options = BuildImageOptions {
            dockerfile: context.dockerfile.clone(),
            t: Some(plan.reference.to_owned()),
            nocache: request.no_cache,
            // Containers of steps are of no use to anyone, least of all after a failure.
            rm: true,
            forcerm: true,
            buildargs: owned(&request.args),
            labels: owned(labels),
            target: request.target.clone().unwrap_or_default(),
            ..BuildImageOptions::default()
        };
        let credentials = all_credentials(plan, children, step.events().secrets()).await?;
        step.waiting("the build");
        // The engine hears only that the context ended early; this is why.
        let unsent: Arc<Mutex<Option<std::io::Error>>> = Arc::default();
        let body = {
            let unsent = unsent.clone();
            archive::stream(context.entries).map_err(move |error| {
                let copy = std::io::Error::new(error.kind(), error.to_string());
                *unsent.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                copy
            })
        };
        let body = Some(bollard::body_try_stream(body));
        let building =
            async { Ok(self.worked().await?.build_image(options, credentials, body)) }.try_flatten_stream();
        let mut building = pin!(building);
        let mut talk = Talk::default();
        while let Some(news) = building.next().await {
            match news {
                Ok(news) => talk.hear(step, news),
                Err(error) => {
                    let unsent = unsent.lock().unwrap_or_else(PoisonError::into_inner).take();
                    return Err(match unsent {
                        Some(error) => Failure::new(Kind::Io, "the build's context cannot be sent")
                            .cause(error)
                            .hint("build again when nothing changes its files"),
                        None => talk.failure(error, request, plan),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Credentials for every registry that the Dockerfile may pull from.
async fn all_credentials(
    plan: &Plan<'_>,
    children: &Children,
    secrets: &Secrets,
) -> Result<Option<HashMap<String, bollard::auth::DockerCredentials>>, Failure> {
    let config = docker_config::DockerConfig::read()?;
    let mut all = HashMap::new();
    for base in super::dockerfile::bases(plan.instructions, &BTreeMap::new()) {
        let registry = super::reference::registry(&base);
        if let Some(found) = config.credentials(registry, children, secrets).await? {
            all.insert(found.serveraddress.clone().unwrap_or_else(|| registry.to_owned()), found);
        }
    }
    Ok((!all.is_empty()).then_some(all))
}

/// What a build has said.
#[derive(Default)]
struct Talk {
    /// A line whose end has not come yet.
    begun: String,
    /// The last lines.
    tail: std::collections::VecDeque<String>,
    /// Number and text of the step under way.
    current: Option<(usize, String)>,
}

impl Talk {
    fn hear(&mut self, step: &Step, news: BuildInfo) {
        if let Some(detail) = &news.progress_detail
            && let (Some(done), Some(total)) = (detail.current, detail.total)
        {
            step.progress(done.unsigned_abs(), Some(total.unsigned_abs()), "bytes");
        } else if let Some(status) = news.status {
            self.line(step, &status);
        }
        let Some(text) = news.stream else { return };
        self.begun.push_str(&text);
        while let Some(end) = self.begun.find('\n') {
            let line: String = self.begun.drain(..=end).collect();
            self.line(step, line.trim_end());
        }
    }

    fn line(&mut self, step: &Step, line: &str) {
        if line.is_empty() {
            return;
        }
        if let Some((number, instruction)) = step_of(line) {
            step.waiting(instruction);
            self.current = Some((number, instruction.to_owned()));
        }
        step.output(Stream::Stdout, line);
        // The engine's housekeeping explains nothing.
        if line.starts_with(" ---> ") || line.starts_with("Removing intermediate container") {
            return;
        }
        self.tail.push_back(line.to_owned());
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }

    fn failure(mut self, error: Error, request: &ImageRequest, plan: &Plan<'_>) -> Failure {
        if !self.begun.trim().is_empty() {
            self.tail.push_back(self.begun.trim_end().to_owned());
        }
        let refused =
            matches!(error, Error::DockerStreamError { .. } | Error::DockerResponseServerError { .. });
        if !refused {
            return engine_failure(&format!("the engine stopped the build of `{}`", request.name), error);
        }
        let why = told(&error);
        let at = self.current.take();
        let what = match &at {
            Some((_, text)) => format!("the build of `{}` failed at `{text}`", request.name),
            None => format!("`{}` cannot be built", request.name),
        };
        let found = at.as_ref().and_then(|(number, _)| plan.instructions.get(number - 1));
        let span = match found {
            Some(instruction) => Some(instruction.span),
            None => wrong_line(&why).map(|line| line_span(plan.text, line)),
        };
        let new = needs_buildkit(plan.instructions).filter(|one| {
            why.contains("BuildKit") || why.contains("unknown") || found.is_some_and(|found| found == *one)
        });
        let mut failure =
            Failure::new(Kind::Command, what).evidence(self.tail.into()).cause(Told(why.clone()));
        failure.excerpt = span.map(|span| Excerpt {
            file: plan.path.display().to_string(),
            text: plan.text.clone(),
            span,
            label: short(&why),
        });
        match new {
            Some(one) => failure.hint(format!(
                "line {} needs BuildKit, and recipe builds with the engine's classic builder: \
                 write it without `--mount`, `--link`, `--chmod` and here-documents, \
                 or build with the CLI (`build: \"docker build ..\"`)",
                one.line
            )),
            None => failure,
        }
    }
}

/// The engine's answer without what the failure says anyway.
fn short(why: &str) -> String {
    match why.rsplit_once("returned a non-zero code: ") {
        Some((_, code)) => format!("ended with exit code {code}"),
        None => why.lines().next().unwrap_or_default().to_owned(),
    }
}

/// Number, from 1, and text of the step that `Step 2/3 : RUN make` announces.
fn step_of(line: &str) -> Option<(usize, &str)> {
    let (numbers, text) =
        line.strip_prefix("Step ").or_else(|| line.strip_prefix("STEP "))?.split_once(':')?;
    let number = numbers.split('/').next()?.trim().parse().ok()?;
    Some((number, text.trim()))
}

/// The line that a complaint such as `dockerfile parse error line 3: ..` names.
fn wrong_line(why: &str) -> Option<usize> {
    let (_, after) = why.split_once("line ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn line_span(text: &str, line: usize) -> (usize, usize) {
    let start = offset_of(text, line, 1);
    (start, text[start..].lines().next().unwrap_or_default().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_recognised() {
        assert_eq!(step_of("Step 12/30 : RUN a:b"), Some((12, "RUN a:b")));
        assert_eq!(step_of("STEP 1/2: FROM x"), Some((1, "FROM x")));
        assert_eq!(step_of("Step by step"), None);
    }

    #[test]
    fn complaints_are_placed() {
        let text = "FROM a\n\nRUNN x\n";
        let line = wrong_line("dockerfile parse error line 3: unknown instruction: RUNN").unwrap();
        let (start, length) = line_span(text, line);
        assert_eq!(&text[start..start + length], "RUNN x");
        assert_eq!(wrong_line("no such thing"), None);
        assert_eq!(
            short("The command '/bin/sh -c false' returned a non-zero code: 1"),
            "ended with exit code 1"
        );
    }
}
