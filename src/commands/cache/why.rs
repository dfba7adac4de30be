//! `recipe cache why`: what a run said about its steps.

use crate::commands::{Done, terminal};
use crate::exit;
use crate::report::{Model, read};
use crate::run::{Failure, Kind, RunFolder};

pub(super) fn why(step: Option<&str>, run: Option<&str>) -> Done {
    let newest = || {
        let newest = RunFolder::all()?.into_iter().next();
        newest.map(|(folder, _)| folder).ok_or_else(|| {
            Failure::new(Kind::NotFound, "there is no run yet").hint("`recipe run RECIPE` makes one")
        })
    };
    let folder = run.map_or_else(newest, RunFolder::open)?;
    let events = read(&folder.events()).map_err(|error| {
        Failure::new(Kind::Io, format!("the record of `{}` cannot be read", folder.id)).cause(error)
    })?;
    let model = Model::of(&events);
    let mut text = format!("{} of {}\n", folder.id, model.recipe);
    let mut found = 0;
    for known in model.steps.values() {
        let asked = step.is_none_or(|step| *known.primitive == *step || known.title.contains(step));
        if let (true, Some(cache)) = (asked, &known.cache) {
            let hit = if cache.hit { "cached" } else { "not cached" };
            text.push_str(&format!("  {} {}: {hit}, {}\n", known.primitive, known.title, cache.why));
            found += 1;
        }
    }
    if let (0, Some(step)) = (found, step) {
        let what = format!("the run `{}` has no step `{step}` that could be cached", folder.id);
        return Err(Failure::new(Kind::NotFound, what).hint("`recipe cache why` lists those that could"));
    }
    terminal::print(&text)?;
    Ok(exit::DONE)
}
