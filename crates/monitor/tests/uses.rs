//! Keys that were used behind the log's back, and what key hosts, CloudTrail,
//! Vault and HSMs say of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::Path;

use firmseal_manifest::{Digest, Event, Intent, KeyId, Leaf, Outcome, Purpose, RequestId};
use firmseal_monitor::{
    Finding, Hosted, Keeper, Kind, Known, MonitorError, Trail, VaultKey, compare_hosts, compare_trail,
};

/// 2026-11-22T14:00:00Z.
const NOON: u64 = 1_795_356_000;
const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn key(number: u8) -> KeyId {
    KeyId(Digest([number; 32]))
}

fn intent(number: u8, keys: &[u8]) -> Leaf {
    Leaf::Intent(Intent {
        purpose: Purpose::Artifact,
        subject: Digest([number; 32]),
        keys: keys.iter().map(|number| key(*number)).collect(),
        delegation: None,
        statements: Vec::new(),
        requester: Digest([1; 32]),
        policy: Digest([2; 32]),
        context: Vec::new(),
    })
}

fn failed(intent: u64) -> Leaf {
    let request: RequestId = "req-0197c0de-0000-7000-8000-000000000001".parse().unwrap();
    Leaf::Event(Event::Attempt { request, intent, outcome: Outcome::Unknown })
}

fn seen(leaf: Leaf, seen: u64) -> Known {
    Known { leaf: Some(leaf), seen }
}

fn found(findings: &[Finding]) -> Vec<(Kind, &str)> {
    findings.iter().map(|finding| (finding.kind, finding.about.as_str())).collect()
}

/// A log of three intents for key 3, the second of which failed, and one for
/// a key that is elsewhere.
fn log() -> Vec<Known> {
    let leaves = [intent(1, &[3]), intent(2, &[3]), failed(1), intent(3, &[3]), intent(4, &[9])];
    leaves.into_iter().map(|leaf| seen(leaf, NOON)).collect()
}

fn hosts(uses: &[Leaf], first: u64, now: u64) -> Vec<Finding> {
    let uses: Vec<_> = uses.iter().map(|leaf| seen(leaf.clone(), NOON)).collect();
    let host = Hosted { name: "room", keys: &BTreeSet::from([key(3)]), first, uses: &uses };
    compare_hosts(&log(), &[host], now, 900)
}

#[test]
fn each_use_on_a_host_was_announced_and_each_intent_was_used() {
    let later = NOON + 901;
    let honest = [intent(1, &[3]), intent(3, &[3])];
    assert_eq!(hosts(&honest, 0, later), []);
    // A use that failed behind the host's back is one as well.
    let tried = [intent(1, &[3]), intent(2, &[3]), intent(3, &[3])];
    assert_eq!(hosts(&tried, 0, later), []);

    // A key was used for what nobody announced, or for one intent twice.
    let behind = [intent(1, &[3]), intent(7, &[3]), intent(3, &[3])];
    assert_eq!(found(&hosts(&behind, 0, later)), [(Kind::Unannounced, "room: use 1")]);
    let twice = [intent(1, &[3]), intent(1, &[3]), intent(3, &[3])];
    let findings = hosts(&twice, 0, later);
    assert_eq!(found(&findings), [(Kind::Unannounced, "room: use 1")]);
    assert!(findings[0].detail.contains("2 times"), "{}", findings[0].detail);
    // An entry for another key announces nothing for this one.
    let other = [intent(1, &[3]), intent(3, &[3]), intent(3, &[9])];
    assert_eq!(found(&hosts(&other, 0, later)), [(Kind::Unannounced, "room: use 2")]);

    // What the host never did was done by somebody who has its key.
    assert_eq!(found(&hosts(&honest[..1], 0, later)), [(Kind::Unused, "3")]);
    assert_eq!(hosts(&honest[..1], 0, NOON + 900), [], "it may be on its way");
    assert_eq!(found(&hosts(&[], 0, later)), [(Kind::Unused, "0"), (Kind::Unused, "3")]);
    assert_eq!(found(&hosts(&[], 2, later)), [(Kind::Unused, "3")], "the key came at entry 2");
}

