//! Cases made from the testkit's world: one good release under each
//! algorithm, and what must be refused about it.

use firmseal_core::{Envelope, Refusal};
use firmseal_testkit::world::{COMPONENT, PRODUCT, firmware};
use firmseal_testkit::{TestKey, World};

use crate::pack::{Case, Place};

/// The sequence number and epoch of the testkit's release.
const SEQUENCE: u64 = 7;
const EPOCH: u64 = 3;

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let payload = firmware(100_000, 1);
    let alone = |key| World::new(1, vec![("alice", vec![key])]);
    let pair = World::new(2, vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])]);
    let (ed25519, p256) = (alone(TestKey::ed25519(1)), alone(TestKey::p256(2)));
    let seal = |world: &World, holders| match world.release(&payload).assemble() {
        Ok(manifest) => world.seal(&manifest, holders),
        Err(_) => Vec::new(),
    };
    let good = seal(&ed25519, 1);
    let case = |name: &str, expected: u16, envelope: &[u8]| device(&ed25519, name, expected, envelope);

    let last = good.len() - 1;
    let mut cases = vec![
        case("ed25519", 0, &good),
        device(&p256, "p256", 0, &seal(&p256, 1)),
        device(&pair, "two_of_two", 0, &seal(&pair, 2)),
        device(
            &pair,
            "threshold_one_short",
            code(Refusal::ThresholdNotMet { have: 1, need: 2 }),
            &seal(&pair, 1),
        ),
        case("manifest_flipped", code(Refusal::ManifestDigest), &flipped(&good, manifest_end(&good))),
        case("severed_flipped", code(Refusal::SeveredMismatch(0)), &flipped(&good, last)),
        case("truncated", code(Refusal::Malformed("")), &good[..last]),
        case("empty", code(Refusal::Malformed("")), &[]),
        case("signer_unknown", code(Refusal::UnknownSigner), &seal(&p256, 1)),
    ];
    let mut stale = case("sequence_not_above", code(Refusal::SequenceTooLow { offered: 0, floor: 0 }), &good);
    stale.places.iter_mut().for_each(|place| place.sequence = SEQUENCE);
    let mut old = case("epoch_below_counter", code(Refusal::EpochTooLow { offered: 0, counter: 0 }), &good);
    old.epoch = EPOCH + 1;
    let mut foreign = case("class_foreign", code(Refusal::WrongClass), &good);
    foreign.class[0] ^= 1;
    let mut small = case("slot_too_small", code(Refusal::TooLarge { size: 0, capacity: 0 }), &good);
    small.places.iter_mut().for_each(|place| place.capacity = payload.len() as u64 - 1);
    cases.extend([stale, old, foreign, small]);
    cases
}

fn code(refusal: Refusal) -> u16 {
    refusal.code()
}

/// Where the manifest's last byte is. The envelope borrows from the same
/// slice, so the distance between the two is an offset.
fn manifest_end(envelope: &[u8]) -> usize {
    let end = Envelope::decode(envelope).map(|decoded| decoded.manifest().wrapped.as_ptr_range().end);
    end.map_or(0, |end| end.addr() - envelope.as_ptr().addr() - 1)
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// A case on the device that the world's release is for.
fn device(world: &World, name: &str, expected: u16, envelope: &[u8]) -> Case {
    Case {
        name: name.to_owned(),
        expected,
        envelope: envelope.to_vec(),
        root: world.root_document(),
        product: PRODUCT.to_owned(),
        vendor: *world.vendor().as_bytes(),
        class: *world.class().as_bytes(),
        epoch: EPOCH,
        delegation: 0,
        places: vec![Place {
            id: vec![COMPONENT.as_bytes().to_vec()],
            slot: 1,
            capacity: 1 << 20,
            sequence: SEQUENCE - 1,
        }],
    }
}
