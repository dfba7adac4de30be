//! The `recipe` command.

fn main() {}
