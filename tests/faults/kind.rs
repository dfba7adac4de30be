//! Primitives of the target `kind`, in a cluster that stays.

use std::process::Command;

use crate::cases::{Ground, USE, Use};

const CLUSTER: &str = "create_cluster(\"faults-test\", #{ reuse: true })";

pub const KIND: Ground = Ground { target: "kind", cluster: CLUSTER, uses: USES };

const BUILD: &str = "build_image(\"program\", #{ build: \"true\", binary: \"program\", base: env(\"RECIPE_TEST_BASE_IMAGE\") })";
const BUILT: &str = "let built = build_image(\"program\", #{ build: \"true\", binary: \"program\", base: env(\"RECIPE_TEST_BASE_IMAGE\") });";
const POSTGRES: &str = "deploy_postgres(c, #{ image: env(\"RECIPE_TEST_POSTGRES_IMAGE\") })";
const REDIS: &str = "deploy_redis(c, #{ image: env(\"RECIPE_TEST_REDIS_IMAGE\") })";
const SERVICE: &str = "deploy_service(c, \"site\", #{ image: env(\"RECIPE_TEST_BASE_IMAGE\"), command: [\"sleep\", \"3600\"] })";
const SITE: &str = "let site = deploy_service(c, \"site\", #{ image: env(\"RECIPE_TEST_BASE_IMAGE\"), command: [\"sleep\", \"3600\"] });";

const USES: &[Use] = &[
    Use { primitive: "build_image", seam: "docker", what: "the engine's first answer", call: BUILD, ..USE },
    Use {
        primitive: "build_image",
        seam: "docker",
        nth: "2",
        what: "the engine's second answer",
        call: BUILD,
        ..USE
    },
    Use { primitive: "create_cluster", seam: "spawn", what: "`kind`", call: CLUSTER, ..USE },
    Use {
        primitive: "create_cluster",
        seam: "kubernetes",
        what: "the mark of the cluster",
        call: CLUSTER,
        ..USE
    },
    Use { primitive: "deploy_postgres", seam: "kubernetes", what: "the first object", call: POSTGRES, ..USE },
    Use {
        primitive: "deploy_postgres",
        seam: "sql",
        what: "the first question whether it answers",
        call: POSTGRES,
        mends: true,
        ..USE
    },
    Use { primitive: "deploy_redis", seam: "kubernetes", what: "the first object", call: REDIS, ..USE },
    Use { primitive: "deploy_redis", seam: "server", what: "the port-forward", call: REDIS, ..USE },
    Use {
        primitive: "deploy_redis",
        seam: "redis",
        what: "the first question whether it answers",
        call: REDIS,
        mends: true,
        ..USE
    },
    Use { primitive: "deploy_service", seam: "kubernetes", what: "the first object", call: SERVICE, ..USE },
    Use {
        primitive: "exec",
        seam: "kubernetes",
        what: "its pods",
        before: SITE,
        call: "exec(site, [\"true\"])",
        ..USE
    },
    Use {
        primitive: "load_image",
        seam: "docker",
        what: "the layers of the image",
        before: BUILT,
        call: "load_image(c, built)",
        ..USE
    },
    Use { primitive: "logs", seam: "kubernetes", what: "its pods", before: SITE, call: "logs(site)", ..USE },
    Use {
        primitive: "wait_ready",
        seam: "kubernetes",
        what: "the watch of its pods",
        before: SITE,
        call: "wait_ready(site)",
        mends: true,
        ..USE
    },
];

/// The cluster that all runs share; it goes with this.
pub struct Cluster;

impl Drop for Cluster {
    fn drop(&mut self) {
        let kind = std::env::var_os("RECIPE_KIND").unwrap_or("kind".into());
        let _ = Command::new(kind).args(["delete", "cluster", "--quiet", "--name", "faults-test"]).status();
    }
}
