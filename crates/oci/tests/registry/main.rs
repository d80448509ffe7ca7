//! Signatures brought to images and verified there: in Debian's
//! docker-registry, which lists no referrers, in one that does, and in hostile
//! ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod debian;
mod images;
mod server;

use std::path::Path;

use debian::Debian;
use firmseal_formats::{BlobDigest, Platform};
use firmseal_oci::{Credentials, OciError, Policy, Reference, Registry, Settings, Verified, attach, verify};
use images::{INDEX, Key, MANIFEST, digest, image, index, push};
use server::{Manner, Server};

fn reference(host: &str, rest: &str) -> Reference {
    format!("{host}/nodes/worker{rest}").parse().unwrap()
}

fn registry(host: &str) -> Registry {
    Registry::new(&reference(host, ""), Settings::default()).unwrap()
}

fn policy(keys: &[&Key]) -> Policy {
    Policy {
        keys: keys.iter().map(|key| key.public.clone()).collect(),
        threshold: 1,
        predicate_type: None,
        minimum_epoch: None,
        subject: None,
    }
}

async fn verified(host: &str, rest: &str, policy: &Policy) -> Result<Verified, OciError> {
    verify(&registry(host), &reference(host, rest), policy, None).await
}

fn listing() -> Manner {
    Manner { lists: true, ..Manner::default() }
}

async fn refused(host: &str, rest: &str, policy: &Policy) -> String {
    verified(host, rest, policy).await.unwrap_err().to_string()
}

