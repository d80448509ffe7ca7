//! What a thief hands in as evidence, and what it comes to.
#![allow(clippy::unwrap_used)]

mod common;

use common::{GITHUB, Pair, artifact, builder, provenance, statement, verify};
use firmseal_evidence::gather::Kind;
use firmseal_evidence::{Attests, Builder, Builders, EvidenceError, Facts, Gathering, Reproduction};
use firmseal_manifest::ProductId;
use serde_json::{Value, json};

const TESTS: &str = "https://in-toto.io/attestation/test-result/v0.1";

fn facts(builders: &[Builder], documents: &[&[u8]]) -> Facts {
    tried(builders, documents).unwrap()
}

fn tried(builders: &[Builder], documents: &[&[u8]]) -> Result<Facts, EvidenceError> {
    let product: ProductId = "gateway".parse().unwrap();
    let builders = Builders::new(builders.to_vec()).unwrap();
    let artifacts = [artifact(1), artifact(2)];
    let mut gathering = Gathering::new(&product, &artifacts, &builders, &verify);
    for document in documents {
        gathering.read(document)?;
    }
    Ok(gathering.finish())
}

#[test]
fn provenance_by_its_builder_is_told() {
    for pair in [Pair::ed25519(7), Pair::p256()] {
        let known = [builder(GITHUB, &pair, &Builder::USUAL)];
        let told = facts(&known, &[&pair.envelope(&provenance(&[1, 2, 9], GITHUB))]);
        assert_eq!((told.attested, told.unproven, told.provenance.len()), (true, 0, 1));
        let one = &told.provenance[0];
        assert_eq!(one.builder, GITHUB);
        assert_eq!(one.source.as_deref(), Some("https://github.com/o/firmware"));
        assert_eq!(one.commit, Some("c".repeat(40)));
        assert_eq!(one.reference.as_deref(), Some("refs/heads/main"));
        assert_eq!(one.artifacts, [artifact(1), artifact(2)]);
    }
}

