//! TPMs: one thread and one connection each, shared by all their keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use firmseal_keys::pool::{Pool, PoolOptions};
use firmseal_manifest::{PublicKey, Signature};

use crate::connection::Connection;
use crate::error::TpmError;

/// What is done on the thread of a TPM.
pub(crate) type Work = Box<dyn FnMut(&mut Connection) -> Result<Done, TpmError> + Send>;

/// What is at a persistent handle: the handle, its public half or why it
/// cannot be used, and what lets it out.
pub(crate) type AtHandle = (u32, Result<PublicKey, TpmError>, Option<&'static str>);

/// What came of it.
pub(crate) enum Done {
    /// A key was looked at or made.
    Key(PublicKey, Option<&'static str>),
    /// A key signed.
    Signed(Signature),
    /// The keys at persistent handles were looked at.
    Found(Vec<AtHandle>),
    /// A key was destroyed, or none was there.
    Gone(bool),
}

/// A TPM that somebody uses.
pub(crate) struct Tpm(Pool<Work, Result<Done, TpmError>>);

/// By the way to it. One that nobody uses any more is let go.
static TPMS: Mutex<BTreeMap<String, Weak<Tpm>>> = Mutex::new(BTreeMap::new());

/// Requests that may wait for a TPM, and how long one waits: an RSA key is
/// made in seconds, a queue of signatures is worked off at some hundred each
/// second.
const QUEUE: usize = 1024;
const DEADLINE: Duration = Duration::from_secs(60);

impl Tpm {
    /// The TPM behind a TCTI.
    pub(crate) fn of(tcti: &str) -> Result<Arc<Tpm>, TpmError> {
        let mut tpms = TPMS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tpm) = tpms.get(tcti).and_then(Weak::upgrade) {
            return Ok(tpm);
        }
        // A second way to the TPM, where the first hangs: its resource manager
        // keeps them apart, and a TPM that hangs itself answers neither.
        let options = PoolOptions { threads: 1, spare: 1, queue: QUEUE, deadline: Some(DEADLINE) };
        let way = tcti.to_owned();
        let pool = Pool::new("tpm", options, move || {
            let (way, mut connection) = (way.clone(), None);
            move |work: Work| run(&way, &mut connection, work)
        });
        let tpm = Arc::new(Tpm(pool.map_err(|error| TpmError::Thread(error.to_string()))?));
        tpms.retain(|_, tpm| tpm.strong_count() > 0);
        tpms.insert(tcti.to_owned(), Arc::downgrade(&tpm));
        Ok(tpm)
    }

    /// Calls that have not come back.
    pub(crate) fn hanging(&self) -> usize {
        self.0.hanging()
    }

    /// Does it, whatever the executor of the caller.
    pub(crate) async fn ask(
        &self,
        work: impl FnMut(&mut Connection) -> Result<Done, TpmError> + Send + 'static,
    ) -> Result<Done, TpmError> {
        self.0.submit(Box::new(work)).await?
    }
}

/// Does it, and over a new connection once more if the old one was lost: a
/// TPM that was reset has forgotten session and loaded keys. What may have
/// signed is not done again: that is another use, under an entry of its own.
fn run(way: &str, connection: &mut Option<Connection>, mut work: Work) -> Result<Done, TpmError> {
    let mut attempt = |connection: &mut Option<Connection>| {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(way)?,
        };
        let answer = work(&mut open);
        // After any refusal too, what is loaded is still known.
        if answer.as_ref().err().is_none_or(TpmError::leaves_connection) {
            *connection = Some(open);
        }
        answer
    };
    match attempt(connection) {
        Err(error) if error.is_lost() => attempt(connection),
        answer => answer,
    }
}
