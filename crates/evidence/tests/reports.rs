//! Scans and evaluations: what a policy is told of them, and what it is not.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Pair, SCAN, SVR, VSA, artifact, builder, evaluated, scanned, statement, summary, verify};
use firmseal_evidence::scan::Report;
use firmseal_evidence::{Attests, Builder, Builders, Evaluation, EvidenceError, Facts, Gathering, Scan};
use serde_json::{Value, json};

const LAB: &str = "https://lab.example.com";

/// What documents say to a place with a scanner, a laboratory and a builder.
fn tried(documents: &[Vec<u8>]) -> Result<Facts, EvidenceError> {
    let known = [
        builder("scanner", &scanner(), &[Attests::Scan]),
        builder(LAB, &lab(), &[Attests::Evaluation]),
        builder("https://ci.example.com", &ci(), &Builder::USUAL),
    ];
    let (product, builders) = ("gateway".parse().unwrap(), Builders::new(known.to_vec()).unwrap());
    let artifacts = [artifact(1), artifact(2)];
    let mut gathering = Gathering::new(&product, &artifacts, &builders, &verify);
    for document in documents {
        gathering.read(document)?;
    }
    Ok(gathering.finish())
}

fn facts(documents: &[Vec<u8>]) -> Facts {
    tried(documents).unwrap()
}

fn scanner() -> Pair {
    Pair::ed25519(7)
}

fn lab() -> Pair {
    Pair::ed25519(8)
}

fn ci() -> Pair {
    Pair::ed25519(9)
}

fn scan(about: &[u8], predicate: Value) -> Vec<u8> {
    scanner().envelope(&statement(about, SCAN, predicate))
}

fn counts(scan: &Scan) -> [u32; 4] {
    [scan.critical, scan.high, scan.medium, scan.low]
}

#[test]
fn a_scan_is_told_with_its_age() {
    let told = facts(&[scan(&[1, 2, 9], scanned(&[]))]);
    assert_eq!(told.unproven, 0);
    let [one] = told.scans.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (one.scanner.as_str(), one.version.as_deref()),
        ("https://scanner.example.com", Some("1.4.6"))
    );
    assert_eq!(one.database.as_deref(), Some("27500"));
    assert_eq!(one.updated.to_string(), "2026-11-18T07:00:00Z");
    assert_eq!(one.finished.to_string(), "2026-11-18T09:00:00Z");
    assert_eq!(one.artifacts, [artifact(1), artifact(2)]);
    assert_eq!(counts(one), [0; 4]);
    // One scanned component is not two, and the same document twice is one.
    let first = scan(&[1], scanned(&[]));
    assert_eq!(facts(&[first.clone(), first]).scans[0].artifacts, [artifact(1)]);
    // What is written here is read here.
    let report = Report {
        scanner: "https://www.clamav.net".to_owned(),
        version: "1.4.6".to_owned(),
        database: None,
        updated: "2026-11-18T07:00:00Z".parse().unwrap(),
        started: "2026-11-18T08:00:00Z".parse().unwrap(),
        finished: "2026-11-18T08:00:01.250Z".parse().unwrap(),
        findings: vec!["Eins.UNOFFICIAL".to_owned()],
    };
    let own = report.statement(&[("a", artifact(1)), ("b", artifact(2))]);
    let told = facts(&[scanner().sign("application/vnd.in-toto+json", &own)]);
    assert_eq!(counts(&told.scans[0]), [1, 0, 0, 0], "malware is as bad as anything");
}

#[test]
fn findings_are_counted_by_the_worst_that_is_said() {
    let told = |predicate: Value| counts(&facts(&[scan(&[1, 2], predicate)]).scans[0]);
    assert_eq!(told(scanned(&["9.8", "7.0", "high", "medium", "0.1"])), [1, 2, 1, 1]);
    assert_eq!(told(scanned(&["unknown", "CVSS:3.1/AV:N"])), [2, 0, 0, 0], "nobody says how bad");
    let mut two = scanned(&["low"]);
    two["scanner"]["result"][0]["severity"] = json!([
        { "method": "vendor", "score": "low" }, { "method": "nvd", "score": "high" },
        { "method": "epss", "score": "0.9" },
    ]);
    assert_eq!(told(two), [0, 1, 0, 0]);
    let mut none = scanned(&["low"]);
    none["scanner"]["result"][0]["severity"] = Value::Null;
    assert_eq!(told(none), [1, 0, 0, 0]);
    // Version 0.1 has an object in between, or none.
    let old = |result: Value| {
        let mut predicate = scanned(&[]);
        predicate["scanner"]["result"] = result;
        let of = "https://in-toto.io/attestation/vulns/v0.1";
        counts(&facts(&[scanner().envelope(&statement(&[1], of, predicate))]).scans[0])
    };
    let finding = json!({ "id": "CVE-1", "severity": [{ "method": "nvd", "score": "medium" }] });
    assert_eq!(old(json!([finding])), [0, 0, 1, 0]);
    assert_eq!(old(json!([{ "vulnerability": finding }])), [0, 0, 1, 0]);
}

