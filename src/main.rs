//! The `recipe` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    recipe::main()
}
