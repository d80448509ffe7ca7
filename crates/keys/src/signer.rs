//! The signer contract.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use firmseal_manifest::{Intent, PublicKey, Signature, Tbs};

use crate::logged::Logged;
use crate::verify::{Verifier, check_input, verify};

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The logged intent does not cover this key and this input.
    #[error("the logged intent does not cover this key and these bytes")]
    NotCovered,
    /// An LMS key without a leaf of its own, reserved by its log.
    #[error("no leaf of this LMS key was reserved by the log that it was made for ({0})")]
    NoLeaf(String),
    /// The algorithm cannot sign this kind of input (Ed25519 takes
    /// messages, P-384 no SHA-256 digest).
    #[error("a {algorithm} key cannot sign {input}")]
    Unsupported {
        /// The key's algorithm.
        algorithm: firmseal_manifest::KeyAlgorithm,
        /// What it was asked to sign.
        input: &'static str,
    },
    /// The PIN that opens the key was refused. It is not tried again: tokens
    /// lock.
    #[error("the PIN that opens the key was refused; it was tried once and will not be retried")]
    WrongPin,
    /// The key service refused our credential, which signed nothing.
    /// Credentials are renewed and permissions given back while we run: the
    /// same request may be tried later.
    #[error("the key service refused our credential: {0}")]
    Denied(String),
    /// The backend is out of reach; the same request may be tried later.
    #[error("the key is out of reach: {0}")]
    Unavailable(String),
    /// The backend answered with something that does not verify. The same
    /// request may be tried later, once the key was asked whether it is
    /// [ready](Signer::ready): a garbled answer on the way passes, a broken
    /// key stays broken.
    #[error("the signature that came back does not verify under the key; it was discarded")]
    BadSignature,
    /// The backend answers, and the key is not there as it was: it is gone,
    /// disabled, or another stands in its place. Nothing was signed. Keys are
    /// restored and enabled while we run: the same request may be tried later.
    #[error("the key cannot be used as it is: {0}")]
    Unfit(String),
    /// The key is there, and refused this one request; retrying will not
    /// help.
    #[error("the key refused: {0}")]
    Refused(String),
}

/// What a key is to sign, and the logged intent that covers exactly this key
/// and this input. Made where that was checked; one entry opens one key once.
pub struct Covered {
    intent: Logged<Intent>,
    tbs: Tbs,
}

impl Covered {
    /// What every use of a key begins with: is the input of a length and kind
    /// that the algorithm signs, and does the intent cover it?
    ///
    /// The length comes first, so that nobody can have megabytes hashed.
    pub fn new(key: &PublicKey, intent: Logged<Intent>, tbs: Tbs) -> Result<Covered, SignError> {
        let algorithm = key.algorithm();
        check_input(algorithm, &tbs).map_err(|input| SignError::Unsupported { algorithm, input })?;
        match intent.value().covers(key, &tbs) {
            true => Ok(Covered { intent, tbs }),
            false => Err(SignError::NotCovered),
        }
    }

    /// The intent, as it stands in the log.
    pub fn intent(&self) -> &Logged<Intent> {
        &self.intent
    }

    /// What is to be signed.
    pub fn tbs(&self) -> &Tbs {
        &self.tbs
    }

    /// What is to be signed, for a backend that wants no more.
    pub fn into_tbs(self) -> Tbs {
        self.tbs
    }
}

/// A machine that is asked for a key, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPlace {
    /// Its address.
    pub address: String,
    /// Why it is away, if it is.
    pub away: Option<String>,
}

/// Where a private key is kept, and how it is asked to sign. Every backend
/// is a [`Signer`], and none can be one without what [`Signer::sign`] does
/// before and after.
///
/// Contract:
/// - it is safe to call from many tasks at once; a backend that blocks owns
///   its threads, the executor never waits for a token;
/// - dropping the future abandons the result, not the operation: an outcome
///   that nobody saw stays in the log as an intent without a signature;
/// - the key is used once for each call. What failed is made again in here
///   only where nothing can have been signed;
/// - what is wrong with the key is [`SignError::Unfit`], which keeps requests
///   waiting; [`SignError::Refused`] ends this one, and says that the key
///   would sign another.
pub trait Backend: Send + Sync {
    /// The public half.
    fn public_half(&self) -> &PublicKey;

    /// The public half made ready to verify with, where the backend keeps it
    /// so. Without one it is read for each signature.
    fn verifier(&self) -> Option<&Verifier> {
        None
    }

    /// Whether it signs [`Tbs::PssMax`]: few can be told how long a salt is.
    fn salts_longest(&self) -> bool {
        false
    }

    /// Has the key sign. Nobody has looked at what comes back.
    fn sign_unverified(&self, covered: Covered) -> impl Future<Output = Result<Signature, SignError>> + Send;

    /// As [`Signer::ready`].
    fn probe(&self) -> impl Future<Output = Result<(), SignError>> + Send {
        std::future::ready(Ok(()))
    }

    /// As [`Signer::places`].
    fn places(&self) -> Vec<KeyPlace> {
        Vec::new()
    }

    /// As [`Signer::hanging`].
    fn hanging(&self) -> usize {
        0
    }
}

mod sealed {
    /// Only what is in this file: a signature that nobody verified leaves no
    /// signer, whoever wrote the backend.
    pub trait Sealed {}
    impl<B: super::Backend> Sealed for B {}
    /// Hands on what a signer made.
    impl Sealed for crate::awaited::Awaited {}
    impl Sealed for dyn super::DynSigner + '_ {}
    impl<S: super::Signer + ?Sized> Sealed for std::sync::Arc<S> {}
}

