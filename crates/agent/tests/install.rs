//! Installing what is good: streamed, resumed, copied, bundled, confirmed,
//! reverted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use firmseal_agent::files::OsFiles;
use firmseal_agent::{BootControl, Counts, Error, Event, FileBootControl, Slot};
use firmseal_core::BlockSize;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_release_is_installed_tried_and_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], 64 * MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    for (block, size) in [
        (BlockSize::B4096, 1),
        (BlockSize::B4096, 4096),
        (BlockSize::B4096, 4097),
        (BlockSize::B1024, 100_001),
        (BlockSize::B4096, 3 * MIB + 17),
        (BlockSize::B1024, 2 * MIB),
    ] {
        let sequence = agent.status().unwrap().floors.sequence.get("rootfs").copied().unwrap_or(0) + 1;
        let release = Recipe { block, ..Recipe::new(sequence, noise(size, sequence)) }.make();
        bring_up(&agent, &release).await;
        let status = agent.status().unwrap();
        let active = status.boot.active;
        assert_eq!(status.boot.confirmed, Some(active));
        assert_eq!(status.install, None);
        assert_eq!(status.floors.sequence["rootfs"], sequence);
        let slot = std::fs::read(config.components[0].slot(active)).unwrap();
        assert_eq!(slot[..size], release.payloads[0]);
    }
}

#[tokio::test]
async fn blocks_that_the_active_slot_holds_are_not_downloaded() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], 64 * MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    let mut image = noise(8 * MIB, 1);
    bring_up(&agent, &Recipe::new(1, image.clone()).make()).await;
    image[3 * MIB] ^= 1;
    image[7 * MIB + 5] ^= 1;
    let release = Recipe::new(2, image.clone()).make();
    let source = release.source();
    let given = source.given.clone();
    let installed = install_from(&agent, &release, source).await.unwrap();
    assert_eq!(installed.counts, Counts { fetched: 2, copied: 2046, resumed: 0 });
    assert!(*given.lock().unwrap() < 100_000, "{given:?}");
    agent.boot_stage().unwrap();
    assert_eq!(agent.settle().await.unwrap(), Some(Event::Confirmed));
    assert_eq!(std::fs::read(config.components[0].slot(Slot::A)).unwrap(), image);

    // Nothing in common: everything is fetched, once.
    let release = Recipe::new(3, noise(8 * MIB, 9)).make();
    let source = release.source();
    let given = source.given.clone();
    let installed = install_from(&agent, &release, source).await.unwrap();
    assert_eq!(installed.counts, Counts { fetched: 2048, copied: 0, resumed: 0 });
    let whole = (release.payloads[0].len() + release.trees[0].hash_blocks.len()) as u64;
    assert_eq!(*given.lock().unwrap(), whole);
}

#[tokio::test]
async fn an_interrupted_download_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], 64 * MIB as u64);
    let deps = deps(&config);
    let mut agent = device(&config, &deps).await;
    let release = Recipe::new(1, noise(8 * MIB, 3)).make();
    let mut given = 0;
    let mut tries = 0;
    let installed = loop {
        tries += 1;
        assert!(tries < 20);
        let source = Memory { left: Some(Arc::new(Mutex::new(2 * MIB as u64))), ..release.source() };
        let count = source.given.clone();
        let result = install_from(&agent, &release, source).await;
        given += *count.lock().unwrap();
        match result {
            Err(Error::Carrier { .. }) => {}
            other => break other.unwrap(),
        }
        // A new process, and perhaps a new server: nothing depends on it.
        drop(agent);
        agent = firmseal_agent::Agent::new(config.clone(), deps.clone()).unwrap();
    };
    assert!(installed.counts.resumed > 0);
    assert!(given < 14 * MIB as u64, "{given} bytes");
    assert!(agent.boot_stage().unwrap().trial);
}

#[tokio::test]
async fn a_data_budget_is_kept_and_the_rest_comes_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &["rootfs"], 64 * MIB as u64);
    config.data_budget = Some(4 * MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    let release = Recipe::new(1, noise(9 * MIB, 3)).make();
    let mut polls = 0;
    loop {
        polls += 1;
        let source = Memory { metered: true, ..release.source() };
        let given = source.given.clone();
        let result = install_from(&agent, &release, source).await;
        assert!(*given.lock().unwrap() <= 4 * MIB as u64 + 16 * 1024);
        match result {
            Err(Error::BudgetSpent(_)) => assert!(polls < 6),
            other => break other.map(|_| ()).unwrap(),
        }
    }
    assert!(polls >= 3);
}

