//! What separates a signature of this format from one of our own protocol: both
//! are a COSE_Sign1 over a SUIT_Digest with nothing around it, so content does.

use firmseal_core::cose::{Algorithm, Context, SigStructure};
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Digest, Envelope, Image, Refusal, admit};
use firmseal_formats::{
    FORMATS, FormatError, Parameters, Wanted, detect, find, inspect, is_release, lay_out,
};
use firmseal_manifest::{PublicKey, Tbs};
use firmseal_testkit::TestKey;
use firmseal_testkit::engine::authenticated;
use firmseal_testkit::vectors::Scene;

use crate::common;
use crate::peer::{sign, sign_as};

fn decided(scene: Scene, envelope: Vec<u8>) -> Result<(), Refusal> {
    let mut scene = scene;
    scene.envelope = Some(envelope);
    let vector = scene.finish("separation", "", Ok(()));
    vector.ask(|device, envelope, _| admit(envelope, device, &RustCrypto).map(|_| ()))?
}

fn wanted<'a>(key: &'a PublicKey, parameters: &'a Parameters) -> Wanted<'a> {
    Wanted { version: "1.2.3".parse().unwrap(), epoch: 7, key, parameters }
}

#[test]
fn no_release_of_ours_is_read_signed_or_believed() {
    // As it would be admitted, and without the signature that it needs for that.
    let sealed = Scene::default().sealed();
    assert_eq!(decided(Scene::default(), sealed.clone()), Ok(()));
    for envelope in [sealed, Scene::default().craft.seal(&[])] {
        assert_eq!(detect(&envelope).unwrap().name(), "suit");
        assert!(is_release(&envelope).unwrap());
        let error = inspect(&envelope).unwrap_err();
        assert!(error.to_string().contains("a release of Firmseal's own"), "{error}");
        assert!(!common::accepted(&envelope, Scene::default().key().public()));
        let (scene, none) = (Scene::default(), Parameters::default());
        let laid_out = lay_out(find("suit").unwrap(), &envelope, &wanted(scene.key().public(), &none));
        assert!(matches!(laid_out, Err(FormatError::Unsupported { .. })));
    }
    for other in ["unsigned", "all_kinds"] {
        assert!(!is_release(&common::fixture(&format!("suit/{other}.bin"))).unwrap());
    }
    assert!(!is_release(&vec![0xd8, 107, 0xa2]).unwrap());
    assert_eq!(firmseal_core::facts::FACTS, -257, "by which they are known");
}

#[test]
fn what_this_format_signs_no_device_of_ours_admits_whatever_role_the_key_has() {
    let mut scene = Scene::default();
    scene.craft.manifest.remove(firmseal_core::facts::FACTS);
    let stripped = scene.craft.seal(&[]);
    // The very key of the release role: the worst that a mix-up of keys can do.
    let key = scene.key();
    let signed = sign_as(&stripped, key.public(), |tbs| key.sign(tbs), ("1.2.3", 7), &[]).unwrap();
    let root = scene.world.root_document();
    // Nothing about the signature keeps them apart ...
    assert!(authenticated(&signed, &root, |_| ()).is_ok());
    // ... but no manifest without facts is admitted.
    assert_eq!(decided(Scene::default(), signed.clone()), Err(Refusal::FactsMissing));
    let mut boot = Scene::default();
    boot.boot();
    boot.envelope = Some(signed.clone());
    let vector = boot.finish("separation", "", Ok(()));
    let booted = vector.ask(|device, envelope, measured| {
        firmseal_core::boot(envelope, measured, device, Image::Confirmed, &RustCrypto).map(|_| ())
    });
    assert_eq!(booted, Ok(Err(Refusal::FactsMissing)));
    // The signature does not move to a release that has them: it is over
    // another digest.
    let block = Envelope::decode(&signed).unwrap().signatures().count();
    assert_eq!(block, 1);
    let mut moved = Scene::default();
    let own = firmseal_testkit::item::split(&firmseal_testkit::item::content(&wrapper(&signed)));
    moved.blocks(&[firmseal_testkit::item::content(&own[1])]);
    let envelope = moved.envelope.clone().unwrap();
    assert_eq!(decided(moved, envelope), Err(Refusal::BadSignature));
}

fn wrapper(envelope: &[u8]) -> Vec<u8> {
    firmseal_testkit::Members::parse(&firmseal_testkit::item::untag(envelope)).get(2)
}

#[test]
fn other_documents_of_ours_are_signed_in_contexts_of_their_own() {
    let made = common::fixture("suit/unsigned.bin");
    let key = TestKey::ed25519(1);
    let none = Parameters::default();
    let laid_out = lay_out(find("suit").unwrap(), &made, &wanted(key.public(), &none)).unwrap();
    let digest = Digest(common_digest(&made));
    let protected = Algorithm::Ed25519.protected();
    let ours = |context| SigStructure::new(&protected, context, &digest).unwrap().as_bytes().to_vec();
    assert_eq!(laid_out.tbs, Tbs::Message(ours(Context::Manifest)), "SUIT leaves no room for a context");
    for context in [Context::Root, Context::Statement, Context::Revocation, Context::Freshness] {
        assert_ne!(laid_out.tbs, Tbs::Message(ours(context)));
    }
    // Claims of a delegation have no context either; they are a map, and what is
    // signed here is an array, as the reader of the wrapper demands.
    let claims = SigStructure::claims(&protected, &[0xa1, 1, 0x60]).unwrap();
    let Tbs::Message(tbs) = &laid_out.tbs else { panic!("a message") };
    let payload = claims.as_bytes().len() - 3 - 1;
    assert_eq!(tbs[..payload], claims.as_bytes()[..payload], "up to the payload they are the same");
    assert_eq!((tbs[payload + 1] >> 5, tbs[payload + 2] >> 5), (1, 4), "a string of an array");
}

/// SHA-256 of the manifest with its head, as the file states it.
fn common_digest(envelope: &[u8]) -> [u8; 32] {
    let at = envelope.windows(4).position(|window| window == [0x82, 0x2f, 0x58, 0x20]).unwrap() + 4;
    envelope[at..at + 32].try_into().unwrap()
}

#[test]
fn a_file_that_is_what_this_format_signs_is_signed_by_none() {
    let made = common::fixture("suit/unsigned.bin");
    let key = TestKey::ed25519(1);
    let none = Parameters::default();
    let laid_out = lay_out(find("suit").unwrap(), &made, &wanted(key.public(), &none)).unwrap();
    let Tbs::Message(structure) = laid_out.tbs else { panic!("a message") };
    assert!(matches!(detect(&structure), Err(FormatError::Inner { .. })));
    let p256 = common::TestKey::load("p256");
    for format in FORMATS.iter().filter(|format| format.embedding().is_none() && !format.is_blind()) {
        let refused = lay_out(*format, &structure, &wanted(&p256.public, &none)).map(|_| ());
        assert!(refused.is_err(), "{}", format.name());
    }
    let capsule = find("capsule").unwrap();
    let guid: Parameters = [("guid", "09d7cf52-0720-4710-91d1-08469b7fe9c8")].into_iter().collect();
    assert!(lay_out(capsule, &structure, &wanted(&p256.public, &guid)).is_err());
    // A signature beside a whole envelope is none in it.
    assert!(!find("suit").unwrap().hashes_whole());
    assert!(sign(&made, &p256, &[]).is_ok());
}
