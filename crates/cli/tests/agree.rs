//! Two people agree to a release, one with OpenSSH and one with a key file;
//! others try to.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use firmseal_fleet::{ArtifactOrder, Asked, Job, JobKind, JobReview, Progress, SigningRequest};
use firmseal_keys::{FileKey, Signer};
use firmseal_manifest::ids::parse_digest;
use firmseal_manifest::{ArtifactId, Digest, KeyAlgorithm, RequestId};
use firmseal_store::{Claiming, Ending, JobOutcome, Jobs, Room, SigningRequests};
use firmseal_store_local::LocalStore;
use place::people::{name_approvers, secret, ssh_key, text};
use place::{Place, bytes};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn two_people_agree_and_others_do_not_count() {
    let place = Place::start();
    let file = |name: &str| {
        let path = place.path(&format!("{name}.pem"));
        FileKey::generate(&path, KeyAlgorithm::P256, &secret(&place)).unwrap().public_key().clone()
    };
    let (ann, ben) = (ssh_key(&place, "ann"), file("ben"));
    ssh_key(&place, "stranger");
    // The one who orders is an approver as well.
    name_approvers(&place, vec![("ann", ann), ("ben", ben), ("admin", file("admin"))], Some(2)).await;
    place.stdout("product create gateway --vendor example.com --class one --component main=1MiB");
    place.write("firmware", &bytes(9000, 1));
    let order = "release create --product gateway --version 1.0.0 --epoch 1 --component main=firmware";
    place.run(order);
    let waiting = place.json("request list");
    let id = text(&waiting[0], "id").to_owned();
    assert_eq!(text(&waiting[0], "state"), "waiting");
    assert_eq!(waiting[0]["missing"], 2);

    let anchor = "--anchor place/trust/root.cbor --yes";
    let with =
        |key: &str| format!("--key file:{key}.pem --secret file:place/keys/passphrase --log {key}-log");
    let told = place.fails(&format!("approve {id} --ssh stranger {anchor}"), 5);
    assert!(told.contains("no approver"), "{told}");
    let told = place.fails(&format!("approve {id} {} {anchor}", with("admin")), 3);
    assert!(told.contains("somebody else has to agree"), "{told}");
    let elsewhere = anchor.replace("place/trust/root.cbor", "root-2.cbor");
    place.fails(&format!("approve {id} --ssh ann {elsewhere}"), 3);
    place.fails(&format!("approve {id} --ssh ann --anchor place/trust/root.cbor"), 2);

    // One person twice is one person.
    for _ in 0..2 {
        let answer = place.json(&format!("approve {id} --ssh ann {anchor}"));
        assert_eq!(answer["missing"], 1, "{answer}");
    }
    assert!(place.json("release list").as_array().unwrap().is_empty());
    place.json(&format!("approve {id} {} {anchor}", with("ben")));
    assert_eq!(text(&place.json(&format!("request show {id}")), "state"), "signed");
    let releases = place.json("release list");
    assert_eq!(releases.as_array().unwrap().len(), 1, "{releases}");

    // Devices find both in the envelope, and ask nobody.
    let release = text(&releases[0], "id");
    place.stdout(&format!("release export {release} -o one.bundle"));
    place.stdout("verify --root root-2.cbor one.bundle");
    let shown = place.stdout("inspect one.bundle");
    assert!(shown.contains("purpose: approval") && shown.contains("SSH: h'"), "{shown}");
    let told = place.fails(&format!("approve {id} --ssh ann {anchor}"), 6);
    assert!(told.contains("waits no more"), "{told}");
}

/// How a server might misreport a request.
type Lie = fn(&mut SigningRequest, Digest);