/// A private key, wherever it is kept. Implement [`Backend`].
///
/// Contract of `sign`, beside that of the backend:
/// - it asks [`Intent::covers`] first and touches no key otherwise;
/// - the signature it returns was verified against `public_key`;
/// - [`SignError::Unavailable`], [`SignError::Denied`], [`SignError::Unfit`]
///   and [`SignError::BadSignature`] may be tried again, each time under a new log entry and after a wait, by somebody
///   who stops where they go on; everything else may not.
pub trait Signer: Send + Sync + sealed::Sealed {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs `tbs` as the logged intent says.
    fn sign(
        &self,
        intent: Logged<Intent>,
        tbs: Tbs,
    ) -> impl Future<Output = Result<Signature, SignError>> + Send;

    /// Whether the key can be reached right now, asked without using it: a
    /// use needs a logged intent. A key in memory always can; a backend with
    /// a token behind it asks the token.
    fn ready(&self) -> impl Future<Output = Result<(), SignError>> + Send;

    /// The machines that are asked for it, and which of them are away, as far
    /// as is known; asks nobody. Empty where that is nothing to tell apart.
    fn places(&self) -> Vec<KeyPlace>;

    /// Calls into what holds the key that are late and have not come back.
    fn hanging(&self) -> usize;
}

impl<B: Backend> Signer for B {
    fn public_key(&self) -> &PublicKey {
        self.public_half()
    }

    async fn sign(&self, intent: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
        let key = self.public_half();
        if matches!(tbs, Tbs::PssMax(_)) && !self.salts_longest() {
            let input = "a digest with the longest salt where it is kept; keys in HSMs do";
            return Err(SignError::Unsupported { algorithm: key.algorithm(), input });
        }
        let covered = Covered::new(key, intent, tbs.clone())?;
        let signature = self.sign_unverified(covered).await?;
        // A fault in the computation can leak the key through one bad
        // signature (RSA with the Chinese remainder theorem most of all), two
        // sessions of a token under one number could mix theirs up, and a
        // service may answer for another key or another request, or through
        // somebody in between. Nothing leaves unchecked, and nothing is tried
        // again here: a person should look.
        let verified = match self.verifier() {
            Some(verifier) => verifier.verify(&tbs, &signature),
            None => verify(key, &tbs, &signature),
        };
        verified.map_err(|_| SignError::BadSignature)?;
        Ok(signature)
    }

    async fn ready(&self) -> Result<(), SignError> {
        self.probe().await
    }

    fn places(&self) -> Vec<KeyPlace> {
        Backend::places(self)
    }

    fn hanging(&self) -> usize {
        Backend::hanging(self)
    }
}

/// A signature on its way, from a signer behind a pointer.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<Signature, SignError>> + Send + 'a>>;

/// An answer about readiness on its way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<(), SignError>> + Send + 'a>>;

/// [`Signer`] as an object: a server holds `Arc<dyn DynSigner>` and does not
/// know which backend it is. Every signer is one, and the object is itself
/// a [`Signer`], so the contract is written down once.
pub trait DynSigner: Send + Sync {
    /// The public half.
    fn dyn_public_key(&self) -> &PublicKey;

    /// As [`Signer::sign`]. One allocation: nothing beside a signature.
    fn dyn_sign(&self, intent: Logged<Intent>, tbs: Tbs) -> Signing<'_>;

    /// As [`Signer::ready`].
    fn dyn_ready(&self) -> Asking<'_>;

    /// As [`Signer::places`].
    fn dyn_places(&self) -> Vec<KeyPlace>;

    /// As [`Signer::hanging`].
    fn dyn_hanging(&self) -> usize;
}

impl<S: Signer> DynSigner for S {
    fn dyn_public_key(&self) -> &PublicKey {
        self.public_key()
    }

    fn dyn_sign(&self, intent: Logged<Intent>, tbs: Tbs) -> Signing<'_> {
        Box::pin(self.sign(intent, tbs))
    }

    fn dyn_ready(&self) -> Asking<'_> {
        Box::pin(self.ready())
    }

    fn dyn_places(&self) -> Vec<KeyPlace> {
        Signer::places(self)
    }

    fn dyn_hanging(&self) -> usize {
        Signer::hanging(self)
    }
}

impl Signer for dyn DynSigner + '_ {
    fn public_key(&self) -> &PublicKey {
        self.dyn_public_key()
    }

    async fn sign(&self, intent: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
        self.dyn_sign(intent, tbs).await
    }

    async fn ready(&self) -> Result<(), SignError> {
        self.dyn_ready().await
    }

    fn places(&self) -> Vec<KeyPlace> {
        self.dyn_places()
    }

    fn hanging(&self) -> usize {
        self.dyn_hanging()
    }
}

impl<S: Signer + ?Sized> Signer for Arc<S> {
    fn public_key(&self) -> &PublicKey {
        (**self).public_key()
    }

    async fn sign(&self, intent: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
        (**self).sign(intent, tbs).await
    }

    async fn ready(&self) -> Result<(), SignError> {
        (**self).ready().await
    }

    fn places(&self) -> Vec<KeyPlace> {
        Signer::places(&**self)
    }

    fn hanging(&self) -> usize {
        Signer::hanging(&**self)
    }
}
