//! Trust that changes: root documents walked one by one, revocations, and
//! what a thief tries with old and foreign ones.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::roots::*;
use common::sim::SimFiles;
use common::*;
use firmseal_agent::files::{Access, Files};
use firmseal_agent::{Agent, Config, Deps, Enrolment, Error, Event, enrol};
use firmseal_core::{Environment, Refusal};
use firmseal_manifest::Digest;
use firmseal_manifest::bundle::{BundleWriter, News};

struct Bench {
    files: SimFiles,
    config: Config,
    deps: Deps,
}

impl Bench {
    async fn new() -> Bench {
        let files = SimFiles::default();
        let config = with_server(config(Path::new("/sim"), &["rootfs"], 1 << 20));
        let deps = Deps { files: Arc::new(files.clone()), ..deps(&config) };
        enrol(&config, &deps, &Enrolment { anchor: &chain(1)[0], server: None }).await.unwrap();
        Bench { files, config, deps }
    }

    fn agent(&self) -> Agent {
        Agent::new(self.config.clone(), self.deps.clone()).unwrap()
    }

    fn fork(&self) -> Bench {
        let files = self.files.fork();
        let deps = Deps { files: Arc::new(files.clone()), ..self.deps.clone() };
        Bench { files, config: self.config.clone(), deps }
    }
}

fn release(sequence: u64, root: u64) -> Release {
    Recipe { signer: release_key(root), ..Recipe::new(sequence, noise(30_000, sequence)) }.make()
}

fn stick(bench: &Bench, roots: &[Vec<u8>], revocation: &[u8], release: &Release) {
    let revocation = (!revocation.is_empty()).then(|| revocation.to_vec());
    let news = News { roots: roots.to_vec(), revocation, freshness: None };
    let mut writer = BundleWriter::begin(Vec::new(), &news, &release.envelope).unwrap();
    for (payload, tree) in release.payloads.iter().zip(&release.trees) {
        for blob in [&tree.hash_blocks, payload] {
            writer.blob_head(blob.len() as u64).unwrap();
            writer.blob_piece(blob).unwrap();
        }
    }
    let bytes = writer.finish().unwrap();
    let path = Path::new("/sim/stick");
    let file = bench.files.open(path, Access::Replace).unwrap();
    file.write_at(&bytes, 0).unwrap();
    file.sync().unwrap();
    bench.files.sync_dir(Path::new("/sim")).unwrap();
}

/// Installs from the stick and confirms.
async fn take(agent: &Agent) -> Result<(), Error> {
    agent.install_bundle(Path::new("/sim/stick")).await?;
    agent.boot_stage()?;
    match agent.settle().await? {
        Some(Event::Confirmed) => Ok(()),
        other => panic!("{other:?}"),
    }
}

