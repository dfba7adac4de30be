//! Measures the set-up of `recipes/datastorage.rhai` side by side with
//!
//! - the same by hand: `initdb`, start, `CREATE DATABASE`, migrations, start of
//!   the service, each timed alone with an eager probe. Their sum is the
//!   critical path, below which nothing without a cache can go;
//! - the same by `naive.sh`: one after the other, looking once a second;
//! - itself once more, with what an earlier run has kept.
//!
//! They take turns, so that noise of the machine meets all of them. Data,
//! records and caches are in memory, and the service is compiled before. `cargo bench --bench setup [-- ROUNDS]`.

mod support;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::in_memory;
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// What one round gave, in milliseconds.
#[derive(Clone, Copy, Default)]
struct Round {
    recipe: Run,
    warm: Run,
    naive: f64,
    by_hand: ByHand,
}

/// A run of recipe.
#[derive(Clone, Copy, Default)]
struct Run {
    set_up: f64,
    teardown: f64,
    process: f64,
}

#[derive(Clone, Copy, Default)]
struct ByHand {
    initdb: f64,
    start: f64,
    create: f64,
    migrate: f64,
    service: f64,
}

impl ByHand {
    fn sum(self) -> f64 {
        self.initdb + self.start + self.create + self.migrate + self.service
    }
}

fn main() {
    let rounds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(5);
    let bench = Bench::prepare();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut all = Vec::new();
    for number in 1..=rounds {
        let recipe = bench.recipe(&["--no-cache"]);
        let warm = bench.recipe(&[]);
        let by_hand = runtime.block_on(bench.by_hand());
        let naive = bench.naive();
        println!(
            "round {number}: recipe {:.0} ms, warm {:.0} ms, by hand {:.0} ms, naive {naive:.0} ms",
            recipe.set_up,
            warm.set_up,
            by_hand.sum()
        );
        all.push(Round { recipe, warm, naive, by_hand });
    }
    report(&all);
}

