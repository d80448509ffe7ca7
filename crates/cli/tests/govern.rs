//! A policy that people agree to, at a real server; and what an officer
//! alone, a stranger and a changed data directory come to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::path::{Path, PathBuf};

use firmseal_keys::{FileKey, Signer};
use firmseal_manifest::KeyAlgorithm;
use place::people::{name_approvers, secret, ssh_key, text};
use place::{Place, bytes};
use serde_json::Value;

/// A policy that permits signers one channel, with an example of it.
fn write_policy(place: &Place, directory: &str, channel: &str) {
    std::fs::create_dir_all(place.path(directory)).unwrap();
    let rules = format!(
        "@id(\"signers\")\n@reason(\"signers sign for {channel}\")\n\
         permit (principal in Role::\"signer\", action in Action::\"sign\", resource)\n\
         when {{ context.channel == \"{channel}\" }};\n"
    );
    let examples = format!(
        "[[case]]\nname = \"their channel\"\nexpect = \"permit\"\nquestion = {{ channel = \"{channel}\" }}\n\
         [[case]]\nname = \"another\"\nexpect = \"refuse\"\nrules = [\"no-permit\"]\n\
         question = {{ channel = \"other\" }}\n"
    );
    place.write(&format!("{directory}/rules.cedar"), rules.as_bytes());
    place.write(&format!("{directory}/rules.test.toml"), examples.as_bytes());
}

