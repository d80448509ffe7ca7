//! The API as its description has it: schemathesis (PyPI) makes up requests
//! from spec/openapi.json, good ones and bad ones, and judges the answers.
//!
//! No answer is a server error; each has a status, a content type and a body
//! that the description knows; what the description forbids is refused. One
//! of its checks is left out: that every request that fits the schema is
//! accepted. Rules such as "this product exists" no schema can say. Root
//! documents, revocations and envelopes have tests and a fuzzer of their own:
//! no JSON schema describes their bytes.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Server, Shell};
use serde_json::{Value, json};

/// What one listener has of the description.
fn part(listener: &str) -> Value {
    let text = include_str!("../../spec/openapi.json");
    let mut document: Value = serde_json::from_str(text).unwrap();
    let paths = document["paths"].as_object_mut().unwrap();
    for operations in paths.values_mut() {
        let operations = operations.as_object_mut().unwrap();
        operations
            .retain(|_, operation| operation["x-listeners"].as_array().unwrap().contains(&json!(listener)));
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

#[test]
fn made_up_requests_find_no_error_of_ours() {
    let t = Shell::new();
    let server = Server::new(&t);
    let product = "--vendor example.com --class gateway --component main=1MiB";
    t.ok(&format!("firmseal product create gateway {product}"));
    t.write("firmware.bin", vec![7; 5000]);
    let order = "--product gateway --channel stable --version 1.0.0 --epoch 1 --component main=firmware.bin";
    t.ok(&format!("firmseal release create {order}"));
    let token = String::from_utf8(t.read("place/operator.token")).unwrap();
    for (listener, url) in [("operator", server.operators()), ("public", server.public())] {
        t.write(&format!("{listener}.json"), part(listener).to_string());
        let token = match listener {
            "operator" => token.trim(),
            _ => "nobody",
        };
        t.ok(&format!(
            "schemathesis run {listener}.json --url {url} --tls-verify place/tls/server.pem \
             --header 'Authorization: Bearer {token}' --checks all \
             --exclude-checks ignored_auth,positive_data_acceptance {} --seed 1 --exclude-operation-id-regex ^(publish_|import_) \
             --no-color",
            effort()
        ));
    }
}
