//! Scans and evaluations: made at a shell, with ClamAV itself, and demanded by
//! the policy of a real server.
//!
//! What ClamAV looks for is a word of our own: no malware is near.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::fs::Permissions;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use place::{Place, bytes};
use serde_json::{Value, json};

const WORD: &[u8] = b"FIRMSEAL-TEST-WORD-0001";
const LAB: &str = "https://lab.example.com";
const SVR: &str = "https://in-toto.io/attestation/svr/v0.1";
const VULNS: &str = "https://in-toto.io/attestation/vulns/v0.2";

const POLICY: &str = r#"
@id("signers") @reason("signers may ask")
permit (principal in Role::"signer", action in Action::"sign", resource);

@id("malware") @reason("a clean scan by ClamAV of the last hour, with signatures of the last week")
forbid (principal, action in Action::"sign", resource)
unless {
  context.evidence.scans.hasTag("https://www.clamav.net") &&
  context.evidence.scans.getTag("https://www.clamav.net").findings == 0 &&
  context.now.durationSince(context.evidence.scans.getTag("https://www.clamav.net").finished) <= duration("1h") &&
  context.now.durationSince(context.evidence.scans.getTag("https://www.clamav.net").updated) <= duration("7d")
};

@id("evaluation") @reason("evaluated at level 2")
forbid (principal, action in Action::"sign", resource)
unless {
  context.evidence.evaluations.hasTag("https://lab.example.com") &&
  context.evidence.evaluations.getTag("https://lab.example.com").passed.contains("LEVEL_2")
};
"#;

/// Beside other people's implementations, or the machine's own.
fn clamscan() -> PathBuf {
    let venv = std::env::var_os("FIRMSEAL_VENV").map(PathBuf::from);
    let venv = venv.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
    let own = venv.join("bin/clamscan");
    if own.is_file() { own } else { PathBuf::from("clamscan") }
}

/// A key of somebody's, and how it is named at a shell.
fn key(place: &Place, name: &str) -> String {
    let secret = "--secret file:place/keys/passphrase";
    place.stdout(&format!("keys generate --algorithm ed25519 file:{name}.key {secret} --public {name}.pub"));
    format!("--key file:{name}.key {secret} --log {name}-log")
}

/// With signatures of our own, of this minute.
fn scan(files: &str) -> String {
    format!(
        "attest scan {files} --clamscan {} --database own.ndb --updated {}",
        clamscan().display(),
        firmseal_fleet::Time::from(std::time::SystemTime::now())
    )
}

fn write_files(place: &Place) {
    let hex: String = WORD.iter().map(|byte| format!("{byte:02x}")).collect();
    place.write("own.ndb", format!("Firmseal.Word:0:*:{hex}\n").as_bytes());
    place.write("firmware", &bytes(9000, 1));
    place.write("second", &bytes(9000, 2));
    place.write("bad", &[&bytes(9000, 3), WORD, &bytes(100, 4)].concat());
}

fn payload(place: &Place, name: &str) -> Value {
    use base64ct::{Base64, Encoding};
    let envelope: Value = serde_json::from_slice(&place.read(name)).unwrap();
    serde_json::from_slice(&Base64::decode_vec(envelope["payload"].as_str().unwrap()).unwrap()).unwrap()
}

#[test]
fn clamav_scans_and_what_it_says_is_signed() {
    let place = Place::start();
    write_files(&place);
    let own = key(&place, "scanner");
    let clean = place.json(&format!("{} {own} -o clean.json", scan("firmware second firmware")));
    assert_eq!((&clean["clean"], clean["artifacts"].as_array().map(Vec::len)), (&json!(true), Some(2)));
    let statement = payload(&place, "clean.json");
    assert_eq!(
        (&statement["predicateType"], &statement["subject"][1]["name"]),
        (&json!(VULNS), &json!("second"))
    );
    assert_eq!(statement["predicate"]["scanner"]["uri"], "https://www.clamav.net");
    assert_eq!(statement["predicate"]["scanner"]["result"], json!([]));

    let told = place.fails(&format!("{} {own} -o bad.json", scan("firmware bad")), 3);
    assert!(told.contains("ClamAV found something"), "{told}");
    let found = &payload(&place, "bad.json")["predicate"]["scanner"]["result"];
    assert_eq!(found, &json!([{ "id": "Firmseal.Word.UNOFFICIAL", "severity": [] }]));

    // Beyond the size up to which clamscan looks by itself, and says OK.
    let mut large = std::fs::File::create(place.path("large")).unwrap();
    large.seek(SeekFrom::Start(101 << 20)).unwrap();
    large.write_all(WORD).unwrap();
    place.fails(&format!("{} {own} -o large.json", scan("large")), 3);

    // A build that exchanges its files while they are scanned: what is signed
    // is about what was scanned.
    let exchanging = format!(
        "#!/bin/sh\ncase $1 in --version) ;; *) cat bad > firmware ;; esac\nexec {} \"$@\"\n",
        clamscan().display()
    );
    place.write("exchanging", exchanging.as_bytes());
    std::fs::set_permissions(place.path("exchanging"), Permissions::from_mode(0o700)).unwrap();
    let now = firmseal_fleet::Time::from(std::time::SystemTime::now());
    place.stdout(&format!(
        "attest scan firmware --clamscan ./exchanging --database own.ndb --updated {now} {own} -o exchanged.json"
    ));
    assert_eq!(place.read("firmware"), place.read("bad"));
    assert_eq!(payload(&place, "exchanged.json")["subject"][0], statement["subject"][0]);
    place.write("firmware", &bytes(9000, 1));

    place.write("empty", b"");
    let told = place.fails(&format!("{} {own} -o x.json", scan("firmware empty")), 7);
    assert!(told.contains("did not scan") && told.contains("Empty file"), "{told}");
    let told = place.fails(&format!("{} {own} -o x.json", scan("place")), 2);
    assert!(told.contains("is no file"), "{told}");
    let undated = scan("firmware").split(" --updated").next().unwrap().to_owned();
    let told = place.fails(&format!("{undated} {own} -o x.json"), 2);
    assert!(told.contains("--updated"), "{told}");
    place.fails(&format!("{} {own} -o x.json", scan("firmware").replace("own.ndb", "absent.ndb")), 7);
    let told = place.fails(&format!("attest scan firmware --clamscan /bin/true {own} -o x.json"), 8);
    assert!(told.contains("is no clamscan"), "{told}");
    assert!(!place.path("x.json").exists(), "nothing was signed");
    place.fails(&format!("{} {own} -o clean.json", scan("firmware")), 6);
}

