//! Keys in Vault, against a fake that signs for real: the conformance suite,
//! making and rotating keys, and everything that can go wrong in between.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use firmseal_keys::conformance::{self, MemoryLog, covering};
use firmseal_keys::pool::wait;
use firmseal_keys::{SecretSource, SignError, Signer};
use firmseal_keys_vault::{Options, VaultError, VaultKey, VaultUri, generate};
use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};
use firmseal_testkit::vault::{Flags, Mode, Vault};

const ALGORITHMS: [KeyAlgorithm; 6] = [
    KeyAlgorithm::P256,
    KeyAlgorithm::P384,
    KeyAlgorithm::Ed25519,
    KeyAlgorithm::Rsa(2048),
    KeyAlgorithm::Rsa(3072),
    KeyAlgorithm::Rsa(4096),
];

/// A fake and a directory with what reaches it.
struct Bench {
    vault: Vault,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { vault: Vault::start(), dir: tempfile::tempdir().unwrap() }
    }

    fn uri(&self, name: &str, version: u32) -> VaultUri {
        self.vault.uri(self.dir.path(), name, version).parse().unwrap()
    }

    /// A P-256 key called `release`, opened.
    fn key(&self) -> VaultKey {
        self.vault.make("release", "ecdsa-p256", Flags::default());
        self.vault.make("impostor", "ecdsa-p256", Flags::default());
        self.open(&self.uri("release", 1)).unwrap()
    }

    fn open(&self, uri: &VaultUri) -> Result<VaultKey, VaultError> {
        firmseal_keys_vault::open(uri, &SecretSource::Prompt, Options::default())
    }

    fn write_token(&self, token: &str) {
        fs::write(self.vault.token_file(self.dir.path()), token).unwrap();
    }
}

fn sign(key: &VaultKey) -> Result<Signature, SignError> {
    let tbs = Tbs::Message(b"firmware".to_vec());
    let log = MemoryLog::default();
    wait(async { key.sign(covering(&log, key.public_key(), &tbs).await, tbs.clone()).await })
}

#[test]
fn every_algorithm_conforms() {
    let bench = Bench::new();
    for algorithm in ALGORITHMS {
        let uri = bench.uri(&format!("key-{algorithm}"), 1);
        let made = generate(&uri, &SecretSource::Prompt, algorithm).unwrap();
        assert_eq!(made.algorithm(), algorithm);
        let key = firmseal_keys_vault::open(&uri, &SecretSource::Prompt, Options::default()).unwrap();
        assert_eq!(key.public_key(), &made);
        assert_eq!(key.weakness(), None);
        assert!(key.describe().contains("cannot leave vault"), "{}", key.describe());
        assert!(wait(key.ready()).is_ok());
        wait(conformance::run(&key));
        conformance::run_threads(&key, 4);
    }
}

#[test]
fn a_version_is_a_key_of_its_own() {
    let bench = Bench::new();
    let make = |version| generate(&bench.uri("release", version), &SecretSource::Prompt, KeyAlgorithm::P256);
    assert!(matches!(make(2), Err(VaultError::OutOfTurn { next: 1 })));
    let first = make(1).unwrap();
    assert!(matches!(make(1), Err(VaultError::Exists(1))));
    assert!(matches!(make(3), Err(VaultError::OutOfTurn { next: 2 })));
    let ed25519 = generate(&bench.uri("release", 2), &SecretSource::Prompt, KeyAlgorithm::Ed25519);
    assert!(matches!(ed25519, Err(VaultError::NotForSigning(_))));
    let second = make(2).unwrap();
    assert_ne!(first, second);
    // After the rotation the old name still signs with the old key.
    for (version, public) in [(1, &first), (2, &second)] {
        let key = bench.open(&bench.uri("release", version)).unwrap();
        assert_eq!(key.public_key(), public);
        assert!(sign(&key).is_ok());
    }
    let Err(VaultError::NoVersion { wanted: 3, present }) = bench.open(&bench.uri("release", 3)) else {
        panic!("there is no version 3")
    };
    assert_eq!(present, "1 to 2");
    assert!(matches!(bench.open(&bench.uri("nobody", 1)), Err(VaultError::NoKey { .. })));
}

