//! The forms in which people sign: OpenSSH's own, a security key's, a
//! passkey's. `ssh-keygen` is the judge of the first.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::sshsig;
use firmseal_manifest::{Agreement, PublicKey, Signature, Statement, Tbs};
use firmseal_testkit::vectors::Scene;
use firmseal_testkit::{Story, TestKey, story};

/// What a device says to a release whose first approver signs like this.
fn verdict(key: PublicKey, agree: impl Fn(&Statement) -> Agreement + 'static) -> Result<(), u16> {
    let mut scene = Scene::default();
    scene.tell(|story: &mut Story| {
        story.keys = vec![(0, key)];
        story.agree = Box::new(move |statement, place| match place {
            0 => agree(statement),
            _ => story::agree(statement, &story::approver(place)),
        });
    });
    scene.finish("", "", Ok(())).verdict()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// An SSH signature in pieces.
struct Blob {
    name: &'static str,
    key: Vec<u8>,
    namespace: &'static [u8],
    hash: &'static [u8],
    signature: Vec<u8>,
    tail: Vec<u8>,
}

impl Blob {
    fn encode(&self) -> Agreement {
        let signature = [string(self.name.as_bytes()), string(&self.signature), self.tail.clone()].concat();
        Agreement::Ssh(
            [
                b"SSHSIG".to_vec(),
                1u32.to_be_bytes().to_vec(),
                string(&[string(self.name.as_bytes()), self.key.clone()].concat()),
                string(self.namespace),
                string(b""),
                string(self.hash),
                string(&signature),
            ]
            .concat(),
        )
    }
}

fn ed25519(key: &PublicKey) -> Vec<u8> {
    match key.as_core() {
        Some(firmseal_core::PublicKey::Ed25519(x)) => x.to_vec(),
        _ => panic!("not an Ed25519 key"),
    }
}

fn raw(key: &TestKey, message: &[u8]) -> Vec<u8> {
    let Signature(bytes) = key.sign(&Tbs::Message(message.to_vec()));
    bytes
}

fn plain(statement: &Statement, change: impl Fn(&mut Blob)) -> Agreement {
    let key = TestKey::ed25519(7);
    let mut blob = Blob {
        name: "ssh-ed25519",
        key: string(&ed25519(key.public())),
        namespace: sshsig::NAMESPACE,
        hash: b"sha256",
        signature: raw(&key, &statement.to_be_signed_by_ssh()),
        tail: vec![],
    };
    change(&mut blob);
    blob.encode()
}

#[test]
fn an_ssh_key_approves() {
    let key = || TestKey::ed25519(7).public().clone();
    assert_eq!(verdict(key(), |statement| plain(statement, |_| ())), Ok(()));
    type Change = fn(&mut Blob);
    let wrong: [(u16, Change); 5] = [
        (100, |blob| blob.namespace = b"file"),
        (100, |blob| blob.hash = b"sha512"),
        (100, |blob| blob.name = "ssh-rsa"),
        (100, |blob| blob.tail = vec![0]),
        (201, |blob| blob.signature[9] ^= 1),
    ];
    for (code, change) in wrong {
        assert_eq!(verdict(key(), move |statement| plain(statement, change)), Err(code));
    }
    // The signature of another key than the one it names.
    let other = TestKey::ed25519(8).public().clone();
    assert_eq!(verdict(other, |statement| plain(statement, |_| ())), Err(701));
}

#[test]
fn a_security_key_approves_with_a_touch() {
    let approve = |flags: u8| {
        move |statement: &Statement| {
            let state = [flags, 0, 0, 0, 9];
            let signed = RustCrypto.digest(&statement.to_be_signed_by_ssh());
            let message = [RustCrypto.digest(b"ssh:").0.as_slice(), &state, &signed.0].concat();
            plain(statement, |blob| {
                blob.name = "sk-ssh-ed25519@openssh.com";
                blob.key.extend(string(b"ssh:"));
                blob.signature = raw(&TestKey::ed25519(7), &message);
                blob.tail = state.to_vec();
            })
        }
    };
    let key = || TestKey::ed25519(7).public().clone();
    assert_eq!(verdict(key(), approve(1)), Ok(()));
    assert_eq!(verdict(key(), approve(0)), Err(201), "nobody touched it");
}

/// An ECDSA signature in DER.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        let pad = if bytes[0] & 0x80 != 0 { vec![0] } else { vec![] };
        [vec![2, (bytes.len() + pad.len()) as u8], pad, bytes.to_vec()].concat()
    };
    let body = [integer(&raw[..32]), integer(&raw[32..])].concat();
    [vec![0x30, body.len() as u8], body].concat()
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).peekable();
    let mut out = String::new();
    while bits.peek().is_some() {
        let digit = (0..6).fold(0, |digit, _| digit << 1 | bits.next().unwrap_or(0));
        out.push(char::from(DIGITS[usize::from(digit)]));
    }
    out
}