#[test]
fn a_policy_demands_a_scan_and_an_evaluation() {
    let mut place = Place::start();
    write_files(&place);
    let [scanner, lab, ci] = ["scanner", "lab", "ci"].map(|name| key(&place, name));
    place.stop();
    let settings = std::fs::read_to_string(place.path("place/signing.toml")).unwrap();
    let settings = settings.replacen("secret = ", "policy = \"policy.cedar\"\nsecret = ", 1);
    let builder = |id: &str, key: &str, attests: &str| {
        format!("\n[[builder]]\nid = \"{id}\"\nkey = \"../{key}.pub\"\nattests = [{attests}]\n")
    };
    let builders = [
        builder("scanner", "scanner", "\"scan\""),
        builder(LAB, "lab", "\"evaluation\""),
        builder("https://ci.example.com", "ci", "\"provenance\", \"tests\", \"sbom\""),
    ];
    place.write("place/signing.toml", format!("{settings}{}", builders.concat()).as_bytes());
    place.write("place/policy.cedar", POLICY.as_bytes());
    let place = place.again();
    place.stdout("product create gateway --vendor example.com --class one --component main=1MiB --component second=1MiB");

    // As a pipeline makes them: ClamAV's, and a laboratory's.
    place.stdout(&format!("{} {scanner} -o clean.json", scan("firmware second")));
    place.stdout(&format!("{} {scanner} -o half.json", scan("firmware")));
    place.stdout(&format!("{} {ci} -o own.json", scan("firmware second")));
    place.fails(&format!("{} {scanner} -o bad.json", scan("firmware bad")), 3);
    let evaluation = |until: &str| {
        let predicate = json!({ "verifier": { "id": LAB }, "timeCreated": "2026-01-01T00:00:00Z",
                                "properties": ["LEVEL_2"], "firmseal_validUntil": until });
        place.write("predicate.json", predicate.to_string().as_bytes());
    };
    let sign = |name: &str, kind: &str, key: &str| {
        place.stdout(&format!(
            "attest statement firmware second --type {kind} --predicate predicate.json {key} -o {name}"
        ));
    };
    evaluation("2026-01-02T00:00:00Z");
    sign("over.json", SVR, &lab);
    evaluation("2100-01-01T00:00:00Z");
    sign("evaluated.json", SVR, &lab);
    sign("evaluated-by-ci.json", SVR, &ci);
    let mut old = payload(&place, "clean.json")["predicate"].clone();
    old["scanner"]["db"]["lastUpdate"] = json!("2026-01-01T00:00:00Z");
    place.write("predicate.json", old.to_string().as_bytes());
    sign("old.json", VULNS, &scanner);
    let statement =
        format!("attest statement firmware --type {VULNS} --predicate predicate.json {scanner} -o x.json");
    let log = || place.read("scanner-log/intents.log");
    let uses = log();
    for (predicate, why) in
        [("{}", "scanner is missing"), ("[]", "no JSON object"), ("{\"a\":1,\"a\":1}", "twice")]
    {
        place.write("predicate.json", predicate.as_bytes());
        let told = place.fails(&statement, 3);
        assert!(told.contains(why) && !place.path("x.json").exists(), "{told}");
    }
    assert_eq!(log(), uses, "the key was used");

    let order = |version: &str, evidence: &[&str]| {
        let evidence: String = evidence.iter().map(|name| format!(" --evidence {name}.json")).collect();
        format!(
            "release create --product gateway --version {version} --epoch 1 --component main=firmware \
             --component second=second{evidence}"
        )
    };
    for (evidence, rules) in [
        (&["evaluated"][..], &["malware"][..]),
        (&["clean"], &["evaluation"]),
        (&["half", "evaluated"], &["malware"]),
        (&["own", "evaluated"], &["malware"]),
        (&["old", "evaluated"], &["malware"]),
        (&["clean", "bad", "evaluated"], &["malware"]),
        (&["clean", "over"], &["evaluation"]),
        (&["clean", "evaluated-by-ci"], &["evaluation"]),
        (&[], &["malware", "evaluation"]),
    ] {
        let told = place.fails(&order("1.0.0", evidence), 3);
        for rule in ["malware", "evaluation"] {
            assert_eq!(told.contains(rule), rules.contains(&rule), "{evidence:?}: {told}");
        }
    }
    // One about half of it beside one about all of it does no harm.
    let made = place.json(&order("1.0.0", &["half", "clean", "evaluated"]));
    let shown = place.json(&format!("release show {}", made["id"].as_str().unwrap()));
    assert_eq!(shown["evidence"].as_array().map(Vec::len), Some(3), "{shown}");
}
