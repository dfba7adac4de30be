//! Records that were cut, bent or written by nobody: they are read or refused,
//! and what was read can be shown.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::model::Model;
use super::record::parse;
use super::{sample, svg, timeline, trace};
use crate::arbitrary::cases;

/// A record of a run, as it lies on disk.
fn written() -> Vec<u8> {
    let lines = sample::environment()
        .iter()
        .map(|event| serde_json::to_string(event).unwrap() + "\n")
        .collect::<String>();
    lines.into_bytes()
}

/// What happens to files.
#[derive(Debug, Clone)]
enum Change {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, String),
    Repeat(prop::sample::Index, prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        any::<prop::sample::Index>().prop_map(Change::Cut),
        (
            any::<prop::sample::Index>(),
            prop_oneof![
                any::<String>(),
                prop::sample::select(vec![
                    "\n",
                    "null",
                    "-1",
                    "1e308",
                    "18446744073709551616",
                    "\"",
                    "[",
                    "{}",
                    ",",
                    "\u{0}"
                ])
                .prop_map(str::to_owned),
            ]
        )
            .prop_map(|(at, text)| Change::Insert(at, text)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(a, b)| Change::Repeat(a, b)),
    ]
}

impl Change {
    fn make(&self, content: &mut Vec<u8>) {
        if content.is_empty() {
            return;
        }
        match self {
            Self::Set(at, byte) => {
                let at = at.index(content.len());
                content[at] = *byte;
            }
            Self::Cut(at) => content.truncate(at.index(content.len())),
            Self::Insert(at, text) => {
                let at = at.index(content.len());
                content.splice(at..at, text.bytes());
            }
            // Whole lines: another order, and some twice.
            Self::Repeat(from, to) => {
                let mut lines: Vec<_> =
                    content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let line = lines[from.index(lines.len())].clone();
                lines.insert(to.index(lines.len()), line);
                *content = lines.concat();
            }
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_record_that_was_cut_is_its_beginning(at: prop::sample::Index) {
        let content = written();
        let cut = &content[..at.index(content.len())];
        if let Ok(events) = parse(Path::new("x"), cut) {
            let all = sample::environment();
            prop_assert_eq!(&events[..], &all[..events.len()]);
            let ends = cut.split(|byte| *byte == b'\n').count() - 1;
            prop_assert!(events.len() == ends || events.len() == ends + 1);
        }
    }

    #[test]
    fn a_record_that_was_bent_is_refused_or_shown(changes in prop::collection::vec(change(), 1..5)) {
        let mut content = written();
        for change in &changes {
            change.make(&mut content);
        }
        if let Ok(events) = parse(Path::new("x"), &content) {
            let model = Model::of(&events);
            let shown = (timeline(&model, 80), svg(&model), super::html(&events, &BTreeMap::new()));
            prop_assert!(shown.2.contains("</html>"));
            trace(&events).unwrap();
        }
    }

    #[test]
    fn what_is_no_record_is_refused(content: Vec<u8>) {
        prop_assert!(parse(Path::new("x"), &content).is_err());
    }
}

/// Times that no run takes: found by the second test above.
#[test]
fn a_record_of_an_age_is_shown() {
    for ms in ["1e308", "1e20", "-1e308"] {
        let text =
            String::from_utf8(written()).unwrap().replacen("\"ms\":9", &format!("\"ms\":{ms},\"was\":9"), 1);
        let events = parse(Path::new("x"), text.as_bytes()).unwrap();
        assert!(events.iter().any(|event| event.ms.abs() > 1e19), "{text}");
        assert!(!timeline(&Model::of(&events), 80).is_empty());
    }
}