#[test]
fn of_times_that_contradict_the_older_counts() {
    let told = |path: &str, time: &str| {
        let mut predicate = scanned(&[]);
        *predicate.pointer_mut(path).unwrap() = json!(time);
        let scan = facts(&[scan(&[1], predicate)]).scans.remove(0);
        (scan.updated.to_string(), scan.finished.to_string())
    };
    let pair = |updated: &str, finished: &str| (updated.to_owned(), finished.to_owned());
    assert_eq!(
        told("/scanner/db/lastUpdate", "2030-01-01T00:00:00Z"),
        pair("2026-11-18T08:59:00Z", "2026-11-18T09:00:00Z")
    );
    assert_eq!(
        told("/metadata/scanStartedOn", "2030-01-01T00:00:00Z"),
        pair("2026-11-18T07:00:00Z", "2026-11-18T09:00:00Z")
    );
    assert_eq!(
        told("/metadata/scanFinishedOn", "2026-11-17T00:00:00Z"),
        pair("2026-11-17T00:00:00Z", "2026-11-17T00:00:00Z")
    );
}

#[test]
fn an_evaluation_is_told_in_the_name_of_whose_key_signed_it() {
    let svr =
        |pair: &Pair, name: &str| pair.envelope(&statement(&[1], SVR, evaluated(name, &["B", "A", "B"])));
    let told = facts(&[svr(&lab(), LAB)]);
    let [one] = told.evaluations.as_slice() else { panic!("{told:?}") };
    assert_eq!((one.evaluator.as_str(), one.failed), (LAB, false));
    assert_eq!(one.passed, ["A", "B"]);
    assert_eq!(one.evaluated.to_string(), "2026-11-01T12:00:00Z");
    assert_eq!(one.until.map(|until| until.to_string()).as_deref(), Some("2027-11-01T00:00:00Z"));
    assert_eq!(one.artifacts, [artifact(1)]);
    let other = facts(&[svr(&lab(), "https://other.example.com")]);
    assert_eq!(other, Facts { unproven: 1, ..Facts::default() }, "in another's name");

    let vsa = |result: &str, levels: &[&str]| -> Evaluation {
        let document = lab().envelope(&statement(&[1, 2], VSA, summary(LAB, result, levels)));
        facts(&[document]).evaluations.remove(0)
    };
    let level = "SLSA_BUILD_LEVEL_3";
    let good = vsa("PASSED", &[level]);
    assert_eq!((good.failed, good.passed, good.until), (false, vec![level.to_owned()], None));
    // The worse of the two is believed.
    for (result, levels) in
        [("FAILED", &[level][..]), ("PASSED", &[level, "FAILED"]), ("FAILED", &["FAILED"])]
    {
        let bad = vsa(result, levels);
        assert_eq!((bad.failed, bad.passed), (true, vec![]), "{result}");
    }
}

