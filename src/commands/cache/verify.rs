//! `recipe cache verify`: what is kept, made anew and compared.

use super::told;
use crate::commands::{Done, block_on};
use crate::exit;
use crate::primitives::kept_migrations;
use crate::targets::local::cache::{Store, Verdict, verify as make_anew};

pub(super) fn verify(store: &Store) -> Done {
    let mut is_right = true;
    for (entry, _) in store.list() {
        let verdict = block_on(make_anew(store, &entry, &kept_migrations))?;
        let (mark, what) = match &verdict {
            Verdict::Same => ("✓", String::new()),
            Verdict::Different(how) => ("✗", format!(": removed, {how}")),
            Verdict::Unknown(why) => ("-", format!(": not compared, {why}")),
        };
        is_right &= !matches!(verdict, Verdict::Different(_));
        anstream::println!("{mark} {}  {}{what}", &entry.key[..12], told(&entry));
    }
    Ok(if is_right { exit::DONE } else { exit::FAILED })
}