#[test]
fn a_passkey_approves_when_its_user_was_verified() {
    let approve = |flags: u8, template: &'static str| {
        move |statement: &Statement| {
            let key = TestKey::p256(7);
            let client = template.replace("CHALLENGE", &base64url(&statement.digest().0)).into_bytes();
            let authenticator = [vec![3; 32], vec![flags], vec![0; 4]].concat();
            let signed = [authenticator.clone(), RustCrypto.digest(&client).0.to_vec()].concat();
            let signature = der(&raw(&key, &signed));
            Agreement::WebAuthn { key: key.public().id(), authenticator, client, signature }
        }
    };
    const GOOD: &str =
        r#"{"type":"webauthn.get","challenge":"CHALLENGE","origin":"https://console.example.com"}"#;
    let key = || TestKey::p256(7).public().clone();
    assert_eq!(verdict(key(), approve(5, GOOD)), Ok(()));
    assert_eq!(verdict(key(), approve(1, GOOD)), Err(201), "the user was not verified");
    assert_eq!(verdict(key(), approve(4, GOOD)), Err(201), "the user was not there");
    let create =
        r#"{"type":"webauthn.create","challenge":"CHALLENGE","origin":"https://console.example.com"}"#;
    assert_eq!(verdict(key(), approve(5, create)), Err(201), "a registration is no assertion");
    let other =
        r#"{"type":"webauthn.get","challenge":"","x":"CHALLENGE","origin":"https://evil.example.com"}"#;
    assert_eq!(verdict(key(), approve(5, other)), Err(201), "the challenge stands elsewhere");
}

/// OpenSSH's own signer.
fn keygen(directory: &Path, arguments: &[&str]) {
    let done = Command::new("ssh-keygen").args(arguments).current_dir(directory).output();
    let done = done.expect("ssh-keygen is missing: run `cargo xtask setup`");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn unbase64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let bits = text.bytes().filter(|byte| *byte != b'=');
    let bits: Vec<u8> = bits.flat_map(|byte| (0..6).rev().map(move |bit| digit(byte) >> bit & 1)).collect();
    bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}

#[test]
fn what_ssh_keygen_signs_counts() {
    for kind in ["ed25519", "ecdsa"] {
        let directory = tempfile::tempdir().unwrap();
        keygen(directory.path(), &["-q", "-t", kind, "-N", "", "-f", "key"]);
        let public = std::fs::read_to_string(directory.path().join("key.pub")).unwrap();
        let blob = unbase64(public.split(' ').nth(1).unwrap());
        let key = match kind {
            "ed25519" => PublicKey::from_ed25519(blob[blob.len() - 32..].try_into().unwrap()).unwrap(),
            _ => PublicKey::from_point(firmseal_manifest::KeyAlgorithm::P256, &blob[blob.len() - 65..])
                .unwrap(),
        };
        let approve = move |statement: &Statement| {
            std::fs::write(directory.path().join("statement"), statement.encode()).unwrap();
            let namespace = std::str::from_utf8(sshsig::NAMESPACE).unwrap();
            let options =
                ["-q", "-Y", "sign", "-O", "hashalg=sha256", "-n", namespace, "-f", "key", "statement"];
            keygen(directory.path(), &options);
            let armored = std::fs::read_to_string(directory.path().join("statement.sig")).unwrap();
            let body: String = armored.lines().filter(|line| !line.starts_with("-----")).collect();
            Agreement::Ssh(unbase64(&body))
        };
        assert_eq!(verdict(key, approve), Ok(()), "{kind}");
    }
}
