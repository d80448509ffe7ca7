//! Pipelines: files signed from CI, with our program, and with curl alone.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Server, Shell, binaries, until};

/// Bytes that repeat nowhere.
fn firmware(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(len);
    out
}

#[test]
fn the_client_signs_and_has_nothing_else() {
    let t = Shell::new();
    let server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=16MiB");
    t.write("firmware.bin", firmware(5 << 20));
    let token = String::from_utf8(t.read("place/operator.token")).unwrap();
    let client = format!("env -u FIRMSEAL_PROFILE {}", binaries::client().display());
    let ci = Shell::at(&t.path(""))
        .with("FIRMSEAL_SERVER", server.operators())
        .with("FIRMSEAL_AUTHORITY", "place/tls/server.pem")
        .with("FIRMSEAL_TOKEN", token.trim());
    let origin = "--build build-7 --commit c0ffee";
    let sign = format!("{client} sign firmware.bin --product gateway --version 1.0.0 {origin}");
    let handed_in = ci.json(&format!("{sign} --epoch 0 --no-wait"));
    let signed = ci.json(&format!("{sign} --epoch 0 --signature client.sig"));
    assert_eq!(signed["id"], handed_in["id"], "the same request");
    ci.run(&format!("{sign} --epoch 17")).exits(3).says("gate-epoch-ahead");
    t.ok("firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 0 --signature own.sig");
    assert_eq!(t.read("client.sig"), t.read("own.sig"));
    // From the commit to the entry in the log, for whoever reads lines or records.
    let told = until("the line about it", || server.logged("file signed").into_iter().next());
    for (field, value) in [("build", "build-7"), ("commit", "c0ffee"), ("product", "gateway")] {
        assert_eq!(told[field], value, "{told}");
    }
    assert_eq!((&told["request"], &told["log_index"]), (&signed["id"], &signed["signature"]["log_index"]));
    for found in ["--commit c0ffee", "--build build-7"] {
        let found = t.recorded(&format!("{found} --action artifact-signed"), 1..=1);
        assert_eq!(found[0]["request"], signed["id"]);
    }
    // What is not there is said, by whoever knows commands.
    ci.run(&format!("{client} serve place")).exits(2).says("serve");
}

