use super::*;
use crate::migrate::script::{Message, ScriptError};

fn parse(text: &str) -> Result<Parsed, (u32, TextError)> {
    super::parse(text, &|name| (name == "WHO").then(|| "alice".to_owned()))
        .map_err(|error| (error.at.line, error.problem))
}

/// What goose would send, one entry for each call.
fn sent(text: &str) -> Vec<String> {
    let script = parse(text).map_err(|(line, error)| format!("{line}: {error}")).unwrap().script;
    script.pieces().iter().map(|piece| Message::piece(piece).sql.trim().to_owned()).collect()
}

fn error(text: &str) -> (u32, GooseError) {
    match parse(text).err().expect("an error") {
        (line, TextError::Goose(error)) => (line, error),
        (_, other) => panic!("{other}"),
    }
}

#[test]
fn statements_end_at_a_semicolon_at_a_lines_end() {
    let text = "-- a comment\n-- +goose Up\n\nSELECT 1; SELECT 2;\nSELECT\n  3; -- three\n-- +goose Down\nSELECT 4;\n";
    assert_eq!(sent(text), ["SELECT 1; SELECT 2;", "SELECT\n  3; -- three"]);
    assert_eq!(sent(&text.replace('\n', "\r\n")), sent(text), "line ends do not count");
}

#[test]
fn blocks_are_whole_and_may_lack_a_semicolon() {
    let text =
        "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;\nSELECT 2\n-- +goose StatementEnd\nSELECT 3;";
    assert_eq!(sent(text), ["SELECT 1;\nSELECT 2", "SELECT 3;"]);
    let down = "-- +goose Up\n-- +goose Down\n-- +goose StatementBegin\nSELECT 1;\n-- +goose StatementEnd";
    assert!(sent(down).is_empty());
}

#[test]
fn marks_are_read_as_goose_reads_them() {
    let text = "--+goose UP --\nSELECT 1;\n-- +goose no transaction\n-- +goose down\nSELECT (";
    assert!(!parse(text).unwrap().script.transaction);
    assert_eq!(sent(text), ["SELECT 1;"]);
    assert_eq!(error("  -- +goose Up"), (1, GooseError::Indented));
    assert!(matches!(error("-- +goose Up\n-- see +goose docs"), (2, GooseError::UnknownMark(_))));
    assert_eq!(error("-- +GOOSE Up\n\n-- nothing"), (3, GooseError::MissingUp));
    assert_eq!(error(""), (1, GooseError::MissingUp));
    assert_eq!(error("-- x\nSELECT 1;\n-- +goose Up"), (2, GooseError::TextBeforeUp));
}

#[test]
fn misplaced_marks_are_refused_at_their_line() {
    for (text, line) in [
        ("-- +goose Up\n-- +goose Up", 2),
        ("-- +goose Down", 1),
        ("-- +goose Up\n-- +goose Down\n-- +goose Down", 3),
        ("-- +goose StatementBegin", 1),
        ("-- +goose Up\n-- +goose StatementEnd", 2),
        ("-- +goose Up\n-- +goose StatementBegin\n-- +goose StatementBegin", 3),
        ("-- +goose Up\n-- +goose StatementBegin\nSELECT 1\n-- +goose Down", 4),
    ] {
        let (found, error) = error(text);
        assert!(matches!(error, GooseError::Misplaced { .. }), "{text}: {error}");
        assert_eq!(found, line, "{text}");
    }
    assert_eq!(error("-- +goose Up\n-- +goose StatementBegin\nSELECT 1;"), (2, GooseError::MissingEnd));
    assert_eq!(
        error("-- +goose Up\n-- +goose StatementBegin\n-- +goose StatementEnd"),
        (2, GooseError::EmptyBlock)
    );
}

#[test]
fn unfinished_and_cut_statements_are_refused() {
    assert_eq!(error("-- +goose Up\n\nSELECT 1\n-- +goose Down"), (3, GooseError::MissingSemicolon));
    assert_eq!(error("-- +goose Up\nSELECT 1"), (2, GooseError::MissingSemicolon));
    let (line, cut) = error("-- +goose Up\nDO $$ BEGIN\n  NULL;\nEND $$;");
    assert_eq!(line, 2);
    assert!(cut.to_string().ends_with("(this dollar-quoted string is never closed)"), "{cut}");
    let copy = parse("-- +goose Up\nSELECT 1;\nCOPY t FROM stdin;").err().unwrap();
    assert_eq!(copy, (3, ScriptError::CopyStream.into()));
}

#[test]
fn variables_are_put_in_between_the_marks() {
    let text = "-- +goose Up\nSELECT '$WHO';\n-- +goose ENVSUB ON\nSELECT '$WHO';\n-- +goose ENVSUB OFF\nSELECT $$a$$;";
    assert_eq!(sent(text), ["SELECT '$WHO';", "SELECT 'alice';", "SELECT $$a$$;"]);
    assert!(matches!(error("-- +goose Up\n-- +goose ENVSUB ON\nSELECT $1;"), (3, GooseError::Envsub(_))));
}

#[test]
fn the_checksum_is_that_of_the_way_up() {
    let checksum = |text: &str| parse(text).unwrap().checksum;
    let text = "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 2;\n";
    assert_eq!(checksum(text), checksum(&text.replace('\n', "\r\n")));
    assert_eq!(checksum(text), checksum(&text.replace('2', "3")));
    assert_ne!(checksum(text), checksum(&text.replace('1', "3")));
}

#[test]
fn versions_are_the_number_before_the_first_underscore() {
    assert_eq!(version("00012_a_b.sql"), Ok(Version::Numbered(vec![12])));
    for name in ["12.sql", "a_1.sql", "0_a.sql", "-1_a.sql", "99999999999999999999_a.sql"] {
        assert!(version(name).is_err(), "{name}");
    }
}
