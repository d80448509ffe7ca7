//! Keys that were not there when their service began.
//!
//! An outage of an HSM must not become one of the service that outlives it:
//! requests are taken, devices served and records kept without any key. So a
//! service that knows a key's public half from before begins without the
//! private one, and has it opened when it is there.
//!
//! Nothing is weaker for it. Nothing is signed until then, and afterwards by
//! the very key that was expected: another one in its place is named and never
//! asked. A PIN that was refused is not offered again, as tokens lock.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use firmseal_manifest::{Intent, PublicKey, Signature, Tbs};
use futures_channel::oneshot;

use crate::logged::Logged;
use crate::signer::{DynSigner, KeyPlace, SignError, Signer};

/// A signer whose key is opened when it is there.
///
/// [`Signer::ready`] is what opens it: whoever paces that, a breaker, paces
/// the attempts. There is one at a time, on a thread of its own, and whoever
/// stops waiting for it does not stop it.
pub struct Awaited(Arc<Shared>);

struct Shared {
    public_key: PublicKey,
    open: Box<Opener>,
    opened: OnceLock<Arc<dyn DynSigner>>,
    absence: Mutex<Absence>,
}

type Opener = dyn Fn() -> Result<Arc<dyn DynSigner>, SignError> + Send + Sync;

struct Absence {
    /// What the last attempt came to.
    why: SignError,
    /// Whether somebody is at the next one.
    is_tried: bool,
}

impl Awaited {
    /// A signer for the key with this public half, which was not there for
    /// this reason. `open` blocks for as long as it takes, and tells a refused
    /// PIN ([`SignError::WrongPin`]) from what may pass.
    pub fn new(
        public_key: PublicKey,
        why: SignError,
        open: impl Fn() -> Result<Arc<dyn DynSigner>, SignError> + Send + Sync + 'static,
    ) -> Awaited {
        let absence = Mutex::new(Absence { why, is_tried: false });
        Awaited(Arc::new(Shared { public_key, open: Box::new(open), opened: OnceLock::new(), absence }))
    }
}

impl Shared {
    fn absence(&self) -> MutexGuard<'_, Absence> {
        self.absence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempt(&self) {
        if self.opened.get().is_some() {
            return;
        }
        let opened = (self.open)().and_then(|signer| match signer.dyn_public_key() == &self.public_key {
            true => Ok(signer),
            false => Err(SignError::Refused(format!(
                "key {} is expected, and where it was is key {}; nothing is signed with that",
                self.public_key.id(),
                signer.dyn_public_key().id()
            ))),
        });
        match opened {
            // Attempts come one after the other, so this is the first.
            Ok(signer) => drop(self.opened.set(signer)),
            Err(why) => self.absence().why = why,
        }
    }
}

impl Absence {
    /// Why nothing is signed. What a person may still mend passes for whoever
    /// waits for a signature: the request does not end for it.
    fn said(&self) -> SignError {
        match &self.why {
            SignError::WrongPin => SignError::WrongPin,
            SignError::Denied(why) => SignError::Denied(why.clone()),
            SignError::Unavailable(why) | SignError::Refused(why) => SignError::Unavailable(why.clone()),
            other => SignError::Unavailable(other.to_string()),
        }
    }
}

/// The one attempt at a time. It ends with this value, also where it panics.
struct Turn(Arc<Shared>);

