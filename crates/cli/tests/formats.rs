//! Every format with a signature of its own, through the service: a product, a
//! signature by the key that it keeps, and `verify` offline.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::path::Path;
use std::process::Command;

use place::Place;

/// Format, a file in it, words in it that a signature covers, what its order says
/// of version and epoch, parameters.
type Case = (&'static str, &'static str, &'static [u8], &'static str, &'static str);

const CERTIFIED: &str = "--param certificate=@signer.crt";
/// Signed inside the file.
const INSIDE: [Case; 10] = [
    ("fit", "fit/unsigned.bin", b"kernel-1", "--version 1.0.0 --epoch 0", ""),
    ("esp32", "esp32/esp32c6.bin", b"1.2.3", "--version 1.2.3 --epoch 7", ""),
    ("capsule", "capsule/unsigned.bin", b"sr\x7f\x9a", "--version 1.0.0 --epoch 1", CERTIFIED),
    ("rauc", "rauc/verity.bin", b"hsqs", "--version 1.2.3 --epoch 0", CERTIFIED),
    ("swupdate", "swupdate/unsigned.bin", b"fixture", "--version 1.0.0 --epoch 0", CERTIFIED),
    ("suit", "suit/unsigned.bin", b"app.bin", "--version 1.2.3 --epoch 7", ""),
    ("mender", "mender/module.bin", b"firmware", "--version 1.2.3 --epoch 0", ""),
    ("fwupd", "fwupd/unsigned.bin", b"com.example", "--version 1.2.3 --epoch 0", CERTIFIED),
    ("tfa", "tfa/soc.bin", b"Firmware", "--version 1.0.0 --epoch 7", ""),
    ("kmod", "kmod/unsigned.bin", b"license", "--version 1.0.0 --epoch 0", CERTIFIED),
];

fn openssl(directory: &Path, line: &str) {
    let run = Command::new("openssl").args(line.split_whitespace()).current_dir(directory).output();
    let run = run.expect("openssl runs");
    assert!(run.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&run.stderr));
}

/// A certificate for the key that signs files here; its public half is in
/// `key.pem`.
fn certify(place: &Place) {
    let keys = place.json("keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["purpose"] == "artifact").unwrap();
    place.write("key.pem", key["public"].as_str().unwrap().as_bytes());
    let directory = place.path(".");
    openssl(&directory, "ecparam -name prime256v1 -genkey -noout -out ca.key");
    openssl(&directory, "req -x509 -new -key ca.key -subj /CN=authority -days 30 -out ca.crt");
    openssl(
        &directory,
        "x509 -new -force_pubkey key.pem -subj /CN=signer -CA ca.crt -CAkey ca.key -days 30 -out signer.crt",
    );
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn files_are_signed_in_their_own_format_and_verified_offline() {
    let place = Place::start();
    certify(&place);
    openssl(&place.path("."), "ecparam -name prime256v1 -genkey -noout -out other.key");
    openssl(&place.path("."), "ec -in other.key -pubout -out other.pem");
    for (format, file, words, order, parameters) in INSIDE {
        let name = format!("p-{format}");
        place.json(&format!(
            "product create {name} --vendor example.com --class c --component main=8MiB --format {format}"
        ));
        place.write("file", &fixture(file));
        let signed = place.json(&format!("sign file --product {name} {order} {parameters} -o {format}.out"));
        assert_eq!(signed["state"], "signed", "{format}: {signed}");
        let valid = place.json(&format!("verify --public key.pem {format}.out"));
        assert_eq!((&valid["valid"], valid["inspection"]["format"].as_str()), (&true.into(), Some(format)));
        place.fails(&format!("verify --public other.pem {format}.out"), 3);
        // What approvers and other tools derive is what the service signed.
        let line = format!("digest file --format {format} --public key.pem {order} {parameters}");
        assert_eq!(place.json(&line)["tbs"], signed["signature"]["tbs"], "{format}");
        let mut spoilt = place.read(&format!("{format}.out"));
        let at = spoilt.windows(words.len()).position(|own| own == words).unwrap();
        spoilt[at + 3] ^= 0x20;
        place.write("spoilt", &spoilt);
        place.fails("verify --public key.pem spoilt", 3);
    }
}

#[test]
fn what_linux_verifies_is_signed_beside_it() {
    let place = Place::start();
    certify(&place);
    place.json("product create tools --vendor example.com --class c --component main=8MiB --format fsverity");
    place.write("agent", &place::bytes(70_000, 3));
    place.json(&format!("sign agent --product tools --version 1.0.0 --epoch 0 {CERTIFIED} -o agent.sig"));
    place.stdout("verify --public key.pem --format fsverity --signature agent.sig agent");
    let digest = Command::new("fsverity").args(["digest", "--compact"]).arg(place.path("agent")).output();
    let digest = String::from_utf8(digest.expect("fsverity: run `cargo xtask setup`").stdout).unwrap();
    assert!(place.stdout("inspect --format fsverity agent").contains(digest.trim()));
    place.write("agent", &place::bytes(70_000, 4));
    place.fails("verify --public key.pem --format fsverity --signature agent.sig agent", 3);
}