#[tokio::test]
async fn a_bundle_installs_with_no_network() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["boot", "rootfs"], 64 * MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    let components = vec![("rootfs", noise(2 * MIB + 1, 1)), ("boot", noise(1000, 2))];
    let release = Recipe { components, slot: Some(1), ..Recipe::new(5, vec![]) }.make();
    let path = dir.path().join("release.bundle");
    std::fs::write(&path, release.bundle()).unwrap();
    let installed = agent.install_bundle(&path).await.unwrap();
    assert_eq!(installed.slot, Slot::B);
    assert!(matches!(agent.install_bundle(&path).await, Err(Error::TrialPending)));
    agent.boot_stage().unwrap();
    assert_eq!(agent.settle().await.unwrap(), Some(Event::Confirmed));
    assert_eq!(std::fs::read(dir.path().join("boot.b")).unwrap(), release.payloads[1]);
    let floors = agent.status().unwrap().floors;
    assert_eq!(floors.sequence.values().collect::<Vec<_>>(), [&5, &5]);
    // Every prefix of a bundle is refused or incomplete, never installed.
    let whole = release.bundle();
    for len in (0..whole.len()).step_by(whole.len() / 40) {
        std::fs::write(&path, &whole[..len]).unwrap();
        agent.install_bundle(&path).await.unwrap_err();
    }
}

#[tokio::test]
async fn an_image_that_is_not_healthy_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], MIB as u64);
    let health = Arc::new(TestHealth::default());
    let deps = firmseal_agent::Deps { health: health.clone(), ..deps(&config) };
    let agent = device(&config, &deps).await;
    bring_up(&agent, &Recipe::new(1, noise(5000, 1)).make()).await;
    let good = agent.boot_state().unwrap().active;

    let bad = Recipe { epoch: 3, ..Recipe::new(2, noise(5000, 2)) }.make();
    install(&agent, &bad).await.unwrap();
    assert_eq!(agent.boot_stage().unwrap().slot, good.other());
    *health.0.lock().unwrap() = Some("no service".to_owned());
    assert_eq!(agent.settle().await.unwrap(), Some(Event::Reverted { why: "no service".to_owned() }));
    let booted = agent.boot_stage().unwrap();
    assert_eq!((booted.slot, booted.trial), (good, false));
    // Nothing advanced: the next attempt may have the same sequence number.
    let floors = agent.status().unwrap().floors;
    assert_eq!((floors.sequence["rootfs"], floors.epoch), (1, 0));
    *health.0.lock().unwrap() = None;
    bring_up(&agent, &bad).await;
    assert_eq!(agent.status().unwrap().floors.epoch, 3);
}

#[tokio::test]
async fn only_what_the_boot_stage_has_run_can_be_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    bring_up(&agent, &Recipe::new(1, noise(5000, 1)).make()).await;
    let good = agent.boot_state().unwrap().active;
    install(&agent, &Recipe::new(2, noise(5000, 2)).make()).await.unwrap();
    // Before its boot there is nothing to confirm.
    assert!(matches!(agent.confirm(), Err(Error::NoTrial)));
    assert!(agent.boot_stage().unwrap().trial);
    agent.revert().unwrap();

    // The slot that was given up runs until the reboot: nobody writes it.
    let next = Recipe::new(3, noise(5000, 3)).make();
    let path = config.components[0].slot(good.other());
    let before = std::fs::read(path).unwrap();
    let err = install(&agent, &next).await.unwrap_err();
    assert!(matches!(err, Error::SlotRuns(slot) if slot == good.other()), "{err}");
    assert_eq!(err.exit_code(), firmseal_agent::exit::NOT_NOW);
    assert_eq!(err.hint(), Some("reboot the device"));
    assert_eq!(std::fs::read(path).unwrap(), before);
    assert_eq!(agent.boot_state().unwrap().trial, None);

    assert_eq!(agent.boot_stage().unwrap().slot, good);
    install(&agent, &next).await.unwrap();
    assert!(matches!(agent.confirm(), Err(Error::NoTrial)));
    assert_eq!(agent.settle().await.unwrap(), Some(Event::RebootNeeded));
    assert!(agent.boot_stage().unwrap().trial);
    assert_eq!(agent.settle().await.unwrap(), Some(Event::Confirmed));
    assert_eq!(agent.status().unwrap().floors.sequence["rootfs"], 3);
}

#[tokio::test]
async fn a_device_without_a_server_updates_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), &["rootfs"], MIB as u64);
    config.reports_max = 8;
    let agent = device(&config, &deps(&config)).await;
    for sequence in 1..20 {
        bring_up(&agent, &Recipe::new(sequence, noise(5000, sequence)).make()).await;
    }
    assert_eq!(agent.reports().unwrap(), []);
}

