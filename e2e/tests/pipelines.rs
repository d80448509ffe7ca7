//! Pipelines: files signed from CI, with our program, and with curl alone.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Server, Shell, binaries};

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
    let sign = format!("{client} sign firmware.bin --product gateway --version 1.0.0");
    let handed_in = ci.json(&format!("{sign} --epoch 0 --no-wait"));
    let signed = ci.json(&format!("{sign} --epoch 0 --signature client.sig"));
    assert_eq!(signed["id"], handed_in["id"], "the same request");
    ci.run(&format!("{sign} --epoch 17")).exits(3).says("gate-epoch-ahead");
    t.ok("firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 0 --signature own.sig");
    assert_eq!(t.read("client.sig"), t.read("own.sig"));
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
    let requests = t.json("firmseal audit --action artifact-signed");
    assert_eq!(requests.as_array().unwrap().len(), 1, "signed once, whoever asked: {requests}");
}
