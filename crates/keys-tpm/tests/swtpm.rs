//! Keys in a TPM, against swtpm: the conformance suite, keys at handles and
//! in files, PINs, resets, and other TPMs.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use firmseal_keys::conformance::{self, MemoryLog, covering};
use firmseal_keys::pool::wait;
use firmseal_keys::{Secret, SecretSource, SignError, Signer};
use firmseal_keys_tpm::{SCHEME, TpmError, TpmKey, TpmUri, destroy, generate, list};
use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};
use firmseal_testkit::ports;
use pkcs8::der::pem::{LineEnding, decode_vec, encode_string};
use tss_esapi::constants::PropertyTag;
use tss_esapi::{Context, TctiNameConf};

/// A software TPM of its own, on free ports.
struct Swtpm {
    dir: tempfile::TempDir,
    /// For commands; the one after it is for control.
    port: u16,
    child: Option<Child>,
}

impl Swtpm {
    fn start() -> Swtpm {
        let mut tpm = Swtpm { dir: tempfile::tempdir().unwrap(), port: ports::free(), child: None };
        tpm.power_on();
        tpm
    }

    fn power_on(&mut self) {
        let state = self.dir.path().canonicalize().unwrap();
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", state.display()));
        command.arg("--server").arg(format!("type=tcp,port={},bindaddr=127.0.0.1", self.port));
        command.arg("--ctrl").arg(format!("type=tcp,port={},bindaddr=127.0.0.1", self.port + 1));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let Ok(child) = child else { panic!("swtpm is not installed: run `cargo xtask setup`") };
        self.child = Some(child);
        // It answers as soon as both ports are open; asking the control port
        // does not use up the one connection for commands.
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port + 1)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(60), "swtpm does not start");
            std::thread::yield_now();
        }
    }

    fn power_off(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    fn uri(&self, place: &str) -> TpmUri {
        format!("tpm:{place}?tcti={}", self.tcti()).parse().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// How many wrong PINs the TPM has counted. Nobody may be connected.
    fn wrong_pins(&self) -> u32 {
        let mut context = Context::new(TctiNameConf::from_str(&self.tcti()).unwrap()).unwrap();
        context.get_tpm_property(PropertyTag::LockoutCounter).unwrap().unwrap()
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.power_off();
    }
}

fn pin() -> Secret {
    Secret::new(b"123456".to_vec())
}

fn sign(key: &TpmKey) -> Result<Signature, SignError> {
    let tbs = Tbs::Message(b"firmware".to_vec());
    let log = MemoryLog::default();
    wait(async { key.sign(covering(&log, key.public_key(), &tbs).await, tbs.clone()).await })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_algorithm_conforms() {
    let tpm = Swtpm::start();
    let algorithms =
        [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa(2048), KeyAlgorithm::Rsa(3072)];
    for (index, algorithm) in algorithms.into_iter().enumerate() {
        let uri = match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::Rsa(2048) => tpm.uri(&format!("0x8101000{index}")),
            _ => tpm.uri(text(&tpm.file(&format!("{algorithm}.tpm")))),
        };
        let made = generate(&uri, pin(), algorithm).unwrap();
        assert_eq!(made.algorithm(), algorithm);
        let key = TpmKey::open(&uri, pin()).unwrap();
        assert_eq!(key.public_key(), &made);
        assert_eq!(key.weakness(), None);
        assert!(key.describe().contains("cannot leave the tpm"), "{}", key.describe());
        assert!(wait(key.ready()).is_ok());
        wait(conformance::run(&key));
        conformance::run_threads(&key, 2);
    }
}

#[test]
fn a_key_lives_where_its_uri_says() {
    let tpm = Swtpm::start();
    let source = tpm.file("pin");
    std::fs::write(&source, "123456\n").unwrap();
    std::fs::set_permissions(&source, PermissionsExt::from_mode(0o600)).unwrap();
    let secret = SecretSource::File(source);
    conformance::run_home(&SCHEME, &tpm.uri("0x81010001").to_string(), &secret);
}

#[test]
fn keys_of_one_tpm_share_it() {
    let tpm = Swtpm::start();
    let uris = [
        tpm.uri("0x81010001"),
        tpm.uri("0x81010002"),
        tpm.uri(text(&tpm.file("a"))),
        tpm.uri(text(&tpm.file("b"))),
    ];
    let keys = uris.each_ref().map(|uri| {
        generate(uri, pin(), KeyAlgorithm::P256).unwrap();
        TpmKey::open(uri, pin()).unwrap()
    });
    for _ in 0..3 {
        assert!(keys.iter().all(|key| sign(key).is_ok()));
    }
    assert!(matches!(generate(&uris[0], pin(), KeyAlgorithm::P256), Err(TpmError::Exists(0x8101_0001))));
    assert!(matches!(generate(&uris[2], pin(), KeyAlgorithm::P256), Err(TpmError::File { .. })));
    let ed25519 = generate(&tpm.uri("0x81010003"), pin(), KeyAlgorithm::Ed25519);
    assert!(matches!(ed25519, Err(TpmError::NotForSigning(_))));
    assert!(matches!(TpmKey::open(&tpm.uri("0x81010009"), pin()), Err(TpmError::NoKey(0x8101_0009))));
}

#[test]
fn a_key_is_destroyed_where_it_is() {
    let mut tpm = Swtpm::start();
    for place in ["0x81010001".to_owned(), text(&tpm.file("key.tpm")).to_owned()] {
        let (uri, other) = (tpm.uri(&place), tpm.uri("0x81010007"));
        let key = generate(&uri, pin(), KeyAlgorithm::P256).unwrap();
        let another = generate(&other, pin(), KeyAlgorithm::P256).unwrap();
        let opened = TpmKey::open(&uri, pin()).unwrap();
        assert!(sign(&opened).is_ok());
        assert!(!destroy(&uri, &another.id()).unwrap(), "{place}: another key's id destroys nothing");
        assert!(sign(&opened).is_ok());
        tpm.power_off();
        assert!(destroy(&uri, &key.id()).is_err(), "{place}: out of reach is not gone");
        tpm.power_on();
        assert!(destroy(&uri, &key.id()).unwrap());
        let answer = sign(&opened);
        assert!(matches!(answer, Err(SignError::Unfit(_))), "{place}: it was loaded: {answer:?}");
        assert!(TpmKey::open(&uri, pin()).is_err());
        assert!(!destroy(&uri, &key.id()).unwrap(), "{place}: twice is no error");
        assert!(sign(&TpmKey::open(&other, pin()).unwrap()).is_ok(), "{place}: the other signs on");
        assert!(destroy(&other, &another.id()).unwrap());
    }
    // Cut off between overwriting a file and taking it away.
    let (file, uri) = (tpm.file("half.tpm"), tpm.uri(text(&tpm.file("half.tpm"))));
    let key = generate(&uri, pin(), KeyAlgorithm::P256).unwrap();
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::write(&file, vec![0; length as usize]).unwrap();
    assert!(destroy(&uri, &key.id()).unwrap());
    assert!(!file.exists());
}

#[test]
fn persistent_handles_are_listed_without_a_pin() {
    let tpm = Swtpm::start();
    let any = tpm.uri("0x81000000");
    assert!(list(&any).unwrap().is_empty());
    let made = [("0x81010002", KeyAlgorithm::P256), ("0x81010001", KeyAlgorithm::Rsa(2048))]
        .map(|(place, algorithm)| generate(&tpm.uri(place), pin(), algorithm).unwrap());
    let keys = list(&any).unwrap();
    let listed: Vec<_> = keys.iter().map(|key| key.public_key.clone().unwrap()).collect();
    assert_eq!(listed, [made[1].clone(), made[0].clone()], "by handle");
    assert_eq!(keys[0].uri.to_string(), format!("tpm:0x81010001?tcti={}", tpm.tcti()));
    assert!(keys.iter().all(|key| key.weakness.is_none()));
    assert!(sign(&TpmKey::open(&keys[1].uri, pin()).unwrap()).is_ok(), "a URI from the list opens");
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let tpm = Swtpm::start();
    let uri = tpm.uri("0x81010001");
    generate(&uri, pin(), KeyAlgorithm::P256).unwrap();
    let wrong = TpmKey::open(&uri, Secret::new(b"654321".to_vec()));
    assert!(matches!(wrong, Err(TpmError::WrongPin)), "{wrong:?}");
    assert_eq!(tpm.wrong_pins(), 1);
    let long = TpmKey::open(&uri, Secret::new(vec![b'1'; 33]));
    assert!(matches!(long, Err(TpmError::PinTooLong)));
    assert_eq!(tpm.wrong_pins(), 1);
    assert!(sign(&TpmKey::open(&uri, pin()).unwrap()).is_ok());
}

#[test]
fn a_tpm_that_was_reset_goes_on() {
    let mut tpm = Swtpm::start();
    for place in ["0x81010001".to_owned(), text(&tpm.file("key.tpm")).to_owned()] {
        let uri = tpm.uri(&place);
        generate(&uri, pin(), KeyAlgorithm::P256).unwrap();
        let key = TpmKey::open(&uri, pin()).unwrap();
        assert!(sign(&key).is_ok());
        tpm.power_off();
        assert!(matches!(sign(&key), Err(SignError::Unavailable(_))));
        assert!(matches!(wait(key.ready()), Err(SignError::Unavailable(_))));
        tpm.power_on();
        assert!(sign(&key).is_ok(), "session and loaded keys are gone, and made anew");
    }
}

#[test]
fn a_key_file_opens_in_its_tpm_only() {
    let (tpm, other) = (Swtpm::start(), Swtpm::start());
    let file = tpm.file("release.tpm");
    generate(&tpm.uri(text(&file)), pin(), KeyAlgorithm::P256).unwrap();
    let elsewhere = TpmKey::open(&other.uri(text(&file)), pin());
    assert!(matches!(elsewhere, Err(TpmError::OtherTpm)), "{elsewhere:?}");
    // The form is other people's: OpenSSL finds the object identifier.
    let output = Command::new("openssl").args(["asn1parse", "-in", text(&file)]).output().unwrap();
    let parsed = String::from_utf8(output.stdout).unwrap();
    assert!(parsed.contains("2.23.133.10.1.3") || parsed.contains("Loadable Key"), "{parsed}");

    let pem = std::fs::read_to_string(&file).unwrap();
    for bad in [pem.replace("TSS2", "TSS3"), pem[..pem.len() / 2].to_owned(), String::new()] {
        std::fs::write(&file, bad).unwrap();
        assert!(matches!(TpmKey::open(&tpm.uri(text(&file)), pin()), Err(TpmError::File { .. })));
    }
    // A bit of the private half, which ends the structure.
    let (label, mut der) = decode_vec(pem.as_bytes()).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let damaged = encode_string(label, LineEnding::LF, &der).unwrap();
    std::fs::write(&file, damaged).unwrap();
    assert!(TpmKey::open(&tpm.uri(text(&file)), pin()).is_err());
}

#[test]
fn a_way_that_is_none_is_named() {
    let uri: TpmUri = "tpm:0x81010001?tcti=pipe:1".parse().unwrap();
    assert!(matches!(TpmKey::open(&uri, pin()), Err(TpmError::NotATcti)));
    let nobody: TpmUri = "tpm:0x81010001?tcti=swtpm:host=127.0.0.1,port=1".parse().unwrap();
    assert!(matches!(TpmKey::open(&nobody, pin()), Err(TpmError::Lost(_))));
}
