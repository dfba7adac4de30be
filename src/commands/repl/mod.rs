//! `recipe repl`: a recipe written and run entry by entry.
//!
//! ```text
//!  input (a thread of its own, rustyline) ──> room ──> script (a thread for each entry)
//!      completion, hints, colours <── words      └──> `:commands`
//! ```

mod attach;
mod commands;
mod complete;
mod helper;
mod input;
mod paint;
mod room;
mod run;

use std::collections::BTreeMap;

use self::room::Room;
use self::run::Place;
use super::Done;
use crate::cli::ReplArgs;
use crate::primitives::TABLE;
use crate::run::{Failure, Kind};
use crate::script::call::quieten_panics;
use crate::script::{Program, workspace_of};
use crate::settings;

/// What the session and its runs are called.
const NAME: &str = "repl";

pub(super) fn repl(args: &ReplArgs) -> Done {
    quieten_panics();
    let here = std::env::current_dir()
        .map_err(|error| Failure::new(Kind::Io, "there is no working directory").cause(error))?;
    let workspace = workspace_of(&here.join(NAME));
    let target = settings::target(args.target.as_deref(), &workspace)?;
    let registry = settings::registry(None, &workspace)?;
    let params = settings::params(&args.set, args.params.as_deref(), None)?;
    let program = Program::empty(TABLE, &workspace)?;
    let runtime = super::runtime()?;
    let done = runtime.block_on(async {
        let place = Place {
            workspace: &workspace,
            target: &target,
            registry: registry.as_deref(),
            params: &params,
            program: &program,
            runtime: runtime.handle(),
            attach: args.attach.as_deref(),
        };
        Room::open(place).await?.talk().await
    });
    // A prompt that nobody answers any more must not hold the process up.
    runtime.shutdown_background();
    done
}

/// Parameters given on the command line.
type Params = BTreeMap<String, serde_json::Value>;