/// What is brought, verified and refused, in any registry.
async fn signs_and_verifies(host: &str, is_listed: bool) {
    let (key, second, other) = (Key::new(), Key::new(), Key::new());
    let (manifest, blobs) = image("node image 1.2.3");
    push(host, "1.2.3", MANIFEST, &manifest, &blobs).await;
    let own = registry(host);
    assert!(refused(host, ":1.2.3", &policy(&[&key])).await.contains("0 of 1 keys have signed"));
    let bundle = key.bundle("oci", &manifest, 7, &[("subject", "worker")]);
    let attached = attach(&own, &reference(host, ":1.2.3"), bundle.clone()).await.unwrap();
    assert_eq!((attached.is_listed, attached.image.as_str()), (is_listed, digest(&manifest).as_str()));
    // Again is once.
    let again = attach(&own, &reference(host, ":1.2.3"), bundle).await.unwrap();
    assert_eq!(again.referrer, attached.referrer);
    assert_eq!(own.referrers(&attached.image).await.unwrap().len(), 1);

    let found = verified(host, ":1.2.3", &policy(&[&key])).await.unwrap();
    assert_eq!(found.image.to_string(), format!("{host}/nodes/worker@{}", digest(&manifest)));
    assert_eq!((found.signers[0].version.as_deref(), found.signers[0].epoch), (Some("1.2.3"), Some(7)));
    let by_digest = format!("@{}", digest(&manifest));
    assert!(verified(host, &by_digest, &policy(&[&key])).await.is_ok());
    assert!(refused(host, ":1.2.3", &policy(&[&other])).await.contains("by another key"));
    assert!(refused(host, ":1.2.4", &policy(&[&key])).await.contains("there is no"));

    // Two of two, and one that signs twice is one.
    let both = Policy { threshold: 2, ..policy(&[&key, &second]) };
    let more = key.bundle("oci", &manifest, 8, &[]);
    attach(&own, &reference(host, ":1.2.3"), more).await.unwrap();
    assert!(refused(host, ":1.2.3", &both).await.contains("1 of 2"));
    let more = second.bundle("oci", &manifest, 8, &[]);
    attach(&own, &reference(host, ":1.2.3"), more).await.unwrap();
    assert_eq!(verified(host, ":1.2.3", &both).await.unwrap().signers.len(), 2);
    assert_eq!(own.referrers(&attached.image).await.unwrap().len(), 3);
    let twice = Policy { threshold: 2, ..policy(&[&key, &key]) };
    assert!(refused(host, ":1.2.3", &twice).await.contains("can never have signed"));

    // Epoch and name.
    let floor = |epoch| Policy { minimum_epoch: Some(epoch), ..policy(&[&key]) };
    assert!(verified(host, ":1.2.3", &floor(8)).await.is_ok());
    assert!(refused(host, ":1.2.3", &floor(9)).await.contains("security epoch 8 is below 9"));
    let named = |name: &str| Policy { subject: Some(name.to_owned()), ..policy(&[&key]) };
    assert!(verified(host, ":1.2.3", &named("worker")).await.is_ok());
    assert!(refused(host, ":1.2.3", &named("control-plane")).await.contains("not `control-plane`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_registry() {
    let debian = Debian::start().await;
    signs_and_verifies(&debian.host, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lists() {
    let server = Server::start(listing()).await;
    signs_and_verifies(&server.host, true).await;
    assert!(server.seen().iter().any(|line| line.contains("from=2")), "pages are followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_entity_tags() {
    let server = Server::start(Manner { tags: true, ..Manner::default() }).await;
    signs_and_verifies(&server.host, false).await;
}

/// Many at once, in a registry where they write one list.
async fn nobody_is_lost(host: &str) {
    let (manifest, blobs) = image("busy");
    push(host, "busy", MANIFEST, &manifest, &blobs).await;
    let tasks: Vec<_> = (0..6)
        .map(|epoch| {
            let (host, bundle) = (host.to_owned(), Key::new().bundle("oci", &manifest, epoch, &[]));
            tokio::spawn(async move {
                attach(&registry(&host), &reference(&host, ":busy"), bundle).await.unwrap()
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap().referrer);
    }
    let own = BlobDigest::parse(&digest(&manifest)).unwrap();
    let found = registry(host).referrers(&own).await.unwrap();
    assert_eq!(found.len(), 6);
    assert!(all.iter().all(|own| found.iter().any(|found| found.digest == *own)));
}

#[tokio::test(flavor = "multi_thread")]
async fn attached_at_once_nobody_is_lost() {
    let debian = Debian::start().await;
    nobody_is_lost(&debian.host).await;
    let server = Server::start(Manner { tags: true, ..Manner::default() }).await;
    nobody_is_lost(&server.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_listed_stays_as_it_is() {
    let server = Server::start(Manner::default()).await;
    let (manifest, blobs) = image("listed");
    push(&server.host, "1", MANIFEST, &manifest, &blobs).await;
    let (other, blobs) = image("somebody's bill of materials");
    push(&server.host, &digest(&other), MANIFEST, &other, &blobs).await;
    let entry = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[{{\"mediaType\":\"{MANIFEST}\",\"digest\":\"{}\",\
         \"size\":{},\"artifactType\":\"application/spdx+json\",\"annotations\":{{\"a\":\"b\"}},\"new\":7}}]}}",
        digest(&other),
        other.len()
    );
    push(&server.host, &digest(&manifest).replace(':', "-"), INDEX, entry.as_bytes(), &[]).await;
    let key = Key::new();
    let bundle = key.bundle("oci", &manifest, 0, &[]);
    attach(&registry(&server.host), &reference(&server.host, ":1"), bundle).await.unwrap();
    let own = registry(&server.host);
    let tag = reference(&server.host, &format!(":{}", digest(&manifest).replace(':', "-")));
    let text = String::from_utf8(own.image(&tag).await.unwrap().bytes.to_vec()).unwrap();
    assert!(text.contains("\"new\":7") && text.contains("\"a\":\"b\""), "{text}");
    assert!(verified(&server.host, ":1", &policy(&[&key])).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_the_platforms_image_comes_out() {
    let server = Server::start(listing()).await;
    let host = &server.host;
    let (key, own) = (Key::new(), registry(host));
    let (arm64, blobs) = image("arm64");
    push(host, &digest(&arm64), MANIFEST, &arm64, &blobs).await;
    let (amd64, blobs) = image("amd64");
    push(host, &digest(&amd64), MANIFEST, &amd64, &blobs).await;
    let both = index(&[("arm64", &arm64), ("amd64", &amd64)]);
    push(host, "both", INDEX, &both, &[]).await;
    let wanted = |text: &str| Platform::parse(text).unwrap();
    let check = async |platform: &str, policy: &Policy| {
        verify(&own, &reference(host, ":both"), policy, Some(&wanted(platform))).await
    };
    assert!(check("linux/arm64", &policy(&[&key])).await.is_err());
    // The image alone is signed: what the index says of it is only its place.
    let at = format!("@{}", digest(&arm64));
    attach(&own, &reference(host, &at), key.bundle("oci", &arm64, 0, &[])).await.unwrap();
    let found = check("linux/arm64", &policy(&[&key])).await.unwrap();
    assert_eq!(
        (found.image.digest().unwrap().as_str(), found.signed.as_str()),
        (&*digest(&arm64), &*digest(&arm64))
    );
    assert!(check("linux/amd64", &policy(&[&key])).await.is_err());
    assert!(verified(host, ":both", &policy(&[&key])).await.is_err());
    attach(&own, &reference(host, ":both"), key.bundle("oci", &both, 0, &[])).await.unwrap();
    let found = check("linux/amd64", &policy(&[&key])).await.unwrap();
    assert_eq!(
        (found.image.digest().unwrap().as_str(), found.signed.as_str()),
        (&*digest(&amd64), &*digest(&both))
    );
    let none = check("linux/riscv64", &policy(&[&key])).await.unwrap_err();
    assert!(matches!(none, OciError::Platform { count: 0, .. }), "{none}");
    let twice = index(&[("arm64", &arm64), ("arm64", &amd64)]);
    push(host, "twice", INDEX, &twice, &[]).await;
    attach(&own, &reference(host, ":twice"), key.bundle("oci", &twice, 0, &[])).await.unwrap();
    let both = verify(&own, &reference(host, ":twice"), &policy(&[&key]), Some(&wanted("linux/arm64"))).await;
    assert!(matches!(both, Err(OciError::Platform { count: 2, .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_of_something_else_do_not_count() {
    let server = Server::start(listing()).await;
    let host = &server.host;
    let (key, own) = (Key::new(), registry(host));
    let (manifest, blobs) = image("good");
    push(host, "1", MANIFEST, &manifest, &blobs).await;
    let (evil, blobs) = image("evil");
    push(host, "evil", MANIFEST, &evil, &blobs).await;
    // Of another image: not brought by us, and not believed from others.
    let bundle = key.bundle("oci", &manifest, 0, &[]);
    let refused_here = attach(&own, &reference(host, ":evil"), bundle.clone()).await.unwrap_err();
    assert!(matches!(refused_here, OciError::OtherImage { .. }), "{refused_here}");
    let about = |image: &[u8], bundle: &[u8]| {
        serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": firmseal_oci::BUNDLE,
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 },
            "layers": [{ "mediaType": firmseal_oci::BUNDLE, "digest": digest(bundle), "size": bundle.len() }],
            "subject": { "mediaType": MANIFEST, "digest": digest(image), "size": image.len() },
        })
        .to_string()
        .into_bytes()
    };
    let brought = async |bundle: &[u8]| {
        let referrer = about(&evil, bundle);
        push(host, &digest(&referrer), MANIFEST, &referrer, &[bundle.to_vec(), b"{}".to_vec()]).await;
    };
    brought(&bundle).await;
    assert!(refused(host, ":evil", &policy(&[&key])).await.contains("about something else"));
    // A statement of another kind by the same key, and a signature over the
    // file, which is no word about an image.
    let kind =
        [("predicate-type", "https://example.com/test-result/v1"), ("predicate", "{\"passed\":false}")];
    brought(&key.bundle("oci", &evil, 0, &kind)).await;
    assert!(
        refused(host, ":evil", &policy(&[&key])).await.contains("of type https://example.com/test-result/v1")
    );
    let asked = Policy { predicate_type: Some(kind[0].1.to_owned()), ..policy(&[&key]) };
    assert!(verified(host, ":evil", &asked).await.is_ok(), "asked for by its type it is");
    let tar = key.bundle("sigstore", b"not a manifest", 0, &[]);
    brought(&tar).await;
    brought(b"no bundle at all").await;
    assert!(refused(host, ":evil", &policy(&[&key])).await.contains("0 of 1"));
    // And they hide none that does.
    attach(&own, &reference(host, ":evil"), key.bundle("oci", &evil, 0, &[])).await.unwrap();
    assert!(verified(host, ":evil", &policy(&[&key])).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_registry_makes_nothing_else_run() {
    let server = Server::start(listing()).await;
    let host = &server.host;
    let (key, own) = (Key::new(), registry(host));
    let (good, blobs) = image("good");
    push(host, "1", MANIFEST, &good, &blobs).await;
    let (evil, blobs) = image("evil");
    push(host, "evil", MANIFEST, &evil, &blobs).await;
    let (old, blobs) = image("old");
    push(host, "old", MANIFEST, &old, &blobs).await;
    for (tag, manifest, epoch) in [(":1", &good, 2), (":old", &old, 1)] {
        attach(&own, &reference(host, tag), key.bundle("oci", manifest, epoch, &[])).await.unwrap();
    }
    let at = format!("@{}", digest(&good));
    let swap = |from: &str, to: &str| {
        server.behave(Manner { swapped: vec![(from.to_owned(), to.to_owned())], ..listing() });
    };
    // Another manifest under the tag: not signed. Under the digest: not it.
    swap("manifests/1", "manifests/evil");
    assert!(refused(host, ":1", &policy(&[&key])).await.contains("0 of 1"));
    swap(&format!("manifests/{}", digest(&good)), "manifests/evil");
    assert!(refused(host, &at, &policy(&[&key])).await.contains("cannot be believed"));
    // The other's signatures for this one's.
    server.behave(Manner {
        swapped: vec![
            ("manifests/1".to_owned(), "manifests/evil".to_owned()),
            (format!("referrers/{}", digest(&evil)), format!("referrers/{}", digest(&good))),
        ],
        ..listing()
    });
    assert!(refused(host, ":1", &policy(&[&key])).await.contains("0 of 1"));
    // An old image, well signed: a tag allows it, a digest and an epoch do not.
    swap("manifests/1", "manifests/old");
    assert!(verified(host, ":1", &policy(&[&key])).await.is_ok());
    let floor = Policy { minimum_epoch: Some(2), ..policy(&[&key]) };
    assert!(refused(host, ":1", &floor).await.contains("below 2"));
    assert!(verified(host, &at, &floor).await.is_ok());
    // Bundles that are swapped for other blobs.
    swap("blobs/sha256:", "blobs/sha512:");
    assert!(refused(host, ":1", &policy(&[&key])).await.contains("0 of 1"));
    server.behave(Manner { says: Some(digest(&evil)), ..listing() });
    assert!(refused(host, ":1", &policy(&[&key])).await.contains("another digest"));
    server.behave(listing());
    assert!(verified(host, ":1", &floor).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_where_they_belong() {
    let (server, other) = (Server::start(listing()).await, Server::start(Manner::default()).await);
    let (key, host) = (Key::new(), server.host.clone());
    let (manifest, blobs) = image("secret");
    push(&host, "1", MANIFEST, &manifest, &blobs).await;
    let text = format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"bmFtZTpwYXNz\"}}}}}}");
    let settings = Settings { credentials: Credentials::read(&text).unwrap(), ..Settings::default() };
    let signed = async |settings: &Settings| {
        let own = Registry::new(&reference(&host, ""), settings.clone()).unwrap();
        attach(&own, &reference(&host, ":1"), key.bundle("oci", &manifest, 0, &[])).await?;
        verify(&own, &reference(&host, ":1"), &policy(&[&key]), None).await
    };
    server.behave(Manner { basic: true, ..listing() });
    assert!(matches!(signed(&Settings::default()).await, Err(OciError::NotAllowed { status: 401, .. })));
    assert!(signed(&settings).await.is_ok());
    // A token from the registry's own host, for our name.
    server.behave(Manner { bearer: Some(format!("http://{host}/token")), ..listing() });
    assert!(signed(&settings).await.is_ok());
    assert!(
        server
            .seen()
            .iter()
            .any(|line| line.starts_with("GET /token?service=r&scope=repository:nodes/worker:pull Basic"))
    );
    // From another host, which asks for it: not for our name.
    server.behave(Manner { bearer: Some(format!("http://{}/token", other.host)), ..listing() });
    assert!(signed(&settings).await.is_err());
    assert!(other.seen().iter().any(|line| line.starts_with("GET /token")));
    // Blobs from elsewhere, which nobody asks with our name.
    let stored = Manner { basic: true, elsewhere: Some(format!("http://{}", other.host)), ..listing() };
    server.behave(stored);
    assert!(signed(&settings).await.is_err(), "it is not there");
    assert!(other.seen().iter().any(|line| line.starts_with("GET /cdn/")));
    server.behave(Manner { basic: true, elsewhere: Some(format!("http://{host}")), ..listing() });
    assert!(signed(&settings).await.is_ok());
    server.behave(Manner {
        basic: true,
        elsewhere: Some("http://registry.example.com".to_owned()),
        ..listing()
    });
    assert!(signed(&settings).await.unwrap_err().to_string().contains("0 of 1"), "not without TLS");
    // Uploads elsewhere would take our name along.
    server.behave(Manner { basic: true, uploads: Some(format!("http://{}", other.host)), ..listing() });
    let (second, blobs) = image("second");
    let own = Registry::new(&reference(&host, ""), settings.clone()).unwrap();
    server.behave(listing());
    push(&host, "2", MANIFEST, &second, &blobs).await;
    server.behave(Manner { basic: true, uploads: Some(format!("http://{}", other.host)), ..listing() });
    let sent = attach(&own, &reference(&host, ":2"), key.bundle("oci", &second, 0, &[])).await;
    assert!(matches!(sent, Err(OciError::Elsewhere { .. })), "{sent:?}");
    assert!(
        other.seen().iter().all(|line| !line.contains("Basic") && !line.contains("Bearer")),
        "{:?}",
        other.seen()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_are_reached_with_tls_alone() {
    let far = reference("registry.example.com", ":1");
    let error = Registry::new(&far, Settings::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("authorities"), "{error}");
}

/// skopeo brings an image, and takes what we say is to be run.
#[tokio::test(flavor = "multi_thread")]
async fn skopeo_brings_and_takes_what_is_verified() {
    let debian = Debian::start().await;
    let directory = tempfile::tempdir().unwrap();
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/fixtures/oci/layout.bin");
    let skopeo = |from: &str, to: &str| {
        let words = [
            "--insecure-policy",
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ];
        let done = std::process::Command::new("skopeo")
            .args(words)
            .args([from, to])
            .current_dir(directory.path())
            .output();
        let done = done.expect("skopeo: run `cargo xtask setup`");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let at = format!("docker://{}/nodes/worker", debian.host);
    skopeo(&format!("oci-archive:{}", layout.display()), &format!("{at}:1.2.3"));
    // Signed as a file, on a machine that knows no registry.
    let key = Key::new();
    let bundle = key.bundle("oci", &std::fs::read(&layout).unwrap(), 1, &[]);
    attach(&registry(&debian.host), &reference(&debian.host, ":1.2.3"), bundle).await.unwrap();
    let platform = Platform::parse("linux/arm64").unwrap();
    let found = verify(
        &registry(&debian.host),
        &reference(&debian.host, ":1.2.3"),
        &policy(&[&key]),
        Some(&platform),
    )
    .await;
    let found = found.unwrap();
    skopeo(&format!("docker://{}", found.image), "dir:copy");
    let taken = std::fs::read(directory.path().join("copy/manifest.json")).unwrap();
    assert_eq!(digest(&taken), found.image.digest().unwrap().as_str());
}
