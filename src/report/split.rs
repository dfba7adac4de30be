//! How a run with tests spent its time: on setting up, testing, taking down.

use super::line::duration;
use super::model::Model;

/// Two lines; none about a run that was not tested.
pub(super) fn split(model: &Model) -> String {
    let Some(tested) = &model.tested else { return String::new() };
    let teardown_ms = model.finished.as_ref().map_or(0.0, |finished| finished.teardown_ms);
    let parts =
        [("set-up", Some(model.setup_ms())), ("test", tested.took()), ("teardown", Some(teardown_ms))];
    let parts: Vec<_> =
        parts.into_iter().filter_map(|(name, ms)| Some((name, ms.filter(|ms| *ms > 0.0)?))).collect();
    let sum: f64 = parts.iter().map(|(_, ms)| ms).sum();
    let told = |(name, ms): &(&str, f64)| format!("{name} {} ({:.0} %)", duration(*ms), 100.0 * ms / sum);
    let parts: Vec<_> = parts.iter().map(told).collect();
    format!("\n  {}\n  tests: {}\n", parts.join(", "), tested.told())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::Sample;
    use crate::run::{EventKind, Outcome};

    #[test]
    fn shares_are_of_all_there_was() {
        let mut run = Sample::new();
        run.push(200.0, EventKind::SetupFinished { outcome: Outcome::Succeeded });
        run.push(200.0, EventKind::TestStarted { command: vec!["true".to_owned()] });
        run.push(950.0, EventKind::TestFinished { code: 0, results: None });
        let (outcome, error) = (Outcome::Succeeded, None);
        run.push(
            1000.0,
            EventKind::RunFinished { outcome, wall_ms: 200.0, teardown_ms: 50.0, up: false, error },
        );
        let split = split(&Model::of(&run.events));
        assert_eq!(
            split,
            "\n  set-up 200 ms (20 %), test 750 ms (75 %), teardown 50 ms (5 %)\n  tests: passed\n"
        );
    }
}
