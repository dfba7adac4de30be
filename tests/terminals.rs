//! A terminal that is closed, and one that is left in a hurry.

mod harness;

use std::fs::File;
use std::io::Read;

use harness::live::eventually;
use harness::{Output, Sandbox};

/// A command that does not care for signals.
const STUBBORN: &str = r#"
let c = create_cluster("c");
deploy_redis(c);
sh("trap '' TERM INT HUP; echo here; while :; do sleep 100; done");
"#;

#[test]
fn a_terminal_that_is_closed_takes_the_run_down() {
    let sandbox = Sandbox::with("deploy_redis(create_cluster(\"c\"));\nsh(\"echo here; sleep 3600\");");
    let (mut child, screen) = sandbox.on_pty(&sandbox.command(["run", "-v", "recipe.rhai"]));
    let mut screen = File::from(screen);
    let (mut written, mut bytes) = (String::new(), [0; 4096]);
    while !written.contains("here") {
        let count = screen.read(&mut bytes).unwrap();
        written.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    drop(screen);
    let code = Output::code_of(child.wait().unwrap());
    assert_eq!(code, 129, "{written}");
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_third_ctrl_c_leaves_the_terminal_as_it_was() {
    let sandbox = Sandbox::with(STUBBORN);
    let mut terminal = sandbox.terminal(&["run", "-v", "recipe.rhai"]);
    let before = terminal.settings();
    terminal.says("here");
    terminal.keys("\x03");
    terminal.says("cancel");
    terminal.keys("\x03");
    terminal.says("kill");
    terminal.keys("\x03");
    let after = terminal.settings();
    let code = terminal.end();
    assert_eq!(code, 130);
    assert_eq!(after, before);
    eventually("everything is gone", || sandbox.processes().is_empty());
    sandbox.assert_nothing_left();
}