fn refusal(result: Result<(), Error>) -> Refusal {
    match result {
        Err(Error::Refused(refused)) => match refused.reason {
            firmseal_agent::Reason::Core(refusal) => refusal,
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_that_was_off_walks_along_every_root() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    stick(&bench, &chain(1), &[], &release(1, 1));
    take(&agent).await.unwrap();
    // Twelve rotations later, from one stick, without a server.
    stick(&bench, &chain(13), &[], &release(2, 13));
    take(&agent).await.unwrap();
    assert_eq!(agent.status().unwrap().root_version, 13);
    // The old key signs nothing any more, also after a restart.
    drop(agent);
    let agent = bench.agent();
    assert_eq!(agent.status().unwrap().root_version, 13);
    stick(&bench, &[], &[], &release(3, 1));
    assert!(matches!(refusal(take(&agent).await), Refusal::UnknownSigner));
    assert_eq!(agent.boot_stage().unwrap().version, "2.0.0", "what was signed under 13 boots");
}

#[tokio::test]
async fn what_does_not_follow_changes_nothing_and_is_reported() {
    let forked = Link { linked: false, ..Link::new(2) }.make();
    let foreign = Link { lineage: 8, ..Link::new(2) }.make();
    let production = Link { environment: Environment::Production, ..Link::new(2) }.make();
    let mut garbage = Link::new(2).make();
    let end = garbage.len() - 1;
    garbage[end] ^= 1;
    for (name, roots) in [
        ("a gap", vec![Link::new(3).make()]),
        ("a fast-forward", vec![Link::new(u64::from(u8::MAX) - 60).make()]),
        ("a fork", vec![forked]),
        ("another lineage", vec![foreign]),
        ("another environment", vec![production]),
        ("a broken signature", vec![garbage]),
    ] {
        let bench = Bench::new().await;
        let agent = bench.agent();
        stick(&bench, &roots, &[], &release(1, 1));
        // The release is judged from where the device stands.
        take(&agent).await.unwrap_or_else(|err| panic!("{name}: {err}"));
        assert_eq!(agent.status().unwrap().root_version, 1, "{name}");
        let reports = agent.reports().unwrap();
        let refused: Vec<_> = reports.iter().filter(|report| report.phase.as_str() == "refused").collect();
        assert_eq!(refused.len(), 1, "{name}");
        assert!(refused[0].message.as_ref().unwrap().contains("root document"), "{name}");
    }
}

#[tokio::test]
async fn replay_of_an_old_root() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    stick(&bench, &chain(3), &[], &release(1, 3));
    take(&agent).await.unwrap();
    // The thief has the keys of version 2 and brings it, and his release,
    // again; and a fork of version 3 that he signs with them.
    let mut fork = Link::new(3);
    fork.reset = Some(0);
    for roots in [chain(2), vec![fork.make()]] {
        stick(&bench, &roots, &[], &release(9, 2));
        assert!(matches!(refusal(take(&agent).await), Refusal::UnknownSigner));
        assert_eq!(agent.status().unwrap().root_version, 3);
        assert_eq!(agent.status().unwrap().floors.sequence["rootfs"], 1);
    }
}

#[tokio::test]
async fn fast_forward_is_undone_by_a_reset_once() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    // The thief signs with the stolen release key, as high as it goes.
    stick(&bench, &[], &[], &release(u64::MAX >> 1, 1));
    take(&agent).await.unwrap();
    let reset = Link { reset: Some(10), ..Link::new(2) }.make();
    stick(&bench, std::slice::from_ref(&reset), &[], &release(11, 2));
    take(&agent).await.unwrap();
    assert_eq!(agent.status().unwrap().floors.sequence["rootfs"], 11);
    // The same document again does not lower what was confirmed since.
    stick(&bench, &[reset], &[], &release(11, 2));
    let replayed = refusal(take(&agent).await);
    assert!(matches!(replayed, Refusal::SequenceTooLow { offered: 11, floor: 11 }), "{replayed:?}");
    drop(agent);
    assert_eq!(bench.agent().status().unwrap().floors.sequence["rootfs"], 11);
}

#[tokio::test]
async fn a_cut_at_any_operation_of_an_adoption_leaves_one_of_both_roots() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    stick(&bench, &[], &[], &release(1_000_000, 1));
    take(&agent).await.unwrap();
    drop(agent);
    let roots = [Link { reset: Some(10), ..Link::new(2) }.make(), Link::new(3).make()];
    stick(&bench, &roots, &revocation(3, 1, &[Digest([1; 32])], &[]), &release(11, 3));
    let whole = bench.fork();
    let start = whole.files.operations();
    take(&whole.agent()).await.unwrap();
    let operations = whole.files.operations() - start;
    for cut in 1..=operations {
        let bench = bench.fork();
        bench.files.cut_after(cut);
        if let Ok(agent) = Agent::new(bench.config.clone(), bench.deps.clone()) {
            let _ = take(&agent).await;
        }
        bench.files.restart(cut.wrapping_mul(0x9e37_79b9));
        let agent = bench.agent();
        let version = agent.status().unwrap().root_version;
        assert!((1..=3).contains(&version), "cut {cut}");
        agent.boot_stage().unwrap_or_else(|err| panic!("cut {cut}: bricked: {err}"));
        agent.settle().await.unwrap();
        if agent.status().unwrap().floors.sequence["rootfs"] != 11 {
            take(&agent).await.unwrap_or_else(|err| panic!("cut {cut}: {err}"));
        }
        let status = agent.status().unwrap();
        assert_eq!((status.root_version, status.revocation_version), (3, 1), "cut {cut}");
        assert_eq!(status.floors.sequence["rootfs"], 11, "cut {cut}");
    }
}