#[test]
fn keys_on_two_hosts_sign_one_manifest() {
    // Each key of a release has an entry, and both say the same.
    let both = intent(1, &[3, 4]);
    let entries = [seen(both.clone(), NOON), seen(both.clone(), NOON)];
    let (three, four) = (BTreeSet::from([key(3)]), BTreeSet::from([key(4)]));
    let used = [seen(both, NOON)];
    fn host<'a>(name: &'a str, keys: &'a BTreeSet<KeyId>, uses: &'a [Known]) -> Hosted<'a> {
        Hosted { name, keys, first: 0, uses }
    }
    let compare = |one: &[Known], other: &[Known]| {
        let hosts = [host("one", &three, one), host("two", &four, other)];
        compare_hosts(&entries, &hosts, NOON + 1000, 900)
    };
    assert_eq!(compare(&used, &used), []);
    assert_eq!(found(&compare(&used, &[])), [(Kind::Unused, "1")]);
    // Where the other key is, nobody said: nothing can be said of it.
    assert_eq!(compare_hosts(&entries, &[host("one", &three, &used)], NOON + 1000, 900), []);
}

#[test]
fn one_key_on_two_hosts_is_used_on_either_and_never_on_both() {
    let later = NOON + 901;
    let keys = BTreeSet::from([key(3)]);
    let known = |uses: &[Leaf]| uses.iter().map(|leaf| seen(leaf.clone(), NOON)).collect::<Vec<_>>();
    let compare = |one: &[Leaf], other: &[Leaf], firsts: [u64; 2]| {
        let (one, other) = (known(one), known(other));
        let [first, second] = firsts;
        let one = Hosted { name: "one", keys: &keys, first, uses: &one };
        let other = Hosted { name: "other", keys: &keys, first: second, uses: &other };
        compare_hosts(&log(), &[one, other], later, 900)
    };
    assert_eq!(compare(&[intent(1, &[3])], &[intent(3, &[3])], [0, 0]), []);
    let twice = compare(&[intent(1, &[3])], &[intent(3, &[3]), intent(1, &[3])], [0, 0]);
    assert_eq!(found(&twice), [(Kind::Unannounced, "other: use 1")]);
    // The second joined later, and whatever was signed before is looked for
    // all the same.
    for firsts in [[0, 3], [3, 0]] {
        assert_eq!(found(&compare(&[], &[intent(3, &[3])], firsts)), [(Kind::Unused, "0")]);
    }
}

fn in_kms() -> Keeper {
    Keeper::CloudTrail(ARN.to_owned())
}

/// An event as CloudTrail has it.
fn event(id: &str, second: u64, more: &str) -> String {
    let (minutes, seconds) = (second / 60, second % 60);
    format!(
        r#"{{"eventVersion": "1.11", "userIdentity": {{"type": "AssumedRole",
        "arn": "arn:aws:sts::111122223333:assumed-role/firmseal/i-0"}}, "eventTime": "2026-11-22T14:{minutes:02}:{seconds:02}Z",
        "eventSource": "kms.amazonaws.com", "eventName": "Sign", "awsRegion": "eu-central-1",
        "requestParameters": {{"keyId": "alias/firmseal", "messageType": "DIGEST", "signingAlgorithm": "ECDSA_SHA_256"}},
        "responseElements": null, "requestID": "request-{id}", "eventID": "{id}", "readOnly": true,
        "resources": [{{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": "{ARN}"}}],
        "eventType": "AwsApiCall", "managementEvent": true, "eventCategory": "Management"{more}}}"#
    )
}