#[test]
fn curl_alone_has_a_file_signed_and_our_program_finds_the_same_signature() {
    let t = Shell::new();
    let server = Server::new(&t);
    let product = "--vendor example.com --class gateway --component main=16MiB";
    t.ok(&format!("firmseal product create gateway {product}"));
    // Three pieces, the last of them short.
    t.write("firmware.bin", firmware(9 << 20));
    let token = String::from_utf8(t.read("place/operator.token")).unwrap();
    let script = binaries::workspace().join("deploy/curl/sign.sh");
    let ci = Shell::at(&t.path(""))
        .with("FIRMSEAL_SERVER", server.operators())
        .with("FIRMSEAL_AUTHORITY", "place/tls/server.pem")
        .with("FIRMSEAL_TOKEN", token.trim())
        .with("CI_PIPELINE_ID", "4711")
        .with("CI_COMMIT_SHA", "abc123");
    let sign = format!("sh {} firmware.bin gateway 1.0.0", script.display());
    ci.ok(&format!("{sign} 0 curl.sig"));
    ci.ok(&format!("{sign} 0 again.sig"));
    assert_eq!(t.read("again.sig"), t.read("curl.sig"));
    assert_eq!(t.read("curl.sig").len(), 64, "r || s");
    ci.run(&format!("{sign} 17 never.sig")).exits(3).says("\"rule\":\"gate-epoch-ahead\"");
    assert!(!t.path("never.sig").exists());

    // Our program checks it, and writes it as OpenSSL takes it.
    let line = "firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 0 --signature own.sig";
    let signed = t.json(line);
    assert_eq!(signed["state"], "signed");
    let keys = t.json("firmseal keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["purpose"] == "artifact").unwrap();
    t.write("key.pem", key["public"].as_str().unwrap());
    t.ok("openssl dgst -sha256 -verify key.pem -signature own.sig firmware.bin");
    // Signed once, whoever asked.
    t.recorded("--action artifact-signed", 1..=1);
}

#[test]
fn what_evidence_there_was_of_what_was_signed_is_measured() {
    let t = Shell::new();
    let mut server = Server::new(&t);
    server.stop();
    let secret = "--secret file:place/keys/passphrase";
    let id = "https://ci.example.com";
    let builder = |name: &str, id: &str, attests: &str| {
        t.ok(&format!(
            "firmseal keys generate --algorithm ed25519 file:{name}.key {secret} --public {name}.pub"
        ));
        format!("\n[[builder]]\nid = \"{id}\"\nkey = \"../{name}.pub\"\nattests = [\"{attests}\"]\n")
    };
    let builders = [builder("ci", id, "provenance"), builder("rebuilder", "rebuilder", "reproduction")];
    let settings = String::from_utf8(t.read("place/signing.toml")).unwrap();
    t.write("place/signing.toml", settings + &builders.concat());
    server.start();
    let metrics = server.metrics();
    for environment in ["test", "production"] {
        let none = format!("firmseal_builds_signed_total{{environment=\"{environment}\"}} 0\n");
        assert!(metrics.contains(&none), "a share of none is none: {metrics}");
    }

    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=16MiB");
    let image = firmware(100_000);
    t.write("rebuilt.bin", &image);
    t.write("firmware.bin", image);
    t.write("other.bin", firmware(50_000));
    t.write("bom.json", r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}"#);
    t.write(
        "predicate.json",
        format!(r#"{{"buildDefinition":{{"buildType":"make"}},"runDetails":{{"builder":{{"id":"{id}"}}}}}}"#),
    );
    t.ok(&format!(
        "firmseal attest statement firmware.bin --type https://slsa.dev/provenance/v1 \
         --predicate predicate.json --key file:ci.key {secret} --log ci-log -o provenance.json"
    ));
    t.ok(&format!(
        "firmseal reproduce firmware.bin rebuilt.bin --key file:rebuilder.key {secret} --log rebuilder-log -o same.json"
    ));
    let sign = |file: &str, version: &str, to: &str, evidence: &str| {
        t.ok(&format!(
            "firmseal sign {file} --product gateway --version {version} --epoch 0 --signature {to} {evidence}"
        ));
    };
    let all = "--evidence provenance.json --evidence same.json --evidence bom.json";
    sign("firmware.bin", "1.0.0", "firmware.sig", all);
    // What was signed before is not counted again, and what a statement says of
    // one file it does not say of another.
    sign("firmware.bin", "1.0.0", "again.sig", "");
    sign("other.bin", "1.0.1", "other.sig", "--evidence provenance.json --evidence same.json");
    t.ok(
        "firmseal release create --product gateway --version 1.1.0 --epoch 1 --component main=firmware.bin \
         --evidence provenance.json",
    );
    let counted: String = [("provenance", 2), ("reproduced", 1), ("sbom", 1)]
        .map(|(kind, count)| {
            format!("firmseal_builds_signed_with_total{{environment=\"test\",evidence=\"{kind}\"}} {count}\n")
        })
        .concat();
    let shown = |metrics: &str| {
        let of_test = metrics.lines().filter(|line| line.contains("_with_total{environment=\"test\""));
        let mut lines: Vec<String> = of_test.map(|line| format!("{line}\n")).collect();
        lines.sort();
        lines.concat()
    };
    until("three to be counted", || {
        let metrics = server.metrics();
        let three = metrics.contains("firmseal_builds_signed_total{environment=\"test\"} 3\n");
        (three && shown(&metrics) == counted).then_some(())
    });
    server.stop();
}
