//! The primitives: what recipes can call.
//!
//! One file for each family; each entry of a family's table says everything
//! about a primitive. [`TABLE`] is what the script layer is given.

mod cluster;
mod control;
mod data;
mod database;
mod handles;
mod image;
mod kept;
mod machine;
mod migrating;
mod params;
mod reset;
mod reuse;
mod rules;
mod services;
#[cfg(debug_assertions)]
mod testing;
mod text;
mod waiting;
mod web;

use std::sync::OnceLock;

use rhai::{Dynamic, Engine};

use crate::run::Failure;
use crate::script::{Primitive, Table};

/// The script layer's view of this layer.
pub const TABLE: Table = Table {
    primitives: || Box::new(all()),
    types,
    name_of: handles::name_of,
    rules: rules::findings,
    keep: kept::keep,
    open: kept::open,
    reusing: reuse::REUSING,
};

fn types(engine: &mut Engine) {
    handles::register(engine);
    text::register(engine);
}

/// All primitives, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Primitive> {
    let documented = [
        cluster::TABLE,
        image::TABLE,
        data::TABLE,
        database::TABLE,
        reset::TABLE,
        services::TABLE,
        waiting::TABLE,
        machine::TABLE,
        web::TABLE,
        params::TABLE,
        control::TABLE,
    ];
    #[cfg(debug_assertions)]
    let all = documented.into_iter().chain([testing::TABLE]);
    #[cfg(not(debug_assertions))]
    let all = documented.into_iter();
    all.flatten().chain(OWN.get().copied().unwrap_or_default())
}

/// Primitives of a program that embeds recipe.
static OWN: OnceLock<&'static [Primitive]> = OnceLock::new();

/// Adds primitives to the table, once and before anything else is done.
///
/// # Panics
/// When called twice, or with a name that there is already.
pub fn register(own: &'static [Primitive]) {
    for primitive in own {
        let taken = all().any(|known| known.name == primitive.name);
        assert!(!taken, "there is a primitive `{}` already", primitive.name);
    }
    assert!(OWN.set(own).is_ok(), "primitives are registered once");
}

pub use migrating::kept_migrations;
pub use params::{Parameter, declared as declared_params, hide_params};

/// What a primitive returns that returns nothing.
type Done = Result<Dynamic, Failure>;

/// The value of a primitive that returns nothing.
const DONE: Done = Ok(Dynamic::UNIT);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Reach;

    fn names(reach: Reach) -> String {
        let all = all().filter(|primitive| primitive.reach == reach).map(|primitive| primitive.name);
        all.collect::<Vec<_>>().join(" ")
    }

    /// Whoever moves one of them says that a recipe nobody trusts may call it.
    #[test]
    fn it_is_said_what_primitives_reach() {
        assert_eq!(names(Reach::Machine), "sh env");
        assert_eq!(names(Reach::Programs), "migrate sql redis_command deploy_service exec");
        assert_eq!(names(Reach::Workspace), "build_image apply_manifest read_file write_file");
        assert_eq!(names(Reach::Network), "wait_http http");
        let options = all().flat_map(|primitive| primitive.options).filter(|option| option.reach.is_some());
        let options: Vec<_> = options.map(|option| option.name).collect();
        assert_eq!(options, ["mounts", "patches", "config", "build", "settings", "settings"]);
    }
}
