//! Releases read back, whoever wrote them.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_core::BlockSize;
use firmseal_manifest::{ComponentSpec, Digest, Environment, ReadError, ReleaseSpec};
use firmseal_testkit::TestKey;
use firmseal_testkit::craft::Craft;
use proptest::prelude::*;
use uuid::Uuid;

fn spec(components: usize, more: bool) -> ReleaseSpec {
    let component = |index: usize| ComponentSpec {
        name: format!("part-{index}"),
        size: 5000 + index as u64,
        digest: Digest([index as u8; 32]),
        slot: more.then_some(1),
        block: if more { BlockSize::B1024 } else { BlockSize::B4096 },
        tree_root: Digest([0x40 + index as u8; 32]),
    };
    ReleaseSpec {
        environment: Environment::Test,
        vendor: Uuid::from_u128(7),
        class: Uuid::from_u128(8),
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        version: "1.2.3-rc.1+build.5".parse().unwrap(),
        sequence: 1 << 40,
        epoch: 3,
        delegation: if more { 4 } else { 0 },
        rollback_of: more.then_some(Digest([9; 32])),
        components: (0..components).map(component).collect(),
        description: more.then(|| "what is new".to_owned()),
    }
}

#[test]
fn what_is_read_is_what_was_written() {
    let key = TestKey::ed25519(1);
    for (components, more) in [(1, false), (1, true), (3, false), (8, true)] {
        let spec = spec(components, more);
        let manifest = spec.assemble().unwrap();
        let signature = key.sign(&manifest.to_be_signed(key.public()).unwrap());
        let signed = manifest.seal(&[(key.public(), signature)]).unwrap();
        for envelope in [manifest.seal(&[]).unwrap(), signed] {
            let read = ReleaseSpec::of(&envelope).unwrap();
            assert_eq!(format!("{read:?}"), format!("{spec:?}"));
            assert_eq!(read.assemble().unwrap(), manifest);
        }
    }
}

#[test]
fn what_others_write_is_not_taken_for_ours() {
    let ours = spec(1, false).assemble().unwrap();
    // A device takes a manifest that says where the full one can be had; we
    // would show it without that.
    let mut craft = Craft::of(&ours);
    craft.manifest.set(4, firmseal_testkit::item::text("https://elsewhere.example"));
    assert_eq!(ReleaseSpec::of(&craft.seal(&[])).unwrap_err(), ReadError::Spelling);
    assert!(matches!(ReleaseSpec::of(b"\xd8\x6b\xa0"), Err(ReadError::Refused(_))));
}

proptest! {
    #[test]
    fn whatever_is_changed_is_refused_or_shown(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut envelope = spec(2, true).assemble().unwrap().seal(&[]).unwrap();
        let at = at.index(envelope.len());
        envelope[at] ^= 1 << bit;
        if let Ok(read) = ReleaseSpec::of(&envelope) {
            let core = firmseal_core::Envelope::decode(&envelope).unwrap();
            let wrapped = core.manifest().wrapped;
            prop_assert_eq!(read.assemble().unwrap().digest(), firmseal_core::crypto::Crypto::digest(&firmseal_core::crypto::RustCrypto, wrapped));
        }
    }
}