#[tokio::test]
async fn a_revoked_release_stops_before_install_and_on_trial_and_never_once_confirmed() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    let manifest =
        |release: &Release| *firmseal_core::Envelope::decode(&release.envelope).unwrap().manifest_digest();
    let (first, second, third) = (release(1, 1), release(2, 1), release(3, 1));
    stick(&bench, &[], &[], &first);
    take(&agent).await.unwrap();
    // On trial when the word comes.
    install(&agent, &second).await.unwrap();
    let bad = [manifest(&first), manifest(&second), manifest(&third)];
    stick(&bench, &[], &revocation(1, 1, &bad, &[]), &third);
    // No install while a trial is pending, but the documents are taken.
    agent.install_bundle(Path::new("/sim/stick")).await.unwrap_err();
    assert_eq!(agent.status().unwrap().revocation_version, 1);
    let booted = agent.boot_stage().unwrap();
    assert_eq!((booted.version.as_str(), booted.trial), ("1.0.0", false), "confirmed, though revoked");
    agent.settle().await.unwrap();
    assert_eq!(refusal(take(&agent).await), Refusal::ReleaseRevoked);
    // A revocation that gives something back is refused, and an older one
    // says nothing.
    stick(&bench, &[], &revocation(1, 2, &bad[..1], &[]), &release(4, 1));
    take(&agent).await.unwrap();
    assert_eq!(agent.status().unwrap().revocation_version, 1);
    // The role's key is rotated away; what it took stays taken.
    stick(&bench, &chain(2), &[], &third);
    let refused = refusal(take(&agent).await);
    assert!(matches!(refused, Refusal::UnknownSigner | Refusal::ReleaseRevoked), "{refused:?}");
    drop(agent);
    assert_eq!(bench.agent().status().unwrap().revocation_version, 1);
}

#[tokio::test]
async fn a_stolen_release_key_signs_nothing_once_it_is_revoked() {
    let bench = Bench::new().await;
    let agent = bench.agent();
    stick(&bench, &[], &[], &release(1, 1));
    take(&agent).await.unwrap();
    stick(&bench, &[], &revocation(1, 1, &[], &[release_key(1)]), &release(2, 1));
    assert_eq!(refusal(take(&agent).await), Refusal::KeyRevoked);
    assert_eq!(agent.boot_stage().unwrap().version, "1.0.0", "what runs goes on running");
}

#[tokio::test]
async fn a_rotten_record_is_forgotten_and_walked_again() {
    let bench = Bench::new().await;
    stick(&bench, &chain(3), &[], &release(1, 3));
    take(&bench.agent()).await.unwrap();
    let rot = |name: &str| bench.files.tamper(&Path::new("/sim/state").join(name), |bytes| bytes[30] ^= 1);
    rot("trust-root-2.0");
    assert_eq!(bench.agent().status().unwrap().root_version, 3, "the other copy is there");
    rot("trust-root-2.1");
    let agent = bench.agent();
    assert_eq!(agent.status().unwrap().root_version, 1, "back at the anchor");
    assert_eq!(agent.boot_stage().unwrap().version, "1.0.0", "and it boots");
    stick(&bench, &chain(3), &[], &release(2, 3));
    take(&agent).await.unwrap();
    assert_eq!(agent.status().unwrap().root_version, 3);
}
