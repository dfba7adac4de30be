//! What several measurements of one thing come to.

use serde::{Deserialize, Serialize};

/// The middle of some measurements, and how far apart they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Half of them are smaller.
    pub median: f64,
    /// A quarter of them is smaller.
    pub low: f64,
    /// A quarter of them is larger.
    pub high: f64,
}

impl Spread {
    /// The spread of `values`; zeros if there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values = Vec::from_iter(values);
        values.sort_by(f64::total_cmp);
        Self { median: at(&values, 0.5), low: at(&values, 0.25), high: at(&values, 0.75) }
    }

    /// How wide the middle half is, as a share of the median.
    #[must_use]
    pub fn noise(&self) -> f64 {
        if self.median > 0.0 { (self.high - self.low) / self.median } else { 0.0 }
    }

    /// Whether the middle half lies above that of `other`.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        self.low > other.high
    }
}

/// The value at `share` of the way from the smallest to the largest, between
/// two where it falls there.
fn at(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let place = share * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the slice")]
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), Spread { median: 2.5, low: 1.75, high: 3.25 });
        assert_eq!(Spread::of([7.0]), Spread { median: 7.0, low: 7.0, high: 7.0 });
        assert_eq!(Spread::of([]), Spread { median: 0.0, low: 0.0, high: 0.0 });
        assert!((Spread::of([10.0, 20.0, 30.0]).noise() - 0.5).abs() < 1e-9);
        assert!(Spread::of([5.0, 6.0]).is_above(&Spread::of([1.0, 2.0])));
        assert!(!Spread::of([1.0, 6.0]).is_above(&Spread::of([1.0, 2.0])));
    }
}
