//! Container images: skopeo writes layouts that we read and sign, and reads
//! those that we say are whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::process::Command;

use common::{Random, TestKey, make, mutate, verifies};
use firmseal_formats::{FormatError, Inspection, detect, find, inspect};
use firmseal_testkit::places;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A member of a layout, by its name.
type Member = (String, Vec<u8>);

/// A layout as it grows: its members in order.
#[derive(Clone, Default)]
struct Layout(Vec<Member>);

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let name = format!("blobs/sha256/{}", sha256(bytes));
        if self.0.iter().all(|(own, _)| *own != name) {
            self.0.push((name, bytes.to_vec()));
        }
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", sha256(bytes)), "size": bytes.len() })
    }

    fn image(&mut self, architecture: &str, payload: &[u8]) -> Value {
        self.edited(architecture, payload, &|_, _| {})
    }

    /// An image whose config and manifest were edited before they were hashed.
    fn edited(&mut self, architecture: &str, payload: &[u8], edit: &dyn Fn(&str, &mut Value)) -> Value {
        let layer = tar(&[("hello".to_owned(), payload.to_vec())]);
        let rootfs = json!({ "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))] });
        let mut config =
            json!({ "architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs });
        edit("config", &mut config);
        let (config, layer) = (self.blob(CONFIG, config.to_string().as_bytes()), self.blob(LAYER, &layer));
        let mut manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
            "annotations": { "org.opencontainers.image.version": "1.0.0" } });
        edit("manifest", &mut manifest);
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    fn ends(self, tops: &[Value]) -> Layout {
        self.with_index(&json!({ "schemaVersion": 2, "manifests": tops }))
    }

    fn with_index(mut self, index: &Value) -> Layout {
        self.0.push(("index.json".to_owned(), index.to_string().into_bytes()));
        self.0.push(("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()));
        self
    }

    fn tar(&self) -> Vec<u8> {
        tar(&self.0)
    }

    fn named(&mut self, name: &str) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(own, _)| own.starts_with(name)).unwrap().1
    }
}

fn header(name: &str, size: usize, kind: u8) -> [u8; 512] {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    summed(header)
}

fn summed(mut header: [u8; 512]) -> [u8; 512] {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn tar(members: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in members {
        out.extend(header(name, bytes.len(), b'0'));
        out.extend(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

fn one() -> Layout {
    let mut layout = Layout::default();
    let top = layout.image("arm64", b"hello");
    layout.ends(&[top])
}

fn field(inspection: &Inspection, name: &str) -> String {
    inspection.fields.iter().find(|own| own.name == name).unwrap().value.clone()
}

/// What skopeo says of a layout in a tar: the digest of its manifest.
fn skopeo(tar: &[u8]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("image.tar"), directory.path().join("copy"));
    std::fs::write(&from, tar).unwrap();
    let out = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--all", &format!("oci-archive:{}", from.display())])
        .arg(format!("dir:{}", to.display()))
        .output();
    let out = out.expect("skopeo: run `cargo xtask setup`");
    out.status
        .success()
        .then(|| format!("sha256:{}", sha256(&std::fs::read(to.join("manifest.json")).unwrap())))
}

#[test]
fn a_layout_is_read_to_its_last_blob() {
    let tar = one().tar();
    assert_eq!(detect(&tar).unwrap().name(), "oci");
    let read = inspect(&tar).unwrap();
    assert_eq!(skopeo(&tar).unwrap(), field(&read, "manifest"));
    assert_eq!((read.target.as_deref(), read.version.as_deref()), (Some("linux/arm64"), Some("1.0.0")));
    assert_eq!(field(&read, "kind"), "image");
    // Two platforms under one index, which skopeo copies as one.
    let mut layout = Layout::default();
    let mut images = Vec::new();
    for own in ["amd64", "arm64"] {
        let mut image = layout.image(own, own.as_bytes());
        image["platform"] = json!({ "os": "linux", "architecture": own });
        images.push(image);
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": images });
    let index = layout.blob(INDEX, index.to_string().as_bytes());
    let tar = layout.ends(&[index]).tar();
    let read = inspect(&tar).unwrap();
    assert_eq!(read.target.as_deref(), Some("linux/amd64, linux/arm64"));
    assert_eq!(skopeo(&tar).unwrap(), field(&read, "manifest"));
}

#[test]
fn skopeo_writes_what_we_read() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("image.tar"), one().tar()).unwrap();
    let done = Command::new("skopeo")
        .args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "oci-archive:image.tar",
            "oci-archive:out.tar:gateway:1.0.0",
        ])
        .current_dir(directory.path())
        .status();
    assert!(done.unwrap().success());
    let read = inspect(&std::fs::read(directory.path().join("out.tar")).unwrap()).unwrap();
    assert!(read.notes.iter().any(|own| own.name == "reference"), "{:?}", read.notes);
}

#[test]
fn the_signature_of_a_layout_is_that_of_its_manifest() {
    let (key, tar) = (TestKey::load("p256"), one().tar());
    let is_manifest = |own: &Vec<u8>| own.windows(9).any(|part| part == b"\"layers\":");
    let manifest = one().0.into_iter().map(|(_, bytes)| bytes).find(is_manifest).unwrap();
    let beside = find("oci").unwrap().beside().unwrap();
    let holds = |bundle: &Vec<u8>, file: &Vec<u8>| {
        beside.read(bundle, file).unwrap().signatures.iter().any(|own| verifies(own, &key.public))
    };
    let (of_tar, of_manifest) =
        (make("oci", &tar, &key, &[]).unwrap(), make("oci", &manifest, &key, &[]).unwrap());
    for bundle in [&of_tar, &of_manifest] {
        assert!(holds(bundle, &tar) && holds(bundle, &manifest));
    }
    let mut layout = Layout::default();
    let top = layout.image("arm64", b"other");
    assert!(!holds(&of_tar, &layout.ends(&[top]).tar()), "another image");
    // The statement has the tar's digest nowhere.
    let of_file = make("sigstore", &tar, &key, &[]).unwrap();
    assert!(!holds(&of_file, &tar));
    assert!(matches!(make("sigstore", &manifest, &key, &[]), Err(FormatError::Unsupported { .. })));
    // A message is what `raw` signs of any file.
    let message = make("sigstore", &b"firmware".to_vec(), &key, &[("content", "message")]).unwrap();
    assert!(beside.read(&message, &manifest).unwrap_err().to_string().contains("with a statement"));
    let parameters = [("version", "2.0.0")].into_iter().collect();
    let wanted = |version| firmseal_formats::Wanted {
        version: semver::Version::parse(version).unwrap(),
        epoch: 0,
        key: &key.public,
        parameters: &parameters,
    };
    assert!(beside.prepare(&tar, &wanted("1.0.0")).is_err(), "an unknown parameter");
    let none = Default::default();
    let wanted = firmseal_formats::Wanted { parameters: &none, ..wanted("2.0.0") };
    assert!(matches!(beside.prepare(&tar, &wanted), Err(FormatError::Disagrees { field: "version", .. })));
}

fn refused(file: &[u8]) -> String {
    find("oci").unwrap().inspect(&file.to_vec()).unwrap_err().to_string()
}

#[test]
fn layouts_with_two_readings_are_refused() {
    let with = |change: &dyn Fn(&mut Layout)| {
        let mut layout = one();
        change(&mut layout);
        layout.tar()
    };
    let again = |name: &str| {
        let own = name.to_owned();
        move |layout: &mut Layout| layout.0.push((own.clone(), b"{}".to_vec()))
    };
    let cases = [
        (with(&again("index.json")), "twice"),
        (with(&again("./index.json")), "twice"),
        (with(&again("../index.json")), "leads outside"),
        (with(&again("/etc/passwd")), "leads outside"),
        (with(&again("blobs//sha256/x")), "leads outside"),
        (with(&again("manifest.json")), "Docker's archive"),
        (with(&again("README")), "no member"),
        (with(&again("blobs/sha256/00")), "no member"),
        (with(&again("blobs/sha256")), "no member"),
        (with(&|layout| layout.0.retain(|(name, _)| name != "oci-layout")), "no oci-layout"),
        (with(&|layout| layout.0.retain(|(name, _)| name != "index.json")), "no index.json"),
        (with(&|layout| drop(layout.0.remove(0))), "is not in it"),
        (
            with(&|layout| *layout.named("oci-layout") = b"{\"imageLayoutVersion\":\"2.0.0\"}".to_vec()),
            "1.0.0",
        ),
        (with(&|layout| layout.named("blobs")[0] ^= 1), "own digest"),
        (with(&|layout| layout.named("blobs").push(b' ')), "another length"),
        (
            with(&|layout| *layout.named("index.json") = b"{\"schemaVersion\":2,\"manifests\":[]}".to_vec()),
            "no image",
        ),
        ([&one().tar()[..], &one().tar()].concat(), "behind its end"),
        ([&one().tar()[..], &vec![0; 2 << 20]].concat(), "behind its end"),
    ];
    for (file, why) in cases {
        assert!(refused(&file).contains(why), "{why}: {}", refused(&file));
    }
    let mut layout = Layout::default();
    let (a, b) = (layout.image("arm64", b"a"), layout.image("arm64", b"b"));
    assert!(refused(&layout.clone().ends(&[a.clone(), b]).tar()).contains("more than one"));
    let unnamed = inspect(&layout.ends(&[a]).tar()).unwrap();
    assert_eq!(unnamed.notes.iter().filter(|own| own.name == "blob that nothing names").count(), 3);
    // Links, long names, damaged headers, and the start of one.
    for kind in *b"12xgLK7" {
        let file = [&header("oci-layout", 0, b'0')[..], &header("index.json", 0, kind), &[0; 1024]].concat();
        let why = refused(&file);
        assert!(why.contains("no member") || why.contains("extended headers"), "{why}");
    }
    let mut damaged = one().tar();
    damaged[5] ^= 1;
    assert!(
        refused(&damaged).contains("damaged") || refused(&damaged).contains("manifest"),
        "{}",
        refused(&damaged)
    );
    let good = one().tar();
    for len in [513, 700, good.len() - 1500, good.len() - 512, good.len() - 1] {
        assert!(find("oci").unwrap().inspect(&good[..len].to_vec()).is_err());
    }
}

#[test]
fn manifests_with_two_readings_are_refused() {
    let descriptor = json!({ "mediaType": LAYER, "digest": format!("sha256:{}", sha256(b"")), "size": 0 });
    let good =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": [descriptor] });
    assert!(inspect(&good.to_string().into_bytes()).is_ok());
    let with = |at: &str, value: Value| {
        let mut changed = good.clone();
        let (parent, name) = at.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[name] = value;
        changed.to_string()
    };
    let text = good.to_string();
    let cases = [
        (with("/manifests", json!([])), "image or an index"),
        (with("/mediaType", INDEX.into()), "not what it holds"),
        (with("/mediaType", "text/plain".into()), "no image and no index"),
        (with("/schemaVersion", 1.into()), "schema 1"),
        (with("/schemaVersion", "2".into()), "not 2"),
        (with("/config", json!({})), "no digest"),
        (with("/layers", json!({})), "no list"),
        (with("/config/digest", format!("md5:{}", "0".repeat(32)).into()), "no digest"),
        (with("/config/digest", format!("sha256:{}", sha256(b"").to_uppercase()).into()), "no digest"),
        (with("/config/size", (-1).into()), "no size"),
        (with("/config/size", 1.5.into()), "no size"),
        (with("/config/data", "QQ==".into()), "carries data"),
        (with("/config/mediaType", "a\u{1b}b".into()), "no plain text"),
        (with("/annotations", json!({ "a": 1 })), "annotations"),
        (text.replacen('{', "{\"layers\":[],", 1), "twice"),
        (format!("{text} x"), "not JSON"),
    ];
    for (text, why) in cases {
        assert!(refused(text.as_bytes()).contains(why), "{why}: {}", refused(text.as_bytes()));
        assert!(inspect(&text.into_bytes()).is_err(), "{why}: nothing else takes it");
    }
    assert_eq!(inspect(&b"{\"a\":2}".to_vec()).unwrap().format, "raw", "other JSON");
}

/// A layout, one of whose documents was edited before it was hashed.
fn edited(document: &str, edit: &dyn Fn(&mut Value)) -> Vec<u8> {
    let mut layout = Layout::default();
    let top = layout.edited("arm64", b"hello", &|own, value| {
        if own == document {
            edit(value);
        }
    });
    let mut index = json!({ "schemaVersion": 2, "manifests": [top] });
    if document == "index" {
        edit(&mut index);
    }
    layout.with_index(&index).tar()
}

/// Layouts with other descriptors, sizes, names and orders, whose digests are
/// right as far as they can be.
fn others() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut documents = vec![("index", json!(null)), ("manifest", json!(null)), ("config", json!(null))];
    for (name, document) in &mut documents {
        let seen = std::cell::RefCell::new(Value::Null);
        edited(name, &|value| *seen.borrow_mut() = value.clone());
        *document = seen.into_inner();
    }
    let descriptors: Vec<Value> = documents
        .iter()
        .flat_map(|(_, document)| {
            ["/manifests/0", "/config", "/layers/0"].map(|at| document.pointer(at).cloned())
        })
        .flatten()
        .filter(|value| value.get("digest").is_some())
        .collect();
    assert_eq!(descriptors.len(), 3);
    for (name, document) in &documents {
        for at in &places::all(document) {
            let now = document.pointer(at).unwrap();
            let mut values =
                vec![json!(null), json!(""), json!(0), json!([]), json!({}), json!("x"), json!([now])];
            match now {
                Value::Number(number) => {
                    let number = number.as_i64().unwrap();
                    values.extend([
                        json!(number + 1),
                        json!(number - 1),
                        json!(-number),
                        json!(number as f64),
                    ]);
                }
                Value::String(text) => {
                    values.extend([json!(format!("{text}x")), json!(text.to_uppercase()), json!(text[1..])]);
                    values.extend(
                        descriptors.iter().flat_map(|own| [own["digest"].clone(), own["mediaType"].clone()]),
                    );
                }
                Value::Object(_) => values.extend(descriptors.clone()),
                Value::Array(items) => values.push([&items[..], &items[..]].concat().into()),
                _ => {}
            }
            for value in values.into_iter().filter(|value| value != now) {
                let tar = edited(name, &|own| *own.pointer_mut(at).unwrap() = value.clone());
                all.push((format!("{name}{at} = {value}"), tar));
            }
            let remove = |own: &mut Value| _ = places::remove(own, at);
            all.push((format!("{name} without {at}"), edited(name, &remove)));
        }
        let add = |own: &mut Value| own["unknown"] = json!({ "a": 1 });
        all.push((format!("{name} with another member"), edited(name, &add)));
    }
    // Members: each gone, doubled, with the content of another one, elsewhere.
    let good = one();
    for (at, (name, _)) in good.0.iter().enumerate() {
        let with = |change: &dyn Fn(&mut Vec<Member>)| {
            let mut layout = good.clone();
            change(&mut layout.0);
            layout.tar()
        };
        all.push((format!("{name} gone"), with(&|all| drop(all.remove(at)))));
        all.push((format!("{name} twice"), with(&|all| all.push(all[at].clone()))));
        all.push((format!("{name} last"), with(&|all| all[at..].rotate_left(1))));
        all.push((format!("{name} with ./"), with(&|all| all[at].0.insert_str(0, "./"))));
        all.push((format!("{name} longer"), with(&|all| all[at].1.push(b' '))));
        for other in 0..at {
            let swap = |all: &mut Vec<Member>| {
                let name = all[at].0.clone();
                all[at].0 = std::mem::replace(&mut all[other].0, name);
            };
            all.push((format!("{name} and {other} swapped"), with(&swap)));
        }
    }
    all
}

/// Where we find one image, skopeo finds that one.
#[test]
fn mutated_layouts_are_read_alike_or_refused() {
    let count: u64 = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().unwrap());
    let good = one().tar();
    let taken = |tar: &[u8], what: &str| {
        let Ok(read) = find("oci").unwrap().inspect(&tar.to_vec()) else { return false };
        assert_eq!(skopeo(tar), Some(field(&read, "manifest")), "{what}");
        true
    };
    assert!(taken(&good, "good"));
    // Bits that are in nothing but padding and dates are all that is left.
    for seed in 0..count {
        let mut tar = good.clone();
        mutate(&mut tar, &mut Random(seed));
        taken(&tar, &format!("seed {seed}"));
    }
    let all = others();
    assert!(all.len() > 300, "{}", all.len());
    let read = |tar: &[u8]| find("oci").unwrap().inspect(&tar.to_vec()).is_ok();
    let mut asked: Vec<_> = all.into_iter().filter(|(_, tar)| read(tar)).collect();
    assert!(asked.len() > 40, "{}", asked.len());
    if count <= 20 {
        asked = asked.into_iter().step_by(3).collect();
    }
    for (what, tar) in asked {
        assert!(taken(&tar, &what), "{what}");
    }
}
