//! Listing and destroying keys in Vault, against a fake that keeps Vault's
//! rules about both.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_keys::{SecretSource, conformance};
use firmseal_keys_vault::{Options, SCHEME, VaultError, VaultUri, destroy, generate, list, open};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};
use firmseal_testkit::vault::{Flags, Vault};
use serde_json::{Value, json};

const NOWHERE: SecretSource = SecretSource::Prompt;

struct Bench {
    vault: Vault,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { vault: Vault::start(), dir: tempfile::tempdir().unwrap() }
    }

    fn uri(&self, name: &str, version: u32) -> VaultUri {
        self.vault.uri(self.dir.path(), name, version).parse().unwrap()
    }

    fn make(&self, name: &str, version: u32) -> PublicKey {
        generate(&self.uri(name, version), &NOWHERE, KeyAlgorithm::P256).unwrap()
    }

    fn destroy(&self, name: &str, version: u32, id: KeyId) -> Result<bool, VaultError> {
        destroy(&self.uri(name, version), &NOWHERE, &id)
    }
}

#[test]
fn a_key_lives_where_its_uri_says() {
    let bench = Bench::new();
    conformance::run_home(&SCHEME, &bench.uri("release", 1).to_string(), &NOWHERE);
    assert_eq!(bench.vault.described("release"), Value::Null);
}

#[test]
fn the_only_version_goes_with_its_key() {
    let bench = Bench::new();
    let key = bench.make("release", 1);
    bench.vault.make("other", "ecdsa-p256", Flags::default());
    let other = open(&bench.uri("other", 1), &NOWHERE, Options::default()).unwrap();
    let another = firmseal_keys::Signer::public_key(&other).id();
    assert!(!bench.destroy("release", 1, another).unwrap(), "another key's id destroys nothing");
    assert_eq!(bench.vault.described("release")["deletion_allowed"], json!(false), "and allows nothing");
    assert!(bench.destroy("release", 1, key.id()).unwrap());
    assert_eq!(bench.vault.described("release"), Value::Null);
    assert!(!bench.destroy("release", 1, key.id()).unwrap(), "twice is no error");
    // Somebody made a key of that name since: it is another one.
    bench.make("release", 1);
    assert!(!bench.destroy("release", 1, key.id()).unwrap());
    assert_ne!(bench.vault.described("release"), Value::Null);
}

#[test]
fn versions_go_from_the_oldest_on() {
    let bench = Bench::new();
    let [first, second, third] = [1, 2, 3].map(|version| bench.make("release", version));
    let early = bench.destroy("release", 3, third.id());
    assert!(matches!(early, Err(VaultError::OlderFirst { oldest: 1 })), "{early:?}");
    let early = bench.destroy("release", 2, second.id());
    assert!(matches!(early, Err(VaultError::OlderFirst { oldest: 1 })), "{early:?}");
    assert!(bench.destroy("release", 1, first.id()).unwrap());
    assert!(!bench.destroy("release", 1, first.id()).unwrap());
    let open = |version| open(&bench.uri("release", version), &NOWHERE, Options::default());
    assert!(matches!(open(1), Err(VaultError::NoVersion { .. })));
    assert_eq!(firmseal_keys::Signer::public_key(&open(2).unwrap()), &second, "the others sign on");
    assert!(bench.destroy("release", 2, second.id()).unwrap());
    assert!(bench.destroy("release", 3, third.id()).unwrap(), "the last goes with the key");
    assert_eq!(bench.vault.described("release"), Value::Null);
}

