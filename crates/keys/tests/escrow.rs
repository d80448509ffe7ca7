//! Shares of keys: enough of them make the key, and nothing else makes one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_keys::age::{AgeError, Identity, Recipient, decrypt, encrypt};
use firmseal_keys::conformance::{MemoryLog, covering};
use firmseal_keys::escrow::{EscrowError, recover, recover_wrapping, split, split_wrapping};
use firmseal_keys::pool::wait;
use firmseal_keys::wrapped::{Wrapped, WrappingKey};
use firmseal_keys::{FileKey, Secret, Signer};
use firmseal_manifest::{KeyAlgorithm, Tbs};
use zeroize::Zeroizing;

fn secret() -> Secret {
    Secret::new(b"a passphrase".to_vec())
}

fn bytes(share: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(share.as_bytes().to_vec())
}

#[test]
fn any_two_of_three_make_the_key() {
    let dir = tempfile::tempdir().unwrap();
    for (name, algorithm) in
        [("ed", KeyAlgorithm::Ed25519), ("p256", KeyAlgorithm::P256), ("p384", KeyAlgorithm::P384)]
    {
        let path = dir.path().join(name);
        let key = FileKey::generate(&path, algorithm, &secret()).unwrap();
        let (public, shares) = split(&path, &secret(), 2, 3).unwrap();
        assert_eq!(public, *key.public_key());
        for (a, b) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
            let back = dir.path().join(format!("{name}-{a}{b}"));
            let made = recover(&[bytes(&shares[a]), bytes(&shares[b])], &back, &secret()).unwrap();
            assert_eq!(made, public);
            assert_eq!(*FileKey::open(&back, &secret()).unwrap().public_key(), public);
        }
    }
}

/// The key that comes back has no count of its own: the log goes on where it
/// was.
#[test]
fn an_lms_key_comes_back_and_signs_on() {
    let dir = tempfile::tempdir().unwrap();
    let (path, log) = (dir.path().join("key"), MemoryLog::default());
    let set = firmseal_core::lms::Parameters::from_codes(10, 6).unwrap();
    let key = wait(FileKey::generate_lms(&path, set, &secret(), &log, true)).unwrap();
    let tbs = Tbs::Message(b"firmware".to_vec());
    let leaf = |key: &FileKey| {
        let logged = wait(covering(&log, key.public_key(), &tbs));
        let signature = wait(key.sign(logged, tbs.clone())).unwrap();
        u32::from_be_bytes(signature.0[4..8].try_into().unwrap())
    };
    let first = leaf(&key);
    let (public, shares) = split(&path, &secret(), 2, 3).unwrap();
    let back = dir.path().join("back");
    assert_eq!(recover(&[bytes(&shares[2]), bytes(&shares[0])], &back, &secret()).unwrap(), public);
    assert_eq!(leaf(&FileKey::open(&back, &secret()).unwrap()), first + 1);
}

#[test]
fn shares_of_a_wrapping_key_carry_the_wrapped_key() {
    let dir = tempfile::tempdir().unwrap();
    let (path, to) = (dir.path().join("key"), dir.path().join("back"));
    let key = FileKey::generate(&path, KeyAlgorithm::P256, &secret()).unwrap();
    let (_, of_file) = split(&path, &secret(), 2, 3).unwrap();
    let wrapping = WrappingKey::draw().unwrap();
    let wrapped = Wrapped { public: key.public_key().clone(), bytes: vec![7; 144] };
    let shares = split_wrapping(&wrapping, &wrapped, 2, 3).unwrap();
    let pair = |shares: &[Zeroizing<String>]| [bytes(&shares[2]), bytes(&shares[0])];
    let (back, same) = recover_wrapping(&pair(&shares)).unwrap();
    assert_eq!((back.expose(), same), (wrapping.expose(), wrapped.clone()));
    // Neither kind is taken for the other.
    assert!(matches!(recover(&pair(&shares), &to, &secret()), Err(EscrowError::OfAToken)));
    assert!(matches!(recover_wrapping(&pair(&of_file)), Err(EscrowError::OfAFile)));
    assert!(!to.exists());
    // Another wrapped key, or another key's public half, beside one share or
    // all of them.
    let wrong = |result: Result<(WrappingKey, Wrapped), EscrowError>| result.map(|_| ()).unwrap_err();
    let swap = |share: &str| bytes(&share.replace("wrapped BwcH", "wrapped BwcI"));
    assert!(matches!(
        wrong(recover_wrapping(&[bytes(&shares[0]), swap(&shares[1])])),
        EscrowError::Another(2)
    ));
    let other = FileKey::generate(&dir.path().join("other"), KeyAlgorithm::P256, &secret()).unwrap();
    let mine = shares[0].lines().find(|line| line.starts_with("public ")).unwrap();
    let theirs =
        split_wrapping(&wrapping, &Wrapped { public: other.public_key().clone(), ..wrapped }, 2, 2).unwrap();
    let theirs = theirs[0].lines().find(|line| line.starts_with("public ")).unwrap();
    let swap = |share: &str| bytes(&share.replace(mine, theirs));
    assert!(matches!(
        wrong(recover_wrapping(&[swap(&shares[0]), swap(&shares[1])])),
        EscrowError::NotAShare(1)
    ));
    for (need, count) in [(1, 3), (4, 3), (2, 33)] {
        let wrapped = Wrapped { public: key.public_key().clone(), bytes: vec![] };
        let refused = split_wrapping(&wrapping, &wrapped, need, count);
        assert!(matches!(refused, Err(EscrowError::Threshold { .. })));
    }
}

