//! `firmseal tls` against files that OpenSSL made, with OpenSSL as the
//! judge of what comes out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Bench(tempfile::TempDir);

impl Bench {
    /// A CA, and a certificate of it with every kind of name.
    fn new(key: &[&str]) -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        std::fs::write(
            bench.path("names"),
            "subjectAltName=DNS:updates.example.com,DNS:*.example.org,IP:192.0.2.7,IP:2001:db8::7,\
             URI:urn:uuid:1,email:ops@example.com\n",
        )
        .unwrap();
        bench.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ca.key");
        bench.openssl("req -x509 -new -key ca.key -subj /CN=authority -days 30 -out ca.pem");
        let mut generate = vec!["genpkey", "-out", "server.key"];
        generate.extend(key);
        bench.run(&generate);
        bench.openssl("req -new -key server.key -subj /O=example/CN=updates -out server.csr");
        bench.openssl(
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names \
             -out server.pem",
        );
        std::fs::write(bench.path("pass"), "correct horse\n").unwrap();
        std::fs::set_permissions(bench.path("pass"), PermissionsExt::from_mode(0o600)).unwrap();
        bench
    }

    fn p256() -> Bench {
        Bench::new(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn openssl(&self, line: &str) -> String {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn firmseal(&self, line: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_firmseal"))
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("the program runs")
    }

    fn succeeds(&self, line: &str) -> String {
        let output = self.firmseal(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, line: &str, code: i32) -> String {
        let output = self.firmseal(line);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        assert!(output.stdout.is_empty(), "{line}");
        text
    }

    /// What was imported is the server's chain and key, as OpenSSL sees it.
    fn is_imported(&self, directory: &str, chain: usize) {
        let certificate = format!("{directory}/server.pem");
        let text = String::from_utf8(self.read(&certificate)).unwrap();
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), chain, "{text}");
        let first = self.openssl(&format!("x509 -in {certificate} -noout -fingerprint -sha256"));
        assert_eq!(
            first,
            self.openssl("x509 -in server.pem -noout -fingerprint -sha256"),
            "the leaf is first"
        );
        let public = self.openssl(&format!("pkey -in {directory}/server.key -pubout"));
        assert_eq!(public, self.openssl("pkey -in server.key -pubout"));
        assert_eq!(mode(&self.path(&format!("{directory}/server.key"))), 0o600);
        assert_eq!(mode(&self.path(&certificate)), 0o644);
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

const KEYS: &[(&str, &[&str])] = &[
    ("p256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    ("p384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ("ed25519", &["-algorithm", "ED25519"]),
    ("rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
];

/// How OpenSSL 3 and its ancestors write PKCS#12.
const PKCS12: &[(&str, &str)] = &[
    ("modern", ""),
    ("aes128", "-keypbe AES-128-CBC -certpbe AES-128-CBC -macalg sha512"),
    ("legacy", "-legacy"),
    ("3des", "-legacy -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES"),
    ("rc2", "-legacy -keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-RC2-40"),
    ("half", "-keypbe AES-256-CBC -certpbe NONE"),
];

#[test]
fn pkcs12_of_every_age_becomes_pem() {
    for (key, arguments) in KEYS {
        let bench = Bench::new(arguments);
        for (name, options) in PKCS12 {
            // The CA stands first: order in the file means nothing.
            bench.openssl(&format!(
                "pkcs12 -export -inkey server.key -in server.pem -certfile ca.pem -out {name}.p12 \
                 -passout file:pass {options}"
            ));
            bench.succeeds(&format!("tls import {name}.p12 --passphrase file:pass -o {name}"));
            bench.is_imported(name, 2);
            let wrong = bench.fails(&format!("tls import {name}.p12 --passphrase env:PATH -o other"), 5);
            assert!(wrong.contains("wrong passphrase"), "{key} {name}: {wrong}");
            let none = bench.fails(&format!("tls import {name}.p12 -o other"), 5);
            assert!(none.contains("--passphrase"), "{key} {name}: {none}");
            assert!(!bench.path("other").exists(), "nothing is half imported");
        }
    }
}

#[test]
fn pkcs12_without_a_passphrase_needs_none() {
    let bench = Bench::p256();
    bench.openssl("pkcs12 -export -inkey server.key -in server.pem -out empty.p12 -passout pass:");
    bench.succeeds("tls import empty.p12 -o empty");
    bench.is_imported("empty", 1);
    bench.openssl("pkcs12 -export -nokeys -in ca.pem -out trust.p12 -passout pass:");
    bench.succeeds("tls import trust.p12 -o trust --name authority");
    assert!(!bench.path("trust/authority.key").exists());
    assert_eq!(bench.read("trust/authority.pem"), bench.read("ca.pem"));
}

#[test]
fn der_in_files_of_their_own_becomes_pem() {
    for (key, arguments) in KEYS {
        let bench = Bench::new(arguments);
        bench.openssl("x509 -in server.pem -outform DER -out server.der");
        bench.openssl("x509 -in ca.pem -outform DER -out ca.der");
        bench.openssl("pkcs8 -topk8 -nocrypt -in server.key -outform DER -out plain.p8");
        bench.openssl("pkcs8 -topk8 -in server.key -outform DER -out sealed.p8 -passout file:pass");
        bench.openssl("pkcs8 -topk8 -in server.key -out sealed.pem -passout file:pass");
        bench.succeeds("tls import ca.der plain.p8 server.der -o plain");
        bench.is_imported("plain", 2);
        bench.succeeds("tls import server.der sealed.p8 --passphrase file:pass -o sealed");
        bench.is_imported("sealed", 1);
        bench.succeeds("tls import server.pem sealed.pem --passphrase file:pass -o pem");
        bench.is_imported("pem", 1);
        if *key == "rsa" || key.starts_with('p') {
            let algorithm = if *key == "rsa" { "rsa" } else { "ec" };
            bench.openssl(&format!("{algorithm} -in server.key -outform DER -out old.der"));
            bench.succeeds("tls import server.der old.der -o old");
            bench.is_imported("old", 1);
        }
    }
}

#[test]
fn names_validity_and_fingerprints_are_shown() {
    let bench = Bench::p256();
    bench.openssl("x509 -in server.pem -outform DER -out server.der");
    bench.openssl("pkcs12 -export -inkey server.key -in server.pem -out server.p12 -passout file:pass");
    let text = bench.succeeds("tls show server.pem");
    for name in
        ["updates", "updates.example.com", "*.example.org", "192.0.2.7", "2001:db8::7", "ops@example.com"]
    {
        assert!(text.lines().any(|line| line.split_whitespace().last() == Some(name)), "{name}: {text}");
    }
    let shown = |line: &str| -> serde_json::Value { serde_json::from_str(&bench.succeeds(line)).unwrap() };
    let json = shown("tls show server.pem --json");
    assert_eq!(json[0]["common_names"], serde_json::json!(["updates"]));
    assert_eq!(json[0]["authority"], false);
    let fingerprint = bench.openssl("x509 -in server.pem -noout -fingerprint -sha256").to_lowercase();
    let fingerprint = fingerprint.trim().split('=').nth(1).unwrap().replace(':', "");
    assert_eq!(json[0]["sha256"], fingerprint);
    let serial = bench.openssl("x509 -in server.pem -noout -serial").to_lowercase();
    assert_eq!(json[0]["serial"].as_str().unwrap(), serial.trim().split('=').nth(1).unwrap());
    assert_eq!(json, shown("tls show server.der --json"));
    assert_eq!(json, shown("tls show server.p12 --passphrase file:pass --json"));
    let authority = shown("tls show ca.pem --json");
    assert_eq!((&authority[0]["authority"], &authority[0]["self_issued"]), (&true.into(), &true.into()));
}

#[test]
fn what_is_self_signed_serves_the_names_it_was_made_for() {
    let bench = Bench::p256();
    bench.succeeds("tls self-signed --name updates.example.com --name 192.0.2.7 --days 30 -o made --json");
    assert_eq!(mode(&bench.path("made/server.key")), 0o600);
    // Its own authority, for these names and no others.
    let verify = "verify -x509_strict -partial_chain -purpose sslserver -trusted made/server.pem";
    bench.openssl(&format!("{verify} -verify_hostname updates.example.com made/server.pem"));
    bench.openssl(&format!("{verify} -verify_ip 192.0.2.7 made/server.pem"));
    let other = Command::new("openssl")
        .args(format!("{verify} -verify_hostname other.example.com made/server.pem").split_whitespace())
        .current_dir(bench.0.path())
        .output()
        .unwrap();
    assert!(!other.status.success());
    let public = bench.openssl("pkey -in made/server.key -pubout");
    assert_eq!(public, bench.openssl("x509 -in made/server.pem -noout -pubkey"));
    bench.fails("tls self-signed --name updates.example.com --days 0 -o zero", 2);
}

#[test]
fn nothing_is_overwritten() {
    let bench = Bench::p256();
    bench.succeeds("tls self-signed --name localhost -o made");
    let (certificate, key) = (bench.read("made/server.pem"), bench.read("made/server.key"));
    bench.fails("tls self-signed --name localhost -o made", 6);
    bench.fails("tls import server.pem server.key -o made", 6);
    // One of the two is enough.
    std::fs::remove_file(bench.path("made/server.key")).unwrap();
    bench.fails("tls self-signed --name localhost -o made", 6);
    assert!(!bench.path("made/server.key").exists(), "both files or none");
    std::fs::write(bench.path("made/server.key"), &key).unwrap();
    std::fs::remove_file(bench.path("made/server.pem")).unwrap();
    bench.fails("tls self-signed --name localhost -o made", 6);
    assert_eq!((bench.read("made/server.key"), bench.path("made/server.pem").exists()), (key, false));
    assert!(!certificate.is_empty());
    bench.fails("tls self-signed --name localhost -o made --file-name ../made", 2);
}

#[test]
fn what_does_not_fit_is_refused() {
    let bench = Bench::p256();
    bench.openssl("genpkey -algorithm ED25519 -out other.key");
    let text = bench.fails("tls import server.pem other.key -o x", 3);
    assert!(text.contains("belongs"), "{text}");
    let text = bench.fails("tls import server.pem server.key other.key -o x", 2);
    assert!(text.contains("which one"), "{text}");
    bench.openssl("ec -in server.key -aes128 -passout file:pass -out old.pem");
    let text = bench.fails("tls import server.pem old.pem --passphrase file:pass -o x", 3);
    assert!(text.contains("openssl pkcs8"), "{text}");
    bench.fails("tls show server.key", 3);
    bench.fails("tls show missing.pem", 8);
    bench.fails("tls show .", 8);
    assert!(!bench.path("x").exists());
}

#[test]
fn hostile_files_end_in_an_error() {
    let bench = Bench::p256();
    bench.openssl("pkcs12 -export -inkey server.key -in server.pem -out good.p12 -passout file:pass");
    bench.openssl("x509 -in server.pem -outform DER -out good.der");
    let mut cases: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0; 100],
        vec![0xff; 4096],
        vec![0x30; 10_000],
        b"\x30\x80\x02\x01\x03".to_vec(),
        b"-----BEGIN CERTIFICATE-----\n".to_vec(),
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n".to_vec(),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n".to_vec(),
        vec![b'-'; 2 << 20],
    ];
    for good in ["good.p12", "good.der"] {
        let good = bench.read(good);
        for step in 1..16 {
            cases.push(good[..good.len() * step / 16].to_vec());
            let mut flipped = good.clone();
            flipped[good.len() * step / 16] ^= 0xff;
            cases.push(flipped);
        }
    }
    for (index, case) in cases.iter().enumerate() {
        std::fs::write(bench.path("bad"), case).unwrap();
        let output = bench.firmseal("tls show bad --passphrase file:pass");
        let text = String::from_utf8_lossy(&output.stderr);
        // A flip may land where nothing is checked without a signature.
        assert!(matches!(output.status.code(), Some(0 | 3 | 5)), "case {index}: {:?} {text}", output.status);
        assert!(!text.contains("panicked"), "case {index}: {text}");
    }
}
