//! What hangs, is full, or is not listened to any more: the end comes in time,
//! with the right code and words, and nothing is left.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Output, Sandbox};

const CLUSTER: &str = "let c = create_cluster(\"c\");\n";

/// Accepts connections for as long as the test runs, and hands each to `answer`.
fn engine(sandbox: &Sandbox, answer: fn(UnixStream)) -> String {
    let socket = sandbox.scratch().join("engine");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    format!("unix://{}", socket.display())
}

fn never_answers(mut stream: UnixStream) {
    // Reads until the other end goes away.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

/// Says its version, and nothing else.
fn answers_once(mut stream: UnixStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    let _ = reader.read_line(&mut request);
    if request.contains("/version") {
        let body = r#"{"ApiVersion":"1.44","Arch":"amd64","Components":[]}"#;
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
        let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        return;
    }
    let _ = reader.read_to_string(&mut request);
}

#[track_caller]
fn engine_that_hangs(answer: fn(UnixStream)) {
    let sandbox = Sandbox::with("build_image(\"x\", #{ dockerfile: \"Dockerfile\" });")
        .file("Dockerfile", "FROM scratch\n");
    let host = engine(&sandbox, answer);
    let sandbox = sandbox.env("DOCKER_HOST", &host);
    let ended = sandbox.recipe(["run", "--rm", "--target", "kind", "recipe.rhai"]);
    ended.exits(3).says(&["no container engine answers", "it did not answer in 10 s", "set DOCKER_HOST"]);
    std::fs::remove_file(host.trim_start_matches("unix://")).unwrap();
    sandbox.assert_failed_cleanly();
}

#[test]
fn an_engine_that_accepts_and_never_answers() {
    engine_that_hangs(never_answers);
}

#[test]
fn an_engine_that_answers_once_and_never_again() {
    engine_that_hangs(answers_once);
}

/// A sandbox with the context `hang`, whose API server accepts and never answers.
fn cluster_that_hangs(recipe: &str) -> Sandbox {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).collect::<Vec<_>>());
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: hang\n\
         clusters: [{{ name: c, cluster: {{ server: \"http://127.0.0.1:{port}\" }} }}]\n\
         contexts: [{{ name: hang, context: {{ cluster: c, user: u }} }}]\nusers: [{{ name: u, user: {{}} }}]\n"
    );
    let sandbox = Sandbox::with(recipe).file("kubeconfig", &kubeconfig);
    let path = sandbox.path().join("kubeconfig");
    sandbox.env("KUBECONFIG", path).env("RECIPE_TARGET", "kube:hang")
}

#[test]
fn a_cluster_that_accepts_and_never_answers() {
    let sandbox = cluster_that_hangs("create_cluster(\"c\", #{ timeout: \"1s\" });");
    sandbox
        .recipe(["run", "--rm", "--target", "kube:hang", "recipe.rhai"])
        .exits(1)
        .says(&["the cluster was not there within 1", "the option `timeout` gives it more time"]);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_cluster_that_never_answers_until_the_deadline_of_the_run() {
    let sandbox = cluster_that_hangs(CLUSTER);
    let ended = sandbox.recipe(["run", "--rm", "--target", "kube:hang", "--timeout", "1s", "recipe.rhai"]);
    ended.exits(1).says(&["the set-up was not done within 1", "marked as cancelled"]);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_command_that_ignores_the_deadline_is_killed() {
    let sandbox = Sandbox::with("sh(\"trap '' TERM INT HUP; while :; do sleep 100; done\");");
    let ended = sandbox.recipe(["run", "--rm", "--timeout", "1s", "recipe.rhai"]);
    ended.exits(1).says(&["the set-up was not done within 1"]);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_thread_that_hangs_in_the_system_is_left_behind_after_the_deadline() {
    let sandbox = Sandbox::with(&format!("{CLUSTER}deploy_redis(c);\nread_file(\"recipe.rhai\");"));
    let mut command = sandbox.command(["run", "--rm", "--timeout", "2s", "recipe.rhai"]);
    let ended = Output::from(command.env("RECIPE_FAULT", "read_file/files:hang:1").output().unwrap());
    ended.exits(1).says(&["the set-up was not done within 2", "hangs in the system and cannot be stopped"]);
    sandbox.assert_failed_cleanly();
}

#[test]
fn a_supervisor_that_hangs_is_done_without() {
    let sandbox = Sandbox::with(&format!("{CLUSTER}deploy_redis(c);\nsleep(\"1h\");"));
    let mut live = sandbox.start(&["--rm"]);
    live.event("the sleep", |event| event["primitive"] == "sleep");
    let supervisor = Pid::from_raw(sandbox.supervisor().unwrap());
    kill(supervisor, Signal::SIGSTOP).unwrap();
    live.signal(Signal::SIGINT);
    let ended = live.end();
    ended.exits(130).says(&["nothing is left"]);
    sandbox.assert_nothing_left();
    assert!(sandbox.open_entries().is_empty(), "{:?}", sandbox.open_entries());
}

/// A file system in memory that is unmounted in the end.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn mount(path: &'a Path, size: &str) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={size},mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(path).status();
        assert!(
            mounted.unwrap().success(),
            "mounting takes root: leave this test out with `--skip full_disk`"
        );
        Self(path)
    }

    fn fill(&self) {
        // Ends with the error that there is no room left.
        let mut file = std::fs::File::create(self.0.join("filling")).unwrap();
        while file.write_all(&[0; 1024]).is_ok() {}
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn full_disk_below_the_records() {
    let sandbox = Sandbox::with(&format!("{CLUSTER}deploy_redis(c);"));
    let path = sandbox.path().join("disk");
    let disk = Disk::mount(&path, "64k");
    disk.fill();
    let sandbox = sandbox.env("RECIPE_STATE_DIR", &path);
    sandbox.run().exits(1).says(&[
        "records cannot be written",
        "No space left on device",
        "RECIPE_STATE_DIR",
    ]);
    sandbox.assert_nothing_left();
}

#[test]
fn full_disk_below_the_records_of_a_run_that_goes_on() {
    let fill = "sh(\"until ! head -c 4096 /dev/zero >> disk/filling; do :; done 2> /dev/null\");\n";
    let service = "for i in 0..50 { deploy_service(c, `s${i}`, #{ command: [\"sleep\", \"3600\"] }); }";
    let sandbox = Sandbox::with(&format!("{CLUSTER}{fill}{service}"));
    let path = sandbox.path().join("disk");
    let _disk = Disk::mount(&path, "64k");
    let sandbox = sandbox.env("RECIPE_STATE_DIR", &path);
    sandbox.run().exits(1).says(&[
        "a report of this run is incomplete",
        "the run's journal cannot be written",
        "No space left on device",
        "make room there",
    ]);
    sandbox.assert_nothing_left();
}

#[test]
fn full_disk_below_the_scratch_directory() {
    let sandbox = Sandbox::with("deploy_postgres(create_cluster(\"c\"));");
    let path = sandbox.scratch().join("disk");
    let disk = Disk::mount(&path, "10m");
    let sandbox = sandbox.env("RECIPE_RUN_DIR", &path);
    let ended = sandbox.recipe(["run", "--rm", "--no-cache", "recipe.rhai"]).exits(1);
    ended.says(&["there is no room left in", "set RECIPE_RUN_DIR to a directory with"]);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0);
    drop(disk);
    std::fs::remove_dir(&path).unwrap();
    sandbox.assert_failed_cleanly();
}

#[test]
fn full_disk_under_standard_error() {
    let sandbox = Sandbox::with(&format!("{CLUSTER}deploy_redis(c);\noutput(#{{ there: true }});"));
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let run = ["run", "--rm", "--output", "json", "recipe.rhai"];
    let ended = Output::from(sandbox.command(run).stderr(full()).output().unwrap()).exits(0);
    assert!(ended.stdout.contains("\"there\": true"), "{}", ended.stdout);
    let wrong = sandbox.command(["run", "nope.rhai"]).stderr(full()).output().unwrap();
    Output::from(wrong).exits(2);
    let output = Output::from(sandbox.command(run).stdout(full()).stderr(Stdio::piped()).output().unwrap());
    output.exits(1).says(&["standard output cannot be written", "No space left on device"]);
    sandbox.assert_nothing_left();
}

/// Named as what takes a mount.
#[test]
fn full_disk_that_is_read_only() {
    let sandbox = Sandbox::with(CLUSTER);
    let path = sandbox.path().join("disk");
    let _disk = Disk::mount(&path, "1m");
    let sandbox = sandbox.env("RECIPE_STATE_DIR", &path);
    sandbox.run().success();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&path).status();
    assert!(remounted.unwrap().success());
    sandbox.run().exits(3).says(&[
        "records cannot be written below",
        "Read-only file system",
        "make it writable",
    ]);
    for reads in [&["ls", "--all"][..], &["gc"], &["down", "--all"], &["report"]] {
        sandbox.recipe(reads).success();
    }
    sandbox.assert_nothing_left();
}

/// Runs `recipe ARGS` whose reader goes away after the first line, or at once.
fn cut_off(sandbox: &Sandbox, args: &[&str], lines: usize) -> Output {
    let mut child = sandbox.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let reader = BufReader::with_capacity(1, child.stdout.take().unwrap());
    assert_eq!(reader.lines().take(lines).map_while(Result::ok).count(), lines);
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let sandbox = Sandbox::with(&format!("{CLUSTER}deploy_redis(c);"));
    sandbox.run().success();
    for (args, lines) in [
        (&["run", "--rm", "--output", "json", "recipe.rhai"][..], 1),
        (&["run", "--rm", "--output", "json", "recipe.rhai"], 0),
        (&["ls", "--all"], 0),
        (&["report", "--format", "json"], 1),
        (&["report", "--format", "html"], 1),
        (&["doc"], 1),
        (&["completions", "bash"], 1),
        (&["man"], 0),
        (&["schema"], 1),
    ] {
        cut_off(&sandbox, args, lines).exits(0).never_says(&["panicked"]);
    }
    sandbox.assert_nothing_left();
}

#[test]
fn a_terminal_that_goes_away_lets_the_run_be() {
    let sandbox = Sandbox::with(&format!("{CLUSTER}deploy_redis(c);\nsh(\"seq 1 20000\");"));
    // Progress and errors into a pipe that nobody reads any more.
    let script = "\"$0\" run --rm recipe.rhai 2>&1 >/dev/null | head -1; exit ${PIPESTATUS[0]}";
    let recipe = sandbox.command([""; 0]);
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).arg(recipe.get_program()).current_dir(sandbox.path());
    shell.envs(recipe.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Output::from(shell.output().unwrap()).exits(0);
    // Closed altogether.
    let mut shell = Command::new("bash");
    shell.args(["-c", "exec \"$0\" run --rm recipe.rhai 2>&- >&-"]).arg(recipe.get_program());
    shell.current_dir(sandbox.path());
    shell.envs(recipe.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Output::from(shell.output().unwrap()).exits(0);
    sandbox.assert_nothing_left();
}
