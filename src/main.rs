//! The `recipe` command.

use std::path::PathBuf;
use std::process::ExitCode;

use recipe::supervise;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match (args.next(), args.next()) {
        (Some(command), Some(run_dir)) if command == supervise::SUBCOMMAND => {
            supervise::run_shim(&PathBuf::from(run_dir))
        }
        _ => ExitCode::from(2),
    }
}