#[test]
fn a_version_that_nobody_may_use_is_still_there() {
    let bench = Bench::new();
    let first = bench.make("release", 1);
    let second = bench.make("release", 2);
    // What is left when we are cut off between making it unusable and
    // trimming it.
    bench.vault.forbid("POST", "transit/keys/release/trim");
    let refused = bench.destroy("release", 1, first.id());
    let Err(error @ VaultError::MayNotDestroy { .. }) = refused else { panic!("{refused:?}") };
    let text = error.to_string();
    assert!(text.contains("`transit/keys/release/trim`") && text.contains("permission denied"), "{text}");
    assert_eq!(bench.vault.described("release")["keys"].as_object().unwrap().len(), 1, "not shown");
    let newest = bench.destroy("release", 2, second.id());
    assert!(matches!(newest, Err(VaultError::OlderFirst { oldest: 1 })), "{newest:?}");
    bench.vault.permit_all();
    assert!(!bench.destroy("release", 1, second.id()).unwrap(), "it is not that key");
    assert!(bench.destroy("release", 1, first.id()).unwrap());
    assert!(bench.destroy("release", 2, second.id()).unwrap());
}

#[test]
fn a_policy_that_forbids_it_is_named_and_the_key_stays_protected() {
    let bench = Bench::new();
    let key = bench.make("release", 1);
    for (method, path) in [("POST", "transit/keys/release/config"), ("DELETE", "transit/keys/release")] {
        bench.vault.forbid(method, path);
        let refused = bench.destroy("release", 1, key.id());
        let Err(error @ VaultError::MayNotDestroy { .. }) = refused else { panic!("{refused:?}") };
        assert!(error.to_string().contains("`delete` on `transit/keys/release`"), "{error}");
        let left = bench.vault.described("release");
        assert_eq!(left["deletion_allowed"], json!(false), "{method} {path}: nobody else may delete it");
        bench.vault.permit_all();
    }
    assert!(bench.destroy("release", 1, key.id()).unwrap());
}

#[test]
fn an_engine_that_is_not_there_says_nothing_of_keys() {
    let bench = Bench::new();
    let key = bench.make("release", 1);
    let elsewhere = VaultUri { mount: "transit2".to_owned(), ..bench.uri("release", 1) };
    let answer = destroy(&elsewhere, &NOWHERE, &key.id());
    assert!(matches!(answer, Err(VaultError::NoEngine { .. })), "gone is something else: {answer:?}");
    bench.vault.set_namespace("team");
    let answer = bench.destroy("release", 1, key.id());
    assert!(matches!(answer, Err(VaultError::NoEngine { .. })), "{answer:?}");
}

#[test]
fn every_version_of_every_key_is_listed() {
    let bench = Bench::new();
    let listed = || list(&bench.uri("any", 1), &NOWHERE);
    assert!(listed().unwrap().is_empty());
    let made = [("boot", 1), ("release", 1), ("release", 2)].map(|(name, version)| bench.make(name, version));
    bench.vault.make("loose", "ed25519", Flags { exportable: true, ..Flags::default() });
    bench.vault.make("retired", "ed25519", Flags { min_encryption_version: 2, ..Flags::default() });
    let keys = listed().unwrap();
    let names: Vec<String> = keys.iter().map(|key| format!("{}/{}", key.uri.name, key.uri.version)).collect();
    assert_eq!(names, ["boot/1", "loose/1", "release/1", "release/2", "retired/1"]);
    assert_eq!(keys[0].public_key.as_ref().unwrap(), &made[0]);
    assert_eq!(keys[3].public_key.as_ref().unwrap(), &made[2]);
    assert_eq!((keys[0].weakness, keys[1].weakness), (None, Some("is exportable")));
    assert!(matches!(keys[4].public_key, Err(VaultError::NotForSigning(_))));
    assert!(keys.iter().all(|key| key.uri.token.is_none() && !key.uri.to_string().contains("vault-token")));
    // A URI from the list opens.
    let uri = VaultUri { token: bench.uri("boot", 1).token, ..keys[0].uri.clone() };
    open(&uri, &NOWHERE, Options::default()).unwrap();
    bench.vault.forbid("GET", "transit/keys");
    assert!(matches!(listed(), Err(VaultError::Denied(_))));
}
