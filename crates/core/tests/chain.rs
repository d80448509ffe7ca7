//! From an author's release to a device's verdict, and every step between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{
    Action, Admitted, Component, Device, Image, Measured, Measurement, Outcome, Refusal, Root, Streamed,
    Takes, Trust, Verifier, admit, boot,
};
use firmseal_testkit::world::{COMPONENT, PRODUCT, component, firmware};
use firmseal_testkit::{TestKey, World};

fn measure(bytes: &[u8]) -> Measured {
    let mut measurement = Measurement::start(&RustCrypto);
    measurement.update(bytes);
    measurement.finish()
}

/// What a verifier says that has checked every block in order.
fn stream(payload: &[u8]) -> Streamed {
    let (_, built) = component("main", payload);
    let mut memory = vec![0; built.tree.memory()];
    let mut verifier = Verifier::new(built.tree, RustCrypto, &mut memory).unwrap();
    for (index, bytes) in (0..).zip(payload.chunks(4096)) {
        assert_eq!(verifier.streamed(), None);
        while let Some(want) = verifier.wants(index) {
            verifier.supply(want, &built.hash_blocks[want.offset as usize..][..4096]).unwrap();
        }
        verifier.check(index, bytes).unwrap();
        // A block that comes again moves nothing on.
        verifier.check(index, bytes).unwrap();
    }
    verifier.streamed().unwrap()
}

/// Runs the update procedure; this answers what is to be measured.
fn update(admitted: &Admitted<'_>, device: &Device<'_>, measured: Outcome) -> Result<(), Refusal> {
    let mut machine = admitted.update(device);
    loop {
        match machine.next()? {
            Action::Finished => return machine.all_matched().then_some(()).ok_or(Refusal::ImageMismatch),
            Action::Measure { .. } => machine.done(measured),
            _ => machine.done(Outcome::Done),
        }
    }
}

fn check(world: &World, sequence: u64, verdict: impl FnOnce(&Device<'_>)) {
    let document = world.root_document();
    let root = Root::decode(&document).unwrap();
    root.verify(&RustCrypto).unwrap();
    let (vendor, class) = (world.vendor(), world.class());
    verdict(&Device {
        trust: Trust::anchored(&root),
        stranded: false,
        takes: Takes::General,
        product: PRODUCT,
        vendor: vendor.as_bytes(),
        class: class.as_bytes(),
        id: None,
        epoch: 3,
        delegation: 0,
        components: &[Component { id: &[COMPONENT.as_bytes()], slot: 1, capacity: 1 << 20, sequence }],
    });
}

#[test]
fn a_release_is_admitted_installed_and_booted() {
    let world = World::default();
    let payload = firmware(100_000, 1);
    let envelope = world.seal(&world.release(&payload).assemble().unwrap(), 1);
    check(&world, 6, |device| {
        let admitted = admit(&envelope, device, &RustCrypto).unwrap();
        assert_eq!(admitted.facts().version, "1.2.3");
        let mut machine = admitted.update(device);
        let mut seen = Vec::new();
        loop {
            let action = machine.next().unwrap();
            assert_eq!(machine.next().unwrap(), action, "the same until it is done");
            seen.push(format!("{action:?}").split_whitespace().next().unwrap().to_owned());
            match action {
                Action::Finished => break,
                Action::Measure { .. } => machine.done(Outcome::Measured(measure(&payload))),
                _ => machine.done(Outcome::Done),
            }
        }
        assert_eq!(seen, ["Fetch", "Measure", "Measure", "Finished"]);
        assert!(machine.all_matched());
        assert!(update(&admitted, device, Outcome::Streamed(stream(&payload))).is_ok());
        let other = update(&admitted, device, Outcome::Streamed(stream(&payload[1..])));
        assert_eq!(other, Err(Refusal::ImageMismatch), "a stream of another tree");
    });
    check(&world, 7, |device| {
        let again = admit(&envelope, device, &RustCrypto).map(|_| ());
        assert_eq!(again, Err(Refusal::SequenceTooLow { offered: 7, floor: 7 }));
        let bootable = boot(&envelope, &[measure(&payload)], device, Image::Trial, &RustCrypto).unwrap();
        let mut machine = bootable.invocation(device);
        machine.next().unwrap();
        machine.done(Outcome::Measured(measure(&payload)));
        assert!(matches!(machine.next(), Ok(Action::Invoke { component: 0, .. })));
        let mut machine = bootable.invocation(device);
        machine.next().unwrap();
        machine.done(Outcome::Streamed(stream(&payload)));
        assert_eq!(machine.next(), Err(Refusal::ImageMismatch), "what boots is measured");
        let other = boot(&envelope, &[measure(&payload[1..])], device, Image::Trial, &RustCrypto).map(|_| ());
        assert_eq!(other, Err(Refusal::ImageMismatch));
    });
}

#[test]
fn a_threshold_counts_holders() {
    let holders = || vec![("alice", vec![TestKey::ed25519(1)]), ("bob", vec![TestKey::p256(2)])];
    let world = World::new(2, holders());
    let manifest = world.release(b"x").assemble().unwrap();
    check(&world, 0, |device| {
        assert!(admit(&world.seal(&manifest, 2), device, &RustCrypto).is_ok());
        let short = admit(&world.seal(&manifest, 1), device, &RustCrypto).map(|_| ());
        assert_eq!(short, Err(Refusal::ThresholdNotMet { have: 1, need: 2 }));
    });
}

#[test]
fn a_tree_checks_every_block() {
    for size in [1, 4096, 4097, 4096 * 128, 4096 * 128 + 1, 4096 * 128 * 3 + 77] {
        let payload = firmware(size, 9);
        let (_, built) = component("main", &payload);
        let mut memory = vec![0; built.tree.memory()];
        let mut verifier = Verifier::new(built.tree, RustCrypto, &mut memory).unwrap();
        assert_eq!(built.tree.hash_bytes(), built.hash_blocks.len() as u64);
        for (index, bytes) in payload.chunks(4096).enumerate() {
            let index = index as u64;
            while let Some(want) = verifier.wants(index) {
                let hash_block = &built.hash_blocks[want.offset as usize..][..4096];
                let mut bad = hash_block.to_vec();
                bad[5] ^= 1;
                assert!(verifier.supply(want, &bad).is_err());
                verifier.supply(want, hash_block).unwrap();
            }
            let block = verifier.check(index, bytes).unwrap();
            assert_eq!((block.offset(), block.bytes()), (index * 4096, bytes));
            let mut bad = bytes.to_vec();
            bad[0] ^= 1;
            assert_eq!(verifier.check(index, &bad).map(|_| ()), Err(Refusal::BlockMismatch(index)));
        }
    }
}
