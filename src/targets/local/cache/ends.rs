//! Which states of a database are worth a template.

use super::key::MigratedFile;
use super::provenance::Called;
use super::recollection::Recollection;
use super::store::Template;

/// Databases with migrations that an entry holds, at most: each costs time
/// wherever the entry is copied.
const MOST_TEMPLATES: usize = 3;

/// A state that is worth a template: after `count` files of call `call`.
pub(in crate::targets) struct End {
    pub(super) call: usize,
    pub(super) count: usize,
}

/// The ends of the calls, and where they part from the files of the last run:
/// whoever writes a migration changes it again.
pub(super) fn ends(calls: &[Called], last: Option<&Recollection>) -> Vec<End> {
    let known = |file: &MigratedFile| {
        last.is_some_and(|last| last.calls.iter().any(|call| call.files.iter().any(|f| f.key == file.key)))
    };
    let mut ends: Vec<End> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let files = &call.record.files;
        let shared = files.iter().take_while(|file| known(file)).count();
        if shared > 0 && shared < files.len() {
            ends.push(End { call: number, count: shared });
        }
        ends.push(End { call: number, count: files.len() });
    }
    let surplus = ends.len().saturating_sub(MOST_TEMPLATES);
    ends.split_off(surplus)
}

/// The ends at which there are these templates.
pub(super) fn ends_of(calls: &[Called], templates: &[Template]) -> Vec<End> {
    let end = |template: &Template| {
        let mut count = template.files.len();
        for (call, called) in calls.iter().enumerate() {
            let own = called.record.files.len();
            if count <= own {
                return Some(End { call, count });
            }
            count -= own;
        }
        None
    };
    templates.iter().filter_map(end).collect()
}
