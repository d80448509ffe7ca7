//! Key files: the conformance suite, OpenSSL as the other reader, writer
//! and judge, and what must be refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use firmseal_core::mldsa::Set;
use firmseal_keys::conformance::{self, MemoryLog, covering};
use firmseal_keys::pool::wait;
use firmseal_keys::{FileKey, KeysError, Secret, SecretSource, Signer};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Tbs};

const ALGORITHMS: [KeyAlgorithm; 5] = [
    KeyAlgorithm::P256,
    KeyAlgorithm::P384,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::Rsa(3072),
    KeyAlgorithm::MlDsa(Set::MlDsa65),
];

fn passphrase() -> Secret {
    Secret::new(b"correct horse".to_vec())
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("openssl is needed ({error})"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    run(Command::new("openssl").args(arguments)).stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Dir {
        Dir(tempfile::tempdir().unwrap())
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// The public half of what OpenSSL finds in a sealed file.
fn openssl_public(path: &Path) -> PublicKey {
    let der =
        openssl(&["pkey", "-in", text(path), "-passin", "pass:correct horse", "-pubout", "-outform", "DER"]);
    PublicKey::from_spki(&der).unwrap()
}

#[test]
fn every_algorithm_conforms_and_opens_in_openssl() {
    for algorithm in ALGORITHMS {
        let dir = Dir::new();
        let path = dir.join("key.pem");
        let key = FileKey::generate(&path, algorithm, &passphrase()).unwrap();
        assert_eq!(key.public_key().algorithm(), algorithm);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(dir.names(), ["key.pem"], "nothing else is left");
        assert!(key.describe().contains("development only"));
        wait(conformance::run(&key));
        conformance::run_threads(&key, 8);

        let again = FileKey::open(&path, &passphrase()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        // OpenSSL knows ML-DSA from 3.5 on, which is newer than Debian's.
        if !matches!(algorithm, KeyAlgorithm::MlDsa(_)) {
            assert_eq!(&openssl_public(&path), key.public_key());
        }
    }
}

#[test]
fn a_key_lives_where_its_uri_says() {
    let dir = Dir::new();
    let source = dir.join("passphrase");
    fs::write(&source, "correct horse\n").unwrap();
    fs::set_permissions(&source, fs::Permissions::from_mode(0o600)).unwrap();
    let uri = format!("file:{}", dir.join("key.pem").display());
    conformance::run_home(&firmseal_keys::file_uri::SCHEME, &uri, &SecretSource::File(source));
    assert_eq!(dir.names(), ["passphrase"]);
}

#[test]
fn openssl_accepts_our_signatures() {
    // P-384 and RSA have no second verifier of ours: OpenSSL is the judge.
    let pss: [&str; 4] = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
    for (algorithm, hash, options) in [
        (KeyAlgorithm::P256, "-sha256", &[][..]),
        (KeyAlgorithm::P384, "-sha384", &[]),
        (KeyAlgorithm::Rsa(3072), "-sha256", &pss),
    ] {
        let dir = Dir::new();
        let key = FileKey::generate(&dir.join("key.pem"), algorithm, &passphrase()).unwrap();
        let tbs = Tbs::Message(b"firmware".to_vec());
        let log = MemoryLog::default();
        let signature =
            wait(async { key.sign(covering(&log, key.public_key(), &tbs).await, tbs.clone()).await })
                .unwrap();
        let signature = match algorithm {
            KeyAlgorithm::Rsa(_) => signature.0,
            _ => ecdsa_der(&signature.0),
        };
        fs::write(dir.join("spki.der"), key.public_key().spki()).unwrap();
        fs::write(dir.join("message"), b"firmware").unwrap();
        fs::write(dir.join("signature"), signature).unwrap();
        let mut command = Command::new("openssl");
        command.args(["dgst", hash, "-keyform", "DER", "-verify", "spki.der", "-signature", "signature"]);
        run(command.args(options).arg("message").current_dir(dir.0.path()));
    }
}

/// Ecdsa-Sig-Value (RFC 3279 §2.2.3) of r || s.
fn ecdsa_der(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let integer = |bytes: &[u8]| {
        let mut body: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        if body.first().is_none_or(|first| *first >= 0x80) {
            body.insert(0, 0);
        }
        [&[2, body.len() as u8][..], &body].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, body.len() as u8][..], &body].concat()
}

#[test]
fn we_read_what_openssl_writes() {
    let rsa: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let p256: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let p384: [&str; 4] = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
    let ed25519: [&str; 2] = ["-algorithm", "ED25519"];
    let schemes: [&[&str]; 4] = [
        &["-scrypt"],
        &["-v2", "aes-256-cbc"],
        &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512", "-iter", "100000"],
        &["-v2", "aes-192-cbc"],
    ];
    for generate in [&rsa[..], &p256, &p384, &ed25519] {
        let dir = Dir::new();
        let plain = dir.join("plain.pem");
        openssl(&[&["genpkey", "-out", text(&plain)], generate].concat());
        for scheme in schemes {
            let sealed = dir.join("sealed.pem");
            let base = ["pkcs8", "-topk8", "-in", text(&plain), "-out", text(&sealed)];
            openssl(&[&base[..], &["-passout", "pass:correct horse"], scheme].concat());
            let key = FileKey::open(&sealed, &passphrase()).unwrap();
            assert_eq!(key.public_key(), &openssl_public(&sealed), "{scheme:?}");
            let wrong = FileKey::open(&sealed, &Secret::new(b"wrong".to_vec()));
            assert!(matches!(wrong, Err(KeysError::WrongPassphrase { .. })), "{scheme:?} {wrong:?}");
        }
        let clear = FileKey::open(&plain, &passphrase());
        assert!(matches!(clear, Err(KeysError::Unencrypted { .. })), "{clear:?}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_left_behind() {
    let dir = Dir::new();
    let taken = dir.join("taken");
    fs::write(&taken, b"precious").unwrap();
    std::os::unix::fs::symlink(dir.join("nowhere"), dir.join("dangling")).unwrap();
    for name in ["taken", "dangling"] {
        let answer = FileKey::generate(&dir.join(name), KeyAlgorithm::Ed25519, &passphrase());
        assert!(matches!(answer, Err(KeysError::Exists(_))), "{answer:?}");
    }
    assert_eq!(fs::read(&taken).unwrap(), b"precious");
    let missing = FileKey::generate(&dir.join("no/such/dir"), KeyAlgorithm::Ed25519, &passphrase());
    assert!(matches!(missing, Err(KeysError::Io { .. })), "{missing:?}");
    let mut names = dir.names();
    names.sort();
    assert_eq!(names, ["dangling", "taken"]);
}

#[test]
fn of_many_that_create_one_file_one_wins() {
    let dir = Dir::new();
    let path = dir.join("key.pem");
    let winners: Vec<PublicKey> = std::thread::scope(|scope| {
        let create = || FileKey::generate(&path, KeyAlgorithm::Ed25519, &passphrase());
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        let keys = threads.into_iter().filter_map(|thread| thread.join().unwrap().ok());
        keys.map(|key| key.public_key().clone()).collect()
    });
    assert_eq!(winners.len(), 1);
    assert_eq!(FileKey::open(&path, &passphrase()).unwrap().public_key(), &winners[0]);
    assert_eq!(dir.names(), ["key.pem"]);
}

#[test]
fn hostile_files_are_refused_in_bounded_work() {
    let dir = Dir::new();
    let path = dir.join("key.pem");
    FileKey::generate(&path, KeyAlgorithm::Ed25519, &passphrase()).unwrap();
    let good = openssl(&["asn1parse", "-in", text(&path), "-out", text(&dir.join("der")), "-noout"]);
    assert!(good.is_empty());
    let der = fs::read(dir.join("der")).unwrap();
    // INTEGER 16384, INTEGER 8, INTEGER 5.
    let cost = der.windows(10).position(|w| w == [2, 2, 0x40, 0, 2, 1, 8, 2, 1, 5]).unwrap();
    let patched = |at: usize, value: u8| {
        let mut der = der.clone();
        der[cost + at] = value;
        fs::write(dir.join("bad.der"), der).unwrap();
        let pem = run(Command::new("sh")
            .arg("-c")
            .arg("echo '-----BEGIN ENCRYPTED PRIVATE KEY-----'; openssl base64 -in bad.der; echo '-----END ENCRYPTED PRIVATE KEY-----'")
            .current_dir(dir.0.path()));
        fs::write(dir.join("bad.pem"), pem.stdout).unwrap();
        FileKey::open(&dir.join("bad.pem"), &passphrase())
    };
    assert!(patched(2, 0x40).is_ok(), "the patch itself does no harm");
    for (what, answer) in [
        ("N is no power of two", patched(3, 1)),
        ("N = 0", patched(2, 0)),
        ("r = 127: 254 MiB", patched(6, 127)),
        ("p = 127: two gigabytes of work", patched(9, 127)),
    ] {
        let refused = matches!(answer, Err(KeysError::ExcessiveKdf { .. } | KeysError::NotAKey { .. }));
        assert!(refused, "{what}: {answer:?}");
    }
    for (what, content) in [
        ("empty", Vec::new()),
        ("not text", vec![0xff; 100]),
        ("not PEM", b"hello".to_vec()),
        ("huge", vec![b'A'; 1 << 20]),
        ("truncated", fs::read(&path).unwrap()[..150].to_vec()),
        ("another label", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()),
    ] {
        fs::write(dir.join("bad.pem"), content).unwrap();
        let answer = FileKey::open(&dir.join("bad.pem"), &passphrase());
        assert!(matches!(answer, Err(KeysError::NotAKey { .. })), "{what}: {answer:?}");
    }
}

#[test]
fn weak_and_unknown_keys_are_refused() {
    for generate in [
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"][..],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"],
        &["-algorithm", "X25519"],
        &["-algorithm", "ED448"],
    ] {
        let dir = Dir::new();
        let (plain, sealed) = (dir.join("plain.pem"), dir.join("sealed.pem"));
        openssl(&[&["genpkey", "-out", text(&plain)], generate].concat());
        let base = ["pkcs8", "-topk8", "-scrypt", "-in", text(&plain), "-out", text(&sealed)];
        openssl(&[&base[..], &["-passout", "pass:correct horse"]].concat());
        assert!(FileKey::open(&sealed, &passphrase()).is_err(), "{generate:?}");
    }
}

#[test]
fn a_thousand_wrong_passphrases_never_open_and_never_panic() {
    // One in 256 leaves valid padding; PBKDF2 with few rounds makes it cheap.
    let dir = Dir::new();
    let (plain, sealed) = (dir.join("plain.pem"), dir.join("sealed.pem"));
    openssl(&["genpkey", "-algorithm", "ED25519", "-out", text(&plain)]);
    let base = ["pkcs8", "-topk8", "-iter", "1", "-in", text(&plain), "-out", text(&sealed)];
    openssl(&[&base[..], &["-passout", "pass:correct horse"]].concat());
    for guess in 0..1000u32 {
        let answer = FileKey::open(&sealed, &Secret::new(guess.to_string().into_bytes()));
        assert!(matches!(answer, Err(KeysError::WrongPassphrase { .. })), "{guess}: {answer:?}");
    }
}