#[tokio::test]
async fn refusals_never_end_updates() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = with_server(config(dir.path(), &["rootfs"], MIB as u64));
    config.reports_max = 8;
    let agent = device(&config, &deps(&config)).await;
    for sequence in 1..30 {
        let forged = Recipe { signer: 9, ..Recipe::new(sequence, noise(5000, sequence)) }.make();
        assert!(matches!(install(&agent, &forged).await, Err(Error::Refused(_))));
    }
    assert_eq!(agent.reports().unwrap().len(), 8);
    bring_up(&agent, &Recipe::new(1, noise(5000, 1)).make()).await;
}

#[test]
fn a_trial_in_the_running_slot_has_to_boot_too() {
    let dir = tempfile::tempdir().unwrap();
    let control = FileBootControl::new(Arc::new(OsFiles), dir.path());
    let active = control.active().unwrap().active;
    control.set_trial(active, 3).unwrap();
    assert!(!control.active().unwrap().on_trial());
    assert!(matches!(control.confirm(), Err(Error::NoTrial)));
}

#[tokio::test]
async fn the_boot_stage_counts_tries_and_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    bring_up(&agent, &Recipe::new(1, noise(5000, 1)).make()).await;
    let good = agent.boot_state().unwrap().active;
    install(&agent, &Recipe::new(2, noise(5000, 2)).make()).await.unwrap();
    // The agent never comes up in the new image.
    for _ in 0..3 {
        let booted = agent.boot_stage().unwrap();
        assert_eq!((booted.slot, booted.trial), (good.other(), true));
    }
    let booted = agent.boot_stage().unwrap();
    assert_eq!((booted.slot, booted.trial), (good, false));
    assert_eq!(agent.settle().await.unwrap(), None);
    assert_eq!(agent.boot_state().unwrap().failed, None);
    assert_eq!(agent.status().unwrap().slots.len(), 1);
}

#[tokio::test]
async fn what_is_not_as_signed_does_not_boot() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    bring_up(&agent, &Recipe::new(1, noise(5000, 1)).make()).await;
    let good = agent.boot_state().unwrap().active;
    install(&agent, &Recipe::new(2, noise(5000, 2)).make()).await.unwrap();
    let path = config.components[0].slot(good.other());
    let mut image = std::fs::read(path).unwrap();
    image[4999] ^= 0x80;
    std::fs::write(path, &image).unwrap();
    let booted = agent.boot_stage().unwrap();
    assert_eq!((booted.slot, booted.trial), (good, false));
    assert_eq!(booted.refused.len(), 1);
    assert_eq!(agent.boot_state().unwrap().failed.unwrap().code, Some(603));

    // The confirmed image rots: there is nothing left, and nothing runs.
    agent.settle().await.unwrap();
    let path = config.components[0].slot(good);
    let sound = std::fs::read(path).unwrap();
    std::fs::write(path, b"rot").unwrap();
    assert!(matches!(agent.boot_stage(), Err(Error::NothingBootable(_))));
    assert_eq!(agent.boot_state().unwrap().confirmed, Some(good));
    std::fs::write(path, &sound).unwrap();
    assert_eq!(agent.boot_stage().unwrap().slot, good);
}

#[tokio::test]
async fn an_image_that_is_not_what_its_digest_says_never_boots() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], 64 * MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    bring_up(&agent, &Recipe::new(1, noise(MIB, 1)).make()).await;
    let other = tree_of(b"other bytes", BlockSize::B4096).digest;
    let release = Recipe { digests: vec![other], ..Recipe::new(2, noise(MIB, 2)) }.make();
    // Every block is of the signed tree, and a run that saw them all takes
    // its word; the boot stage measures and does not.
    let installed = install(&agent, &release).await.unwrap();
    agent.boot_stage().unwrap();
    assert_eq!(agent.boot_state().unwrap().active, installed.slot.other());
    assert_eq!(agent.boot_state().unwrap().failed.unwrap().code, Some(603));
    agent.settle().await.unwrap();
    assert_eq!(agent.status().unwrap().floors.sequence["rootfs"], 1);
}

#[tokio::test]
async fn a_slot_whose_record_cannot_be_read_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &["rootfs"], MIB as u64);
    let agent = device(&config, &deps(&config)).await;
    bring_up(&agent, &Recipe::new(1, noise(5000, 1)).make()).await;
    let good = agent.boot_state().unwrap().active;
    install(&agent, &Recipe::new(2, noise(5000, 2)).make()).await.unwrap();
    for copy in ["0", "1"] {
        let path = config.state.join(format!("slot-{}.{copy}", good.other()));
        if path.exists() {
            std::fs::write(path, b"rot").unwrap();
        }
    }
    let booted = agent.boot_stage().unwrap();
    assert_eq!((booted.slot, booted.trial), (good, false));
    assert!(booted.refused[0].1.contains("cannot be read"), "{:?}", booted.refused);
}
