use super::*;
use crate::migrate::script::Script;

fn migration(version: Version, checksum: &str) -> Migration {
    Migration {
        name: format!("{version}.sql"),
        file: format!("{version}.sql").into(),
        version,
        source: String::new(),
        checksum: checksum.to_owned(),
        script: Script::of_file("", true).unwrap(),
    }
}

fn number(number: u64) -> Version {
    Version::Numbered(vec![number])
}

fn plan(versions: impl IntoIterator<Item = Version>) -> Plan {
    let migrations = versions.into_iter().map(|version| migration(version, "same")).collect();
    Plan { style: Style::Goose, why: String::new(), migrations }
}

fn row(checksum: &str) -> Row {
    Row { name: "applied.sql".to_owned(), checksum: checksum.to_owned() }
}

fn pending(
    plan: &Plan,
    applied: impl IntoIterator<Item = (Version, Option<Row>)>,
) -> Result<Vec<&str>, Drift> {
    let history = History { applied: applied.into_iter().collect() };
    let pending = Ledger::new(Style::Goose, None).unwrap().pending(plan, &history)?;
    Ok(pending.into_iter().map(Migration::name).collect())
}

#[test]
fn what_is_not_applied_is_pending() {
    let plan = plan([number(1), number(2), number(10)]);
    assert_eq!(pending(&plan, []), Ok(vec!["1.sql", "2.sql", "10.sql"]));
    let applied = [(number(1), Some(row("same"))), (number(2), None)];
    assert_eq!(pending(&plan, applied), Ok(vec!["10.sql"]), "a row of goose alone is accepted");
}

#[test]
fn changed_missing_and_late_files_are_drift() {
    let plan = plan([number(1), number(2)]);
    assert_eq!(
        pending(&plan, [(number(1), Some(row("other")))]),
        Err(Drift::Changed { file: "1.sql".to_owned() })
    );
    assert_eq!(
        pending(&plan, [(number(2), None)]),
        Err(Drift::OutOfOrder { file: "1.sql".to_owned(), latest: "2".to_owned() })
    );
    let gone = pending(&plan, [(number(3), Some(row("same")))]).unwrap_err();
    assert!(matches!(&gone, Drift::Missing { file, .. } if file == "applied.sql"), "{gone}");
    let by_goose = [(number(1), None), (number(2), None), (number(3), None)];
    assert_eq!(pending(&plan, by_goose), Ok(vec![]), "goose may have applied a version in Go");
}

#[test]
fn repeatables_are_pending_whenever_they_change_and_never_late() {
    let views = || Version::Repeatable("R__views".to_owned());
    let plan = plan([number(1), views()]);
    assert_eq!(pending(&plan, [(number(1), Some(row("same"))), (views(), Some(row("same")))]), Ok(vec![]));
    assert_eq!(
        pending(&plan, [(number(1), Some(row("same"))), (views(), Some(row("other")))]),
        Ok(vec!["R__views.sql"])
    );
    assert_eq!(pending(&plan, [(views(), Some(row("same")))]), Ok(vec!["1.sql"]));
}

#[test]
fn versions_survive_the_table() {
    for (style, version) in [
        (Style::Goose, number(20_240_102_030_405)),
        (Style::Versioned, Version::Numbered(vec![1, 2, 10])),
        (Style::Versioned, Version::Repeatable("R__views".to_owned())),
        (Style::Plain, Version::Named("R__views.sql".to_owned())),
        (Style::Plain, Version::Named("1".to_owned())),
    ] {
        assert_eq!(parse_version(style, &version.to_string()), version);
    }
}

#[test]
fn names_of_tables_are_plain_and_folded() {
    let table = |name: &str| Table::parse(name).map(|table| table.to_string());
    assert_eq!(table("Goose_Db").as_deref(), Ok("\"goose_db\""));
    assert_eq!(table("app.versions").as_deref(), Ok("\"app\".\"versions\""));
    for name in ["", "a.b.c", "x; DROP TABLE y", "1a", "a\"b", ".a", &"a".repeat(60)] {
        assert!(table(name).is_err(), "{name}");
    }
    let ledger = Ledger::new(Style::Goose, Some("app.goose")).unwrap();
    assert_eq!(
        (ledger.name(), ledger.own.to_string()),
        ("app.goose".into(), "\"app\".\"goose_checksums\"".into())
    );
}

#[test]
fn literals_are_safe_with_every_setting() {
    assert_eq!(literal(r"it's \ here"), r"E'it''s \\ here'");
}
