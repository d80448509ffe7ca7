//! Keys in KMS, against moto in server mode: the conformance suite, making
//! keys, and what can go wrong.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use firmseal_keys::conformance::{self, MemoryLog, covering};
use firmseal_keys::pool::wait;
use firmseal_keys::{SecretSource, SignError, Signer};
use firmseal_keys_aws::{AwsError, AwsKey, AwsKmsUri, Destroyed, Options, SCHEME, destroy, generate, list};
use firmseal_manifest::{KeyAlgorithm, Signature, Tbs};

/// moto on a free port. It ends with its input.
struct Moto {
    child: Child,
    port: u16,
}

impl Moto {
    fn start(arguments: &[&str]) -> Moto {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let venv =
            std::env::var_os("FIRMSEAL_VENV").map_or_else(|| root.join("../../target/venv"), PathBuf::from);
        let mut command = Command::new(venv.join("bin/python"));
        command.arg(root.join("tests/kms_server.py")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { panic!("no Python environment: run `cargo xtask setup`") };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(port) = line.trim().parse() else { panic!("moto does not start: run `cargo xtask setup`") };
        Moto { child, port }
    }

    fn uri(&self, key: &str) -> AwsKmsUri {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        format!("aws-kms:{key}?region=eu-central-1&endpoint={endpoint}").parse().unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // The process that we started, by its id.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the test again as a child with credentials in its environment, as
/// AWS's SDK reads them; and with no way to credentials of this machine.
fn isolated(name: &str, body: fn()) {
    const CHILD: &str = "FIRMSEAL_TEST_KMS";
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    child.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "never-to-be-shown");
    child.env("AWS_EC2_METADATA_DISABLED", "true").env_remove("AWS_PROFILE").env("HOME", "/nonexistent");
    let output = child.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "the child ran no test called {name}: {out}");
    assert!(!out.contains("never-to-be-shown") && !err.contains("never-to-be-shown"), "{out}\n{err}");
}

fn open(uri: &AwsKmsUri) -> Result<AwsKey, AwsError> {
    firmseal_keys_aws::open(uri, Options { deadline: Duration::from_secs(60), ..Options::default() })
}

fn sign(key: &AwsKey) -> Result<Signature, SignError> {
    let tbs = Tbs::Message(b"firmware".to_vec());
    let log = MemoryLog::default();
    wait(async { key.sign(covering(&log, key.public_key(), &tbs).await, tbs.clone()).await })
}

#[test]
fn every_algorithm_conforms() {
    isolated("every_algorithm_conforms", || {
        let moto = Moto::start(&[]);
        for algorithm in
            [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa(2048), KeyAlgorithm::Rsa(3072)]
        {
            let uri = moto.uri(&format!("alias/firmseal/{algorithm}"));
            let made = generate(&uri, algorithm).unwrap();
            assert_eq!(made.algorithm(), algorithm);
            let key = open(&uri).unwrap();
            assert_eq!(key.public_key(), &made);
            assert!(key.describe().contains("cannot leave kms"), "{}", key.describe());
            assert!(key.describe().contains("arn:aws:kms:eu-central-1:"), "{}", key.describe());
            assert!(wait(key.ready()).is_ok());
            wait(conformance::run(&key));
            conformance::run_threads(&key, 2);
            assert!(matches!(generate(&uri, algorithm), Err(AwsError::Exists(_))));
        }
    });
}

#[test]
fn a_key_lives_where_its_uri_says() {
    isolated("a_key_lives_where_its_uri_says", || {
        let moto = Moto::start(&[]);
        conformance::run_home(&SCHEME, &moto.uri("alias/release").to_string(), &SecretSource::Prompt);
    });
}

#[test]
fn a_key_is_destroyed_by_kms_after_its_week() {
    isolated("a_key_is_destroyed_by_kms_after_its_week", || {
        let moto = Moto::start(&[]);
        let (uri, other) = (moto.uri("alias/release"), moto.uri("alias/other"));
        let key = generate(&uri, KeyAlgorithm::P256).unwrap();
        let another = generate(&other, KeyAlgorithm::P256).unwrap();
        let opened = open(&uri).unwrap();
        assert_eq!(destroy(&uri, &another.id()).unwrap(), Destroyed::Gone, "the alias stands for another");
        assert!(sign(&opened).is_ok(), "and that one is left alone");
        let Destroyed::On(day) = destroy(&uri, &key.id()).unwrap() else { panic!("KMS waits for a week") };
        assert!(day.starts_with("20") && day.contains('T'), "{day}");
        let answer = sign(&opened);
        assert!(matches!(answer, Err(SignError::Unfit(_))), "{answer:?}");
        assert!(matches!(wait(opened.ready()), Err(SignError::Unfit(_))), "that may be taken back");
        assert!(matches!(open(&uri), Err(AwsError::Disabled(_))));
        // Whoever was cut off comes again, by alias or by ARN.
        assert_eq!(destroy(&uri, &key.id()).unwrap(), Destroyed::On(day.clone()));
        let arn =
            opened.describe().split_whitespace().find(|word| word.starts_with("arn:")).unwrap().to_owned();
        let by_arn: AwsKmsUri =
            format!("aws-kms:{}?endpoint=http://127.0.0.1:{}", arn.trim_end_matches([',', ';']), moto.port)
                .parse()
                .unwrap();
        assert_eq!(destroy(&by_arn, &key.id()).unwrap(), Destroyed::On(day));
        assert!(sign(&open(&other).unwrap()).is_ok());
        assert_eq!(destroy(&moto.uri("alias/nobody"), &key.id()).unwrap(), Destroyed::Gone);
    });
}

#[test]
fn keys_that_sign_are_listed_under_their_aliases() {
    isolated("keys_that_sign_are_listed_under_their_aliases", || {
        let moto = Moto::start(&[]);
        let any = moto.uri("alias/any");
        assert!(list(&any).unwrap().is_empty());
        let made: Vec<_> = (0..3)
            .map(|index| generate(&moto.uri(&format!("alias/key-{index}")), KeyAlgorithm::P256).unwrap())
            .collect();
        destroy(&moto.uri("alias/key-1"), &made[1].id()).unwrap();
        let keys = list(&any).unwrap();
        let names: Vec<&str> = keys.iter().map(|key| key.uri.key.as_str()).collect();
        assert_eq!(names, ["alias/key-0", "alias/key-1", "alias/key-2"]);
        assert_eq!(keys[0].public_key.as_ref().unwrap(), &made[0]);
        assert_eq!(keys[0].weakness, None);
        assert!(matches!(keys[1].public_key, Err(AwsError::Disabled(_))), "{:?}", keys[1].public_key);
        assert!(sign(&open(&keys[2].uri).unwrap()).is_ok(), "a URI from the list opens");
    });
}

#[test]
fn what_kms_signs_otherwise_is_discarded() {
    isolated("what_kms_signs_otherwise_is_discarded", || {
        // moto as it is: it hashes digests once more, and salts too long.
        let moto = Moto::start(&["--as-it-is"]);
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::Rsa(3072)] {
            let uri = moto.uri(&format!("alias/{algorithm}"));
            generate(&uri, algorithm).unwrap();
            let answer = sign(&open(&uri).unwrap());
            assert!(matches!(answer, Err(SignError::BadSignature)), "{algorithm}: {answer:?}");
        }
    });
}

