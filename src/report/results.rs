//! Results of tests, as the JUnit files of any test runner tell them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::run::event::TestResults;

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The pattern itself is wrong.
    #[error("`{pattern}` is no pattern of file names")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: glob::PatternError,
    },
    /// Nobody wrote such a file.
    #[error("the test command has not written {pattern}")]
    Missing {
        /// As given.
        pattern: String,
    },
    /// There is a file, but from before the tests.
    #[error("{} is of an earlier test", .path.display())]
    Old {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("the results of the tests cannot be read")]
    File(#[source] std::io::Error),
    /// A file is no JUnit XML.
    #[error("{} is no JUnit XML", .path.display())]
    Xml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it; none where it is XML without a test suite.
        #[source]
        source: Option<quick_xml::Error>,
    },
}

/// The sum of what the files have that the `patterns` name, such as
/// `target/*.xml`. Files last written before `since` do not count.
///
/// # Errors
/// When a pattern matches no file of these tests, or a file has no results.
pub fn test_results(patterns: &[String], since: SystemTime) -> Result<TestResults, ResultsError> {
    let mut sum = TestResults::default();
    for pattern in patterns {
        let wrong = |source| ResultsError::Pattern { pattern: pattern.clone(), source };
        let (mut found, mut old) = (false, None);
        for path in glob::glob(pattern).map_err(wrong)?.flatten() {
            let written = fs_err::metadata(&path).and_then(|about| about.modified());
            if written.map_err(ResultsError::File)? < since {
                old = Some(path);
                continue;
            }
            found = true;
            add(&mut sum, &path)?;
        }
        match old {
            _ if found => {}
            Some(path) => return Err(ResultsError::Old { path }),
            None => return Err(ResultsError::Missing { pattern: pattern.clone() }),
        }
    }
    Ok(sum)
}

fn add(sum: &mut TestResults, path: &Path) -> Result<(), ResultsError> {
    let text = fs_err::read_to_string(path).map_err(ResultsError::File)?;
    let found = parse(&text);
    let found = found.map_err(|source| ResultsError::Xml { path: path.to_owned(), source })?;
    sum.passed += found.passed;
    sum.failed += found.failed;
    sum.errors += found.errors;
    sum.skipped += found.skipped;
    sum.pending += found.pending;
    Ok(())
}

/// How a case ended; the worst of what its elements say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    Passed,
    Skipped,
    Pending,
    Failed,
    Error,
}

/// Counts the cases, not what suites say of their number: not all runners agree
/// on what that includes.
fn parse(text: &str) -> Result<TestResults, Option<quick_xml::Error>> {
    let mut reader = Reader::from_str(text);
    let (mut results, mut case, mut has_suite) = (TestResults::default(), None, false);
    loop {
        match reader.read_event()? {
            Event::Eof if has_suite => return Ok(results),
            Event::Eof => return Err(None),
            Event::Start(element) if element.name().as_ref() == b"testcase" => case = Some(begun(&element)),
            Event::Empty(element) if element.name().as_ref() == b"testcase" => {
                count(&mut results, begun(&element));
            }
            Event::End(element) if element.name().as_ref() == b"testcase" => {
                count(&mut results, case.take().unwrap_or(Case::Passed));
            }
            Event::Start(element) | Event::Empty(element) => {
                has_suite |= element.name().as_ref().starts_with(b"testsuite");
                case = case.map(|case| case.max(told(&element)));
            }
            _ => {}
        }
    }
}

/// Ginkgo marks a case that is yet to be written with an attribute.
fn begun(element: &BytesStart<'_>) -> Case {
    if attribute(element, "status") == "pending" { Case::Pending } else { Case::Passed }
}

fn told(element: &BytesStart<'_>) -> Case {
    match element.name().as_ref() {
        b"failure" => Case::Failed,
        b"error" => Case::Error,
        b"skipped" if attribute(element, "message").starts_with("pending") => Case::Pending,
        b"skipped" => Case::Skipped,
        _ => Case::Passed,
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> String {
    let value = element.try_get_attribute(name).ok().flatten();
    value.map(|value| String::from_utf8_lossy(&value.value).into_owned()).unwrap_or_default()
}

fn count(results: &mut TestResults, case: Case) {
    *match case {
        Case::Passed => &mut results.passed,
        Case::Failed => &mut results.failed,
        Case::Error => &mut results.errors,
        Case::Skipped => &mut results.skipped,
        Case::Pending => &mut results.pending,
    } += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_each_case_says_of_itself() {
        let junit = r#"<?xml version="1.0"?>
            <testsuites tests="99"><testsuite name="a">
              <properties><property name="x" value="y"/></properties>
              <testcase name="1"/>
              <testcase name="2"><system-out>an <![CDATA[<error/>]]></system-out></testcase>
              <testcase name="3"><failure message="no"/><failure>again</failure></testcase>
              <testcase name="4"><error message="broken">why</error></testcase>
              <testsuite name="within"><testcase name="5"><skipped/></testcase></testsuite>
              <testcase name="6" status="pending"><skipped message="pending"/></testcase>
              <testcase name="7"><flakyFailure message="once"/></testcase>
            </testsuite></testsuites>"#;
        let expected = TestResults { passed: 3, failed: 1, errors: 1, skipped: 1, pending: 1 };
        assert_eq!(parse(junit).unwrap(), expected);
    }

    #[test]
    fn a_suite_may_be_the_root_and_empty() {
        assert_eq!(parse("<testsuite tests='0'></testsuite>").unwrap(), TestResults::default());
        assert!(matches!(parse("<html/>"), Err(None)));
        assert!(parse("<testsuite><testcase></testsuite>").is_err());
    }

    #[test]
    fn files_are_summed_and_old_ones_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let pattern = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let long_ago = SystemTime::now() - std::time::Duration::from_hours(1);
        for name in ["a.xml", "b.xml", "old.xml"] {
            fs_err::write(folder.path().join(name), "<testsuite><testcase/></testsuite>").unwrap();
        }
        let old = fs_err::File::options().write(true).open(folder.path().join("old.xml")).unwrap();
        old.set_modified(long_ago - std::time::Duration::from_hours(1)).unwrap();
        let passed = |patterns: &[String]| test_results(patterns, long_ago).map(|results| results.passed);
        assert_eq!(passed(&[pattern("*.xml")]).unwrap(), 2);
        assert_eq!(passed(&[pattern("a.xml"), pattern("b*")]).unwrap(), 2);
        assert!(passed(&[pattern("old.xml")]).unwrap_err().to_string().ends_with("is of an earlier test"));
        assert!(passed(&[pattern("c.xml")]).unwrap_err().to_string().contains("has not written"));
    }
}
