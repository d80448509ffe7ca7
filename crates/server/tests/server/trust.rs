//! Root documents: published one after another, and nobody goes around.

use std::sync::Arc;

use bytes::Bytes;
use firmseal_keys::{FileKey, Secret};
use firmseal_manifest::KeyAlgorithm;
use firmseal_server::{Deps, Serves};
use firmseal_sign::{Keys, Pipeline, TrustError};
use firmseal_store::{TrustDocuments, TrustKind};
use firmseal_store_local::LocalStore;
use firmseal_testkit::TestKey;
use firmseal_testkit::world::firmware;
use firmseal_trust::RootSpec;
use http::StatusCode;

use crate::bench::{Bench, order, poll_at, product, root_key, root_spec, successor};

/// The second root document: the same roles, a new key of the root role.
fn second(bench: &Bench) -> RootSpec {
    let mut spec = RootSpec { version: 2, ..root_spec(&bench.release_key()) };
    spec.roles[0].holders[0].keys = vec![next_root_key().public().clone()];
    spec
}

fn next_root_key() -> TestKey {
    TestKey::ed25519(101)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_root_is_in_force_without_a_restart_and_after_one() {
    let mut bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let device = bench.device(&admin, "gateway").await;
    assert_eq!(device.client.device().poll(&poll_at(0)).await.unwrap().root_version, 1);

    let release = bench.release(&admin, "gateway", "0.9.0", &firmware(5000, 9)).await;
    bench.rollout(&admin, &release).await;
    let two = successor(&second(&bench), bench.root(), &[root_key(), next_root_key()]);
    for _ in 0..2 {
        let published = admin.operator().publish_root(Bytes::from(two.clone())).await.unwrap();
        assert_eq!(published.version, 2, "the same document again changes nothing");
        assert_eq!(published.refused, [], "its signer is still there");
    }
    assert_eq!(device.client.device().poll(&poll_at(0)).await.unwrap().root_version, 2);
    // The third one takes the release key away; whoever posts it needs the
    // second one's root key, which the server learnt a moment ago.
    let secret = Secret::new(b"correct horse".to_vec());
    let other = FileKey::generate(&bench.file("other.pem"), KeyAlgorithm::Ed25519, &secret).unwrap();
    let mut spec = RootSpec { version: 3, ..second(&bench) };
    spec.roles[1] = root_spec(&other).roles[1].clone();
    let three = successor(&spec, &two, &[next_root_key()]);
    let published = admin.operator().publish_root(Bytes::from(three.clone())).await.unwrap();
    assert_eq!(published.refused, [release.id], "what goes out was signed by a key that is gone");

    for restarted in [false, true] {
        if restarted {
            bench.restart().await;
        }
        let admin = bench.everything().await;
        for serves in [Serves::Operator, Serves::Public] {
            let chain = [bench.root(), &two, &three];
            for (document, version) in chain.iter().zip(1..) {
                let found = match serves {
                    Serves::Operator => admin.operator().root(version).await,
                    _ => bench.anybody(serves).public().root(version).await,
                };
                assert_eq!(found.unwrap(), *document, "{version}");
            }
        }
        let missing = admin.operator().root(4).await.unwrap_err();
        assert_eq!(missing.status(), Some(StatusCode::NOT_FOUND));
        // The pipeline stands under the newest: its key is nobody's now.
        let artifact = bench.upload(&admin, &firmware(5000, 1)).await;
        let key = format!("after-{restarted}");
        let refused = admin.operator().create_release(&key, &order("gateway", "1.0.0", artifact)).await;
        assert_eq!(refused.unwrap_err().status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_devices_would_not_follow_is_not_published() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    let good = second(&bench);
    let two = successor(&good, bench.root(), &[root_key(), next_root_key()]);
    let status = async |bytes: Vec<u8>| {
        let refused = admin.operator().publish_root(Bytes::from(bytes)).await;
        refused.err().and_then(|error| error.status())
    };
    // A document that its own keys have signed and the ones before have not
    // is what a thief would post.
    let own = {
        let unsigned = good.assemble().unwrap();
        let key = next_root_key();
        let signature = key.sign(&unsigned.to_be_signed(key.public()).unwrap());
        unsigned.seal(&[(key.public(), signature)]).unwrap()
    };
    let mut damaged = two.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let gap = {
        let spec = RootSpec { version: 3, ..good.clone() };
        successor(&RootSpec { version: 4, ..good.clone() }, &successor_of_any(&spec), &[next_root_key()])
    };
    for bytes in [own, damaged, gap, b"nonsense".to_vec(), Vec::new()] {
        assert_eq!(status(bytes).await, Some(StatusCode::UNPROCESSABLE_ENTITY));
    }
    assert_eq!(status(vec![0; 32 * 1024 + 1]).await, Some(StatusCode::PAYLOAD_TOO_LARGE));
    assert_eq!(admin.operator().root(2).await.unwrap_err().status(), Some(StatusCode::NOT_FOUND));

    // Of two documents of one number, both rightly signed, one is the chain.
    assert_eq!(status(two).await, None);
    let rival = RootSpec { minimum_epoch: 7, ..good };
    let rival = successor(&rival, bench.root(), &[root_key(), next_root_key()]);
    let refused = admin.operator().publish_root(Bytes::from(rival)).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::CONFLICT));
    assert!(refused.to_string().contains("another root document 2 was published"), "{refused}");
    let other_first = successor_of_any(&RootSpec { version: 1, minimum_epoch: 9, ..second(&bench) });
    assert_eq!(status(other_first).await, Some(StatusCode::CONFLICT));
}

/// A document signed by its own root role alone.
fn successor_of_any(spec: &RootSpec) -> Vec<u8> {
    let (key, unsigned) = (next_root_key(), spec.assemble().unwrap());
    let signature = key.sign(&unsigned.to_be_signed(key.public()).unwrap());
    unsigned.seal(&[(key.public(), signature)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_place_is_not_served() {
    let (one, other) = (Bench::start().await, Bench::start().await);
    // The settings and keys of one beside the store of the other.
    let mixed = Deps { store: Arc::new(other.store.clone()), ..one.deps() };
    let pipeline =
        Pipeline::new(mixed.store.clone(), mixed.log.clone(), one.root().to_vec(), Keys::default());
    let refused = pipeline.load_trust(firmseal_server::Clock::now(one.clock.as_ref())).await.unwrap_err();
    assert!(matches!(refused, TrustError::OtherAnchor(1)), "{refused}");
    // And one that begins in the middle of a chain begins nothing.
    let empty = tempfile::tempdir().unwrap();
    let store = LocalStore::open(empty.path()).unwrap();
    let two = successor(&second(&one), one.root(), &[root_key(), next_root_key()]);
    let log = Arc::new(store.intents().clone());
    let pipeline = Pipeline::new(Arc::new(store.clone()), log, two, Keys::default());
    let refused = pipeline.load_trust(firmseal_server::Clock::now(one.clock.as_ref())).await.unwrap_err();
    assert!(matches!(refused, TrustError::NoFirst(2)), "{refused}");
    assert_eq!(store.newest_trust_document(TrustKind::Root).await.unwrap(), None);
}
