//! The DataStorage service end to end: what its users rely on, at its edges,
//! and while a database is away.
//!
//! Needs the environment of `recipes/datastorage.rhai`, and is told where it is
//! by `URL`, `DATABASE_URL` and `REDIS_URL`, as `recipe test` does:
//!
//! ```text
//! recipe test recipes/datastorage.rhai --results e2e.xml -- cargo test --test e2e -- --junit e2e.xml
//! ```
//!
//! Cases run side by side, each with names of its own, but for those that take
//! a database away. Words on the command line choose the cases whose names hold
//! one of them.

mod answer;
mod edges;
mod listing;
mod outages;
mod retention;
mod runner;
mod service;
mod workflows;

use std::process::ExitCode;

use runner::Case;
use service::Service;

/// Those that can run side by side.
const TOGETHER: [&[Case]; 4] = [workflows::CASES, edges::CASES, listing::CASES, retention::CASES];

/// Those that need the service for themselves, in this order.
const ALONE: &[Case] = outages::CASES;

fn main() -> ExitCode {
    let service = match Service::from_environment() {
        Ok(service) => service,
        Err(missing) => {
            eprintln!("e2e: {missing}; run this by `make test-e2e`");
            return ExitCode::from(2);
        }
    };
    runner::run(&service, &TOGETHER.concat(), ALONE)
}