fn delivered(dir: &Path, name: &str, events: &[String]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!(r#"{{"Records": [{}]}}"#, events.join(","))).unwrap();
}

/// Compares a log with events that were delivered together with two others,
/// so that an hour is covered.
fn counted(entries: &[Known], events: &[String]) -> Vec<Finding> {
    let dir = tempfile::tempdir().unwrap();
    let about = |id: &str, second| {
        event(id, second, "").replace(r#""eventName": "Sign""#, r#""eventName": "DescribeKey""#)
    };
    delivered(dir.path(), "begin.json", &[about("begin", 0)]);
    delivered(dir.path(), "2026/11/22/events.json", events);
    delivered(dir.path(), "end.json", &[about("end", 3599)]);
    std::fs::write(dir.path().join("notes.txt"), "of no interest").unwrap();
    let keeper = in_kms();
    compare_trail(entries, (&keeper, key(3)), &keeper.read(dir.path()).unwrap(), 300)
}

/// Intents for key 3, the first seen five minutes after noon, the others ten
/// minutes after each other.
fn logged(count: u8) -> Vec<Known> {
    let looks = std::iter::once(seen(intent(200, &[9]), NOON + 100));
    let intents = (0..count).map(|n| seen(intent(n, &[3]), NOON + 300 + 600 * u64::from(n)));
    looks.chain(intents).collect()
}

#[test]
fn each_signature_in_kms_has_an_intent_of_its_time() {
    let honest = [event("a", 290, ""), event("b", 880, ""), event("c", 1520, "")];
    assert_eq!(counted(&logged(3), &honest), []);
    // Delivered twice it is still one.
    assert_eq!(counted(&logged(3), &[&honest[..], &honest[..1]].concat()), []);
    // What KMS refused is no use, nor is that of another key.
    let refused = event("r", 300, r#", "errorCode": "ThrottlingException""#);
    let other = event("o", 300, "").replace("1234abcd", "9999abcd");
    assert_eq!(counted(&logged(3), &[&honest[..], &[refused, other]].concat()), []);

    // One more than was announced.
    let stolen = [&honest[..], &[event("stolen", 1000, "")]].concat();
    let findings = counted(&logged(3), &stolen);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].kind, Kind::Unannounced);
    assert!(findings[0].detail.contains("role/firmseal/i-0, request request-"), "{findings:?}");
    // As many as were announced, but at a time at which none was.
    let early = [event("early", 1, ""), honest[1].clone(), honest[2].clone()];
    let want = [(Kind::Unannounced, "event early"), (Kind::Unused, "1")];
    assert_eq!(found(&counted(&logged(3), &early)), want);
    // Long after an intent that was never carried out.
    let mut entries = logged(1);
    entries.push(seen(failed(1), NOON + 400));
    assert_eq!(counted(&entries, &[]), [], "it failed, and the log says so");
    assert_eq!(counted(&entries, &[event("a", 290, "")]), [], "it failed on the way back");
    let late = [event("late", 3000, "")];
    assert_eq!(found(&counted(&entries, &late)), [(Kind::Unannounced, "event late")]);
}

#[test]
fn what_only_a_copy_of_a_key_can_have_signed_is_missed_in_kms() {
    let two = [event("a", 290, ""), event("c", 1520, "")];
    assert_eq!(found(&counted(&logged(3), &two)), [(Kind::Unused, "2")]);
    // What lies beyond the trail's ends, it cannot know of.
    assert_eq!(counted(&logged(7), &[]).len(), 5, "entries 1 to 5 lie within the hour");
}

#[test]
fn a_message_is_signed_for_nobody_of_ours() {
    let raw = event("raw", 290, "").replace("DIGEST", "RAW");
    let findings = counted(&logged(1), &[raw]);
    assert_eq!(found(&findings), [(Kind::Unannounced, "event raw"), (Kind::Unused, "1")]);
}

#[test]
fn a_trail_that_cannot_be_read_is_no_empty_trail() {
    let dir = tempfile::tempdir().unwrap();
    let read = || in_kms().read(dir.path());
    assert_eq!(read().unwrap(), Trail::default());
    let path = dir.path().join("a.json.gz");
    for bad in [&b""[..], b"{}", b"\x1f\x8b\x08\x00", br#"{"Records": [{}]}"#] {
        std::fs::write(&path, bad).unwrap();
        assert!(matches!(read(), Err(MonitorError::NoTrail { .. })), "{bad:?}");
    }
    let nameless = event("a", 1, "").replace(ARN, "").replace("\"ARN\": \"\"", "\"accountId2\": \"\"");
    std::fs::write(&path, format!(r#"{{"Records": [{nameless}]}}"#)).unwrap();
    assert!(matches!(read(), Err(MonitorError::NoTrail { why, .. }) if why.contains("names no key")));
    assert!(matches!(in_kms().read(&dir.path().join("none")), Err(MonitorError::File { .. })));
}

fn in_vault() -> Keeper {
    Keeper::Vault(VaultKey {
        namespace: Some("fw".to_owned()),
        mount: "transit".to_owned(),
        name: "image".to_owned(),
        version: 2,
    })
}

/// Both entries of a request, as an audit device has them: what was handed in is
/// hashed, the answer's number is not.
fn request(id: &str, second: u64, path: &str, data: &str) -> String {
    let (minutes, seconds) = (second / 60, second % 60);
    let entry = |kind: &str, more: &str| {
        format!(
            r#"{{"time": "2026-11-22T14:{minutes:02}:{seconds:02}.570688813Z", "type": "{kind}", "auth": {{"client_token":
            "hmac-sha256:7f1f", "display_name": "approle", "policies": ["sign"]}}, "request": {{"id": "{id}", "operation": "update",
            "mount_point": "transit/", "namespace": {{"id": "Yb3q", "path": "fw/"}}, "path": "{path}", "data": {data},
            "remote_address": "10.0.0.7"}}{more}}}"#
        )
        .replace('\n', " ")
            + "\n"
    };
    let version = if data.contains("\"key_version\": 1") { 1 } else { 2 };
    let answer =
        format!(r#", "response": {{"data": {{"key_version": {version}, "signature": "hmac-sha256:55ab"}}}}"#);
    entry("request", "") + &entry("response", &answer)
}

