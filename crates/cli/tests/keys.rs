//! Signing keys by name: the program against a server of its own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use place::{Place, bytes};

/// The key files of `init`, with names and rules.
fn name_keys(place: &Place, more: &str) {
    let text = String::from_utf8(place.read("place/signing.toml")).unwrap();
    let text = text.replace("\"file:keys/release.pem\"", "\"release-2026\"");
    let tables = format!(
        "\n[[key]]\nname = \"release-2026\"\nuri = \"file:keys/release.pem\"\npurpose = \"release\"\n\
         environment = \"test\"\nowner = \"release team\"\nalgorithm = \"ed25519\"\n{more}\n"
    );
    place.write("place/signing.toml", (text + &tables).as_bytes());
}

#[test]
fn a_key_is_listed_limited_disabled_and_succeeded() {
    // What is counted is the hour's: all of this happens in one.
    let left = 3600 - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 3600;
    if left < 120 {
        std::thread::sleep(Duration::from_secs(left + 1));
    }
    let mut place = Place::start();
    let first = place.json("keys list");
    assert!(first[0]["name"].as_str().unwrap().starts_with("key-"), "{first}");
    place.stop();
    name_keys(&place, "per_hour = 2\nrotate_by = \"2020-01-01\"");
    let mut place = place.again();
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    place.write("firmware.bin", &bytes(20_000, 7));
    let create = |version: &str| {
        format!("release create --product gw --version {version} --epoch 1 --component main=firmware.bin")
    };
    let release = place.json(&create("1.0.0"));
    let shown = place.stdout(&format!("release show {}", release["id"].as_str().unwrap()));
    assert!(shown.contains("(release-2026)") && shown.contains("should have been rotated"), "{shown}");
    let shown = place.stdout("keys show release-2026");
    for line in ["owner        release team", "left this hour  1 of 2", "BEGIN PUBLIC KEY"] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&shown).contains(&squeezed(line)), "{line}: {shown}");
    }
    let listed = place.run("keys list");
    let text = String::from_utf8(listed.stderr).unwrap();
    assert!(
        text.contains("warning: key `release-2026`: it should have been rotated by 2020-01-01"),
        "{text}"
    );
    place.json(&create("1.0.1"));
    let text = place.fails(&format!("{} --wait=8s", create("1.0.2")), 9);
    assert!(text.contains("2 signatures of this hour"), "{text}");
    let queued = place.json("request list --orders")[0]["id"].as_str().unwrap().to_owned();
    place.json(&format!("request cancel {queued}"));
    let usage = place.json("keys usage release-2026");
    assert_eq!((usage["uses"].as_u64(), usage["by_product"][0]["name"].as_str()), (Some(2), Some("gw")));

    // Both releases count until somebody takes one back; the second is offered.
    let second = place.json("release list --limit 1")[0]["id"].as_str().unwrap().to_owned();
    place.json(&format!("rollout create {second}"));
    let signed = |place: &Place| -> Vec<(String, bool)> {
        let rows = place.json("keys signed release-2026");
        let row = |row: &serde_json::Value| {
            (row["version"].as_str().unwrap().to_owned(), row["offered"].as_bool().unwrap())
        };
        rows.as_array().unwrap().iter().map(row).collect()
    };
    assert_eq!(signed(&place), [("1.0.1".to_owned(), true), ("1.0.0".to_owned(), false)]);
    place.json(&format!("release withdraw {}", release["id"].as_str().unwrap()));
    assert_eq!(signed(&place), [("1.0.1".to_owned(), true)]);
    let nothing = place.json("keys list")[0]["name"].as_str().unwrap().to_owned();
    assert_ne!(nothing, "release-2026");
    assert_eq!(place.json(&format!("keys signed {nothing}")), serde_json::json!([]));

    let rotate =
        "keys rotate release-2026 release-2027 file:keys/next.pem --place place --rotate-by 2040-01-01";
    let made = place.json(rotate);
    assert_eq!(
        (made["algorithm"].as_str(), made["replaces"].as_str()),
        (Some("ed25519"), Some("release-2026"))
    );
    place.fails(rotate, 6);
    place.fails("keys rotate nobody release-2028 file:keys/x.pem --place place", 4);
    place.stop();
    let mut place = place.again();
    let keys = place.json("keys list");
    let names: Vec<_> = keys.as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"release-2026") && names.contains(&"release-2027"), "{names:?}");

    let disabled = place.json("keys disable release-2026 --why leaked");
    assert_eq!(disabled["state"], "disabled");
    let text = place.fails(&create("1.0.3"), 3);
    assert!(text.contains("`release-2026` was disabled") && text.contains("leaked"), "{text}");
    place.fails("keys destroy release-2026 --why over", 6);
    place.json("keys disable release-2027 --why unused");
    let destroying = place.json("keys destroy release-2027 --in 2d --why unused");
    assert_eq!(destroying["state"], "destroying");
    place.fails("keys enable release-2027 --why no", 6);
    assert_eq!(place.json("keys keep release-2027 --why mistake")["state"], "disabled");
    place.json("keys enable release-2026 --why found");

    // The key keeps its name, whatever the settings say.
    place.stop();
    let text = String::from_utf8(place.read("place/signing.toml")).unwrap();
    place.write("place/signing.toml", text.replace("release-2026", "another").as_bytes());
    let text = place.fails("serve place", 6);
    assert!(text.contains("is called `release-2026` here"), "{text}");
}

#[test]
fn settings_that_contradict_themselves_are_refused() {
    let mut place = Place::start();
    place.stop();
    let pristine = place.read("place/signing.toml");
    for (more, code, why) in [
        ("per_hour = -1", 2, "signing.toml"),
        ("colour = \"red\"", 2, "unknown field"),
        ("warn_days = 3", 2, "need `rotate_by`"),
        ("fallback = \"spare\"", 3, "there is no such key"),
    ] {
        name_keys(&place, more);
        let text = place.fails("serve place", code);
        assert!(text.contains(why), "{more}: {text}");
        place.write("place/signing.toml", &pristine);
    }
    name_keys(&place, "");
    let text = String::from_utf8(place.read("place/signing.toml")).unwrap();
    for (from, to, code, why) in [
        ("\"ed25519\"", "\"p256\"", 3, "demands p256"),
        ("environment = \"test\"", "environment = \"production\"", 3, "root document is for test"),
        ("purpose = \"release\"", "purpose = \"artifact\"", 3, "stands where one for `release` belongs"),
        ("[\"release-2026\"]", "[\"nobody\"]", 2, "no [[key]] table is called `nobody`"),
        ("[\"release-2026\"]", "[\"file:keys/release.pem\"]", 3, "are one key"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        place.write("place/signing.toml", changed.as_bytes());
        let text = place.fails("serve place", code);
        assert!(text.contains(why), "{to}: {text}");
    }
}