const LIES: &[(&str, Lie)] = &[
    ("the manifest", |told, other| told.manifest = other),
    ("the payload of component main", |told, other| told.components[0].payload = other),
    ("the list of components", |told, _| told.components.clear()),
    ("what the payloads say of themselves", |told, other| told.header = other),
    ("the difference from the release before", |told, other| told.difference = other),
    ("version, channel, sequence", |told, _| told.version = semver::Version::new(1, 0, 1)),
    ("version, channel, sequence", |told, _| told.sequence += 1),
    ("version, channel, sequence", |told, _| told.epoch += 1),
    ("who asked for it", |told, _| told.requester = "ben".to_owned()),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_in_its_summary_gets_no_signature() {
    let mut place = Place::start();
    let (ann, ben) = (ssh_key(&place, "ann"), ssh_key(&place, "ben"));
    name_approvers(&place, vec![("ann", ann), ("ben", ben)], Some(2)).await;
    place.stdout("product create gateway --vendor example.com --class one --component main=1MiB");
    for (name, seed) in [("firmware", 1), ("other", 2)] {
        place.write(name, &bytes(9000, seed));
    }
    let artifact = place.json("artifact upload other");
    let other = parse_digest(text(&artifact, "id")).expect("a digest");
    place.run("release create --product gateway --version 1.0.0 --epoch 1 --component main=firmware");
    let id: RequestId = text(&place.json("request list")[0], "id").parse().unwrap();

    // The same request under other names, each with one thing untrue.
    place.stop();
    let mut told = Vec::new();
    {
        let store = LocalStore::open(&place.path("place/store")).unwrap();
        let honest = store.signing_request(id).await.unwrap().expect("the request");
        for (what, lie) in LIES {
            let mut request = SigningRequest { id: RequestId::new(), ..honest.clone() };
            lie(&mut request, other);
            told.push((request.id, *what));
            store.insert_signing_request(request).await.unwrap();
        }
    }
    let place = place.again();
    for (id, what) in told {
        let line = format!("approve {id} --ssh ann --anchor place/trust/root.cbor --yes");
        let answer = place.fails(&line, 3);
        assert!(answer.contains(what) && answer.contains("is not what the server says of it"), "{answer}");
        assert_eq!(place.json(&format!("request show {id}"))["missing"], 2, "{what}");
    }
    place.stdout(&format!("approve {id} --ssh ann --anchor place/trust/root.cbor --yes"));
    assert_eq!(place.json(&format!("request show {id}"))["missing"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_travels_as_a_file() {
    let place = Place::start();
    let file = |name: &str| {
        let path = place.path(&format!("{name}.pem"));
        FileKey::generate(&path, KeyAlgorithm::P256, &secret(&place)).unwrap().public_key().clone()
    };
    let approvers = vec![("ann", ssh_key(&place, "ann")), ("ben", file("ben")), ("cleo", file("cleo"))];
    name_approvers(&place, approvers, Some(2)).await;
    place.stdout("product create gateway --vendor example.com --class one --component main=1MiB");
    place.write("firmware", &bytes(9000, 1));
    place.write("list.json", br#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"zlib","version":"1.3"}]}"#);
    let order = "release create --product gateway --version 1.0.0 --epoch 1 --component main=firmware";
    let none = place.fails(&format!("{order} --sbom firmware"), 3);
    assert!(none.contains("is not JSON"), "{none}");
    place.run(&format!("{order} --sbom list.json"));
    let id = text(&place.json("request list")[0], "id").to_owned();
    place.stdout(&format!("request export {id} -o stick"));
    place.fails(&format!("request export {id} -o stick"), 6);

    // No server is asked: the profile names none.
    let away = |key: &str, out: &str| {
        format!("--profile nothing approve --from stick --anchor place/trust/root.cbor {key} --yes -o {out}")
    };
    let ben = "--key file:ben.pem --secret file:place/keys/passphrase --log ben-log";
    let seen = place.run(&away("--ssh ann", "ann.json"));
    assert!(String::from_utf8_lossy(&seen.stderr).contains("SBOM with 1 parts"), "{seen:?}");
    place.fails(&away("--ssh ann", "ann.json"), 6);
    place.fails(&away("--ssh ann", "x").replace("place/trust/root.cbor", "root-2.cbor"), 3);
    // Whatever changed on the stick is seen, and nothing is signed.
    type Change = (&'static str, fn(&mut Vec<u8>), &'static str);
    let changes: [Change; 3] = [
        ("request.json", |text| replace(text, "\"epoch\": 1", "\"epoch\": 2"), "version, channel"),
        ("manifest.suit", |bytes| *bytes.last_mut().unwrap() ^= 1, "manifest"),
        ("root-2.cbor", |bytes| bytes[9] ^= 1, "root"),
    ];
    for (name, change, why) in changes {
        let path = format!("stick/{name}");
        let good = std::fs::read(place.path(&path)).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        assert_ne!(good, bad);
        place.write(&path, &bad);
        let answer = place.fails(&away(ben, "ben.json"), 3);
        assert!(answer.contains(why), "{name}: {answer}");
        place.write(&path, &good);
    }
    let ending = |ending: &str| {
        let mut paths = std::fs::read_dir(place.path("stick")).unwrap().map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|own| own == ending)).unwrap()
    };
    let list = std::fs::read_to_string(ending("sbom")).unwrap();
    std::fs::write(ending("sbom"), list.replace("1.3", "1.4")).unwrap();
    let answer = place.fails(&away(ben, "ben.json"), 3);
    assert!(answer.contains("the bill of materials is not what"), "{answer}");
    std::fs::write(ending("sbom"), list).unwrap();
    let payload = ending("payload");
    std::fs::write(&payload, bytes(9000, 2)).unwrap();
    let answer = place.fails(&away(ben, "ben.json"), 3);
    assert!(answer.contains("the payload of component main"), "{answer}");
    assert!(!place.path("ben-log").exists() && !place.path("ben.json").exists());
    std::fs::write(&payload, bytes(9000, 1)).unwrap();

    place.stdout(&away(ben, "ben.json"));
    place.stdout(&away(&ben.replace("ben", "cleo"), "cleo.json"));
    assert_eq!(place.json("request add ann.json")["missing"], 1);
    // The third is one more than is needed.
    assert_eq!(text(&place.json("request add ben.json cleo.json"), "state"), "signed");
    assert_eq!(place.json("release list").as_array().unwrap().len(), 1);
}

/// A policy that lets two people decide about every file.
const TWO: &[u8] = b"@id(\"all\") @reason(\"everybody\") permit (principal, action, resource);\n\
    @id(\"two\") @reason(\"two people agree\") @approvals(\"2\") forbid (principal, action, resource);\n";

/// The place under that policy, with a product and a file; the request for
/// its signature waits.
async fn waiting_file(mut place: Place) -> (Place, String) {
    place.stdout("product create gateway --vendor example.com --class one --component main=1MiB");
    place.write("firmware", &bytes(9000, 1));
    place.stop();
    place.write("place/policy.cedar", TWO);
    let settings = String::from_utf8(place.read("place/signing.toml")).unwrap();
    let settings = settings.replacen("secret = ", "policy = \"policy.cedar\"\nsecret = ", 1);
    place.write("place/signing.toml", settings.as_bytes());
    let place = place.again();
    let told = place.json(&format!("{SIGN} --no-wait"));
    let id = text(&told, "id").to_owned();
    while text(&place.json(&format!("request show {id}")), "state") == "queued" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    (place, id)
}

const SIGN: &str = "sign firmware --product gateway --version 1.0.0 --epoch 0 --build b1";

#[tokio::test(flavor = "multi_thread")]
async fn people_agree_to_the_signature_of_a_file() {
    let place = Place::start();
    let file = |name: &str| {
        let path = place.path(&format!("{name}.pem"));
        FileKey::generate(&path, KeyAlgorithm::P256, &secret(&place)).unwrap().public_key().clone()
    };
    let (ann, ben) = (ssh_key(&place, "ann"), file("ben"));
    ssh_key(&place, "stranger");
    name_approvers(&place, vec![("ann", ann), ("ben", ben), ("admin", file("admin"))], Some(2)).await;
    let (place, id) = waiting_file(place).await;

    let told = place.fails(&format!("{SIGN} --wait=1s"), 9);
    assert!(told.contains("2 more people have to agree; two: two people agree"), "{told}");
    let listed = place.json("request list --files");
    assert_eq!((text(&listed[0], "id"), listed.as_array().unwrap().len()), (id.as_str(), 1));
    assert_eq!(place.json("request list"), serde_json::json!([]), "those for releases are others");
    let anchor = "--anchor place/trust/root.cbor --yes";
    let with =
        |key: &str| format!("--key file:{key}.pem --secret file:place/keys/passphrase --log {key}-log");
    let told = place.fails(&format!("approve {id} --ssh stranger {anchor}"), 5);
    assert!(told.contains("no approver"), "{told}");
    let told = place.fails(&format!("approve {id} {} {anchor}", with("admin")), 3);
    assert!(told.contains("somebody else has to agree"), "{told}");

    let agreed = |answer: &Value| answer["review"]["approvals"].as_array().unwrap().len();
    assert_eq!(agreed(&place.json(&format!("approve {id} --ssh ann {anchor}"))), 1);
    assert_eq!(agreed(&place.json(&format!("request withdraw {id}"))), 0);
    // Whoever took it back does not count.
    assert_eq!(agreed(&place.json(&format!("approve {id} {} {anchor}", with("ben")))), 1);
    place.fails(&format!("{SIGN} --wait=1s"), 9);
    place.json(&format!("approve {id} --ssh ann {anchor}"));
    let signed = place.json(&format!("{SIGN} --signature firmware.sig"));
    assert_eq!((text(&signed, "state"), text(&signed, "id")), ("signed", id.as_str()));
    assert!(place.path("firmware.sig").exists());
    let told = place.fails(&format!("approve {id} --ssh ann {anchor}"), 6);
    assert!(told.contains("waits for nobody"), "{told}");
    place.fails(&format!("request withdraw {id}"), 6);
}

/// How a server might misreport a request for a signature.
type FileLie = fn(&mut Asked, &mut JobReview, Digest);

const FILE_LIES: &[(&str, FileLie)] = &[
    ("what will be signed of the file", |_, review, other| review.tbs = other),
    ("what the file says of itself", |_, review, other| review.header = other),
    ("the key that will sign", |_, review, other| review.signer = other),
    ("what was asked for", |asked, _, other| asked.fingerprint = other),
    ("what was asked for", |asked, _, _| asked.epoch += 1),
    ("what was asked for", |asked, _, _| asked.commit = "another".to_owned()),
    ("what will be signed of the file", |asked, _, other| {
        asked.kind = JobKind::Artifact(ArtifactOrder { artifact: ArtifactId(other), key: None });
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_about_a_file_gets_no_signature() {
    let place = Place::start();
    let (ann, ben) = (ssh_key(&place, "ann"), ssh_key(&place, "ben"));
    name_approvers(&place, vec![("ann", ann), ("ben", ben)], Some(2)).await;
    let (mut place, id) = waiting_file(place).await;
    place.write("other", &bytes(9000, 2));
    let other = parse_digest(text(&place.json("artifact upload other"), "id")).expect("a digest");
    place.stop();
    let mut told = Vec::new();
    {
        let store = LocalStore::open(&place.path("place/store")).unwrap();
        let honest = store.job(id.parse().unwrap()).await.unwrap().expect("the request");
        for (what, lie) in FILE_LIES {
            let mut job = Job { id: RequestId::new(), progress: Progress::default(), ..honest.clone() };
            let mut review = honest.progress.review.clone().unwrap();
            lie(&mut job.asked, &mut review, other);
            job.asked.key = format!("lie {}", told.len());
            told.push((job.id, *what));
            let room = Room { key: job.asked.signing_key.clone(), most: 1, after: None };
            let (now, lease) = (job.asked.created, std::time::Duration::from_secs(60));
            store.insert_job(job, u64::MAX).await.unwrap();
            let claiming = Claiming { rooms: vec![room], now, lease, log_size: 0 };
            let claimed = store.claim_jobs(claiming).await.unwrap().remove(0);
            let outcome = JobOutcome::Waiting(review);
            let ending = Ending {
                outcome,
                reasons: vec![],
                decision: None,
                failures: 0,
                events: vec![],
                accounted: true,
            };
            store.end_claim(&claimed.claim, ending).await.unwrap();
        }
    }
    let place = place.again();
    for (id, what) in told {
        let answer = place.fails(&format!("approve {id} --ssh ann --anchor place/trust/root.cbor --yes"), 3);
        assert!(answer.contains(what) && answer.contains("is not what the server says of it"), "{answer}");
        let shown = place.json(&format!("request show {id}"));
        assert_eq!(shown["review"]["approvals"], serde_json::json!([]), "{what}");
    }
    place.stdout(&format!("approve {id} --ssh ann --anchor place/trust/root.cbor --yes"));
}

fn replace(text: &mut Vec<u8>, old: &str, new: &str) {
    *text = String::from_utf8(std::mem::take(text)).unwrap().replace(old, new).into_bytes();
}
