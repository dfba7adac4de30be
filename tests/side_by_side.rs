//! Many runs at once on one machine: none sees another.

mod harness;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::{Output, Sandbox};
use serde_json::Value;

const RUNS: usize = 20;

const RECIPE: &str = r#"
let cluster = create_cluster("c");
let env = parallel(#{
    pg: || deploy_postgres(cluster, #{ timeout: "5m", settings: #{ shared_buffers: "16MB" } }),
    redis: || deploy_redis(cluster, #{ timeout: "5m" }),
});
sql(env.pg, "CREATE TABLE owner (run text)");
sql(env.pg, "INSERT INTO owner VALUES ($1)", [run_id()]);
redis_command(env.redis, ["SET", "owner", run_id()]);
let service = deploy_service(cluster, "site", #{
    command: ["python3", "-m", "http.server", "--bind", "$(HOST)", "--directory", "$(FILES)", "$(PORT)"],
    port: 8000, ready: "/", files: #{ owner: run_id() },
});
wait_ready(service, #{ timeout: "5m" });
// All of them are up together.
write_file("up/" + run_id(), "");
wait_for("the others", || sh("ls up | wc -l").stdout.trim() == "20", #{ timeout: "5m" });
output(#{
    id: run_id(), ports: [env.pg.port, env.redis.port, service.port],
    seen: [sql(env.pg, "SELECT run FROM owner")[0].run, redis_command(env.redis, ["GET", "owner"]), http(service.url + "/owner").body],
});
"#;

#[test]
fn twenty_runs_at_once() {
    let sandbox = Sandbox::with(RECIPE);
    let before = shared_memory();
    let runs: Vec<_> = (0..RUNS)
        .map(|_| {
            let mut run = sandbox.command(["run", "--rm", "-q", "--output", "json", "recipe.rhai"]);
            run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();

    let mut ports = BTreeSet::new();
    for run in runs {
        let output = Output::from(run.wait_with_output().unwrap()).success();
        let outputs = serde_json::from_str::<Value>(&output.stdout).unwrap()["outputs"].take();
        for seen in outputs["seen"].as_array().unwrap() {
            assert_eq!(*seen, outputs["id"], "it sees another run's");
        }
        ports.extend(outputs["ports"].as_array().unwrap().iter().map(|port| port.as_u64().unwrap()));
    }
    assert_eq!(ports.len(), RUNS * 3, "no port was given twice");
    for port in ports {
        TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    }
    sandbox.assert_nothing_left();
    let left: Vec<_> = shared_memory().difference(&before).cloned().collect();
    // Other tests have servers, too, while they run.
    let ours: Vec<_> = left.into_iter().filter(|(_, user)| user.is_none()).collect();
    assert!(ours.is_empty(), "left behind: {ours:?}");
    assert!(sandbox.runs().iter().all(|run| run["state"] == "down"));
}

/// Shared memory of PostgreSQL servers, and the process of one that still uses
/// it: System V segments by their id, POSIX ones by their path.
fn shared_memory() -> BTreeSet<(String, Option<i32>)> {
    let segments = Command::new("ipcs").args(["-m", "-p"]).output().expect("ipcs is part of util-linux");
    let segments = String::from_utf8(segments.stdout).unwrap();
    let segments = segments.lines().filter_map(|line| {
        let [id, "postgres", creator, _] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return None;
        };
        let creator: i32 = creator.parse().ok()?;
        Some((format!("segment {id}"), harness::live::runs(creator).then_some(creator)))
    });
    let files = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.to_str().is_some_and(|path| path.contains("/PostgreSQL.")));
    segments.chain(files.map(|path| (path.display().to_string(), user(&path)))).collect()
}

/// A process that has the file mapped.
fn user(path: &PathBuf) -> Option<i32> {
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let maps = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    { pids }.find(|pid| maps(pid).contains(path.to_str().unwrap()))
}
