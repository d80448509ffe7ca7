//! A container image from the order to the node: signed by the service, brought
//! to Debian's registry, verified there, and refused with a report.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use place::Place;

struct Registry {
    host: String,
    child: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn registry(place: &Place) -> Registry {
    let venv = std::env::var_os("FIRMSEAL_VENV").map(PathBuf::from);
    let venv = venv.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
    let own = venv.join("bin/docker-registry");
    let program = if own.is_file() { own } else { PathBuf::from("docker-registry") };
    // Whoever takes the port in between makes the program end: another one.
    for _ in 0..5 {
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let settings = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
            place.path("registry").display()
        );
        place.write("registry.yml", settings.as_bytes());
        let mut command = Command::new(&program);
        command.arg("serve").arg(place.path("registry.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry: run `cargo xtask setup`");
        let mut registry = Registry { host, child };
        for _ in 0..2400 {
            if std::net::TcpStream::connect(&registry.host).is_ok() {
                return registry;
            }
            if registry.child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }
    panic!("docker-registry does not come up");
}

/// One that is told what came of it, once.
fn receiver() -> (String, std::thread::JoinHandle<serde_json::Value>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/images?site=1", socket.local_addr().unwrap());
    let told = std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let count = stream.read(&mut piece).unwrap();
            seen.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&seen);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("POST /images?site=1 "), "{head}");
            if let Ok(value) = serde_json::from_str(body) {
                stream.write_all(b"HTTP/1.1 204 x\r\n\r\n").unwrap();
                return value;
            }
        }
    });
    (url, told)
}

#[test]
fn an_image_is_signed_brought_verified_and_refused() {
    let place = Place::start();
    let keys = place.json("keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["purpose"] == "artifact").unwrap();
    place.write("key.pem", key["public"].as_str().unwrap().as_bytes());
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/fixtures/oci/layout.bin");
    place.write("worker.tar", &std::fs::read(fixture).unwrap());
    place.json("product create worker --vendor example.com --class node --component main=8MiB --format oci");
    let order = "sign worker.tar --product worker --version 1.4.0 --epoch 3 --param subject=nodes/worker";
    place.json(&format!("{order} -o worker.json"));
    place.stdout("verify --public key.pem --signature worker.json worker.tar");
    assert!(place.stdout("inspect worker.tar").contains("linux/arm64, linux/amd64"));

    let registry = registry(&place);
    let image = format!("{}/nodes/worker:1.4.0", registry.host);
    let pushed = Command::new("skopeo")
        .args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--all",
            "--preserve-digests",
            "--dest-tls-verify=false",
        ])
        .arg(format!("oci-archive:{}", place.path("worker.tar").display()))
        .arg(format!("docker://{image}"))
        .status();
    assert!(pushed.expect("skopeo: run `cargo xtask setup`").success());
    // Nobody has brought it yet.
    let (url, told) = receiver();
    place.fails(&format!("oci verify {image} --key key.pem --report-to {url}"), 3);
    let told = told.join().unwrap();
    assert_eq!((told["event"].as_str(), told["image"].as_str()), (Some("image-refused"), Some(&*image)));
    assert!(told["reason"].as_str().unwrap().contains("0 of 1"), "{told}");

    let attached = place.json(&format!("oci attach {image} --bundle worker.json"));
    assert_eq!(attached["listed_by"], "tag");
    let found = place.json(&format!("oci verify {image} --key key.pem --platform linux/arm64"));
    let pinned = found["image"].as_str().unwrap();
    assert!(pinned.contains("@sha256:") && found["signers"][0]["epoch"] == 3, "{found}");
    let index = attached["image"].as_str().unwrap();
    assert!(index.ends_with(found["signed"].as_str().unwrap()));
    place.stdout(&format!("oci verify {index} --key key.pem --minimum-epoch 3 --subject nodes/worker"));
    place.fails(&format!("oci verify {image} --key key.pem --minimum-epoch 4"), 3);
    place.fails(&format!("oci verify {image} --key key.pem --subject nodes/other"), 3);
    place.fails(&format!("oci verify {image} --key key.pem --platform linux/riscv64"), 3);
    place.fails(&format!("oci verify {image} --key key.pem --threshold 2"), 2);
    place.fails(&format!("oci verify {}/nodes/worker:2 --key key.pem", registry.host), 4);
    place.fails(&format!("oci verify {image}"), 2);
    place.fails("oci verify registry.example.com/worker:1 --key key.pem", 2);
    let shown = place.json(&format!("oci inspect {image}"));
    assert_eq!(shown["referrers"].as_array().unwrap().len(), 1);
    // Of the layout's other file the bundle is not.
    place.write("other.tar", b"other");
    place
        .json("product create any --vendor example.com --class node --component main=8MiB --format sigstore");
    place.json("sign other.tar --product any --version 1.0.0 --epoch 0 -o other.json");
    place.stdout("verify --public key.pem --format sigstore --signature other.json other.tar");
    place.fails(&format!("oci attach {image} --bundle other.json"), 3);

    // Provenance, asked for by its type.
    place.write("provenance.json", b"{\"buildDefinition\":{}}");
    let kind = "https://slsa.dev/provenance/v1";
    place.json(&format!(
        "{order} --param predicate-type={kind} --param predicate=@provenance.json -o slsa.json"
    ));
    place.fails(&format!("oci verify {image} --key key.pem --predicate-type {kind}"), 3);
    place.json(&format!("oci attach {image} --bundle slsa.json"));
    place.stdout(&format!("oci verify {image} --key key.pem --predicate-type {kind}"));

    // Trust stores: in date, near their end, and stale.
    let store = |name: &str, expires: &str| {
        let text = format!(
            "expires = \"{expires}\"\nkeys = [\"key.pem\"]\nminimum-epoch = 3\nsubject = \"nodes/worker\"\n"
        );
        place.write(name, text.as_bytes());
    };
    store("good.toml", "2999-01-01T00:00:00Z");
    let found = place.json(&format!("oci verify {image} --trust good.toml"));
    assert!(found["warning"].is_null());
    store("stale.toml", "2026-01-01T00:00:00Z");
    let (url, told) = receiver();
    place.fails(&format!("oci verify {image} --trust stale.toml --report-to {url}"), 3);
    assert!(told.join().unwrap()["reason"].as_str().unwrap().contains("stale"));
    drop(registry);
    place.fails(&format!("oci verify {image} --trust good.toml"), 7);
}
