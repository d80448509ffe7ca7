//! The API as its description has it: schemathesis (PyPI) makes up requests
//! from spec/openapi.json, good ones and bad ones, and judges the answers.
//!
//! No answer is a server error; each has a status, a content type and a body
//! that the description knows; what the description forbids is refused, and
//! so is who shows no credential or a wrong one. All of its checks but one:
//! that every request that fits the schema is accepted. Rules such as "this
//! product exists" or "a holder of the root signed these bytes" no schema can
//! say.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::device::Model;
use firmseal_e2e::{Device, Server, Shell};
use serde_json::{Value, json};

/// What one listener has of the description, with the credentials that count
/// there: where two listeners have the same address, both are described.
fn part(listener: &str) -> Value {
    let text = include_str!("../../spec/openapi.json");
    let mut document: Value = serde_json::from_str(text).unwrap();
    let own = |requirement: &Value| {
        let schemes: Vec<_> = requirement.as_object().unwrap().keys().map(String::as_str).collect();
        match listener {
            "operator" => schemes == ["operator"],
            "device" => schemes == ["device"] || schemes == ["enrolment"],
            _ => schemes.is_empty(),
        }
    };
    let paths = document["paths"].as_object_mut().unwrap();
    for operations in paths.values_mut() {
        let operations = operations.as_object_mut().unwrap();
        operations
            .retain(|_, operation| operation["x-listeners"].as_array().unwrap().contains(&json!(listener)));
        for operation in operations.values_mut() {
            let security = operation["security"].as_array_mut().unwrap();
            if security.iter().any(own) {
                security.retain(own);
            }
        }
    }
    paths.retain(|_, operations| !operations.as_object().unwrap().is_empty());
    document
}

/// In which ways requests are made up, and how many: a few for each
/// operation, or as a long run says every kind of mistake for each parameter
/// besides.
fn effort() -> String {
    match std::env::var("FIRMSEAL_API_EXAMPLES") {
        Ok(examples) => format!("--phases examples,coverage,fuzzing --max-examples {examples}"),
        Err(_) => "--phases examples,fuzzing --max-examples 2".to_owned(),
    }
}

/// Makes up requests for a listener, with what shows who asks. Bodies that
/// are no JSON are any bytes.
fn make_up(t: &Shell, listener: &str, url: &str, credential: &str) {
    t.write(&format!("{listener}.json"), part(listener).to_string());
    t.write("api_bytes.py", include_str!("api_bytes.py"));
    let t = Shell::at(&t.path("")).with("SCHEMATHESIS_HOOKS", "api_bytes").with("PYTHONPATH", t.path(""));
    let ran = t.ok(&format!(
        "schemathesis run {listener}.json --url {url} --tls-verify place/tls/server.pem {credential} \
         --request-timeout 120 --suppress-health-check too_slow --checks all --exclude-checks positive_data_acceptance {} --seed 1 --no-color",
        effort()
    ));
    let document = part(listener);
    let paths = document["paths"].as_object().unwrap();
    let operations: usize = paths.values().map(|all| all.as_object().unwrap().len()).sum();
    ran.says(&format!("Tested: {operations}\n"));
}

/// A server with a product and a release.
fn served() -> (Shell, Server) {
    let t = Shell::new();
    let server = Server::new(&t);
    let product = "--vendor example.com --class gateway --component main=1MiB";
    t.ok(&format!("firmseal product create gateway {product}"));
    t.write("firmware.bin", vec![7; 5000]);
    let order = "--product gateway --channel stable --version 1.0.0 --epoch 1 --component main=firmware.bin";
    t.ok(&format!("firmseal release create {order}"));
    (t, server)
}

#[test]
fn made_up_requests_of_operators_find_no_error_of_ours() {
    let (t, server) = served();
    let token = String::from_utf8(t.read("place/operator.token")).unwrap();
    make_up(
        &t,
        "operator",
        &server.operators(),
        &format!("--header 'Authorization: Bearer {}'", token.trim()),
    );
    // Nothing that was made up got into force.
    assert_eq!(t.json("firmseal root show place/trust/root.cbor")["version"], 1);
}

#[test]
fn made_up_requests_of_strangers_find_no_error_of_ours() {
    let (t, server) = served();
    make_up(&t, "public", &server.public(), "");
}

#[test]
fn made_up_requests_of_a_device_find_no_error_of_ours() {
    let (t, server) = served();
    let model = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };
    let device = Device::enrol(&t, &server, "gateway-1", &model);
    let state = device.home().join("state");
    let (certificate, key) = (state.join("device.crt"), state.join("device.key"));
    let shown = format!("--request-cert {} --request-cert-key {}", certificate.display(), key.display());
    make_up(&t, "device", &server.devices(), &shown);
    // Whatever it said of itself, it is still that device, and is answered.
    device.ok("poll-once");
}