#[test]
fn what_is_not_proven_is_counted_and_not_told() {
    let clean = |about: &[u8]| statement(about, SCAN, scanned(&[]));
    let passed = |about: &[u8]| statement(about, SVR, evaluated(LAB, &["A"]));
    let stranger = Pair::ed25519(66);
    for (name, document) in [
        ("a scan by a stranger", stranger.envelope(&clean(&[1, 2]))),
        ("a scan by nobody", clean(&[1, 2]).to_string().into_bytes()),
        ("a scan by who builds", ci().envelope(&clean(&[1, 2]))),
        ("a scan by who evaluates", lab().envelope(&clean(&[1, 2]))),
        ("a scan of other files", scan(&[3], scanned(&[]))),
        ("an evaluation by a stranger", stranger.envelope(&passed(&[1, 2]))),
        ("an evaluation by who builds", ci().envelope(&passed(&[1, 2]))),
        ("an evaluation by who scans", scanner().envelope(&passed(&[1, 2]))),
        ("an evaluation of other files", lab().envelope(&passed(&[3]))),
        // Nor is it read: what somebody says who may not say it is of no
        // interest.
        ("malformed, by who builds", ci().envelope(&statement(&[1], SCAN, json!({})))),
        ("malformed, by who scans", scanner().envelope(&statement(&[1], VSA, json!({})))),
    ] {
        assert_eq!(facts(&[document]), Facts { unproven: 1, ..Facts::default() }, "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let changed = |good: Value, path: &str, value: Value| {
        let mut predicate = good;
        *predicate.pointer_mut(path).unwrap() = value;
        predicate
    };
    let of_scan = |path: &str, value: Value| scan(&[1], changed(scanned(&["low"]), path, value));
    let of_svr = |path: &str, value: Value| {
        lab().envelope(&statement(&[1], SVR, changed(evaluated(LAB, &["A"]), path, value)))
    };
    let of_vsa = |path: &str, value: Value| {
        lab().envelope(&statement(&[1], VSA, changed(summary(LAB, "PASSED", &["A"]), path, value)))
    };
    let twice = statement(&[1], SCAN, scanned(&[])).to_string().replacen(
        "\"result\":",
        "\"result\":[],\"result\":",
        1,
    );
    let many: Vec<String> = (0..257).map(|n| format!("P{n}")).collect();
    for (document, why) in [
        (of_scan("/scanner", Value::Null), "scan: scanner"),
        (of_scan("/scanner/uri", json!("")), "uri"),
        (of_scan("/scanner/uri", json!("a\u{202e}b")), "uri"),
        (of_scan("/scanner/version", json!(1)), "version"),
        (of_scan("/scanner/db", Value::Null), "db"),
        (of_scan("/scanner/db/lastUpdate", Value::Null), "lastUpdate"),
        (of_scan("/scanner/db/lastUpdate", json!("yesterday")), "lastUpdate"),
        (of_scan("/scanner/result", Value::Null), "result"),
        (of_scan("/scanner/result", json!({})), "result"),
        (of_scan("/scanner/result/0/id", Value::Null), "id"),
        (of_scan("/scanner/result/0/severity", json!("low")), "severity"),
        (of_scan("/scanner/result/0/severity/0/score", json!(5.2)), "score"),
        (of_scan("/metadata", Value::Null), "metadata"),
        (of_scan("/metadata/scanFinishedOn", json!("2026-11-18T09:00:00+01:00")), "scanFinishedOn"),
        (of_scan("/metadata/scanStartedOn", Value::Null), "scanStartedOn"),
        (scanner().sign("application/vnd.in-toto+json", twice.as_bytes()), "twice"),
        (of_svr("/verifier", json!({})), "id"),
        (of_svr("/timeCreated", Value::Null), "timeCreated"),
        (of_svr("/properties", json!("A")), "properties"),
        (of_svr("/properties/0", json!(1)), "properties"),
        (of_svr("/properties", json!(many)), "256 levels"),
        (of_svr("/firmseal_validUntil", json!("2027")), "validUntil"),
        (of_vsa("/timeVerified", json!(0)), "timeVerified"),
        (of_vsa("/verificationResult", Value::Null), "verificationResult"),
        (of_vsa("/verificationResult", json!("passed")), "verificationResult"),
        (of_vsa("/verifiedLevels", json!({})), "verifiedLevels"),
    ] {
        let error = tried(std::slice::from_ref(&document)).map(drop).unwrap_err().to_string();
        assert!(error.contains(why), "{}: {error}", String::from_utf8_lossy(&document));
    }
    let mut large = scanned(&[]);
    large["scanner"]["result"] = json!(vec![json!({ "id": "x".repeat(1000) }); 8000]);
    assert!(matches!(tried(&[scan(&[1], large)]), Err(EvidenceError::Long(_))));
    let one = |n: usize| {
        let mut predicate = scanned(&[]);
        predicate["scanner"]["version"] = json!(n.to_string());
        scan(&[1], predicate)
    };
    let lines = |from: usize| {
        (from..from + 64).map(|n| [one(n), b"\n".to_vec()].concat()).collect::<Vec<_>>().concat()
    };
    let documents: Vec<Vec<u8>> = (0..5).map(|n| lines(n * 64)).collect();
    assert_eq!(facts(&documents[..4]).scans.len(), 256);
    assert!(matches!(tried(&documents), Err(EvidenceError::Many("256 scans of a request"))));
}