#[test]
fn wrong_shares_are_named_and_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, to) = (dir.path().join("key"), dir.path().join("back"));
    FileKey::generate(&path, KeyAlgorithm::Ed25519, &secret()).unwrap();
    let (_, shares) = split(&path, &secret(), 3, 4).unwrap();
    let (_, others) = split(&path, &secret(), 3, 4).unwrap();
    let s = |index: usize| bytes(&shares[index]);
    let fails = |given: &[Zeroizing<Vec<u8>>]| recover(given, &to, &secret()).unwrap_err();
    assert!(matches!(fails(&[]), EscrowError::TooFew { have: 0, .. }));
    assert!(matches!(fails(&[s(0), s(1)]), EscrowError::TooFew { have: 2, need: 3 }));
    assert!(matches!(fails(&[s(0), s(1), s(0)]), EscrowError::Twice(3)));
    assert!(matches!(fails(&[s(0), s(1), bytes(&others[2])]), EscrowError::Another(3)));
    assert!(matches!(fails(&[s(0), bytes("nonsense"), s(2)]), EscrowError::NotAShare(2)));
    // One letter of the data is another.
    let at = shares[1].find("data ").unwrap() + 9;
    let mut forged = shares[1].as_bytes().to_vec();
    forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
    assert!(matches!(fails(&[s(0), Zeroizing::new(forged), s(2)]), EscrowError::Changed(2)));
    // All of them agree on a threshold that is too low: no key comes out.
    let lower = |index: usize| bytes(&shares[index].replace("need 3", "need 2"));
    assert!(matches!(fails(&[lower(0), lower(1)]), EscrowError::NotTheKey(_)));
    // And on another key than the one that was split.
    let other = |index: usize| {
        let text = &shares[index];
        bytes(&text.replacen(&text[21..85], &"00".repeat(32), 1))
    };
    assert!(matches!(fails(&[other(0), other(1), other(2)]), EscrowError::NotTheKey(_)));
    assert!(!to.exists());
    for (need, count) in [(1, 3), (0, 0), (4, 3), (2, 33)] {
        assert!(matches!(split(&path, &secret(), need, count), Err(EscrowError::Threshold { .. })));
    }
    assert!(split(&path, &Secret::new(b"another".to_vec()), 2, 3).is_err());
}

/// C2SP age: the identity of its examples' form; made with `age` 0.12.
const IDENTITY: &str = include_str!("age/identity.txt");
const RECIPIENT: &str = include_str!("age/recipient.txt");
const SEALED: &[u8] = include_bytes!("age/sealed.age");

#[test]
fn what_age_writes_is_read() {
    let identity = Identity::from_file(IDENTITY.as_bytes()).unwrap();
    assert_eq!(identity.recipient().unwrap().to_string(), RECIPIENT.trim());
    assert_eq!(decrypt(&identity, SEALED).unwrap().as_slice(), b"a share, as another program writes it");
    for at in 0..SEALED.len() {
        let mut other = SEALED.to_vec();
        other[at] ^= 1;
        assert!(decrypt(&identity, &other).is_err(), "byte {at}");
        assert!(decrypt(&identity, &SEALED[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_file_is_for_its_recipient() {
    let to: Recipient = RECIPIENT.trim().parse().unwrap();
    let identity = Identity::from_file(IDENTITY.as_bytes()).unwrap();
    let sealed = encrypt(&to, b"a share").unwrap();
    assert_eq!(decrypt(&identity, &sealed).unwrap().as_slice(), b"a share");
    assert_ne!(encrypt(&to, b"a share").unwrap(), sealed, "no two are alike");
    assert_eq!(encrypt(&to, &vec![0; 64 * 1024 + 1]), Err(AgeError::TooLong));
    let whole = vec![7; 64 * 1024];
    assert_eq!(decrypt(&identity, &encrypt(&to, &whole).unwrap()).unwrap().as_slice(), whole);
    for bad in ["", "age1", "AGE1", &RECIPIENT.trim().replace('q', "p"), IDENTITY.trim()] {
        assert!(bad.parse::<Recipient>().is_err(), "{bad}");
    }
    for bad in ["", RECIPIENT, &IDENTITY.to_lowercase(), &format!("{IDENTITY}{IDENTITY}")] {
        assert!(Identity::from_file(bad.as_bytes()).is_err());
    }
}
