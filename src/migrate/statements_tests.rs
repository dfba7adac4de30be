use super::*;

fn texts(sql: &str) -> Vec<&str> {
    split(sql).unwrap().into_iter().map(|statement| &sql[statement.range]).collect()
}

fn kinds(sql: &str) -> Vec<Kind> {
    split(sql).unwrap().into_iter().map(|statement| statement.kind).collect()
}

#[test]
fn cuts_at_semicolons_and_skips_comments_and_empty_statements() {
    assert_eq!(texts("-- first; \n;; SELECT 1 ;\r\n /* a; */ SELECT 2"), ["SELECT 1 ;", "SELECT 2"]);
    assert_eq!(texts(""), [""; 0]);
    assert_eq!(texts("-- only; a comment"), [""; 0]);
}

#[test]
fn a_semicolon_inside_a_token_cuts_nothing() {
    for token in [
        "'a;b'",
        "'it''s;'",
        r"'back\'",
        r"E'it\'s;'",
        r"e'\\'",
        "E'a\\''\n'\\';'",
        "N'x;'",
        "U&'d\\0061;'",
        "\"a;\"\"b\"",
        "U&\"a;\"",
        "$$a;b$$",
        "$body$ a; $$;$$ $other$;$other$ $body$",
        "$é$;$é$",
        "/* a; /* nested; */ b; */",
        "-- to the end;\n",
        "(a; b)",
    ] {
        let sql = format!("SELECT 1 {token} AS x; SELECT 2;");
        assert_eq!(texts(&sql).len(), 2, "{sql}");
        assert_eq!(texts(&sql)[1], "SELECT 2;", "{sql}");
    }
}

#[test]
fn what_looks_like_a_quote_and_is_none() {
    assert_eq!(texts("SELECT a$b; SELECT c$b;").len(), 2);
    assert_eq!(texts("SELECT $1; SELECT $1;").len(), 2);
    assert_eq!(texts("SELECT 1 - -1; SELECT 2 * /**/ 3;").len(), 2);
    assert_eq!(texts("SELECT tee'x'; SELECT 1;").len(), 2);
}

#[test]
fn every_cut_keeps_every_byte_that_is_no_blank() {
    let parts =
        ["SELECT 'a;'", "CREATE TABLE \"t;\" (a int)", "SELECT $x$;$x$", "SELECT E'\\';'", "SELECT (1)"];
    for first in parts {
        for second in parts {
            for glue in [";", ";\n", " ; -- c;\r\n", ";/*;*/;"] {
                let sql = format!("{first}{glue}{second}");
                let cut = texts(&sql);
                assert_eq!(cut.len(), 2, "{sql}");
                assert_eq!(cut[0].trim_end_matches(';').trim_end(), first);
                assert_eq!(cut[1], second);
            }
        }
    }
}

#[test]
fn sql_bodies_are_whole() {
    let body = "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC \
                SELECT CASE WHEN true THEN 1 ELSE 2 END; SELECT 2; END;";
    assert_eq!(texts(&format!("{body} SELECT 3;")), [body, "SELECT 3;"]);
}

#[test]
fn tells_transactions_and_copies() {
    use Kind::{Begin, Commit, CopyStream, Ordinary, Transaction};
    assert_eq!(kinds("begin; BEGIN WORK; start transaction;"), [Begin; 3]);
    assert_eq!(kinds("commit; END TRANSACTION;"), [Commit; 2]);
    assert_eq!(
        kinds("ROLLBACK; ABORT; COMMIT AND CHAIN; BEGIN READ ONLY; PREPARE TRANSACTION 'x'"),
        [Transaction; 5]
    );
    assert_eq!(kinds("ROLLBACK TO s; ROLLBACK WORK TO s; SAVEPOINT s; PREPARE q AS SELECT 1"), [Ordinary; 4]);
    assert_eq!(kinds("COPY t FROM STDIN; copy (select 1) to stdout with csv;"), [CopyStream; 2]);
    assert_eq!(kinds("COPY t FROM '/x'; SELECT a FROM stdin;"), [Ordinary; 2]);
}

#[test]
fn refuses_what_is_never_closed_and_psql_commands() {
    let error = |sql| split(sql).unwrap_err();
    assert_eq!(error("SELECT 'a").to_string(), "this string is never closed");
    assert_eq!(error("SELECT $a$ $b$").to_string(), "this dollar-quoted string is never closed");
    assert_eq!(error("SELECT 1; /* /* */").offset, 10);
    assert_eq!(error("SELECT \"a\"\"").to_string(), "this quoted name is never closed");
    assert!(error("\\connect app\nSELECT 1").to_string().starts_with("`\\connect` is a command of psql"));
    assert_eq!(error("é E'\\").offset, 3);
}
