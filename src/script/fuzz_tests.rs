//! Arbitrary values as options: each is taken or refused, with words.

use std::time::Duration;

use proptest::prelude::*;
use rhai::{Dynamic, Engine, Map};

use super::arguments::check;
use super::primitive::Type;
use crate::arbitrary::cases;
use crate::run::duration;

fn value() -> impl Strategy<Value = Dynamic> {
    let leaf = prop_oneof![
        Just(Dynamic::UNIT),
        any::<bool>().prop_map(Dynamic::from),
        any::<i64>().prop_map(Dynamic::from),
        any::<f64>().prop_map(Dynamic::from),
        any::<char>().prop_map(Dynamic::from),
        any::<String>().prop_map(Dynamic::from),
        time().prop_map(Dynamic::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Dynamic::from),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|pairs| {
                let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value));
                Dynamic::from(pairs.collect::<Map>())
            }),
        ]
    })
}

/// Nearly a duration.
fn time() -> impl Strategy<Value = String> {
    let bits = prop::sample::select(vec![
        "1",
        "0",
        "9999999999",
        ".",
        "ms",
        "s",
        "m",
        "h",
        "d",
        " ",
        "-",
        "e",
        "é",
        "x",
    ]);
    prop::collection::vec(bits, 0..8).prop_map(|bits| bits.concat())
}

const TYPES: &[Type] = &[
    Type::Any,
    Type::String,
    Type::Count,
    Type::Positive,
    Type::Factor,
    Type::Port,
    Type::Bool,
    Type::Duration,
    Type::Array,
    Type::Strings,
    Type::StringMap,
    Type::PortMap,
    Type::Map,
    Type::Closure,
    Type::Handle("Cluster"),
    Type::Choice(&["one", "two"]),
    Type::OneOf(&[Type::Count, Type::Strings]),
    Type::Options,
];

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn every_value_is_taken_or_refused_with_words(value in value()) {
        let engine = Engine::new_raw();
        for ty in TYPES {
            if let Err(why) = check(*ty, &value, &engine) {
                prop_assert!(why.starts_with("must ") || why.starts_with("is wrong"), "{why}");
            }
        }
    }

    #[test]
    fn every_duration_is_read_or_refused(text in prop_oneof![time(), any::<String>()]) {
        if let Err(why) = duration::parse(&text) {
            prop_assert!(why.contains(&text) || why.contains("out of range"), "{why}");
        }
    }

    #[test]
    fn durations_are_read_as_they_are_written(ms in 0_u64..1_000_000_000_000) {
        let (whole, rest) = (ms / 1000, ms % 1000);
        let read = duration::parse(&format!("{whole}s{rest}ms")).unwrap();
        prop_assert!(read.abs_diff(Duration::from_millis(ms)) < Duration::from_micros(100), "{read:?}");
    }
}
