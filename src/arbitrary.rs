//! Which arbitrary cases tests make, and how many.

use proptest::test_runner::{Config, RngSeed};

/// Without `PROPTEST_CASES`, which `make fuzz` sets, everybody's tests make the
/// same few hundred: none fails for one and not for another. What was found is
/// kept as a test of its own.
pub(crate) fn cases() -> Config {
    let given = Config::default();
    let is_long = std::env::var_os("PROPTEST_CASES").is_some();
    let rng_seed = if is_long { given.rng_seed } else { RngSeed::Fixed(1) };
    Config { rng_seed, failure_persistence: None, ..given }
}
