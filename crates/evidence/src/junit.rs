//! JUnit XML: test results as most runners write them.
//!
//! There is no specification; what is read is what pytest, CTest, Surefire,
//! Catch2 and gtest have in common. Documents with a DOCTYPE are refused, so
//! nothing expands and nothing is fetched.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::error::EvidenceError;
use crate::facts::TestRun;
use crate::member::is_plain;

/// Deepest nesting of elements.
const DEPTH_MAX: usize = 32;
/// Most elements.
const ELEMENTS_MAX: u32 = 1 << 20;
/// Most attributes of one element: each is held against all before it.
const ATTRIBUTES_MAX: usize = 64;
/// More suites than this are told as one.
const SUITES_MAX: usize = 64;

/// What an open element is.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Suites,
    Suite,
    Case,
    Other,
}

/// One suite at the top, those inside it included.
#[derive(Default)]
struct Suite {
    name: String,
    passed: u32,
    failed: u32,
    /// What it says of itself, or one inside it of itself, if that is more.
    said: u32,
}

/// How the test case that is open went.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Went {
    Well,
    Skipped,
    Badly,
}

const fn refused(what: &'static str) -> EvidenceError {
    EvidenceError::NotJunit(what)
}

/// Reads a document.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<TestRun>, EvidenceError> {
    let text = std::str::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    // So that an empty element is opened and closed like any other.
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Open> = Vec::new();
    let mut suites: Vec<Suite> = Vec::new();
    let (mut total, mut root, mut case, mut left) = (0, None, Went::Well, ELEMENTS_MAX);
    loop {
        match reader.read_event().map_err(|_| refused("it is not well-formed"))? {
            Event::Start(element) => {
                left = left.checked_sub(1).ok_or(EvidenceError::Vast)?;
                if open.len() == DEPTH_MAX {
                    return Err(EvidenceError::Vast);
                }
                let name = element.name();
                let name: &str = name.as_ref();
                let kind = match (name, open.last()) {
                    ("testsuites", None) if root.is_none() => {
                        total = said(&element)?;
                        root = Some(attribute(&element, "name")?);
                        Open::Suites
                    }
                    ("testsuite", None) if root.is_none() => {
                        root = Some(None);
                        suites.push(suite(&element)?);
                        Open::Suite
                    }
                    (_, None) => return Err(refused("its root is no testsuite")),
                    ("testsuite", Some(Open::Suites)) => {
                        suites.push(suite(&element)?);
                        Open::Suite
                    }
                    ("testsuite", Some(Open::Suite)) => {
                        let inside = said(&element)?;
                        if let Some(suite) = suites.last_mut() {
                            suite.said = suite.said.max(inside);
                        }
                        Open::Suite
                    }
                    ("testcase", Some(Open::Suite)) => {
                        case = Went::Well;
                        Open::Case
                    }
                    // A result that is not counted must not be overlooked.
                    ("testcase" | "testsuite" | "testsuites", Some(_)) => {
                        return Err(refused("test cases stand in test suites, and nowhere else"));
                    }
                    ("failure" | "error", Some(Open::Case)) => {
                        case = Went::Badly;
                        Open::Other
                    }
                    ("skipped" | "disabled", Some(Open::Case)) => {
                        case = if case == Went::Badly { case } else { Went::Skipped };
                        Open::Other
                    }
                    _ => Open::Other,
                };
                open.push(kind);
            }
            Event::End(_) => {
                if let (Some(Open::Case), Some(suite)) = (open.pop(), suites.last_mut()) {
                    match case {
                        Went::Well => suite.passed += 1,
                        Went::Badly => suite.failed += 1,
                        Went::Skipped => {}
                    }
                }
            }
            // Never sent: see above.
            Event::Empty(_) => return Err(refused("it is not well-formed")),
            Event::DocType(_) => return Err(refused("it has a DOCTYPE")),
            Event::Eof if open.is_empty() && root.is_some() => break,
            Event::Eof => return Err(refused("it ends too early")),
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::GeneralRef(_) => {}
        }
    }
    // Runners count errors of a suite's set-up in its attributes, without a
    // test case. The worse number counts.
    for suite in &mut suites {
        suite.failed = suite.failed.max(suite.said);
    }
    let failed = suites.iter().fold(0, |sum: u32, suite| sum.saturating_add(suite.failed));
    if total > failed {
        return Err(refused("its totals name more failures than its suites"));
    }
    let root = root.flatten().unwrap_or_else(|| "junit".to_owned());
    if suites.len() > SUITES_MAX {
        let passed = suites.iter().fold(0, |sum: u32, suite| sum.saturating_add(suite.passed));
        return Ok(vec![TestRun { suite: root, passed, failed, signed: false, artifacts: Vec::new() }]);
    }
    let told = suites.into_iter().map(|suite| TestRun {
        suite: if suite.name.is_empty() { root.clone() } else { suite.name },
        passed: suite.passed,
        failed: suite.failed,
        signed: false,
        artifacts: Vec::new(),
    });
    Ok(told.collect())
}