/// A signature as Firmseal asks for it.
fn signed(id: &str, second: u64) -> String {
    request(id, second, "transit/sign/image", OURS)
}

const OURS: &str = r#"{"input": "hmac-sha256:77", "key_version": "hmac-sha256:12", "prehashed": true}"#;

/// Compares a log with files of an hour.
fn told(keeper: &Keeper, entries: &[Known], files: &[(&str, String)]) -> Vec<Finding> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    compare_trail(entries, (keeper, key(3)), &keeper.read(dir.path()).unwrap(), 300)
}

fn audited(entries: &[Known], lines: &str) -> Vec<Finding> {
    let hour = [request("0", 0, "sys/health", "null"), request("1", 3599, "sys/health", "null")].concat();
    told(&in_vault(), entries, &[("audit.log", lines.to_owned()), ("audit.log.1", hour)])
}

#[test]
fn each_signature_in_vault_has_an_intent_of_its_time() {
    let honest = [signed("a", 290), signed("b", 880), signed("c", 1520)].concat();
    assert_eq!(audited(&logged(3), &honest), []);
    // Two devices write the same; the last line is still being written.
    let twice = honest.clone() + &honest + &signed("d", 1000)[..100];
    assert_eq!(audited(&logged(3), &twice), []);
    // What Vault refused is no use; nor are other keys, versions, namespaces
    // and what uses nothing.
    let refused =
        signed("r", 300).replace(r#""type": "response""#, r#""type": "response", "error": "denied""#);
    let elsewhere = [
        request("n", 300, "transit/sign/images", OURS),
        request("m", 300, "transit2/sign/image", OURS),
        request("v", 300, "transit/sign/image", r#"{"key_version": 1}"#),
        request("s", 300, "transit/sign/image", OURS).replace("fw/", "other/"),
        request("k", 300, "transit/keys/image", "null"),
        request("p", 300, "transit/export/public-key/image", "null"),
        // An older device leaves numbers as they are, and the answer has none.
        request("o", 300, "transit/sign/image", r#"{"key_version": 1}"#).replace("\"key_version\": 1,", ""),
        request("w", 300, "transit/verify/image", OURS),
    ];
    assert_eq!(audited(&logged(3), &(honest.clone() + &refused + &elsewhere.concat())), []);

    let stolen = honest.clone() + &request("stolen", 1000, "transit/sign/image/sha2-256", OURS);
    let findings = audited(&logged(3), &stolen);
    // A count does not tell which of them it was.
    let [one] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(one.kind, Kind::Unannounced);
    assert!(one.detail.starts_with("transit/keys/image, version 2, was used at 2026-11-22T14:"), "{one:?}");
    assert!(one.detail.ends_with("for approle: no intent that was logged by then is left for it"), "{one:?}");
    // What only a copy of the key can have signed.
    let two = [signed("a", 290), signed("c", 1520)].concat();
    assert_eq!(found(&audited(&logged(3), &two)), [(Kind::Unused, "2")]);
}

#[test]
fn what_firmseal_never_asks_vault_for_is_nobodys_of_ours() {
    for (path, data) in [
        ("transit/sign/image", r#"{"batch_input": [{"input": "hmac-sha256:77"}], "key_version": 2}"#),
        // The newest, whichever that is.
        ("transit/sign/image", r#"{"input": "hmac-sha256:77"}"#),
        ("transit/sign/image", r#"{"key_version": 0}"#),
        ("transit/keys/image/csr", r#"{"csr": "hmac-sha256:77"}"#),
        ("transit/sign/image/sha2-512", "null"),
        ("transit/export/signing-key/image", "null"),
        ("transit/export/signing-key/image/2", "null"),
        ("transit/byok-export/wrapper/image", "null"),
        // A wrapper that somebody gave a harmless name.
        ("transit/byok-export/public-key/image", "null"),
        ("transit/backup/image", "null"),
    ] {
        // It takes no announced use's place.
        let findings = audited(&logged(1), &request("odd", 290, path, data));
        assert_eq!(
            found(&findings),
            [(Kind::Unannounced, "event odd"), (Kind::Unused, "1")],
            "{path} {data}"
        );
    }
}

#[test]
fn each_line_of_an_hsms_log_has_an_intent_of_its_time() {
    let keeper = Keeper::Hsm("image".to_owned());
    let line = |minute: u64, key: &str| {
        format!(
            "{{\"time\": \"2026-11-22T14:{minute:02}:50Z\", \"key\": \"{key}\", \"event\": \"{minute}\", \"by\": \"partition 1\"}}\n"
        )
    };
    let hour = "{\"time\": \"2026-11-22T14:00:00Z\"}\n\n{\"time\": \"2026-11-22T14:59:59Z\"}\n";
    let compare =
        |uses: &[String]| told(&keeper, &logged(2), &[("hour", hour.to_owned()), ("uses", uses.concat())]);
    assert_eq!(compare(&[line(4, "image"), line(14, "image"), line(20, "other")]), []);
    // Told twice it is one; with another's number at another time it is another.
    assert_eq!(compare(&[line(4, "image"), line(14, "image"), line(14, "image")]), []);
    let twin = line(40, "image").replace("\"event\": \"40\"", "\"event\": \"4\"");
    assert_eq!(
        found(&compare(&[line(4, "image"), line(14, "image"), twin])),
        [(Kind::Unannounced, "event 4")]
    );
    let stolen = compare(&[line(4, "image"), line(14, "image"), line(40, "image")]);
    assert_eq!(found(&stolen), [(Kind::Unannounced, "event 40")]);
    assert!(stolen[0].detail.contains("for partition 1"), "{stolen:?}");
    assert_eq!(found(&compare(&[line(4, "image")])), [(Kind::Unused, "2")]);
}

#[test]
fn lines_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let hsm = Keeper::Hsm("image".to_owned());
    let vault = in_vault();
    for (keeper, bad, want) in [
        (&hsm, "{}\n", "line 1: missing field `time`"),
        (&hsm, "\n{\"time\": \"today\"}\n", "line 2: "),
        (&hsm, "{\"time\": \"2026-11-22T14:00:00Z\", \"key\": \"image\"}\n", "needs both"),
        (&hsm, "{\"time\": \"2026-11-22T14:00:00.1+01:00Z\"}\n", "line 1: "),
        (&vault, "<<audit>>\n", "line 1: "),
        (
            &vault,
            "{\"time\": \"2026-11-22T14:00:00Z\", \"type\": \"response\", \"request\": {}}\n",
            "excluded",
        ),
    ] {
        std::fs::write(dir.path().join("log"), bad).unwrap();
        let why = keeper.read(dir.path()).unwrap_err().to_string();
        assert!(why.contains(want), "{bad}: {why}");
    }
}
