//! Conformance: what every signer must do, as a suite that backends run.
//!
//! ```ignore
//! conformance::run(&signer).await;      // on one task
//! conformance::run_threads(&signer, 8); // and from many threads
//! conformance::run_home(&SCHEME, "vault:https://...", &secret); // a key's life
//! ```
//!
//! A backend that fails panics with the sentence of the contract it broke.
#![allow(clippy::panic)] // A suite reports by panicking.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use aws_lc_rs::digest;
use firmseal_manifest::key::PublicKey;
use firmseal_manifest::tbs::MESSAGE_MAX;
use firmseal_manifest::{Digest, Intent, KeyAlgorithm, KeyId, Purpose, Signature, Tbs};

use firmseal_core::cose::{Algorithm, Context, SigStructure};
use firmseal_core::crypto::{Crypto, RustCrypto};

use crate::backend_error::{BackendError, Fault};
use crate::home::{Destruction, KeyScheme};
use crate::logged::{Log, LogError, Logged, Reserved};
use crate::pool::wait;
use crate::secret::SecretSource;
use crate::signer::{DynSigner, SignError, Signer};
use crate::verify::verify;

/// A log that forgets everything with the process: for tests of signers.
#[derive(Default)]
pub struct MemoryLog(Mutex<Vec<Vec<u8>>>);

impl MemoryLog {
    /// The leaves so far.
    pub fn leaves(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Log for MemoryLog {
    async fn append(&self, leaf: &[u8]) -> Result<u64, LogError> {
        let mut leaves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.push(leaf.to_vec());
        Ok(leaves.len() as u64 - 1)
    }

    fn name(&self) -> Option<String> {
        Some("memory".to_owned())
    }

    async fn reserve(&self, leaf: &[u8], key: KeyId) -> Result<Reserved, LogError> {
        // All logs of the process have one name, so each key has one count.
        static NEXT: Mutex<BTreeMap<KeyId, u32>> = Mutex::new(BTreeMap::new());
        let index = self.append(leaf).await?;
        let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next.entry(key).or_default();
        *next += 1;
        Ok(Reserved { index, leaf: *next - 1, leaves: u32::MAX })
    }
}

/// An intent of this purpose over this subject for one key.
pub fn intent(purpose: Purpose, subject: Digest, key: &PublicKey) -> Intent {
    Intent {
        purpose,
        subject,
        keys: vec![key.id()],
        delegation: None,
        statements: Vec::new(),
        requester: Digest([1; 32]),
        policy: Digest([2; 32]),
        context: Default::default(),
    }
}

/// The logged intent that covers `key` signing `tbs` as an artifact.
pub async fn covering(log: &impl Log, key: &PublicKey, tbs: &Tbs) -> Logged<Intent> {
    logged(log, intent(Purpose::Artifact, tbs.fingerprint(), key), key).await
}

async fn logged(log: &impl Log, intent: Intent, key: &PublicKey) -> Logged<Intent> {
    match Logged::append_for(log, intent, key).await {
        Ok(logged) => logged,
        Err(error) => panic!("{error}"),
    }
}

/// Runs everything that one task can see.
pub async fn run(signer: &impl Signer) {
    run_under(&MemoryLog::default(), signer).await;
}

/// The same, for a signer that wants to see the log.
pub async fn run_under(log: &impl Log, signer: &impl Signer) {
    signs_every_input_of_its_algorithm(log, signer).await;
    signs_envelopes_and_root_documents(log, signer).await;
    refuses_an_intent_for_something_else(log, signer).await;
    refuses_inputs_its_algorithm_does_not_sign(log, signer).await;
    answers_many_at_once(log, signer, 64).await;
    survives_callers_that_go_away(log, signer).await;
    is_the_same_behind_a_pointer(log, signer).await;
}

/// Signs from many threads at once, each with an executor of its own.
pub fn run_threads(signer: &impl Signer, threads: usize) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| wait(answers_many_at_once(&MemoryLog::default(), signer, 16)));
        }
    });
}

/// Leads a key through its life where a backend keeps it, as a program does:
/// by a URI that names none yet. Keys on P-256 every backend makes.
pub fn run_home(scheme: &KeyScheme, uri: &str, secret: &SecretSource) {
    let home = done((scheme.parse)(uri));
    assert!(
        uri.split_once(':').is_some_and(|(name, _)| name == scheme.name),
        "the scheme is {}",
        scheme.name
    );
    assert_eq!(home.to_string(), uri, "a URI has one spelling");
    assert!(home.open(secret).is_err(), "a key is opened before there is one");

    let made = done(home.generate(KeyAlgorithm::P256, secret));
    assert!(home.generate(KeyAlgorithm::P256, secret).is_err(), "a key is made over another");
    let signer = done(home.open(secret));
    assert_eq!(signer.dyn_public_key(), &made, "another key is opened than was made");
    wait(run(&signer));
    match home.list(Some(secret)) {
        Ok(keys) => {
            let is_it = |key: &PublicKey| key.id() == made.id();
            assert!(keys.iter().any(|key| key.public_key.as_ref().is_ok_and(is_it)), "the key is not listed");
        }
        // A file knows of no other.
        Err(error) => assert!(matches!(error, BackendError::Told { fault: Fault::Usage, .. }), "{error}"),
    }

    let Destruction::Here(destroy) = home.destruction(made.id(), secret) else {
        panic!("what makes keys destroys them");
    };
    done(destroy());
    assert!(home.open(secret).is_err(), "a key is opened that was destroyed");
    done(destroy());
}