/// The one file below a directory that holds a text.
fn holding(directory: &Path, text: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            let held = |path: &Path| {
                let bytes = std::fs::read(path).unwrap();
                bytes.windows(text.len()).any(|window| window == text.as_bytes())
            };
            if entry.is_dir() {
                open.push(entry);
            } else if held(&entry) {
                found.push(entry);
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_agreed_to_and_kept() {
    let mut place = Place::start();
    let file = |name: &str| {
        let path = place.path(&format!("{name}.pem"));
        FileKey::generate(&path, KeyAlgorithm::P256, &secret(&place)).unwrap().public_key().clone()
    };
    let (ann, ben, admin) = (ssh_key(&place, "ann"), file("ben"), file("admin"));
    ssh_key(&place, "stranger");
    // The one who proposes is an approver as well.
    name_approvers(&place, vec![("ann", ann), ("ben", ben), ("admin", admin)], None).await;
    place.stdout("product create gateway --vendor example.com --class one --component main=1MiB");
    place.write("firmware", &bytes(9000, 1));
    let order = |version: &str, channel: &str| {
        format!(
            "release create --product gateway --channel {channel} --version {version} --epoch 1 \
             --component main=firmware"
        )
    };
    place.json(&order("1.0.0", "stable"));
    assert_eq!(text(&place.json("policy list"), "source"), "none");

    write_policy(&place, "policies", "beta");
    place.write("policies/wrong.test.toml", b"[[case]]\nname = \"no\"\nexpect = \"hold\"\n");
    let told = place.fails("policy propose policies --why because", 3);
    assert!(told.contains("`no` wants hold and gets"), "{told}");
    std::fs::remove_file(place.path("policies/wrong.test.toml")).unwrap();
    let proposal = place.json("policy propose policies --why nightly");
    let policy = text(&proposal, "policy").to_owned();
    assert_eq!((text(&proposal, "state"), &proposal["missing"]), ("open", &Value::from(2)));
    assert_eq!(place.json("policy propose policies --why again")["id"], proposal["id"]);

    // An officer alone.
    let told = place.fails(&format!("policy activate {policy}"), 6);
    assert!(told.contains("0 of 2 people have agreed"), "{told}");
    let anchor = "--anchor place/trust/root.cbor --yes";
    let with =
        |key: &str| format!("--key file:{key}.pem --secret file:place/keys/passphrase --log {key}-log");
    let told = place.fails(&format!("policy approve {policy} --ssh stranger {anchor}"), 5);
    assert!(told.contains("no approver"), "{told}");
    let told = place.fails(&format!("policy approve {policy} {} {anchor}", with("admin")), 3);
    assert!(told.contains("somebody else has to agree"), "{told}");
    for _ in 0..2 {
        let answer = place.json(&format!("policy approve {policy} --ssh ann {anchor}"));
        assert_eq!(answer["missing"], 1, "{answer}");
    }
    place.json(&order("1.1.0", "stable"));
    place.json(&format!("policy approve {policy} {} {anchor}", with("ben")));
    let active = place.json(&format!("policy activate {policy}"));
    assert_eq!((&active["number"], &active["root"]), (&Value::from(1), &Value::from(2)));

    // It decides from here on, also after a restart.
    let refused = |place: &Place, version: &str| place.fails(&order(version, "stable"), 3);
    assert!(refused(&place, "1.2.0").contains("no-permit"));
    let release = place.json(&order("1.2.0", "beta"));
    place.stop();
    // Beside the server, with its keys, it decides as well.
    let told = place.fails(
        "sign-offline --place place --product gateway --version 1.2.1 --epoch 1 --component main=firmware -o x.bundle",
        3,
    );
    assert!(told.contains("no-permit"), "{told}");
    let mut place = place.again();
    assert!(refused(&place, "1.2.1").contains("no-permit"));
    let list = place.json("policy list");
    assert_eq!((text(&list, "source"), text(&list, "in_force")), ("approved", policy.as_str()));
    // A record leads to the text.
    let shown = place.json(&format!("policy show {}", text(&list, "rules")));
    assert_eq!(text(&shown, "policy"), policy);
    assert!(shown["files"].to_string().contains("signers sign for beta"), "{shown}");
    assert!(!text(&release, "id").is_empty());

    // What was decided is decided again, by this policy and by another.
    place.stdout("policy test policies --last 10");
    write_policy(&place, "others", "stable");
    let told = place.fails("policy test others --last 10", 3);
    assert!(told.contains("decisions would be others under this policy"), "{told}");
    let diff = place.stdout("policy diff others");
    assert!(diff.contains("- when { context.channel == \"beta\" };"), "{diff}");
    assert!(diff.contains("+ when { context.channel == \"stable\" };"), "{diff}");

    // Of two proposals the second one is of another base by now.
    write_policy(&place, "thirds", "gamma");
    let proposed = place.run("policy propose others --why stable");
    let told = String::from_utf8(proposed.stderr).unwrap();
    assert!(told.contains("decisions would be others") && !told.contains("\n0 of the last"), "{told}");
    let other = text(&place.json("policy propose others --why stable"), "policy").to_owned();
    let third = text(&place.json("policy propose thirds --why gamma"), "policy").to_owned();
    for policy in [&other, &third] {
        place.json(&format!("policy approve {policy} --ssh ann {anchor}"));
        place.json(&format!("policy approve {policy} {} {anchor}", with("ben")));
    }
    place.json(&format!("policy activate {other}"));
    let told = place.fails(&format!("policy activate {third}"), 4);
    assert!(told.contains("open proposal of policy"), "{told}");
    place.json(&order("1.3.0", "stable"));
    place.json("policy propose thirds --why gamma");
    assert_eq!(text(&place.json(&format!("policy withdraw {third}")), "state"), "withdrawn");

    // The files of the data directory are not what people agreed to.
    place.stop();
    let damaged = holding(&place.path("place/store"), "signers sign for stable");
    let mut content = std::fs::read(&damaged).unwrap();
    let at = content.windows(6).position(|window| window == b"stable").unwrap();
    content[at..at + 6].copy_from_slice(b"nobody");
    std::fs::remove_file(&damaged).unwrap();
    std::fs::write(&damaged, content).unwrap();
    let place = place.again();
    let list = place.json("policy list");
    assert_eq!(text(&list, "source"), "broken");
    assert!(text(&list, "trouble").contains("does not verify"), "{list}");
    assert!(refused(&place, "1.4.0").contains("does not verify"));
    place.fails(&format!("policy activate {other}"), 3);
    // The same bytes again mend it.
    place.fails("policy propose others --why mend", 6);
    assert_eq!(text(&place.json("policy list"), "source"), "approved");
    place.json(&order("1.4.0", "stable"));

    for (action, count) in [("policy-proposed", 4), ("policy-activated", 2), ("policy-closed", 2)] {
        let records = || place.json(&format!("audit --action {action}")).as_array().unwrap().len();
        // They come to the record by way of the log, a moment later.
        assert!((0..500).any(|_| records() == count), "{action}: {}", records());
    }
}