fn suite(element: &BytesStart<'_>) -> Result<Suite, EvidenceError> {
    let name = attribute(element, "name")?.unwrap_or_default();
    Ok(Suite { name, said: said(element)?, ..Suite::default() })
}

/// How many failures and errors an element claims.
fn said(element: &BytesStart<'_>) -> Result<u32, EvidenceError> {
    let mut sum: u32 = 0;
    for name in ["failures", "errors"] {
        if let Some(text) = attribute(element, name)? {
            let count: u32 = text.trim().parse().map_err(|_| refused("a number of failures is none"))?;
            sum = sum.saturating_add(count);
        }
    }
    Ok(sum)
}

/// An attribute's value, if there is one and it is not empty.
fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>, EvidenceError> {
    let mut found = None;
    for (count, attribute) in element.attributes().enumerate() {
        if count == ATTRIBUTES_MAX {
            return Err(EvidenceError::Vast);
        }
        let attribute = attribute.map_err(|_| refused("an attribute is malformed or stands twice"))?;
        let key: &str = attribute.key.as_ref();
        if key == name {
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            found = Some(value.map_err(|_| refused("an attribute is malformed"))?.into_owned());
        }
    }
    match found {
        Some(value) if value.is_empty() => Ok(None),
        Some(value) if !is_plain(&value) => Err(refused("an attribute is not plain text")),
        other => Ok(other),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(String, u32, u32)> {
        read(text.as_bytes()).unwrap().into_iter().map(|run| (run.suite, run.passed, run.failed)).collect()
    }

    #[test]
    fn what_runners_write() {
        let pytest = r#"<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">
          <testsuite name="pytest" errors="0" failures="1" skipped="1" tests="3" time="0.1">
            <properties><property name="x" value="y"/></properties>
            <testcase classname="t" name="good" time="0.0"/>
            <testcase classname="t" name="bad"><failure message="assert 1 &lt; 0">x &amp; y<![CDATA[<]]></failure></testcase>
            <testcase classname="t" name="not"><skipped type="pytest.skip">why</skipped></testcase>
          </testsuite></testsuites>"#;
        assert_eq!(told(pytest), [("pytest".to_owned(), 1, 1)]);
        let nested = r#"<testsuite name="a"><testsuite name="b"><testcase name="1"/></testsuite>
            <testcase name="2"><error/><skipped/></testcase></testsuite>"#;
        assert_eq!(told(nested), [("a".to_owned(), 1, 1)]);
        assert_eq!(
            told(r#"<testsuites><testsuite errors="1" failures="1"/></testsuites>"#),
            [("junit".to_owned(), 0, 2)]
        );
        let inside = "<testsuite name='a'><testsuite errors='2'/><testsuite errors='1'/></testsuite>";
        assert_eq!(told(inside), [("a".to_owned(), 0, 2)], "a set-up that failed inside");
        let many = format!(
            "<testsuites name='m'>{}</testsuites>",
            "<testsuite name='s'><testcase/></testsuite>".repeat(65)
        );
        assert_eq!(told(&many), [("m".to_owned(), 65, 0)]);
    }

    #[test]
    fn tricks_are_refused() {
        for (text, why) in [
            ("<!DOCTYPE x [<!ENTITY a 'b'>]><testsuite name='&a;'/>", "DOCTYPE"),
            ("<testsuite name='&a;'/>", "malformed"),
            ("<testsuite>", "too early"),
            ("", "too early"),
            ("<html/>", "no testsuite"),
            ("<testsuite/><testsuite/>", "no testsuite"),
            ("<testsuite></testcase>", "not well-formed"),
            ("<testsuite name='a' name='b'/>", "twice"),
            ("<testsuite failures='-1'/>", "number"),
            ("<testsuite failures='x'/>", "number"),
            ("<testsuite name='&#27;[2J'/>", "plain"),
            ("<testsuites failures='3'><testsuite/></testsuites>", "totals"),
            ("<testsuite><x><testcase><failure/></testcase></x></testsuite>", "nowhere else"),
            ("<testsuites><testcase/></testsuites>", "nowhere else"),
        ] {
            let error = read(text.as_bytes()).map(drop).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let attributes: String = (0..65).map(|n| format!(" a{n}=''")).collect();
        assert_eq!(read(format!("<testsuite{attributes}/>").as_bytes()), Err(EvidenceError::Vast));
        assert_eq!(read("<testsuite>".repeat(33).as_bytes()), Err(EvidenceError::Vast));
        assert!(read(b"<testsuite name='\xff'/>").is_err());
    }
}