#[test]
fn kms_in_trouble_is_out_of_reach_and_comes_back() {
    isolated("kms_in_trouble_is_out_of_reach_and_comes_back", || {
        let flag = std::env::temp_dir().join(format!("firmseal-throttle-{}", std::process::id()));
        let moto = Moto::start(&["--throttle", flag.to_str().unwrap()]);
        let uri = moto.uri("alias/release");
        generate(&uri, KeyAlgorithm::P256).unwrap();
        let key = open(&uri).unwrap();
        std::fs::write(&flag, "").unwrap();
        let answer = sign(&key);
        std::fs::remove_file(&flag).unwrap();
        let Err(SignError::Unavailable(why)) = answer else { panic!("throttled: {answer:?}") };
        assert!(why.contains("ThrottlingException"), "{why}");
        assert!(sign(&key).is_ok());
        drop(moto);
        assert!(matches!(sign(&key), Err(SignError::Unavailable(_))));
        assert!(matches!(wait(key.ready()), Err(SignError::Unavailable(_))));
    });
}

#[test]
fn keys_that_do_not_sign_are_named() {
    isolated("keys_that_do_not_sign_are_named", || {
        let moto = Moto::start(&[]);
        let nobody = open(&moto.uri("alias/nobody"));
        assert!(matches!(nobody, Err(AwsError::NoKey(_))), "{nobody:?}");
        let ed25519 = generate(&moto.uri("alias/a"), KeyAlgorithm::Ed25519);
        assert!(matches!(ed25519, Err(AwsError::NotForSigning(_))));
        let by_id = generate(&moto.uri("1234abcd-12ab-34cd-56ef-1234567890ab"), KeyAlgorithm::P256);
        assert!(matches!(by_id, Err(AwsError::NotForSigning(_))));
    });
}
