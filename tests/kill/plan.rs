//! What happens in a round, all of it from the seed.

use std::fmt;
use std::time::Duration;

/// A recipe, and how it is run.
pub struct Scenario {
    pub name: &'static str,
    pub args: &'static [&'static str],
    pub recipe: &'static str,
}

/// On `local`. Each has something that is hard to get rid of: shared memory, processes that
/// have left their group, commands of recipe's own, a command under test.
pub const LOCAL: [Scenario; 4] = [
    Scenario {
        name: "servers",
        args: &["run", "--rm", "recipe.rhai"],
        recipe: r#"
            let c = create_cluster("c");
            parallel([|| deploy_postgres(c), || deploy_redis(c), || deploy_service(c, "s", #{
                command: ["sh", "-c", "trap '' TERM; setsid sleep 600 & sleep 600"] })]);
            sh("sleep 0.1");
        "#,
    },
    Scenario {
        name: "commands",
        args: &["run", "--rm", "recipe.rhai"],
        recipe: r#"
            on_exit(|| sh("true"));
            each([1, 2, 3, 4], |n| sh("(setsid sleep 600 &) ; sleep 600 & trap '' TERM; sleep 0.2"));
        "#,
    },
    Scenario {
        name: "left up",
        args: &["run", "recipe.rhai"],
        recipe: r#"
            let c = create_cluster("c");
            random_port();
            deploy_redis(c);
            deploy_service(c, "s", #{ command: ["sh", "-c", "(setsid sleep 600 &); sleep 600"] });
        "#,
    },
    Scenario {
        name: "tested",
        args: &["test", "recipe.rhai", "--", "sh", "-c", "setsid sleep 600 & sleep 600 & sleep 0.2"],
        recipe: r#"deploy_redis(create_cluster("c"));"#,
    },
];

/// On `kind`: a cluster that goes with its run, and one that stays, of which only
/// the namespace goes.
pub const KIND: [Scenario; 2] = [
    Scenario {
        name: "own cluster",
        args: &["run", "--rm", "--target", "kind", "recipe.rhai"],
        recipe: r#"deploy_redis(create_cluster("kill"), #{ image: param("redis") });"#,
    },
    Scenario {
        name: "kept cluster",
        args: &["run", "--rm", "--target", "kind", "recipe.rhai"],
        recipe: r#"deploy_redis(create_cluster("recipe-kill-kept", #{ reuse: true }), #{ image: param("redis") });"#,
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Recipe,
    Supervisor,
    Both,
}

#[derive(Debug, Clone, Copy)]
pub enum Blow {
    Kill,
    Terminate,
    /// With this between.
    InterruptTwice(Duration),
}

pub struct Plan {
    pub scenario: &'static Scenario,
    pub victim: Victim,
    pub blow: Blow,
    pub after: Duration,
}

impl Plan {
    /// The plan of a round of one of `scenarios`, which take as long as `lengths`.
    pub fn of(seed: u64, round: u64, scenarios: &'static [Scenario], lengths: &[Duration]) -> Self {
        let mut random = Random(seed ^ round.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let scenario = random.below(scenarios.len());
        let victim = [Victim::Recipe, Victim::Supervisor, Victim::Both][random.below(3)];
        let blow = match random.below(4) {
            0 | 1 => Blow::Kill,
            2 => Blow::Terminate,
            _ => Blow::InterruptTwice(Duration::from_millis(random.below(40) as u64)),
        };
        // Rounds side by side take longer than one alone.
        let after = lengths[scenario] * u32::try_from(random.below(1300)).unwrap() / 1000;
        Self { scenario: &scenarios[scenario], victim, blow, after }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, {:?} to {:?} after {:?}", self.scenario.name, self.blow, self.victim, self.after)
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}