impl Turn {
    fn take(shared: &Arc<Shared>) -> Result<Turn, SignError> {
        let mut absence = shared.absence();
        if absence.is_tried || matches!(absence.why, SignError::WrongPin) {
            return Err(absence.said());
        }
        absence.is_tried = true;
        Ok(Turn(shared.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.absence().is_tried = false;
    }
}

impl Signer for Awaited {
    fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    async fn sign(&self, intent: Logged<Intent>, tbs: Tbs) -> Result<Signature, SignError> {
        match self.0.opened.get() {
            Some(signer) => signer.sign(intent, tbs).await,
            None => Err(self.0.absence().said()),
        }
    }

    async fn ready(&self) -> Result<(), SignError> {
        if let Some(signer) = self.0.opened.get() {
            return signer.ready().await;
        }
        let turn = Turn::take(&self.0)?;
        let (sender, receiver) = oneshot::channel::<()>();
        let attempt = move || {
            // Dropped after the turn, also where the attempt panics: whoever
            // hears of its end may have the next one.
            let _ends = sender;
            let turn = turn;
            turn.0.attempt();
        };
        thread::Builder::new()
            .name("key-opening".to_owned())
            .spawn(attempt)
            .map_err(|error| SignError::Unavailable(format!("no thread to open it on: {error}")))?;
        // Nothing is sent; the end is what is waited for.
        let _ = receiver.await;
        match self.0.opened.get() {
            Some(_) => Ok(()),
            None => Err(self.0.absence().said()),
        }
    }

    fn places(&self) -> Vec<KeyPlace> {
        self.0.opened.get().map(|signer| Signer::places(&**signer)).unwrap_or_default()
    }

    fn hanging(&self) -> usize {
        self.0.opened.get().map_or(0, |signer| Signer::hanging(&**signer))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc;

    use firmseal_manifest::KeyAlgorithm;

    use super::*;
    use crate::conformance::{self, MemoryLog, covering};
    use crate::pool::wait;
    use crate::{FileKey, Secret};

    type Answer = Result<Arc<dyn DynSigner>, SignError>;

    fn key() -> Arc<FileKey> {
        let dir = tempfile::tempdir().unwrap();
        let secret = Secret::new(b"correct horse".to_vec());
        Arc::new(FileKey::generate(&dir.path().join("key"), KeyAlgorithm::P256, &secret).unwrap())
    }

    fn there(key: &Arc<FileKey>) -> Answer {
        Ok(key.clone())
    }

    fn away() -> SignError {
        SignError::Unavailable("no token".to_owned())
    }

    /// One that is opened with these outcomes, in turn, and no more often.
    fn awaited(key: &FileKey, outcomes: impl IntoIterator<Item = Answer>) -> Awaited {
        let outcomes: Mutex<VecDeque<Answer>> = Mutex::new(outcomes.into_iter().collect());
        Awaited::new(key.public_key().clone(), away(), move || outcomes.lock().unwrap().pop_front().unwrap())
    }

    fn sign(signer: &Awaited) -> Result<Signature, SignError> {
        let tbs = Tbs::Sha256([7; 32]);
        wait(async {
            let intent = covering(&MemoryLog::default(), signer.public_key(), &tbs).await;
            signer.sign(intent, tbs).await
        })
    }

    #[test]
    fn it_signs_once_it_is_there_and_is_any_other_signer_from_then_on() {
        let key = key();
        let signer = awaited(&key, [Err(away()), there(&key)]);
        assert!(matches!(sign(&signer), Err(SignError::Unavailable(why)) if why == "no token"));
        assert!(matches!(wait(signer.ready()), Err(SignError::Unavailable(_))));
        wait(signer.ready()).unwrap();
        sign(&signer).unwrap();
        wait(signer.ready()).unwrap();
        wait(conformance::run(&signer));
    }

    #[test]
    fn another_key_in_its_place_is_named_and_signs_nothing() {
        let (key, other) = (key(), key());
        let signer = awaited(&key, [there(&other), there(&key)]);
        let error = wait(signer.ready()).unwrap_err().to_string();
        for id in [key.public_key().id(), other.public_key().id()] {
            assert!(error.contains(&id.to_string()), "{error}");
        }
        let refused = sign(&signer).unwrap_err();
        assert!(matches!(refused, SignError::Unavailable(_)), "its request waits: {refused}");
        // Somebody puts the right one back.
        wait(signer.ready()).unwrap();
        sign(&signer).unwrap();
    }

    #[test]
    fn a_refused_pin_is_offered_once_and_a_refused_credential_again() {
        let key = key();
        let denied = || Err(SignError::Denied("permission denied".to_owned()));
        let signer = awaited(&key, [denied(), Err(SignError::WrongPin)]);
        assert!(matches!(wait(signer.ready()), Err(SignError::Denied(_))));
        for _ in 0..3 {
            assert!(matches!(wait(signer.ready()), Err(SignError::WrongPin)));
            assert!(matches!(sign(&signer), Err(SignError::WrongPin)));
        }
    }

    #[test]
    fn one_attempt_at_a_time_goes_on_when_nobody_waits_for_it() {
        let key = key();
        let (begun, begins) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let (ends, opened) = (Mutex::new(ends), key.clone());
        let signer = Awaited::new(key.public_key().clone(), away(), move || {
            begun.send(()).unwrap();
            ends.lock().unwrap().recv().unwrap();
            there(&opened)
        });
        let signer = Arc::new(signer);
        let asked = signer.clone();
        let first = thread::spawn(move || wait(asked.ready()));
        begins.recv().unwrap();
        assert!(matches!(wait(signer.ready()), Err(SignError::Unavailable(_))), "it does not wait");
        end.send(()).unwrap();
        first.join().unwrap().unwrap();
        wait(signer.ready()).unwrap();
        begins.try_recv().unwrap_err();
    }

    #[test]
    fn an_attempt_that_panics_is_none() {
        let (key, count) = (key(), Mutex::new(0));
        let opened = key.clone();
        let signer = Awaited::new(key.public_key().clone(), away(), move || {
            let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            assert!(*count > 1, "the first");
            there(&opened)
        });
        assert!(matches!(wait(signer.ready()), Err(SignError::Unavailable(_))));
        wait(signer.ready()).unwrap();
    }
}
