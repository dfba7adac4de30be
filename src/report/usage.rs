//! What a run has used, and what it has waited for, as lines below its timeline.

use super::line::{clean, clip, duration, label, plural};
use super::model::{Model, Step, Wait};

/// Waits that are told.
const MOST_WAITS: usize = 3;

/// Waits for a smaller share of the set-up are not told.
const LEAST_WAIT: f64 = 0.1;

/// The longest waits, each on a line of at most `columns`.
pub(super) fn waits(model: &Model, columns: usize) -> String {
    let waits = model.steps.values().flat_map(|step| step.waits.iter().map(move |wait| (step, wait)));
    let took = |(step, wait): &(&Step, &Wait)| wait.to_ms.unwrap_or(model.end_of(step)) - wait.from_ms;
    let mut waits: Vec<_> = waits.filter(|wait| took(wait) > LEAST_WAIT * model.setup_ms()).collect();
    waits.sort_by(|a, b| took(b).total_cmp(&took(a)));
    waits.truncate(MOST_WAITS);
    let told = |wait: &(&Step, &Wait)| {
        let (took, what) = (duration(took(wait)), clean(&wait.1.what));
        format!("  {}\n", clip(&format!("waited {took} for {what}  ({})", label(wait.0)), columns - 2))
    };
    waits.iter().map(told).collect()
}

/// `2 steps cached, 41.0 MB moved, at most 83 % of all processors, 120 MB of memory`.
pub(super) fn used(model: &Model) -> Option<String> {
    let cached = model.steps.values().filter(|step| step.was_cached()).count();
    let moved = model.steps.values().filter_map(|step| step.progress.as_ref());
    let moved: u64 = moved.filter(|progress| &*progress.unit == "bytes").map(|progress| progress.done).sum();
    let mut parts = Vec::new();
    if cached > 0 {
        parts.push(format!("{} cached", plural(cached, "step")));
    }
    if moved > 0 {
        parts.push(format!("{} moved", megabytes(moved)));
    }
    if let Some(peak) = &model.peak {
        parts.push(format!("at most {:.0} % of all processors", 100.0 * peak.cpu));
        parts.push(format!("{} of memory", megabytes(peak.memory_bytes)));
        parts.push(format!("{} of disk", megabytes(peak.disk_bytes)));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn megabytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 100.0 { format!("{megabytes:.1} MB") } else { format!("{megabytes:.0} MB") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, Sample};
    use crate::run::event::StepKind;
    use crate::run::{EventKind, StepId};

    #[test]
    fn the_longest_waits_are_told_with_who_waited() {
        let told = waits(&Model::of(&sample::environment()), 120);
        assert_eq!(
            told,
            "  waited 415 ms for PostgreSQL to accept connections on 127.0.0.1:5433  (deploy_postgres postgres)\n"
        );
    }

    #[test]
    fn what_was_used_is_summed_up() {
        let mut run = Sample::new();
        for step in [1, 2] {
            run.start(0.0, step, 0, "", StepKind::Primitive, "load_image shop");
            let (total, unit) = (None, "bytes".into());
            run.push(1.0, EventKind::StepProgress { step: StepId(step), done: 20_500_000, total, unit });
            run.end_cached(2.0, step, "it was there");
        }
        assert_eq!(used(&Model::of(&run.events)).unwrap(), "2 steps cached, 41.0 MB moved");
        for (cpu, memory, disk) in [(0.1, 900_000_000, 10), (0.83, 1_020_000_000, 70_000_010), (0.5, 0, 0)] {
            run.push(3.0, EventKind::MachineSampled { cpu, memory_bytes: memory, disk_bytes: disk });
        }
        let told = used(&Model::of(&run.events)).unwrap();
        assert!(
            told.ends_with(", at most 83 % of all processors, 120 MB of memory, 70.0 MB of disk"),
            "{told}"
        );
        assert_eq!(used(&Model::of(&Sample::new().events)), None);
    }
}