fn report(rounds: &[Round]) {
    let of = |pick: &dyn Fn(&Round) -> f64| median(rounds.iter().map(pick).collect());
    let by_hand = of(&|round| round.by_hand.sum());
    println!("\nmedians of {} rounds, ms", rounds.len());
    println!("  recipe, set-up             {:8.1}", of(&|round| round.recipe.set_up));
    println!("  recipe, teardown           {:8.1}", of(&|round| round.recipe.teardown));
    println!("  recipe, whole process      {:8.1}", of(&|round| round.recipe.process));
    let (warm, whole) = (of(&|round| round.warm.set_up), of(&|round| round.warm.process));
    println!("  warm, set-up               {warm:8.1}   goal 100 or less: {}", verdict(warm <= 100.0));
    println!("  warm, teardown             {:8.1}", of(&|round| round.warm.teardown));
    println!("  warm, whole process        {whole:8.1}   goal 200 or less: {}", verdict(whole <= 200.0));
    println!("  by hand, critical path     {by_hand:8.1}");
    println!("    initdb                   {:8.1}", of(&|round| round.by_hand.initdb));
    println!("    start                    {:8.1}", of(&|round| round.by_hand.start));
    println!("    create database          {:8.1}", of(&|round| round.by_hand.create));
    println!("    migrations               {:8.1}", of(&|round| round.by_hand.migrate));
    println!("    service until ready      {:8.1}", of(&|round| round.by_hand.service));
    println!("  naive script               {:8.1}", of(&|round| round.naive));
    let to_hand = of(&|round| round.recipe.set_up / round.by_hand.sum());
    let to_naive = of(&|round| round.recipe.set_up / round.naive);
    println!("\nratios, medians of the rounds' own");
    println!("  recipe / by hand    {to_hand:5.2}   goal 1.20 or less: {}", verdict(to_hand <= 1.2));
    println!("  recipe / naive      {to_naive:5.2}   goal 0.40 or less: {}", verdict(to_naive <= 0.4));
    let times = of(&|round| round.naive / round.warm.set_up);
    println!("  naive / warm        {times:5.1}   goal 40 or more: {}", verdict(times >= 40.0));
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Bench {
    root: &'static Path,
    service: PathBuf,
    postgres_bin: PathBuf,
    user: Option<(u32, u32)>,
    /// What runs keep for each other.
    cache: TempDir,
}

impl Bench {
    fn prepare() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let built = outside_cargo("cargo")
            .args(["build", "--quiet", "--release", "--example", "datastorage"])
            .current_dir(root)
            .status();
        assert!(built.unwrap().success(), "the service cannot be built");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let mut homes: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
            .map(|homes| homes.flatten().map(|home| home.path().join("bin")).collect())
            .unwrap_or_default();
        homes.sort();
        let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
        let mut candidates = homes.into_iter().rev().chain(on_path.unwrap_or_default());
        let postgres_bin = candidates
            .find(|bin| bin.join("initdb").exists())
            .expect("PostgreSQL is not installed: run .ci/setup");
        let is_root = nix::unistd::geteuid().is_root();
        let user = is_root.then(|| {
            let user = nix::unistd::User::from_name("postgres").unwrap().expect("there is a user `postgres`");
            (user.uid.as_raw(), user.gid.as_raw())
        });
        let cache = in_memory();
        let bench =
            Self { root, service: target.join("release/examples/datastorage"), postgres_bin, user, cache };
        // Keeps what the warm ones use.
        bench.recipe(&[]);
        bench
    }

    fn recipe(&self, args: &[&str]) -> Run {
        let state = in_memory();
        let began = Instant::now();
        let output = outside_cargo(env!("CARGO_BIN_EXE_recipe"))
            .args(["run", "recipes/datastorage.rhai", "--rm", "--output", "json", "--quiet"])
            .args(args)
            .env("RECIPE_STATE_DIR", state.path())
            .env("RECIPE_CACHE_DIR", self.cache.path())
            .current_dir(self.root)
            .output()
            .unwrap();
        let process = ms(began);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let ms = |field: &str| summary[field].as_f64().unwrap();
        Run { set_up: ms("wall_ms"), teardown: ms("teardown_ms"), process }
    }

    fn naive(&self) -> f64 {
        let dir = self.directory();
        let [postgres, redis, service] = free_ports();
        let output = outside_cargo(self.root.join("benches/naive.sh"))
            .arg(&self.postgres_bin)
            .arg(dir.path())
            .args([postgres, redis, service].map(|port| port.to_string()))
            .arg(&self.service)
            .current_dir(self.root)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    /// One that is owned by the server's user.
    fn directory(&self) -> TempDir {
        let dir = in_memory();
        if let Some((uid, gid)) = self.user {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        dir
    }

    fn server(&self, program: &str, dir: &Path) -> Command {
        let mut command = Command::new(self.postgres_bin.join(program));
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    async fn by_hand(&self) -> ByHand {
        let dir = self.directory();
        let [port, redis_port, service_port] = free_ports();
        let mut took = ByHand::default();
        std::fs::write(dir.path().join("password"), "byhand").unwrap();
        let _redis = Stopped(
            Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--port", &redis_port.to_string()])
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
            nix::sys::signal::Signal::SIGKILL,
        );

        let began = Instant::now();
        let data = dir.path().join("data");
        let initdb = self
            .server("initdb", dir.path())
            .arg(format!("--pgdata={}", data.display()))
            .arg(format!("--pwfile={}", dir.path().join("password").display()))
            .args(["--username=app", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"])
            .arg("--no-instructions")
            .status();
        assert!(initdb.unwrap().success());
        took.initdb = ms(began);

        let began = Instant::now();
        let settings = "fsync=off synchronous_commit=off full_page_writes=off max_wal_senders=0 jit=off \
                        shared_buffers=32MB";
        let mut postgres = self.server("postgres", dir.path());
        postgres.arg("-D").arg(&data).arg("-k").arg(dir.path()).args(["-p", &port.to_string()]);
        postgres.args(settings.split(' ').flat_map(|setting| ["-c", setting]));
        let _postgres = Stopped(postgres.spawn().unwrap(), nix::sys::signal::Signal::SIGQUIT);
        let url = |database: &str| format!("postgres://app:byhand@127.0.0.1:{port}/{database}");
        let client = connect(&url("postgres")).await;
        took.start = ms(began);

        let began = Instant::now();
        client.batch_execute("CREATE DATABASE datastorage").await.unwrap();
        took.create = ms(began);

        let began = Instant::now();
        let client = connect(&url("datastorage")).await;
        let mut files: Vec<_> = std::fs::read_dir(self.root.join("migrations"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            let up = text.split("-- +goose Down").next().unwrap();
            if up.contains("NO TRANSACTION") {
                for statement in up.split_inclusive(";\n") {
                    client.batch_execute(statement).await.unwrap();
                }
            } else {
                client.batch_execute(up).await.unwrap();
            }
        }
        took.migrate = ms(began);

        let began = Instant::now();
        let service = Command::new(&self.service)
            .env("DATABASE_URL", url("datastorage"))
            .env("REDIS_URL", format!("redis://127.0.0.1:{redis_port}"))
            .envs([("HOST", "127.0.0.1"), ("PORT", &service_port.to_string())])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let _service = Stopped(service, nix::sys::signal::Signal::SIGTERM);
        let ready = format!("http://127.0.0.1:{service_port}/readyz");
        while recipe::targets::http::probe(&ready, 200..=200).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        took.service = ms(began);
        took
    }
}

/// A command without what cargo tells a benchmark: it would make the cargo of
/// the recipe build some crates anew.
fn outside_cargo(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_")) {
        if !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&name.as_str()) {
            command.env_remove(name);
        }
    }
    command
}

async fn connect(url: &str) -> tokio_postgres::Client {
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(url, NoTls).await {
            tokio::spawn(connection);
            return client;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A child that is stopped when the round is over.
struct Stopped(Child, nix::sys::signal::Signal);

impl Drop for Stopped {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, self.1);
        let _ = self.0.wait();
    }
}

fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
