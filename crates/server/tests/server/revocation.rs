//! Revocations: halted at once, for good, and never taken back.

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_api::fleet::{Cohort, CreateRollout, RolloutState};
use firmseal_api::signing::{Release, ReleaseState};
use firmseal_core::{Environment, Root};
use firmseal_keys::Signer;
use firmseal_manifest::ProductId;
use firmseal_server::Serves;
use firmseal_store::{TrustDocument, TrustDocuments, TrustKind};
use firmseal_testkit::TestKey;
use firmseal_testkit::world::firmware;
use firmseal_trust::{RevocationSpec, RevokedKey, RootSpec};
use http::StatusCode;

use crate::bench::{Bench, order, poll_at, product, revocation_key, root_key, root_spec, successor};

fn spec(version: u64) -> RevocationSpec {
    RevocationSpec {
        version,
        lineage: [1; 16],
        environment: Environment::Test,
        keys: vec![],
        releases: vec![],
    }
}

/// The release key of a bench is taken away, but for some releases.
fn stolen(bench: &Bench, allowed: &[&Release]) -> RevokedKey {
    RevokedKey {
        key: bench.release_key().public_key().id(),
        last_good: vec![],
        allowed: allowed.iter().map(|release| release.manifest.0).collect(),
    }
}

fn sealed(bench: &Bench, spec: &RevocationSpec) -> Bytes {
    let (key, unsigned) = (revocation_key(), spec.assemble());
    let signature = key.sign(&unsigned.to_be_signed(key.public()).unwrap());
    unsigned.seal(&Root::decode(bench.root()).unwrap(), &[(key.public(), signature)]).unwrap().into()
}

