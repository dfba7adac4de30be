//! Arbitrary migrations: none of them panics, and what is cut fits together.

use proptest::prelude::*;

use super::script::{Message, Script};
use super::{envsub, goose, statements};
use crate::arbitrary::cases;

/// Pieces that open, close and end things, in any order.
fn sql() -> impl Strategy<Value = String> {
    let tokens = prop::sample::select(vec![
        "'",
        "''",
        "\"",
        "E'",
        "U&'",
        "\\",
        "$$",
        "$a$",
        "$é$",
        "$1",
        "--",
        "\n",
        "\r\n",
        "/*",
        "*/",
        "(",
        ")",
        ";",
        ";\n",
        " ",
        "é",
        "a",
        "BEGIN",
        "ATOMIC",
        "END",
        "CASE",
        "COMMIT",
        "START TRANSACTION",
        "COPY t ",
        "FROM STDIN",
        "CREATE FUNCTION f() ",
        "SELECT 1",
        "\u{0}",
        "\u{feff}",
        "\\.",
        ":x",
        "0x1",
        "1.e",
    ]);
    prop_oneof![
        4 => prop::collection::vec(tokens, 0..24).prop_map(|tokens| tokens.concat()),
        1 => any::<String>(),
    ]
}

fn goose_file() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        3 => prop::sample::select(vec![
            "-- +goose Up", "--+goose UP", "-- +goose Down", "-- +goose StatementBegin", "-- +goose StatementEnd",
            "-- +goose NO TRANSACTION", "-- +goose ENVSUB ON", "-- +goose ENVSUB OFF", "-- +goose", "SELECT 1;",
            "SELECT", "1; -- one", "$WHO", "${WHO}", "${WHO:-x}", "${NO?it}", "${WHO:0:2}", "$$", "",
        ]).prop_map(str::to_owned),
        1 => sql(),
    ];
    prop::collection::vec(line, 0..16).prop_map(|lines| lines.join("\n"))
}

fn env(name: &str) -> Option<String> {
    (name == "WHO").then(|| "al;ice".to_owned())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn statements_are_cut_at_their_ends_and_nowhere_else(text in sql()) {
        let Ok(found) = statements::split(&text) else { return Ok(()) };
        let mut end = 0;
        let texts: Vec<_> = found.iter().map(|statement| &text[statement.range.clone()]).collect();
        for (statement, alone) in found.iter().zip(&texts) {
            prop_assert!(end <= statement.range.start && statement.range.start < statement.range.end);
            // Between them is nothing that PostgreSQL would see.
            prop_assert_eq!(statements::split(&text[end..statement.range.start]), Ok(vec![]));
            prop_assert!(!statement.terminated || alone.ends_with(';'));
            let again = statements::split(alone).unwrap();
            prop_assert_eq!(again.len(), 1);
            prop_assert_eq!((&again[0].range, again[0].kind), (&(0..alone.len()), statement.kind));
            end = statement.range.end;
        }
        prop_assert_eq!(statements::split(&text[end..]), Ok(vec![]));
        let joined = texts.join("\n");
        let again = statements::split(&joined).unwrap();
        prop_assert_eq!(again.iter().map(|one| &joined[one.range.clone()]).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn every_failing_statement_has_a_place(
        text in sql(), transaction: bool, completed in 0_usize..8, position in prop::option::of(0_u32..200),
    ) {
        let Ok(script) = Script::of_file(&text, transaction) else { return Ok(()) };
        let messages = if transaction {
            vec![Message::transaction(&script, "SELECT 1;")]
        } else {
            script.pieces().iter().map(Message::piece).collect()
        };
        let lines = u32::try_from(text.split('\n').count()).unwrap();
        for blame in messages.iter().filter_map(|message| message.blame(completed, position)) {
            prop_assert!((1..=lines).contains(&blame.at.line), "{}", blame.at.line);
            prop_assert!((1..=lines).contains(&blame.statement.line), "{}", blame.statement.line);
        }
    }

    #[test]
    fn goose_files_are_read_or_refused(text in goose_file()) {
        if let Some(script) = goose::script(&text, &env) {
            let plain = !text.contains("ENVSUB");
            for line in script.pieces().iter().flat_map(|piece| piece.text().lines()).filter(|_| plain) {
                prop_assert!(text.contains(line), "{line:?} was not there");
            }
        }
    }

    #[test]
    fn variables_are_put_in_or_refused(
        parts in prop::collection::vec(prop::sample::select(vec![
            "$", "{", "}", "$WHO", "${WHO", "${WHO}", ":-", "-", "?", ":", "0", "-1", ":99999999999999999999", "é", "x",
        ]), 0..16),
    ) {
        let line = parts.concat();
        let expanded = envsub::expand(&line, &env);
        if !line.contains('$') {
            prop_assert_eq!(expanded.ok(), Some(line));
        }
    }
}

/// Found by hand or by the tests above.
#[test]
fn nasty_migrations() {
    let deep = "${A:-".repeat(100_000);
    assert!(envsub::expand(&deep, &env).is_err());
    assert!(envsub::expand(&format!("{deep}{}", "}".repeat(100_000)), &env).is_err());
    assert!(statements::split(&"/*".repeat(100_000)).is_err());
    assert_eq!(statements::split(&"(".repeat(100_000)).unwrap().len(), 1);
    assert_eq!(statements::split(&";".repeat(100_000)), Ok(vec![]));
}
