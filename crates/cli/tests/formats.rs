//! Every format with a signature of its own: through the service, with a product
//! and a signature by the key that it keeps, and through `digest` and `attach`,
//! with a key that OpenSSL holds; then `verify`, offline.
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
const INSIDE: [Case; 12] = [
    (
        "mcuboot",
        "firmware.bin",
        b"\x03\xea\xdf\xe2",
        "--version 1.2.3 --epoch 7",
        "--param header-size=64 --param slot-size=0x2000",
    ),
    ("pe", "pe/unsigned.bin", b"\x7f\x9a\xc3\xfa", "--version 1.0.0 --epoch 0", CERTIFIED),
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

/// Signed beside it: format, the file's name, parameters.
const BESIDE: [(&str, &str, &str); 6] = [
    ("cms", "agent", CERTIFIED),
    ("sigstore", "agent", ""),
    ("oci", "layout.tar", ""),
    ("jcat", "agent", "--param certificate=@signer.crt --param name=agent"),
    ("fsverity", "agent", CERTIFIED),
    ("dmverity", "root.img", CERTIFIED),
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

/// Keys that OpenSSL holds, with certificates: `own`, `other`, and of RSA `rsa`.
fn keys(place: &Place) {
    let directory = place.path(".");
    for name in ["own", "other", "rsa"] {
        match name {
            "rsa" => openssl(&directory, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key"),
            _ => openssl(&directory, &format!("ecparam -name prime256v1 -genkey -noout -out {name}.key")),
        }
        openssl(&directory, &format!("pkey -in {name}.key -pubout -out {name}.pem"));
        openssl(
            &directory,
            &format!("req -x509 -new -key {name}.key -subj /CN={name} -days 30 -out {name}.crt"),
        );
    }
}

/// What a key signs of a file, in OpenSSL's hands, attached. Another key's
/// signature is not.
fn attach(place: &Place, line: &str, key: &str, to: &str) {
    let line = format!("{line} --public {key}.pem").replace("signer.crt", &format!("{key}.crt"));
    let digest = place.json(&format!("digest {line} -o {to}.digest"));
    assert_eq!(digest["kind"], "sha256", "{line}");
    let padding = match digest["padding"].as_str() {
        Some("pkcs1") => "-pkeyopt rsa_padding_mode:pkcs1",
        _ => "",
    };
    for signer in [key, "other"] {
        let padding = if signer == key { padding } else { "" };
        openssl(
            &place.path("."),
            &format!(
                "pkeyutl -sign -inkey {signer}.key -pkeyopt digest:sha256 {padding} -in {to}.digest -out {to}.{signer}"
            ),
        );
    }
    place.fails(&format!("attach {line} --signature {to}.other -o {to}"), 3);
    assert!(!place.path(to).exists(), "{line}");
    place.stdout(&format!("attach {line} --signature {to}.{key} -o {to}"));
}

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../formats/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn files_are_signed_in_their_own_format_and_verified_offline() {
    let place = Place::start();
    certify(&place);
    keys(&place);
    for (format, file, words, order, parameters) in INSIDE {
        let name = format!("p-{format}");
        place.json(&format!(
            "product create {name} --vendor example.com --class c --component main=8MiB --format {format}"
        ));
        place.write("file", &fixture(file));
        let signed = place.json(&format!(
            "sign file --product {name} {order} {parameters} -o {format}.out --signature {format}.sig"
        ));
        assert_eq!(signed["state"], "signed", "{format}: {signed}");
        let valid = place.json(&format!("verify --public key.pem {format}.out"));
        assert_eq!((&valid["valid"], valid["inspection"]["format"].as_str()), (&true.into(), Some(format)));
        place.fails(&format!("verify --public other.pem {format}.out"), 3);
        // What approvers and other tools derive is what the service signed.
        let line = format!("digest file --format {format} --public key.pem {order} {parameters}");
        assert_eq!(place.json(&line)["tbs"], signed["signature"]["tbs"], "{format}");
        // Around the same signature it is the same file.
        let attach_it = line.replacen("digest", "attach", 1);
        place.stdout(&format!("{attach_it} --signature {format}.sig -o {format}.same"));
        assert!(place.read(&format!("{format}.same")) == place.read(&format!("{format}.out")), "{format}");
        let own = format!("{format}.own");
        attach(&place, &format!("file --format {format} {order} {parameters}"), "own", &own);
        assert_eq!(place.json(&format!("verify --public own.pem {own}"))["inspection"]["format"], format);
        place.fails(&format!("verify --public key.pem {own}"), 3);
        let mut spoilt = place.read(&format!("{format}.out"));
        let at = spoilt.windows(words.len()).position(|own| own == words).unwrap();
        spoilt[at + 3] ^= 0x20;
        place.write("spoilt", &spoilt);
        place.fails("verify --public key.pem spoilt", 3);
    }
}

/// Keys of the service are P-256 here, and Android's are RSA.
#[test]
fn android_images_are_signed_by_a_key_elsewhere() {
    let place = Place::start();
    keys(&place);
    place.write("file", &fixture("avb/vbmeta.bin"));
    place.write("plain", &place::bytes(20_000, 5));
    let boot = "plain --param partition-name=boot --param partition-size=0x12000";
    for (line, to) in [("file", "vbmeta.own"), (boot, "boot.own")] {
        attach(&place, &format!("{line} --format avb --version 1.2.3 --epoch 7"), "rsa", to);
        let valid = place.json(&format!("verify --public rsa.pem {to}"));
        assert_eq!(
            (&valid["inspection"]["format"], &valid["inspection"]["epoch"]),
            (&"avb".into(), &7.into())
        );
        place.fails(&format!("verify --public other.pem {to}"), 3);
        let mut spoilt = place.read(to);
        spoilt[119] ^= 1;
        place.write("spoilt", &spoilt);
        place.fails("verify --public rsa.pem spoilt --format avb", 3);
    }
}

#[test]
fn files_are_signed_beside_them_and_verified_offline() {
    let place = Place::start();
    certify(&place);
    keys(&place);
    let agent = place::bytes(70_000, 3);
    place.write("agent", &agent);
    place.write("layout.tar", &fixture("oci/layout.bin"));
    place.write("root.img", &place::bytes(8 * 4096, 6));
    let tree = "format --hash-offset=32768 root.img root.img";
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut veritysetup = Command::new("veritysetup");
    veritysetup.args(tree.split(' ')).current_dir(place.path(".")).env("PATH", path);
    assert!(veritysetup.output().expect("veritysetup: run `cargo xtask setup`").status.success());
    for (format, file, parameters) in BESIDE {
        let name = format!("p-{format}");
        place.json(&format!(
            "product create {name} --vendor example.com --class c --component main=8MiB --format {format}"
        ));
        let signed = place.json(&format!(
            "sign {file} --product {name} --version 1.0.0 --epoch 0 {parameters} -o {format}.out --signature {format}.sig"
        ));
        assert_eq!(signed["state"], "signed", "{format}: {signed}");
        let verify = |key: &str, signature: &str, file: &str| {
            format!("verify --public {key}.pem --format {format} --signature {signature} {file}")
        };
        place.stdout(&verify("key", &format!("{format}.out"), file));
        place.fails(&verify("other", &format!("{format}.out"), file), 3);
        let line = format!("{file} --format {format} --version 1.0.0 --epoch 0 {parameters}");
        let digest = place.json(&format!("digest {line} --public key.pem"));
        assert_eq!(digest["tbs"], signed["signature"]["tbs"], "{format}");
        place.stdout(&format!("attach {line} --public key.pem --signature {format}.sig -o {format}.same"));
        assert!(place.read(&format!("{format}.same")) == place.read(&format!("{format}.out")), "{format}");
        let own = format!("{format}.own");
        attach(&place, &line, "own", &own);
        place.stdout(&verify("own", &own, file));
        place.fails(&verify("key", &own, file), 3);
        let mut spoilt = place.read(file);
        spoilt[600] ^= 1;
        place.write("spoilt", &spoilt);
        place.fails(&verify("own", &own, "spoilt"), 3);
    }
    let digest = Command::new("fsverity").args(["digest", "--compact"]).arg(place.path("agent")).output();
    let digest = String::from_utf8(digest.expect("fsverity: run `cargo xtask setup`").stdout).unwrap();
    assert!(place.stdout("inspect --format fsverity agent").contains(digest.trim()));
}