fn done<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn messages() -> Vec<Vec<u8>> {
    vec![Vec::new(), vec![0], vec![7; 32], b"firmware".to_vec(), vec![0xa5; MESSAGE_MAX]]
}

/// What one message is as input, in each way the algorithm takes.
fn inputs(algorithm: KeyAlgorithm, message: &[u8]) -> Vec<Tbs> {
    let mut inputs = vec![Tbs::Message(message.to_vec())];
    match algorithm {
        KeyAlgorithm::P256 => inputs.push(Tbs::Sha256(sha256(message))),
        KeyAlgorithm::Rsa(_) => {
            inputs.extend([Tbs::Sha256(sha256(message)), Tbs::Pkcs1(sha256(message))]);
        }
        KeyAlgorithm::P384 => inputs.push(sha384(message)),
        KeyAlgorithm::Ed25519 | KeyAlgorithm::MlDsa(_) | KeyAlgorithm::Lms(_) => {}
    }
    inputs
}

fn sha256(message: &[u8]) -> [u8; 32] {
    let mut value = [0; 32];
    value.copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
    value
}

fn sha384(message: &[u8]) -> Tbs {
    let mut value = [0; 48];
    value.copy_from_slice(digest::digest(&digest::SHA384, message).as_ref());
    Tbs::Sha384(value)
}

/// Verifies with the device's own verifier where devices know the
/// algorithm: another implementation than any host backend uses.
fn assert_verifies(key: &PublicKey, message: &[u8], tbs: &Tbs, signature: &Signature) {
    assert_eq!(verify(key, tbs, signature), Ok(()), "a signature verifies under its key");
    let other = Tbs::Message([message, b"!"].concat());
    if other != *tbs && message.len() < MESSAGE_MAX {
        assert!(verify(key, &other, signature).is_err(), "a signature is for one message");
    }
    if let Some(device) = key.as_core() {
        let verdict = RustCrypto.verify(&device, message, &signature.0);
        match tbs {
            Tbs::Pkcs1(_) | Tbs::PssMax(_) => {
                assert!(verdict.is_err(), "devices accept PSS with one length of salt");
            }
            _ => assert_eq!(verdict, Ok(()), "what a host signs, a device accepts"),
        }
    }
}

async fn signs_every_input_of_its_algorithm(log: &impl Log, signer: &impl Signer) {
    let key = signer.public_key();
    for message in messages() {
        for tbs in inputs(key.algorithm(), &message) {
            let intent = covering(log, key, &tbs).await;
            match signer.sign(intent, tbs.clone()).await {
                Ok(signature) => assert_verifies(key, &message, &tbs, &signature),
                Err(error) => panic!("a message of {} bytes is signed: {error}", message.len()),
            }
        }
    }
}

/// The bytes under a COSE signature of `key` over `subject`.
fn cose(key: &PublicKey, context: Context, subject: &Digest) -> Option<Vec<u8>> {
    let protected = Algorithm::of(&key.as_core()?).protected();
    SigStructure::new(&protected, context, subject).map(|structure| structure.as_bytes().to_vec())
}

async fn signs_envelopes_and_root_documents(log: &impl Log, signer: &impl Signer) {
    let (key, subject) = (signer.public_key(), Digest([3; 32]));
    for (purpose, context) in [(Purpose::Release, Context::Manifest), (Purpose::Root, Context::Root)] {
        // Keys that devices cannot verify with sign no envelopes.
        let Some(message) = cose(key, context, &subject) else { continue };
        let tbs = Tbs::Message(message.clone());
        let intent = logged(log, intent(purpose, subject, key), key).await;
        match signer.sign(intent, tbs.clone()).await {
            Ok(signature) => assert_verifies(key, &message, &tbs, &signature),
            Err(error) => panic!("{purpose:?} is signed: {error}"),
        }
    }
}

