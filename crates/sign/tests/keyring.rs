//! Keyrings: what cannot be put on one, and what a key on one refuses.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use firmseal_fleet::{BlockSize, ComponentSpec, Environment, Product, Time};
use firmseal_keys::{Backend, Covered, SignError};
use firmseal_manifest::{KeyAlgorithm, KeyName, PublicKey, Signature};
use firmseal_sign::{
    Age, Ask, KeyPurpose, KeyRefusal, KeyRules, Keyring, KeyringError, Keys, Rotation, SigningKey,
};
use uuid::Uuid;

/// A public half alone.
struct Shown(PublicKey);

impl Backend for Shown {
    fn public_half(&self) -> &PublicKey {
        &self.0
    }

    async fn sign_unverified(&self, _: Covered) -> Result<Signature, SignError> {
        Err(SignError::Refused("nobody is to sign here".to_owned()))
    }
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

fn rules(text: &str) -> KeyRules {
    KeyRules::new(name(text), KeyPurpose::Artifact, Environment::Test)
}

fn ed25519(seed: u8) -> PublicKey {
    PublicKey::from_ed25519([seed; 32]).unwrap()
}

fn p384() -> PublicKey {
    PublicKey::from_point(KeyAlgorithm::P384, &[4; 97]).unwrap()
}

fn key(rules: KeyRules, public: PublicKey) -> Result<Arc<SigningKey>, KeyringError> {
    SigningKey::new(rules, Arc::new(Shown(public)))
}

fn ring(keys: impl IntoIterator<Item = (KeyRules, PublicKey)>) -> Result<Keyring, KeyringError> {
    let keys = keys.into_iter().map(|(rules, public)| key(rules, public)).collect::<Result<Vec<_>, _>>()?;
    Keyring::new(Environment::Test, keys)
}

fn product(id: &str, environment: Environment) -> Product {
    Product {
        id: id.parse().unwrap(),
        environment,
        vendor: Uuid::from_u128(1),
        class: Uuid::from_u128(2),
        hardware: vec![],
        format: "raw".to_owned(),
        components: vec![ComponentSpec {
            name: "main".to_owned(),
            capacity: 1 << 20,
            block_size: BlockSize::Page,
            addresses: None,
        }],
        created: Time::EPOCH,
    }
}

#[test]
fn rules_and_key_do_not_contradict_each_other() {
    let want = KeyRules { algorithm: Some(KeyAlgorithm::P256), ..rules("a") };
    assert!(matches!(key(want, ed25519(7)), Err(KeyringError::Algorithm { got: KeyAlgorithm::Ed25519, .. })));
    let release = KeyRules { purpose: KeyPurpose::Release, ..rules("a") };
    assert!(matches!(key(release, p384()), Err(KeyringError::NotForDevices { .. })));
    key(rules("a"), p384()).unwrap();
    let production = KeyRules { environment: Environment::Production, ..rules("a") };
    let blind = KeyRules { blind: true, ..production.clone() };
    assert!(matches!(key(blind, ed25519(7)), Err(KeyringError::Refused(KeyRefusal::Blind { .. }))));
    key(KeyRules { blind: true, ..rules("a") }, ed25519(7)).unwrap();
    // RFC 8032 §7.1, test 1: everybody has its private half.
    let everybodys = firmseal_manifest::ids::parse_digest(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    );
    let everybodys = PublicKey::from_ed25519(everybodys.unwrap().0).unwrap();
    let refused = key(production, everybodys.clone());
    assert!(matches!(refused, Err(KeyringError::Refused(KeyRefusal::Development { .. }))), "{refused:?}");
    key(rules("a"), everybodys.clone()).unwrap();
    // Without a table too.
    let implicit =
        SigningKey::implicit(KeyPurpose::Artifact, Environment::Production, Arc::new(Shown(everybodys)));
    let product = product("router", Environment::Production);
    let ask = Ask { purpose: KeyPurpose::Artifact, product: &product, caller: "ci", now: Time::EPOCH };
    assert!(matches!(implicit.permit(ask), Err(KeyRefusal::Development { .. })));
}

#[test]
fn a_key_has_one_name_one_purpose_and_one_environment() {
    let twice = ring([(rules("a"), ed25519(1)), (rules("a"), ed25519(2))]);
    assert_eq!(twice.unwrap_err(), KeyringError::NameTwice(name("a")));
    let renamed = ring([(rules("a"), ed25519(1)), (rules("b"), ed25519(1))]);
    assert!(matches!(renamed, Err(KeyringError::OneKey { .. })));
    let both = ring([
        (rules("a"), ed25519(1)),
        (KeyRules { purpose: KeyPurpose::Release, ..rules("a") }, ed25519(1)),
    ]);
    let text = both.unwrap_err().to_string();
    assert!(text.contains("artifact, test") && text.contains("release, test"), "{text}");
    let elsewhere = ring([(KeyRules { environment: Environment::Production, ..rules("a") }, ed25519(1))]);
    assert!(matches!(elsewhere, Err(KeyringError::Environment { .. })));
    // A key with a table is not used without its rules, by its URI.
    let implicit = SigningKey::implicit(KeyPurpose::Artifact, Environment::Test, Arc::new(Shown(ed25519(1))));
    let both = Keyring::new(Environment::Test, [key(rules("a"), ed25519(1)).unwrap(), implicit]);
    assert!(matches!(both, Err(KeyringError::OneKey { .. })));
}

#[test]
fn a_stand_in_is_of_the_same_kind() {
    let fallback = |rules: KeyRules| KeyRules { fallback: Some(name("spare")), ..rules };
    assert!(matches!(ring([(fallback(rules("a")), ed25519(1))]), Err(KeyringError::Unknown { .. })));
    let router = KeyRules { products: ["router".parse().unwrap()].into(), ..rules("a") };
    let spare = rules("spare");
    let refused: [(KeyRules, KeyRules, PublicKey, &str); 4] = [
        (
            rules("a"),
            KeyRules { purpose: KeyPurpose::Release, ..spare.clone() },
            ed25519(2),
            "another purpose",
        ),
        (rules("a"), spare.clone(), p384(), "another family"),
        (rules("a"), KeyRules { blind: true, ..spare.clone() }, ed25519(2), "blind"),
        (
            rules("a"),
            KeyRules { products: ["router".parse().unwrap()].into(), ..spare.clone() },
            ed25519(2),
            "every product",
        ),
    ];
    for (own, other, public, why) in refused {
        let error = ring([(fallback(own), ed25519(1)), (other, public)]).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert!(matches!(
        ring([(KeyRules { fallback: Some(name("a")), ..rules("a") }, ed25519(1))]),
        Err(KeyringError::Fallback { why: "it is the same key", .. })
    ));
    let ring = ring([(fallback(router), ed25519(1)), (spare, ed25519(2))]).unwrap();
    let own = ring.key(&name("a")).unwrap();
    assert_eq!(ring.fallback(own).unwrap().name(), &name("spare"));
    let (router, meter) = ("router".parse().unwrap(), "meter".parse().unwrap());
    assert_eq!(ring.fit(&router, KeyPurpose::Artifact).count(), 2);
    assert_eq!(ring.fit(&meter, KeyPurpose::Artifact).count(), 1);
    assert_eq!(ring.fit(&router, KeyPurpose::Release).count(), 0);
}

#[test]
fn a_set_takes_keys_for_what_they_are() {
    let image = key(rules("a"), ed25519(1)).unwrap();
    let ring = Keyring::new(Environment::Test, [image.clone()]).unwrap();
    let misplaced = Keys { release: vec![image.clone()], ..Keys::default() };
    assert!(matches!(ring.clone().with_default(misplaced), Err(KeyringError::Misplaced { .. })));
    let keys = Keys { artifact: Some(image), ..Keys::default() };
    let ring = ring.with_product("router".parse().unwrap(), keys).unwrap();
    assert!(ring.keys(&"router".parse().unwrap()).artifact.is_some());
    assert!(ring.keys(&"meter".parse().unwrap()).artifact.is_none());
}

#[test]
fn a_key_refuses_what_it_is_not_for() {
    let by = Time::EPOCH.plus(Duration::from_secs(1000));
    let rotation = Rotation { by, warn: Duration::from_secs(100), grace: Some(Duration::from_secs(10)) };
    let own = KeyRules {
        products: ["router".parse().unwrap()].into(),
        owner: "boot team".to_owned(),
        rotation: Some(rotation),
        ..rules("a")
    };
    let key = key(own, ed25519(1)).unwrap();
    let router = product("router", Environment::Test);
    let ask = Ask { purpose: KeyPurpose::Artifact, product: &router, caller: "ci", now: Time::EPOCH };
    key.permit(ask).unwrap();
    let release = Ask { purpose: KeyPurpose::Release, ..ask };
    assert!(matches!(key.permit(release), Err(KeyRefusal::Purpose { .. })));
    let meter = product("meter", Environment::Test);
    assert!(matches!(key.permit(Ask { product: &meter, ..ask }), Err(KeyRefusal::Product { .. })));
    let real = product("router", Environment::Production);
    assert!(matches!(key.permit(Ask { product: &real, ..ask }), Err(KeyRefusal::Environment { .. })));
    // Overdue it signs, and policy is told; after the time of grace it does
    // not sign.
    key.permit(Ask { now: by, ..ask }).unwrap();
    assert!(!key.facts(Time::EPOCH, false).overdue && key.facts(by, false).overdue);
    let late = by.plus(Duration::from_secs(10));
    assert_eq!(key.rules().age(late), Age::Expired);
    assert!(matches!(key.permit(Ask { now: late, ..ask }), Err(KeyRefusal::Expired { .. })));
    let facts = key.facts(by, true);
    assert_eq!((facts.name.as_str(), facts.owner.as_str(), facts.fallback), ("a", "boot team", true));
    assert_eq!((facts.purpose.name(), facts.algorithm.as_str()), ("artifact", "ed25519"));
}