async fn state(admin: &Client, release: &Release) -> ReleaseState {
    admin.operator().release(release.id).await.unwrap().state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_release_is_halted_for_good() {
    let mut bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let device = bench.device(&admin, "gateway").await;
    let missing = device.client.device().revocation().await.unwrap_err();
    assert_eq!(missing.status(), Some(StatusCode::NOT_FOUND));
    let good = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    let bad = bench.release(&admin, "gateway", "1.1.0", &firmware(5000, 2)).await;
    let (kept, halted) = (bench.rollout(&admin, &good).await, bench.rollout(&admin, &bad).await);
    let answer = device.client.device().poll(&poll_at(0)).await.unwrap();
    assert_eq!((answer.offer.unwrap().release, answer.revocation_version), (bad.id, 0));

    let document = sealed(&bench, &RevocationSpec { releases: vec![bad.manifest.0], ..spec(3) });
    let published = admin.operator().publish_revocation(document.clone()).await.unwrap();
    assert_eq!((published.version, &published.releases[..]), (3, &[bad.id][..]));
    assert_eq!(published.rollouts, [halted.id]);
    let again = admin.operator().publish_revocation(document.clone()).await.unwrap();
    assert_eq!((again.version, again.releases, again.rollouts), (3, vec![], vec![]));

    for restarted in [false, true] {
        if restarted {
            bench.restart().await;
        }
        let admin = bench.everything().await;
        let operator = admin.operator();
        assert_eq!(state(&admin, &bad).await, ReleaseState::Revoked);
        assert_eq!(state(&admin, &good).await, ReleaseState::Verified);
        assert_eq!(operator.rollout(halted.id).await.unwrap().state, RolloutState::Halted);
        assert_eq!(operator.rollout(kept.id).await.unwrap().state, RolloutState::Active);
        let resumed = operator.resume_rollout(halted.id).await.unwrap_err();
        assert_eq!(resumed.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
        let wish = CreateRollout { release: bad.id, cohort: Cohort::All, starts: None };
        let begun = operator.create_rollout(&wish).await.unwrap_err();
        assert!(begun.to_string().contains("was revoked"), "{begun}");
        let chain = device.chain.as_bytes();
        let identity =
            |builder: firmseal_api::client::Builder| builder.identity(chain, device.key.as_bytes());
        let device = identity(bench.builder(Serves::Device)).build().unwrap();
        let answer = device.device().poll(&poll_at(0)).await.unwrap();
        assert_eq!((answer.offer.unwrap().release, answer.revocation_version), (good.id, 3));
        let public = bench.anybody(Serves::Public);
        assert_eq!(device.device().revocation().await.unwrap(), document);
        assert_eq!(public.public().revocation().await.unwrap(), document);
        assert_eq!(operator.revocation().await.unwrap(), document);
        let envelope = public.public().envelope(bad.id).await.unwrap_err();
        assert_eq!(envelope.status(), Some(StatusCode::NOT_FOUND));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_signs_nothing_here_any_more_and_takes_its_releases_along() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let good = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    let thiefs = bench.release(&admin, "gateway", "1.1.0", &firmware(5000, 2)).await;
    let (kept, halted) = (bench.rollout(&admin, &good).await, bench.rollout(&admin, &thiefs).await);
    let document = sealed(&bench, &RevocationSpec { keys: vec![stolen(&bench, &[&good])], ..spec(1) });
    let published = admin.operator().publish_revocation(document).await.unwrap();
    assert_eq!((published.releases, published.rollouts), (vec![thiefs.id], vec![halted.id]));
    assert_eq!(state(&admin, &good).await, ReleaseState::Verified);
    assert_eq!(admin.operator().rollout(kept.id).await.unwrap().state, RolloutState::Active);

    // Refused before the key is used: nothing is logged.
    bench.told().await;
    let logged = bench.store.intents().len();
    let artifact = bench.upload(&admin, &firmware(5000, 3)).await;
    let refused = admin.operator().create_release("k", &order("gateway", "1.2.0", artifact)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    assert!(refused.to_string().contains("was revoked by revocation 1"), "{refused}");
    assert_eq!(bench.store.intents().len(), logged);

    // The thief has a server and the key, and brings a release in.
    let thief = bench.twin().await;
    let theirs = thief.everything().await;
    theirs.operator().create_product(&product("gateway")).await.unwrap();
    for version in ["1.0.0", "1.1.0", "1.3.0"] {
        thief.release(&theirs, "gateway", version, &firmware(5000, 3)).await;
    }
    let newest = theirs.operator().releases(None, &Default::default()).await.unwrap().items.remove(0);
    let envelope = theirs.operator().envelope(newest.id).await.unwrap();
    let product: ProductId = "gateway".parse().unwrap();
    let imported = admin.operator().import_release(&product, "", "", envelope).await.unwrap_err();
    assert!(imported.to_string().contains("refusal 209"), "{imported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_only_subtract() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let one = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    let two = bench.release(&admin, "gateway", "1.1.0", &firmware(5000, 2)).await;
    let status = async |document: Bytes| {
        let refused = admin.operator().publish_revocation(document).await;
        refused.err().and_then(|error| error.status())
    };
    let (keys, releases) = (vec![stolen(&bench, &[&one])], vec![two.manifest.0]);
    let first = RevocationSpec { keys: keys.clone(), releases: releases.clone(), ..spec(5) };
    // Signed by the release key's holder, by a stranger, damaged, too long.
    let stranger = {
        let (key, unsigned) = (TestKey::ed25519(9), first.assemble());
        let mut document = sealed(&bench, &first).to_vec();
        let signature = key.sign(&unsigned.to_be_signed(key.public()).unwrap());
        let at = document.len() - 64;
        document[at..].copy_from_slice(&signature.0);
        document.into()
    };
    for document in [stranger, Bytes::from_static(b"nonsense"), Bytes::new()] {
        assert_eq!(status(document).await, Some(StatusCode::UNPROCESSABLE_ENTITY));
    }
    assert_eq!(status(vec![0; 32 * 1024 + 1].into()).await, Some(StatusCode::PAYLOAD_TOO_LARGE));
    assert_eq!(state(&admin, &two).await, ReleaseState::Verified);
    assert_eq!(status(sealed(&bench, &first)).await, None);

    let widened = vec![stolen(&bench, &[&one, &two])];
    let since = RevokedKey { last_good: vec![("log.example/1".to_owned(), 9)], ..keys[0].clone() };
    for forgetful in [
        RevocationSpec { keys: keys.clone(), ..spec(6) },
        RevocationSpec { releases: releases.clone(), ..spec(6) },
        RevocationSpec { keys: widened, releases: releases.clone(), ..spec(6) },
        RevocationSpec { keys: vec![since], releases: releases.clone(), ..spec(6) },
        RevocationSpec { version: 4, ..first.clone() },
    ] {
        assert_eq!(status(sealed(&bench, &forgetful)).await, Some(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let rival = RevocationSpec { releases: [releases.clone(), vec![one.manifest.0]].concat(), ..first };
    assert_eq!(status(sealed(&bench, &rival)).await, Some(StatusCode::CONFLICT), "another one of number 5");
    assert_eq!(state(&admin, &one).await, ReleaseState::Verified);
    let narrower = RevocationSpec { version: 9, keys: vec![stolen(&bench, &[])], ..rival };
    assert_eq!(status(sealed(&bench, &narrower)).await, None);
    assert_eq!(state(&admin, &one).await, ReleaseState::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_undone_is_done_at_the_next_start() {
    let mut bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let bad = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    let halted = bench.rollout(&admin, &bad).await;
    // Durable, and then the power went.
    let document = TrustDocument {
        kind: TrustKind::Revocation,
        version: 1,
        bytes: sealed(&bench, &RevocationSpec { keys: vec![stolen(&bench, &[])], ..spec(1) }),
        published_by: "tester".to_owned(),
        published: firmseal_server::Clock::now(bench.clock.as_ref()),
    };
    bench.store.insert_trust_document(document).await.unwrap();
    bench.restart().await;
    let admin = bench.everything().await;
    assert_eq!(state(&admin, &bad).await, ReleaseState::Revoked);
    assert_eq!(admin.operator().rollout(halted.id).await.unwrap().state, RolloutState::Halted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_outlives_the_keys_that_signed_it() {
    let mut bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let bad = bench.release(&admin, "gateway", "1.0.0", &firmware(5000, 1)).await;
    let old = sealed(&bench, &RevocationSpec { keys: vec![stolen(&bench, &[])], ..spec(1) });
    admin.operator().publish_revocation(old.clone()).await.unwrap();
    let officer = TestKey::ed25519(106);
    let mut next = RootSpec { version: 2, ..root_spec(&bench.release_key()) };
    next.roles[2].holders[0].keys = vec![officer.public().clone()];
    let two = successor(&next, bench.root(), &[root_key()]);
    let published = admin.operator().publish_root(two.clone().into()).await.unwrap();
    assert!(!published.revocation_stands, "devices under it would not take the old document");
    bench.restart().await;
    let admin = bench.everything().await;
    assert_eq!(admin.operator().revocation().await.unwrap(), old);
    assert_eq!(state(&admin, &bad).await, ReleaseState::Revoked);
    let artifact = bench.upload(&admin, &firmware(5000, 2)).await;
    admin.operator().create_release("k", &order("gateway", "1.1.0", artifact)).await.unwrap_err();
    // Whoever holds the old keys takes nothing away any more, and whoever
    // holds the new ones gives nothing back.
    let by_old = sealed(&bench, &RevocationSpec { releases: vec![bad.manifest.0], ..spec(2) });
    let renewed = |spec: &RevocationSpec| -> Bytes {
        let unsigned = spec.assemble();
        let signature = officer.sign(&unsigned.to_be_signed(officer.public()).unwrap());
        unsigned.seal(&Root::decode(&two).unwrap(), &[(officer.public(), signature)]).unwrap().into()
    };
    for refused in [by_old, renewed(&spec(2))] {
        let refused = admin.operator().publish_revocation(refused).await.unwrap_err();
        assert_eq!(refused.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let entries = RevocationSpec { keys: vec![stolen(&bench, &[])], ..spec(2) };
    assert_eq!(admin.operator().publish_revocation(renewed(&entries)).await.unwrap().version, 2);
}