async fn refuses_an_intent_for_something_else(log: &impl Log, signer: &impl Signer) {
    let key = signer.public_key();
    let tbs = Tbs::Message(b"firmware".to_vec());
    let good = intent(Purpose::Artifact, tbs.fingerprint(), key);
    let Ok(stranger) = PublicKey::from_ed25519([9; 32]) else { panic!("a fixed key is well-formed") };
    let digest_of_same_bytes = Tbs::Sha256([8; 32]);
    let message_of_same_bytes = Tbs::Message(vec![8; 32]);
    let mut cases = vec![
        ("another key", Intent { keys: vec![stranger.id()], ..good.clone() }, tbs.clone()),
        ("no key", Intent { keys: Vec::new(), ..good.clone() }, tbs.clone()),
        ("another subject", Intent { subject: Digest([4; 32]), ..good.clone() }, tbs.clone()),
        ("a release", Intent { purpose: Purpose::Release, ..good.clone() }, tbs.clone()),
        ("a root document", Intent { purpose: Purpose::Root, ..good.clone() }, tbs.clone()),
        (
            "a digest of the same bytes",
            intent(Purpose::Artifact, digest_of_same_bytes.fingerprint(), key),
            message_of_same_bytes,
        ),
    ];
    let subject = Digest([3; 32]);
    for (purpose, context) in [(Purpose::Release, Context::Root), (Purpose::Root, Context::Manifest)] {
        if let Some(message) = cose(key, context, &subject) {
            cases.push(("the other context", intent(purpose, subject, key), Tbs::Message(message)));
        }
    }
    for (what, intent, tbs) in cases {
        let answer = signer.sign(logged(log, intent, key).await, tbs).await;
        assert!(
            matches!(answer, Err(SignError::NotCovered)),
            "an intent for {what} is not spent on this input: {answer:?}"
        );
    }
}

async fn refuses_inputs_its_algorithm_does_not_sign(log: &impl Log, signer: &impl Signer) {
    let key = signer.public_key();
    let all = [
        Tbs::Message(vec![0; MESSAGE_MAX + 1]),
        Tbs::Sha256([5; 32]),
        Tbs::Sha384([5; 48]),
        Tbs::Pkcs1([5; 32]),
        Tbs::PssMax([5; 32]),
    ];
    for tbs in all {
        // Whether a backend does, it says itself.
        let may = matches!((&tbs, key.algorithm()), (Tbs::PssMax(_), KeyAlgorithm::Rsa(_)));
        let taken = match (&tbs, key.algorithm()) {
            (Tbs::Message(_), _) => false,
            (Tbs::Sha256(_), algorithm) => matches!(algorithm, KeyAlgorithm::P256 | KeyAlgorithm::Rsa(_)),
            (Tbs::Sha384(_), algorithm) => algorithm == KeyAlgorithm::P384,
            (Tbs::Pkcs1(_), algorithm) => matches!(algorithm, KeyAlgorithm::Rsa(_)),
            (Tbs::PssMax(_), _) => false,
        };
        let answer = signer.sign(covering(log, key, &tbs).await, tbs).await;
        match answer {
            Ok(_) if taken || may => {}
            Err(SignError::Unsupported { algorithm, .. }) if !taken && algorithm == key.algorithm() => {}
            other => panic!("an input is signed if and only if the algorithm takes it: {other:?}"),
        }
    }
}

async fn answers_many_at_once(log: &impl Log, signer: &impl Signer, tasks: u32) {
    let key = signer.public_key();
    let sign = async |task: u32| {
        let message = task.to_be_bytes();
        let tbs = Tbs::Message(message.to_vec());
        let intent = covering(log, key, &tbs).await;
        match signer.sign(intent, tbs.clone()).await {
            // Each gets the signature of its own message.
            Ok(signature) => assert_verifies(key, &message, &tbs, &signature),
            Err(error) => panic!("it is safe to call from many tasks at once: {error}"),
        }
    };
    join((0..tasks).map(sign).collect()).await;
}

async fn survives_callers_that_go_away(log: &impl Log, signer: &impl Signer) {
    let key = signer.public_key();
    let tbs = Tbs::Message(b"abandoned".to_vec());
    for _ in 0..16 {
        let intent = covering(log, key, &tbs).await;
        let mut signing = Box::pin(signer.sign(intent, tbs.clone()));
        // Polled once, so that it is under way, then dropped.
        std::future::poll_fn(|context| Poll::Ready(signing.as_mut().poll(context).is_ready())).await;
    }
    answers_many_at_once(log, signer, 4).await;
}

async fn is_the_same_behind_a_pointer(log: &impl Log, signer: &impl Signer) {
    let object: &dyn DynSigner = signer;
    assert_eq!(Signer::public_key(object), signer.public_key());
    let tbs = Tbs::Message(b"object".to_vec());
    let intent = covering(log, object.dyn_public_key(), &tbs).await;
    match object.sign(intent, tbs.clone()).await {
        Ok(signature) => assert_verifies(signer.public_key(), b"object", &tbs, &signature),
        Err(error) => panic!("the object signs as the signer does: {error}"),
    }
}

/// Polls all futures on this task until each is done.
async fn join<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut open: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(move |context| {
        open.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
