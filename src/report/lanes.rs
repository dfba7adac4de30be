//! Lanes for spans of time that nest: which row of a picture each goes to.

use std::collections::HashMap;

use crate::run::StepId;

/// A step, or something that happens within it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// The step it stands for; none for what belongs to the run.
    pub(super) step: Option<StepId>,
    /// The step it should be drawn below; none for the script itself.
    pub(super) below: Option<StepId>,
    /// Whether it runs beside what it is below, and needs a lane of its own.
    pub(super) beside: bool,
    /// Microseconds since the run began.
    pub(super) from_us: u64,
    /// Microseconds since the run began.
    pub(super) to_us: u64,
}

/// Puts spans into as few lanes as it takes for those in one lane to nest.
/// Lane 0 is the script's.
pub(super) struct Lanes {
    /// What was open in each lane when it was last looked at, innermost last.
    open: Vec<Vec<Span>>,
    lane_of: HashMap<StepId, usize>,
}

impl Lanes {
    pub(super) fn new() -> Self {
        let run = Span { step: None, below: None, beside: false, from_us: 0, to_us: u64::MAX };
        Self { open: vec![vec![run]], lane_of: HashMap::new() }
    }

    /// How many there are by now.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Gives `span` a lane: that of the step it is below if it nests there,
    /// else the first that is free. Spans have to come in order of start.
    pub(super) fn place(&mut self, span: Span) -> usize {
        let lane = self.nested(&span).unwrap_or_else(|| self.free(span.from_us));
        self.open[lane].push(span);
        if let Some(step) = span.step {
            self.lane_of.entry(step).or_insert(lane);
        }
        lane
    }

    fn nested(&mut self, span: &Span) -> Option<usize> {
        if span.beside {
            return None;
        }
        let lane = span.below.map_or(Some(0), |below| self.lane_of.get(&below).copied())?;
        let open = &mut self.open[lane];
        // Asked first: one that took no time has ended when what is in it begins.
        let holds = |top: &Span| top.step == span.below && span.to_us <= top.to_us;
        while open.last().is_some_and(|top| !holds(top) && top.to_us <= span.from_us) {
            open.pop();
        }
        open.last().is_some_and(holds).then_some(lane)
    }

    fn free(&mut self, from_us: u64) -> usize {
        let is_free = |open: &Vec<Span>| open.first().is_none_or(|outermost| outermost.to_us <= from_us);
        let lane = self.open.iter().position(is_free).unwrap_or(self.open.len());
        if lane == self.open.len() {
            self.open.push(Vec::new());
        }
        self.open[lane].clear();
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: u64, below: u64, from_us: u64, to_us: u64) -> Span {
        let below = (below > 0).then_some(StepId(below));
        Span { step: Some(StepId(id)), below, beside: false, from_us, to_us }
    }

    fn branch(id: u64, below: u64, from_us: u64, to_us: u64) -> Span {
        Span { beside: true, ..step(id, below, from_us, to_us) }
    }

    fn placed<const N: usize>(spans: [Span; N]) -> [usize; N] {
        let mut lanes = Lanes::new();
        spans.map(|span| lanes.place(span))
    }

    #[test]
    fn what_follows_or_nests_stays_in_the_lane() {
        assert_eq!(placed([step(1, 0, 0, 9), step(2, 1, 0, 4), step(3, 1, 4, 9), step(4, 0, 9, 9)]), [0; 4]);
    }

    #[test]
    fn branches_get_the_first_lane_that_is_free() {
        let spans = [
            step(1, 0, 0, 50),
            branch(2, 1, 0, 10),
            step(3, 2, 1, 9),
            branch(4, 1, 0, 30),
            branch(5, 1, 10, 20),
            step(6, 5, 10, 20),
            step(7, 0, 60, 70),
        ];
        assert_eq!(placed(spans), [0, 1, 1, 2, 1, 1, 0]);
    }

    #[test]
    fn waits_of_a_step_follow_each_other_within_it() {
        let wait = |from_us, to_us| Span { below: Some(StepId(1)), ..step(1, 0, from_us, to_us) };
        let spans = [step(1, 0, 0, 50), wait(5, 20), wait(20, 50), step(2, 1, 30, 40)];
        assert_eq!(placed(spans), [0; 4]);
    }

    #[test]
    fn no_time_at_all_still_nests() {
        assert_eq!(placed([step(1, 0, 5, 5), branch(2, 1, 5, 5), step(3, 2, 5, 5)]), [0, 1, 1]);
    }

    #[test]
    fn what_does_not_nest_goes_elsewhere() {
        // Outlives its parent; overlaps its sibling; below nothing that is known.
        let spans =
            [step(1, 0, 0, 10), step(2, 1, 2, 12), step(3, 1, 3, 8), step(4, 1, 5, 9), step(5, 42, 6, 7)];
        assert_eq!(placed(spans), [0, 1, 0, 2, 3]);
    }
}
