//! Runs recipes and hits recipe, its supervisor or both at random moments;
//! afterwards, with at most one `recipe gc`, nothing may be left.
//!
//! `make test-kill` does so on `local`, `make test-kind` on `kind`: `ROUNDS` says how many rounds, `SEED` which. What
//! it prints of a round that failed repeats that one: `SEED=n ROUND=m`.

#[path = "../harness/mod.rs"]
mod harness;
mod left;
mod plan;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::Sandbox;
use left::SharedMemory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plan::{Blow, KIND, LOCAL, Plan, Scenario, Victim};

/// Longer than anything takes here: what is not over by then hangs.
const PATIENCE: Duration = Duration::from_mins(3);

#[test]
#[ignore = "make test-kill runs it: hundreds of environments are set up and killed"]
fn nothing_is_left_on_local() {
    rounds(&LOCAL, 200, 6, Vec::new);
}

#[test]
#[ignore = "make test-kind runs it, which prepares a container engine"]
fn nothing_is_left_on_kind() {
    struct Kept;
    impl Drop for Kept {
        fn drop(&mut self) {
            let _ = Command::new("kind").args(["delete", "cluster", "--quiet", "--name", KEPT]).status();
        }
    }
    let _kept = Kept;
    // Whoever makes it takes longer than all others.
    length(KIND[1].args, KIND[1].recipe);
    rounds(&KIND, 10, 1, on_kind);
}

/// Plays rounds of `scenarios`, some side by side: as many as `ROUNDS` says, else
/// `usual`. `left` is what they have left outside their sandboxes.
fn rounds(scenarios: &'static [Scenario], usual: u64, width: usize, left: impl Fn() -> Vec<String>) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed = number("SEED").unwrap_or_else(|| clock().into());
    let rounds: Vec<u64> = match number("ROUND") {
        Some(round) => vec![round],
        None => (0..number("ROUNDS").unwrap_or(usual)).collect(),
    };
    println!("SEED={seed} ROUNDS={}", rounds.len());
    let lengths: Vec<Duration> =
        scenarios.iter().map(|scenario| length(scenario.args, scenario.recipe)).collect();

    let (hit, needed_gc) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut failures = Vec::new();
    let memory = SharedMemory::now();
    for wave in rounds.chunks(width) {
        let play = |round: &u64| {
            let plan = Plan::of(seed, *round, scenarios, &lengths);
            println!("{round}: {plan}");
            let outcome = play(&plan);
            if let Ok(tale) = &outcome {
                hit.fetch_add(usize::from(tale.hit), Ordering::Relaxed);
                needed_gc.fetch_add(usize::from(tale.needed_gc), Ordering::Relaxed);
            }
            outcome.err().map(|what| format!("SEED={seed} ROUND={round}, {plan}: {what}"))
        };
        let told: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = wave.iter().map(|round| scope.spawn(|| play(round))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        failures.extend(told);
        let leaked = || SharedMemory::now().beyond(&memory).into_iter().chain(left()).collect::<Vec<_>>();
        if !within(|| leaked().is_empty()) {
            failures.push(format!("SEED={seed} ROUND={wave:?}: left behind: {:?}", leaked()));
        }
        for failure in &failures {
            println!("{failure}");
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
    println!(
        "{} rounds, {} met something that ran, {} needed `recipe gc`, nothing was left",
        rounds.len(),
        hit.into_inner(),
        needed_gc.into_inner()
    );
}

/// The cluster that stays.
const KEPT: &str = "recipe-kill-kept";

/// What runs have left there: clusters of their own, half of the one that stays,
/// and namespaces in that.
fn on_kind() -> Vec<String> {
    let told = |command: &mut Command| {
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (_, all) = told(Command::new("kind").args(["get", "clusters"]));
    let mut left: Vec<_> = all.lines().filter(|name| name.starts_with("kill-")).map(str::to_owned).collect();
    if all.lines().any(|name| name == KEPT) {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let (_, text) = told(Command::new("kind").args(["get", "kubeconfig", "--name", KEPT]));
        std::fs::write(&kubeconfig, text).unwrap();
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(kubeconfig);
        let (answers, namespaces) =
            told(kubectl.args(["get", "namespaces", "-l", "recipe/run", "-o", "name"]));
        left.extend(namespaces.lines().map(str::to_owned));
        left.extend((!answers).then(|| format!("half of the cluster {KEPT}")));
    }
    left
}

/// What a round was like.
struct Tale {
    /// Whether what was to be hit was there.
    hit: bool,
    needed_gc: bool,
}

/// How long a run takes that nobody hits.
fn length(args: &[&str], recipe: &str) -> Duration {
    let sandbox = sandbox(recipe);
    let began = Instant::now();
    start(&sandbox, args).wait().unwrap();
    began.elapsed()
}

/// With the images that `make test-kind` tells of.
fn sandbox(recipe: &str) -> Sandbox {
    let image = std::env::var("RECIPE_TEST_REDIS_IMAGE").unwrap_or_default();
    Sandbox::with(recipe).env("RECIPE_PARAM_REDIS", image)
}

fn start(sandbox: &Sandbox, args: &[&str]) -> Child {
    let mut command = sandbox.command(args);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn play(plan: &Plan) -> Result<Tale, String> {
    let sandbox = sandbox(plan.scenario.recipe);
    let mut recipe = start(&sandbox, plan.scenario.args);
    std::thread::sleep(plan.after);
    let hit = strike(&sandbox, recipe.id().cast_signed(), plan);
    if !within(|| recipe.try_wait().unwrap().is_some()) {
        let _ = recipe.kill();
        return Err("recipe hangs".to_owned());
    }
    let state = || sandbox.runs().first().map(|run| run["state"].as_str().unwrap().to_owned());
    if matches!(state().as_deref(), Some("up" | "kept")) {
        sandbox.recipe(["down", "--all"]);
    }
    // One that has lost its owner ends by itself.
    if !within(|| sandbox.supervisor().is_none()) {
        return Err(format!("the supervisor hangs: {:?}", sandbox.processes()));
    }
    let needed_gc = left::of(&sandbox).is_some();
    if needed_gc {
        let gc = sandbox.recipe(["gc"]);
        if gc.code != 0 {
            return Err(format!("recipe gc failed: {}", gc.stderr));
        }
    }
    // What has been ended may still be on its way out.
    if within(|| left::of(&sandbox).is_none()) {
        Ok(Tale { hit, needed_gc })
    } else {
        Err(format!("left: {:?}", left::of(&sandbox)))
    }
}

/// Returns whether there was somebody to hit.
fn strike(sandbox: &Sandbox, recipe: i32, plan: &Plan) -> bool {
    let mut victims = Vec::new();
    if plan.victim != Victim::Recipe {
        victims.extend(left::supervisor(sandbox));
    }
    // A zombie that is not reaped yet takes signals without a complaint.
    if plan.victim != Victim::Supervisor && harness::live::runs(recipe) {
        victims.push(recipe);
    }
    let all = |signal: Signal| {
        for victim in &victims {
            let _ = kill(Pid::from_raw(*victim), signal);
        }
    };
    match plan.blow {
        Blow::Kill => all(Signal::SIGKILL),
        Blow::Terminate => all(Signal::SIGTERM),
        Blow::InterruptTwice(pause) => {
            all(Signal::SIGINT);
            std::thread::sleep(pause);
            all(Signal::SIGINT);
        }
    }
    !victims.is_empty()
}

fn within(mut is: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