#[test]
fn keys_that_others_made_are_judged() {
    let bench = Bench::new();
    bench.vault.make("loose", "ecdsa-p256", Flags { exportable: true, ..Flags::default() });
    let loose = bench.open(&bench.uri("loose", 1)).unwrap();
    assert!(loose.describe().contains("weakly kept: it is exportable"), "{}", loose.describe());
    bench.vault.make("derived", "ed25519", Flags { derived: true, ..Flags::default() });
    assert!(matches!(bench.open(&bench.uri("derived", 1)), Err(VaultError::NotForSigning(_))));
    bench.vault.make("retired", "ed25519", Flags { min_encryption_version: 2, ..Flags::default() });
    assert!(matches!(bench.open(&bench.uri("retired", 1)), Err(VaultError::NotForSigning(_))));
    // `keys generate` does not take over what somebody made carelessly.
    let taken = generate(&bench.uri("loose", 2), &SecretSource::Prompt, KeyAlgorithm::P256);
    assert!(matches!(taken, Err(VaultError::NotConfined(_))), "{taken:?}");
}

#[test]
fn a_vault_in_trouble_is_out_of_reach_and_comes_back() {
    let bench = Bench::new();
    let key = bench.key();
    // Nobody waits long for one that hangs.
    let options = Options { deadline: Duration::from_secs(5), ..Options::default() };
    let short = firmseal_keys_vault::open(&bench.uri("release", 1), &SecretSource::Prompt, options).unwrap();
    let troubles = [
        Mode::Sealed,
        Mode::RateLimited,
        Mode::Broken,
        Mode::Standby,
        Mode::Lagging,
        Mode::Cuts,
        Mode::Page,
        Mode::Endless,
        Mode::Hangs,
    ];
    for mode in troubles {
        bench.vault.set(mode);
        let asked = if matches!(mode, Mode::Hangs) { &short } else { &key };
        let (before, signed) = bench.vault.counts();
        let answer = sign(asked);
        assert!(matches!(answer, Err(SignError::Unavailable(_))), "{mode:?}: {answer:?}");
        let (after, none) = bench.vault.counts();
        assert_eq!((after - before, none - signed), (1, 0), "{mode:?}: asked once, not again");
        assert!(matches!(wait(asked.ready()), Err(SignError::Unavailable(_))), "{mode:?}");
        bench.vault.set(Mode::Well);
        assert!(sign(&key).is_ok(), "{mode:?} is over");
    }
}

#[test]
fn wrong_answers_are_discarded() {
    let bench = Bench::new();
    let key = bench.key();
    for mode in [Mode::WrongKey, Mode::WrongInput, Mode::WrongVersion, Mode::Garbage] {
        bench.vault.set(mode);
        let answer = sign(&key);
        assert!(matches!(answer, Err(SignError::BadSignature)), "{mode:?}: {answer:?}");
    }
    bench.vault.set(Mode::Well);
    bench.vault.replace("release", "ecdsa-p256");
    assert!(matches!(wait(key.ready()), Err(SignError::Unfit(why)) if why.contains("replaced")));
    assert!(matches!(sign(&key), Err(SignError::BadSignature)));
}

#[test]
fn a_key_that_is_gone_or_withdrawn_is_unfit_until_it_is_back() {
    let bench = Bench::new();
    let key = bench.key();
    bench.vault.rotate("release");
    let unfit = |why: &str| {
        let (_, before) = bench.vault.counts();
        for answer in [sign(&key).map(drop), wait(key.ready())] {
            assert!(
                matches!(&answer, Err(SignError::Unfit(told)) if told.contains(why)),
                "{why}: {answer:?}"
            );
        }
        assert_eq!(bench.vault.counts().1, before, "{why}: nothing was signed");
    };
    bench.vault.rename("release", "elsewhere");
    unfit("has no key `release`");
    bench.vault.rename("elsewhere", "release");
    assert!(sign(&key).is_ok());
    bench.vault.configure("release", &serde_json::json!({ "min_encryption_version": 2 }));
    unfit("min_encryption_version");
    bench.vault.configure("release", &serde_json::json!({ "min_encryption_version": 0 }));
    assert!(sign(&key).is_ok());
    bench.vault.set_namespace("elsewhere");
    unfit("no transit engine");
}

#[test]
fn a_key_that_is_well_and_refuses_is_not_unfit() {
    let bench = Bench::new();
    let key = bench.key();
    bench.vault.set(Mode::Picky);
    let answer = sign(&key);
    assert!(matches!(&answer, Err(SignError::Refused(why)) if why.contains("400")), "{answer:?}");
    assert!(wait(key.ready()).is_ok());
}

#[test]
fn a_refused_token_is_sent_again_only_if_another_was_put_in_place() {
    let bench = Bench::new();
    let key = bench.key();
    bench.vault.set_token("hvs.the-next-one");
    let (before, _) = bench.vault.counts();
    assert!(matches!(sign(&key), Err(SignError::Denied(_))));
    let (after, _) = bench.vault.counts();
    assert_eq!(after - before, 1, "the token that was refused is not tried twice");
    bench.write_token("hvs.the-next-one\n");
    assert!(sign(&key).is_ok());
    // What was put in place is refused as well: tried once.
    bench.vault.set_token("hvs.and-one-more");
    bench.write_token("hvs.some-other");
    let (before, _) = bench.vault.counts();
    assert!(matches!(sign(&key), Err(SignError::Denied(_))));
    assert_eq!(bench.vault.counts().0 - before, 2);
    // Open says why.
    let Err(VaultError::Denied(why)) = bench.open(&bench.uri_with_old_token()) else { panic!("refused") };
    assert!(why.contains("permission denied"), "{why}");
}

