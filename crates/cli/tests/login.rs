//! A person signs in at a provider, and is let in for what a grant says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::os::unix::fs::PermissionsExt;

use firmseal_testkit::identity::{Answer, Provider};
use place::Place;
use serde_json::json;

#[test]
fn a_person_signs_in_with_a_code() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let provider = runtime.block_on(Provider::start());
    let mut place = Place::start();
    place.stop();
    place.write("provider.pem", provider.authority().as_bytes());
    let settings = String::from_utf8(place.read("place/server.toml")).unwrap();
    let issuer = provider.url();
    let identity = format!(
        "[[identity]]\nissuer = \"{issuer}\"\nkind = \"person\"\naudience = [\"firmseal-cli\"]\n\
         authority = \"../provider.pem\"\nsign_in = {{ client_id = \"firmseal-cli\", scopes = [\"email\"] }}\n\
         [[identity.grant]]\nmatch = {{ email = \"*@acme.example\", sub = \"u-*\" }}\nname = \"{{email}}\"\n\
         roles = [\"auditor\"]\n\n[device_ca]"
    );
    place.write("place/server.toml", settings.replace("[device_ca]", &identity).as_bytes());
    let place = place.again();
    let port = place.operator_port();
    let profile = format!(
        "server = \"https://127.0.0.1:{port}\"\nauthority = \"place/tls/server.pem\"\ntoken = \"alice.token\"\n"
    );
    place.write("alice.toml", profile.as_bytes());
    let login = "--profile alice.toml login --authority provider.pem";

    // Nobody is there yet.
    place.fails("--profile alice.toml product list", 8);
    provider.person(Answer::Deny, json!({}));
    assert!(place.fails(login, 5).contains("refused"));
    provider.person(Answer::Wait, json!({}));
    assert!(place.fails(login, 7).contains("in time"));
    place.fails("--profile alice.toml product list", 8);

    provider.person(Answer::Agree, provider.human("firmseal-cli", "u-1", "alice@acme.example"));
    let done = place.json(login);
    assert_eq!(done["issuer"], issuer);
    let mode = std::fs::metadata(place.path("alice.token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.json("--profile alice.toml product list"), json!([]));
    let create = "product create gw --vendor example.com --class gw-1 --component main=1MiB";
    assert!(place.fails(&format!("--profile alice.toml {create}"), 5).contains("admin"));

    // Signing in again takes the place of the first token; somebody whom no
    // grant is for is nobody here.
    provider.person(Answer::Agree, provider.human("firmseal-cli", "u-2", "mallory@evil.example"));
    place.stdout(login);
    let refused = place.fails("--profile alice.toml product list", 5);
    assert!(refused.contains("no grant"), "{refused}");
    // A provider that is not configured is not signed in at.
    place.fails(&format!("{login} --issuer https://elsewhere.example"), 4);
}
