//! The program that an image runs, built by a command on this machine.

use std::path::PathBuf;
use std::time::SystemTime;

use super::{ImageRequest, cargo};
use crate::run::child::{Children, Command, describe};
use crate::run::{Failure, Kind, Step, not_executed};

/// Runs the image's build command, where it has one, and finds its program.
pub(super) async fn build(
    step: &Step,
    children: &Children,
    request: &ImageRequest,
) -> Result<PathBuf, Failure> {
    let Some(binary) = &request.binary else {
        return Err(Failure::new(Kind::Usage, "it is not said which program the image runs").hint(
            "give the option `binary`, the path of a program, and `build`, the command that builds it",
        ));
    };
    let binary = request.workspace.join(binary);
    match cargo::up_to_date(request, &binary) {
        Some(Ok(why)) => step.cache(true, why),
        other => {
            if let Some(Err(why)) = other {
                step.cache(false, why);
            }
            cargo::forget(request, &binary);
            let began = SystemTime::now();
            run(step, children, request).await?;
            cargo::remember(request, &binary, began);
        }
    }
    match tokio::fs::metadata(&binary).await {
        Ok(metadata) if metadata.is_file() => Ok(binary),
        Ok(_) => Err(Failure::new(Kind::NotFound, format!("{} is not a file", binary.display()))
            .hint("`binary` is the path of the program itself")),
        Err(error) => {
            let failure = Failure::new(Kind::NotFound, format!("there is no program {}", binary.display()));
            let hint = if request.build.is_some() {
                "the build command ran, but made no such file"
            } else {
                "build it first, or give the option `build`"
            };
            Err(failure.cause(error).hint(hint))
        }
    }
}

/// Runs the image's build command, where it has one.
pub(super) async fn run(step: &Step, children: &Children, request: &ImageRequest) -> Result<(), Failure> {
    let Some(build) = &request.build else { return Ok(()) };
    step.waiting(build.as_str());
    let command = Command {
        program: "sh".into(),
        args: vec!["-c".into(), build.into()],
        cwd: Some(request.workspace.clone()),
        ..Command::default()
    };
    let built = children.run(&command, |stream, line| step.output(stream, line)).await;
    let built = built.map_err(|error| not_executed("`sh`", error))?;
    if built.status.success() {
        return Ok(());
    }
    let what = format!("the build command ended with {}: {build}", describe(built.status));
    Err(Failure::new(Kind::Command, what).evidence(built.tail(20)))
}