impl Bench {
    /// A URI whose token is not in force.
    fn uri_with_old_token(&self) -> VaultUri {
        let uri = self.uri("release", 1);
        self.write_token("hvs.old");
        uri
    }
}

#[test]
fn a_namespace_is_part_of_the_name() {
    let bench = Bench::new();
    bench.vault.make("release", "ed25519", Flags::default());
    bench.vault.set_namespace("team/firmware");
    assert!(matches!(bench.open(&bench.uri("release", 1)), Err(VaultError::NoEngine { .. })));
    let uri = VaultUri { namespace: Some("team/firmware".to_owned()), ..bench.uri("release", 1) };
    assert!(sign(&bench.open(&uri).unwrap()).is_ok());
}

#[test]
fn another_server_gets_no_token() {
    let (bench, other) = (Bench::new(), Vault::start());
    bench.vault.make("release", "ed25519", Flags::default());
    let uri = bench.uri("release", 1);
    fs::write(&uri.authorities, other.authorities()).unwrap();
    let refused = bench.open(&uri);
    let Err(VaultError::Unreachable { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("certificate"), "{why}");
    assert_eq!(bench.vault.counts().0, 0, "no request was made");
    fs::write(&uri.authorities, "no certificate").unwrap();
    assert!(matches!(bench.open(&uri), Err(VaultError::Authorities { .. })));
    drop(other);
    let nobody = VaultUri { port: 1, ..bench.uri("release", 1) };
    assert!(matches!(bench.open(&nobody), Err(VaultError::Unreachable { .. })));
}

#[test]
fn a_token_never_shows() {
    let bench = Bench::new();
    let key = bench.key();
    let token = bench.vault.token();
    let mut texts = vec![format!("{key:?}"), key.describe()];
    for mode in [Mode::Echoes, Mode::Sealed, Mode::Page, Mode::Cuts, Mode::Standby] {
        bench.vault.set(mode);
        let Err(error) = sign(&key) else { panic!("{mode:?}") };
        texts.push(format!("{error} {error:?}"));
        let Err(error) = bench.open(&bench.uri("release", 1)) else { panic!("{mode:?}") };
        texts.push(format!("{error} {error:?}"));
    }
    bench.vault.set(Mode::Well);
    bench.vault.set_token("another");
    let Err(error) = sign(&key) else { panic!("refused") };
    texts.push(format!("{error} {error:?}"));
    bench.write_token("hvs.with\u{7f}control");
    let Err(error) = firmseal_keys_vault::open(
        &VaultUri {
            token: Some(SecretSource::File(bench.vault.token_file(bench.dir.path()))),
            ..bench.uri_as_is()
        },
        &SecretSource::Prompt,
        Options::default(),
    ) else {
        panic!("no such token")
    };
    texts.push(format!("{error} {error:?}"));
    for text in texts {
        assert!(!text.contains(&token) && !text.contains("hvs."), "{text}");
    }
}

impl Bench {
    /// The URI, the token's file left as it is.
    fn uri_as_is(&self) -> VaultUri {
        let kept = fs::read(self.vault.token_file(self.dir.path())).unwrap();
        let uri = self.uri("release", 1);
        fs::write(self.vault.token_file(self.dir.path()), kept).unwrap();
        uri
    }
}

#[test]
fn requests_are_bounded() {
    let bench = Bench::new();
    bench.vault.make("release", "ecdsa-p256", Flags::default());
    let options = Options { in_flight: 1, queue: 1, deadline: Duration::from_secs(60) };
    let key = Arc::new(
        firmseal_keys_vault::open(&bench.uri("release", 1), &SecretSource::Prompt, options).unwrap(),
    );
    bench.vault.set(Mode::Hangs);
    let (answers, answered) = std::sync::mpsc::channel();
    for _ in 0..3 {
        let (key, answers) = (Arc::clone(&key), answers.clone());
        std::thread::spawn(move || answers.send(sign(&key)));
    }
    // Two hang or wait; the third is refused without a wait.
    let refused = answered.recv_timeout(Duration::from_secs(30)).unwrap();
    assert!(matches!(refused, Err(SignError::Unavailable(why)) if why.contains("already wait")));
}
