//! A key behind a service, as a signer.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use firmseal_keys::{Backend, Covered, KeyPlace, SignError, Verifier, VerifyError};
use firmseal_manifest::{PublicKey, Signature};
use tokio::sync::{Semaphore, oneshot};

use crate::executor::executor;

/// One request to a key service.
///
/// Contract: neither call tries again by itself, with one exception: a
/// request that provably never left. An error says what may be done about
/// it, and repeats no secret.
pub trait Service: Send + Sync + 'static {
    /// As [`Backend::salts_longest`](firmseal_keys::Backend::salts_longest).
    const SALTS_LONGEST: bool = false;

    /// Has the key sign. What comes back is verified by the caller; a service
    /// that wants to see the intent for itself is shown where that stands in
    /// the log.
    fn sign(&self, covered: &Covered) -> impl Future<Output = Result<Signature, SignError>> + Send;

    /// Whether the key could sign now; uses no key.
    fn ready(&self) -> impl Future<Output = Result<(), SignError>> + Send;

    /// As [`Signer::places`](firmseal_keys::Signer::places).
    fn places(&self) -> Vec<KeyPlace> {
        Vec::new()
    }
}

/// How much a key asks of its service at once, and how long it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests that may wait behind those; more are refused at once.
    pub queue: usize,
    /// Longest time for one request, from handing in to the signature.
    pub deadline: Duration,
}

impl Default for Options {
    /// Sixteen keep a service busy over a round trip of ten milliseconds at
    /// more than a thousand signatures each second.
    fn default() -> Options {
        Options { in_flight: 16, queue: 1024, deadline: Duration::from_secs(10) }
    }
}

/// How a service keeps a key, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Where the key is.
    pub place: String,
    /// What it cannot leave.
    pub within: &'static str,
    /// What lets it out all the same, or takes it away, if anything does.
    pub weakness: Option<&'static str>,
}

/// A signer with its key behind a service.
pub struct RemoteKey<S> {
    shared: Arc<Shared<S>>,
    verifier: Verifier,
    kept: Kept,
    /// A place for everyone who is served or waits.
    places: Arc<Semaphore>,
    deadline: Duration,
}

struct Shared<S> {
    service: S,
    public_key: PublicKey,
    /// A turn for each request in flight.
    turns: Semaphore,
}

impl<S: Service> RemoteKey<S> {
    /// A signer over a service that has shown this public key.
    pub fn new(
        service: S,
        public_key: PublicKey,
        kept: Kept,
        options: Options,
    ) -> Result<RemoteKey<S>, VerifyError> {
        let verifier = Verifier::new(&public_key)?;
        // Tokio's own limit is half a billion times what anybody asks for.
        let bounded = |count: usize| count.clamp(1, 1 << 16);
        let turns = Semaphore::new(bounded(options.in_flight));
        let places = Semaphore::new(bounded(options.in_flight) + bounded(options.queue));
        let shared = Arc::new(Shared { service, public_key, turns });
        Ok(RemoteKey { shared, verifier, kept, places: Arc::new(places), deadline: options.deadline })
    }

    /// What lets the key out of its service or takes it away, if anything
    /// does.
    pub fn weakness(&self) -> Option<&'static str> {
        self.kept.weakness
    }

    /// Runs one request on the executor of the keys. The deadline counts
    /// from here, the wait for a turn included.
    async fn ask<T, F, A>(&self, ask: F) -> Result<T, SignError>
    where
        T: Send + 'static,
        A: Future<Output = Result<T, SignError>> + Send,
        F: FnOnce(Arc<Shared<S>>) -> A + Send + 'static,
    {
        let unavailable = |why: &str| SignError::Unavailable(why.to_owned());
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| unavailable("too many requests already wait for this key"))?;
        let (sender, receiver) = oneshot::channel();
        let (shared, deadline) = (Arc::clone(&self.shared), self.deadline);
        let request = async move {
            let _place = place;
            let work = async {
                let _turn = shared.turns.acquire().await;
                // Given up while it waited: a key is not used for nobody.
                if sender.is_closed() {
                    return None;
                }
                Some(ask(Arc::clone(&shared)).await)
            };
            let answer = match tokio::time::timeout(deadline, work).await {
                Ok(None) => return,
                Ok(Some(answer)) => answer,
                Err(_) => Err(SignError::Unavailable("no answer within the deadline".to_owned())),
            };
            // An error means that the caller went away.
            let _ = sender.send(answer);
        };
        executor().map_err(SignError::Unavailable)?.spawn(request);
        receiver.await.unwrap_or_else(|_| Err(unavailable("the request failed")))
    }
}

impl<S: Service> Backend for RemoteKey<S> {
    fn public_half(&self) -> &PublicKey {
        &self.shared.public_key
    }

    fn verifier(&self) -> Option<&Verifier> {
        Some(&self.verifier)
    }

    fn salts_longest(&self) -> bool {
        S::SALTS_LONGEST
    }

    async fn sign_unverified(&self, covered: Covered) -> Result<Signature, SignError> {
        self.ask(move |shared| async move { shared.service.sign(&covered).await }).await
    }

    /// Asks the service for the key, which uses none: this needs the service,
    /// a credential in force and the key in its place.
    async fn probe(&self) -> Result<(), SignError> {
        self.ask(|shared| async move { shared.service.ready().await }).await
    }

    fn places(&self) -> Vec<KeyPlace> {
        self.shared.service.places()
    }
}

impl<S> RemoteKey<S> {
    /// One line for people: which key this is, and whether it can leave.
    pub fn describe(&self) -> String {
        let (key, Kept { place, within, weakness }) = (&self.shared.public_key, &self.kept);
        let kept = match weakness {
            None => format!("it cannot leave {within}"),
            Some(weakness) => format!("weakly kept: it {weakness}"),
        };
        format!("{} key {} at {place} ({kept})", key.algorithm(), key.id())
    }
}

impl<S> fmt::Debug for RemoteKey<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteKey({})", self.describe())
    }
}
