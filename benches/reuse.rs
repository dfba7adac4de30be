//! Measures `recipe run --reuse` side by side with a set-up from nothing, of the
//! databases and the service of `recipes/datastorage.rhai`: with nothing
//! changed, with another environment of the service, and with a new migration;
//! and what `reset` of its database takes.
//!
//! They take turns, so that noise of the machine meets all of them. The service
//! is compiled before. `cargo bench --bench reuse [-- ROUNDS]`.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use support::in_memory;
use tempfile::TempDir;

/// What `recipes/datastorage.rhai` does, with a program that is built.
const RECIPE: &str = r#"
let image = build_image("datastorage", #{ binary: "service" });
let cluster = create_cluster("bench");
let env = parallel(#{
    postgres: || { let pg = deploy_postgres(cluster, #{ database: "datastorage" }); migrate(pg, "migrations"); pg },
    redis: || deploy_redis(cluster),
});
let service = deploy_service(cluster, "datastorage", #{
    image: image, port: 8080, ready: "/readyz",
    env: #{ DATABASE_URL: env.postgres.internal_url, REDIS_URL: env.redis.internal_url, ROUND: "ROUND" },
});
wait_ready(service);
output(#{ url: service.url });
"#;

const RESET: &str = r#"
let pg = deploy_postgres(create_cluster("bench"));
migrate(pg, "migrations");
reset(pg);
"#;

/// Milliseconds of set-up in one round.
#[derive(Clone, Copy)]
struct Round {
    cold: f64,
    unchanged: f64,
    /// The whole process, of the unchanged one.
    process: f64,
    service: f64,
    migration: f64,
    /// Of the step.
    reset: f64,
}

fn main() {
    let rounds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(5);
    let bench = Bench::prepare();
    let mut all = Vec::new();
    for number in 1..=rounds {
        let round = bench.round(number);
        println!("round {number}: cold {:.0} ms, unchanged {:.1} ms", round.cold, round.unchanged);
        all.push(round);
    }
    let of = |pick: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = all.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let unchanged = of(&|round| round.unchanged);
    println!("\nmedians of {rounds} rounds, ms of set-up");
    println!("  from nothing, nothing cached       {:8.1}", of(&|round| round.cold));
    println!(
        "  --reuse, nothing changed           {unchanged:8.1}   goal 15 or less: {}",
        verdict(unchanged <= 15.0)
    );
    println!("    whole process                    {:8.1}", of(&|round| round.process));
    println!("  --reuse, the service's environment {:8.1}", of(&|round| round.service));
    println!("  --reuse, a new migration           {:8.1}", of(&|round| round.migration));
    let reset = of(&|round| round.reset);
    println!(
        "  reset                              {reset:8.1}   goal 50 or less: {}",
        verdict(reset <= 50.0)
    );
    println!(
        "\nfrom nothing / unchanged, median of the rounds' own: {:.0}",
        of(&|round| round.cold / round.unchanged)
    );
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

struct Bench {
    files: TempDir,
    state: TempDir,
}

impl Bench {
    fn prepare() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "--quiet", "--release", "--example", "datastorage"]).current_dir(root);
        assert!(cargo.status().unwrap().success(), "the service cannot be built");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let bench = Self { files: tempfile::tempdir().unwrap(), state: in_memory() };
        let files = bench.files.path();
        std::os::unix::fs::symlink(target.join("release/examples/datastorage"), files.join("service"))
            .unwrap();
        std::fs::create_dir(files.join("migrations")).unwrap();
        for migration in std::fs::read_dir(root.join("migrations")).unwrap() {
            let migration = migration.unwrap();
            std::fs::copy(migration.path(), files.join("migrations").join(migration.file_name())).unwrap();
        }
        bench.write("reset.rhai", RESET);
        bench
    }

    fn round(&self, number: usize) -> Round {
        self.write("recipe.rhai", &RECIPE.replace("\"ROUND\"", "\"0\""));
        let (cold, _) = self.recipe(&["run", "--rm", "--no-cache"]);
        self.recipe(&["run", "--reuse"]);
        let (unchanged, process) = self.recipe(&["run", "--reuse"]);
        self.write("recipe.rhai", &RECIPE.replace("\"ROUND\"", &format!("\"{number}\"")));
        let (service, _) = self.recipe(&["run", "--reuse"]);
        self.write("migrations/900_bench.sql", "-- +goose Up\nCREATE TABLE bench (id int);\n");
        let (migration, _) = self.recipe(&["run", "--reuse"]);
        std::fs::remove_file(self.files.path().join("migrations/900_bench.sql")).unwrap();
        assert!(self.command(&["down", "--all"]).status().unwrap().success());
        Round { cold, unchanged, process, service, migration, reset: self.reset() }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.files.path().join(name), text).unwrap();
    }

    /// Milliseconds of set-up, and of the whole process.
    fn recipe(&self, args: &[&str]) -> (f64, f64) {
        let began = Instant::now();
        let summary = self.summary(args, "recipe.rhai");
        let process = began.elapsed().as_secs_f64() * 1000.0;
        (summary["wall_ms"].as_f64().unwrap(), process)
    }

    fn reset(&self) -> f64 {
        let summary = self.summary(&["run", "--rm"], "reset.rhai");
        let step = summary["steps"].as_array().unwrap().iter().find(|step| step["primitive"] == "reset");
        let at = |moment: &str| step.unwrap()[moment].as_f64().unwrap();
        at("end_ms") - at("start_ms")
    }

    fn summary(&self, args: &[&str], recipe: &str) -> serde_json::Value {
        let mut command = self.command(args);
        let output = command.args([recipe, "--output", "json", "--quiet"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recipe"));
        command.args(args).current_dir(self.files.path()).env("RECIPE_STATE_DIR", self.state.path());
        command
    }
}