#[test]
fn each_artifact_needs_its_own() {
    let pair = Pair::ed25519(7);
    let known = [builder(GITHUB, &pair, &Builder::USUAL)];
    let (first, second) =
        (pair.envelope(&provenance(&[1], GITHUB)), pair.envelope(&provenance(&[2], GITHUB)));
    assert!(!facts(&known, &[&first]).attested);
    assert!(facts(&known, &[&first, &second]).attested);
    // As one attestation a line, and in a bundle of Sigstore's.
    let lines = [first.clone(), second.clone()].concat();
    assert!(facts(&known, &[&lines]).attested);
    let bundle = |envelope: &[u8]| {
        json!({ "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "dsseEnvelope": serde_json::from_slice::<Value>(envelope).unwrap() })
        .to_string()
    };
    assert!(facts(&known, &[bundle(&first).as_bytes(), bundle(&second).as_bytes()]).attested);
    // The same twice is one.
    let twice = facts(&known, &[&first, &first]);
    assert_eq!((twice.provenance.len(), twice.attested), (1, false));
    // No artifacts, no attestation.
    let product = "gateway".parse().unwrap();
    let none = Gathering::new(&product, &[], &Builders::default(), &verify).finish();
    assert_eq!(none, Facts::default());
    assert!(!none.attested);
}

#[test]
fn what_is_not_proven_is_counted_and_not_told() {
    let (pair, other) = (Pair::ed25519(7), Pair::ed25519(8));
    let known = [builder(GITHUB, &pair, &Builder::USUAL), builder("https://other", &other, &Builder::USUAL)];
    let good = provenance(&[1, 2], GITHUB);
    let signed: Value = serde_json::from_slice(&pair.envelope(&good)).unwrap();
    let with = |member: &str, value: Value| {
        let mut changed = signed.clone();
        changed[member] = value;
        changed.to_string().into_bytes()
    };
    let elsewhere: Value = serde_json::from_slice(&pair.envelope(&provenance(&[9], GITHUB))).unwrap();
    let mut tests_only = known.to_vec();
    tests_only[0].attests = vec![Attests::Tests];
    let mut others = known.to_vec();
    others[0].products = vec!["sensor".parse().unwrap()];
    let envelope = pair.envelope(&good);
    let cases: Vec<(&str, &[Builder], Vec<u8>)> = vec![
        ("a stranger", &known, Pair::ed25519(9).envelope(&good)),
        ("nobody", &known, good.to_string().into_bytes()),
        ("another builder, in this one's name", &known, other.envelope(&good)),
        ("this builder, in another's name", &known, pair.envelope(&provenance(&[1, 2], "https://other"))),
        ("other artifacts", &known, pair.envelope(&provenance(&[3], GITHUB))),
        ("a changed payload", &known, with("payload", elsewhere["payload"].clone())),
        ("no key", &[], envelope.clone()),
        ("a builder of tests alone", &tests_only, envelope.clone()),
        ("a builder of other products", &others, envelope),
    ];
    for (name, known, document) in cases {
        let told = facts(known, &[&document]);
        assert_eq!(told, Facts { unproven: 1, ..Facts::default() }, "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let pair = Pair::ed25519(7);
    let known = [builder(GITHUB, &pair, &Builder::USUAL)];
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut statement = provenance(&[1, 2], GITHUB);
        change(&mut statement);
        pair.envelope(&statement)
    };
    let twice = provenance(&[1, 2], GITHUB).to_string().replacen('{', r#"{"predicateType":"x","#, 1);
    let signed: Value = serde_json::from_slice(&pair.envelope(&provenance(&[1, 2], GITHUB))).unwrap();
    let with = |member: &str, value: Value| {
        let mut changed = signed.clone();
        changed[member] = value;
        changed.to_string().into_bytes()
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"firmware".to_vec(), "not JSON"),
        (b"{}".to_vec(), "no kind"),
        (b"<html/>".to_vec(), "not JUnit"),
        (pair.sign("application/x", b"{}"), "does not hold"),
        (with("payloadType", json!("application/vnd.in-toto+json ")), "does not hold"),
        (with("payload", json!("%")), "payload"),
        (with("signatures", json!([])), "signatures"),
        (with("signatures", json!(vec![json!({"sig": ""}); 17])), "16 signatures"),
        (pair.sign("application/vnd.in-toto+json", twice.as_bytes()), "twice"),
        (pair.sign("application/vnd.in-toto+json", b"{}"), "_type"),
        (changed(&|s| s["_type"] = json!("https://in-toto.io/Statement/v2")), "_type"),
        (changed(&|s| s["subject"] = json!([])), "subject"),
        (changed(&|s| s["subject"][0]["digest"] = json!({"sha256": "ab"})), "sha256"),
        (changed(&|s| s["predicate"] = json!([])), "predicate"),
        (changed(&|s| s["predicate"]["runDetails"] = json!(1)), "runDetails"),
        (changed(&|s| s["predicate"]["runDetails"]["builder"] = json!({})), "id"),
        (changed(&|s| s["predicate"]["runDetails"]["builder"]["id"] = json!("a\u{202e}b")), "id"),
        (
            changed(&|s| s["predicate"]["buildDefinition"]["resolvedDependencies"] = json!({})),
            "resolvedDependencies",
        ),
    ];
    for (document, why) in cases {
        let error = tried(&known, &[&document]).map(drop).unwrap_err().to_string();
        assert!(error.contains(why), "{}: {error}", String::from_utf8_lossy(&document));
    }
    // Each of 1024 lines with 16 signatures, before 3 keys.
    let three: Vec<_> = (7..10).map(|seed| builder(GITHUB, &Pair::ed25519(seed), &Builder::USUAL)).collect();
    let full = with("signatures", json!(vec![json!({"sig": ""}); 16]));
    let lines = [&full[..], b"\n"].concat().repeat(64);
    let refused = tried(&three, &vec![&lines[..]; 16]).map(drop).unwrap_err().to_string();
    assert!(refused.contains("32768 tries"), "{refused}");
    assert!(tried(&three, &[&lines]).is_ok());
    let many = vec![b"{\"_type\":\"https://in-toto.io/Statement/v1\"}".as_slice(); 65];
    assert!(matches!(tried(&known, &many), Err(EvidenceError::Many(_))));
}

#[test]
fn a_source_is_told_where_it_is_certain() {
    let pair = Pair::ed25519(7);
    let known = [builder(GITHUB, &pair, &Builder::USUAL)];
    let told = |change: &dyn Fn(&mut Value)| {
        let mut statement = provenance(&[1, 2], GITHUB);
        change(&mut statement["predicate"]["buildDefinition"]);
        let mut facts = facts(&known, &[&pair.envelope(&statement)]);
        let one = facts.provenance.remove(0);
        (one.source, one.commit.map(|commit| commit[..1].to_owned()), one.reference)
    };
    let text = |text: &str| Some(text.to_owned());
    let repository = text("https://github.com/o/firmware");
    // Of two commits nobody says which: none.
    assert_eq!(told(&|b| b["externalParameters"] = json!({})), (None, None, None));
    // The parameters name another repository than any that was fetched.
    let renamed = |b: &mut Value| {
        b["externalParameters"]["workflow"]["repository"] = json!("https://github.com/evil/x")
    };
    assert_eq!(told(&renamed), (text("https://github.com/evil/x"), None, text("refs/heads/main")));
    // One repository at two commits.
    let two = |b: &mut Value| {
        b["resolvedDependencies"][1]["uri"] = json!("git+https://github.com/o/firmware@refs/heads/main");
    };
    assert_eq!(told(&two), (repository.clone(), None, text("refs/heads/main")));
    // GitLab's runners.
    let gitlab = |b: &mut Value| {
        b["externalParameters"] = json!({ "source": "https://gitlab.example/g/p", "entryPoint": "build" });
        b["resolvedDependencies"] =
            json!([{ "uri": "https://gitlab.example/g/p", "digest": { "sha256": "e".repeat(40) } }]);
    };
    assert_eq!(told(&gitlab), (text("https://gitlab.example/g/p"), text("e"), None));
    // Version 0.2.
    let old = statement(
        &[1, 2],
        "https://slsa.dev/provenance/v0.2",
        json!({
            "builder": { "id": GITHUB }, "buildType": "make",
            "invocation": { "configSource": { "uri": "git+https://github.com/o/firmware@refs/tags/v1", "digest": { "sha1": "f".repeat(40) }, "entryPoint": "x" } },
        }),
    );
    let one = facts(&known, &[&pair.envelope(&old)]).provenance.remove(0);
    assert_eq!(
        (one.source, one.commit, one.reference),
        (repository, Some("f".repeat(40)), text("refs/tags/v1"))
    );
}

#[test]
fn test_results_are_told_signed_or_not() {
    let (pair, other) = (Pair::ed25519(7), Pair::ed25519(8));
    let known = [builder("lab", &pair, &[Attests::Tests]), builder("b", &other, &[Attests::Provenance])];
    let result = |result: &str, passed: usize, failed: usize| {
        statement(
            &[1],
            TESTS,
            json!({
                "result": result, "configuration": [{ "name": "hil.yml" }],
                "passedTests": vec!["p"; passed], "failedTests": vec!["f"; failed],
            }),
        )
    };
    let told = |document: &[u8]| {
        let facts = facts(&known, &[document]);
        let runs: Vec<_> =
            facts.tests.into_iter().map(|run| (run.suite, run.passed, run.failed, run.signed)).collect();
        (runs, facts.unproven)
    };
    let run = |passed, failed| (vec![("hil.yml".to_owned(), passed, failed, true)], 0);
    let about = |document: &[u8]| facts(&known, &[document]).tests.remove(0).artifacts;
    assert_eq!(about(&pair.envelope(&result("PASSED", 3, 0))), [artifact(1)], "and not about the other one");
    assert_eq!(about(b"<testsuite name='unit'><testcase name='a'/></testsuite>"), []);
    assert_eq!(told(&pair.envelope(&result("PASSED", 3, 0))), run(3, 0));
    assert_eq!(told(&pair.envelope(&result("PASSED", 0, 0))), run(1, 0));
    // The worse of the two is believed.
    assert_eq!(told(&pair.envelope(&result("PASSED", 3, 2))), run(3, 2));
    assert_eq!(told(&pair.envelope(&result("FAILED", 3, 0))), run(3, 1));
    assert!(tried(&known, &[&pair.envelope(&result("FINE", 3, 0))]).is_err());
    assert_eq!(told(&other.envelope(&result("PASSED", 3, 0))), (vec![], 1));
    let junit = b"<testsuite name='unit'><testcase name='a'/></testsuite>";
    assert_eq!(told(junit), (vec![("unit".to_owned(), 1, 0, false)], 0));
}

#[test]
fn reproductions_count_by_those_who_may() {
    let (pair, builder_key) = (Pair::ed25519(7), Pair::ed25519(8));
    let known = [
        builder("rebuilder", &pair, &[Attests::Reproduction]),
        builder(GITHUB, &builder_key, &Builder::USUAL),
    ];
    let say = |pair: &Pair, byte: u8, same: bool| {
        let reproduction = Reproduction {
            artifact: artifact(byte),
            name: "main".to_owned(),
            other: artifact(if same { byte } else { 99 }),
            same,
            commit: None,
            differences: vec![],
        };
        pair.sign("application/vnd.in-toto+json", &reproduction.statement())
    };
    let told = |documents: &[&[u8]]| {
        let facts = facts(&known, documents);
        (facts.reproduced, facts.unproven)
    };
    let (one, two, differs) = (say(&pair, 1, true), say(&pair, 2, true), say(&pair, 2, false));
    assert_eq!(told(&[&one]), (None, 0), "the other component was not compared");
    assert_eq!(told(&[&one, &two]), (Some(true), 0));
    assert_eq!(told(&[&one, &differs, &two]), (Some(false), 0));
    // The builder itself does not count.
    assert_eq!(told(&[&say(&builder_key, 1, true), &say(&builder_key, 2, true)]), (None, 2));
}

#[test]
fn a_bill_of_materials_may_be_signed() {
    let pair = Pair::ed25519(7);
    let known = [builder(GITHUB, &pair, &Builder::USUAL)];
    let bom = |name: &str| {
        json!({ "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
                "components": [{ "type": "library", "name": name }, { "type": "library", "name": "z" }] })
    };
    let signed =
        |artifacts: &[u8]| pair.envelope(&statement(artifacts, "https://cyclonedx.org/bom", bom("a")));
    let plain = bom("b").to_string();
    let told = |documents: &[&[u8]]| {
        let facts = facts(&known, documents);
        (facts.sbom.map(|sbom| (sbom.components, sbom.signed)), facts.unproven)
    };
    assert_eq!(told(&[plain.as_bytes()]), (Some((2, false)), 0));
    assert_eq!(told(&[plain.as_bytes(), &signed(&[1, 2])]), (Some((2, true)), 0));
    assert_eq!(told(&[&signed(&[1, 2]), plain.as_bytes()]), (Some((2, true)), 0));
    assert_eq!(told(&[&signed(&[1])]), (None, 1), "a list of one component is none of both");
    let product = "gateway".parse().unwrap();
    let builders = Builders::default();
    let mut gathering = Gathering::new(&product, &[], &builders, &verify);
    assert_eq!(gathering.read(plain.as_bytes()), Ok(Kind::Sbom));
}
