//! Tokens: a session that is logged in, on the one token of a URI.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use cryptoki::error::{Error, RvError};
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};
use firmseal_keys::{KeysError, Secret, SecretSource};

use crate::error::Pkcs11Error;
use crate::module::Module;
use crate::uri::Pkcs11Uri;

/// Reads the PIN from where the URI says; `None` if it does not say.
///
/// A prompt waits for a person: call this at start, before anything serves.
pub fn read_pin(uri: &Pkcs11Uri) -> Result<Option<Secret>, KeysError> {
    let token = uri.token.as_deref().unwrap_or("the token");
    uri.pin_source.as_ref().map(|source| source.read(&format!("PIN of {token}"))).transpose()
}

/// Reads the PIN from where the URI says, or from `secret`. A prompt waits
/// for a person.
pub fn pin(uri: &Pkcs11Uri, secret: &SecretSource) -> Result<Secret, KeysError> {
    match read_pin(uri)? {
        Some(pin) => Ok(pin),
        None => secret.read(&format!("PIN of {uri}")),
    }
}

/// A session with what is known about its token. Lives on one thread.
pub(crate) struct Connection {
    session: Option<Session>,
    pub(crate) slot: Slot,
    pub(crate) module: Arc<Module>,
    pub(crate) info: TokenInfo,
}

/// What a session may change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Connection {
    /// Finds the token, opens a session and makes sure of the login. Starts
    /// from nothing each time, so it is also how a lost session comes back:
    /// slots may have been renumbered, the module finalized, the token
    /// replaced by its backup.
    pub(crate) fn open(
        uri: &Pkcs11Uri,
        pin: Option<&Secret>,
        access: Access,
    ) -> Result<Connection, Pkcs11Error> {
        let module = Module::of(uri)?;
        module.ensure_initialized()?;
        let (slot, info) = module.find_token(uri)?;
        let session = match access {
            Access::Read => module.context.open_ro_session_no_drop(slot)?,
            Access::Write => module.context.open_rw_session_no_drop(slot)?,
        };
        let connection = Connection { session: Some(session), slot, module, info };
        let login = connection.module.login_of(&connection.info);
        let info = || Ok(connection.module.context.get_token_info(slot)?);
        login.ensure(connection.session()?, info, pin)?;
        Ok(connection)
    }

    pub(crate) fn session(&self) -> Result<&Session, Pkcs11Error> {
        self.session.as_ref().ok_or_else(|| Pkcs11Error::Lost("the session was given up".to_owned()))
    }

    /// The URI of this token.
    pub(crate) fn token_uri(&self) -> Pkcs11Uri {
        self.module.token_uri(&self.info)
    }

    /// Lets go of a session in which something failed. It is closed: an open
    /// one counts against what the token can hold, and trouble makes many.
    ///
    /// Unless it is gone with that. Closing it would be worse than useless
    /// then: after a module was initialized anew, the same number may stand
    /// for a session of somebody else.
    pub(crate) fn give_up(mut self, failed: &Error) {
        if let Error::Pkcs11(
            RvError::CryptokiNotInitialized
            | RvError::DeviceRemoved
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::TokenNotPresent,
            _,
        ) = failed
        {
            self.session = None;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            // If that fails, the session is gone or the token keeps it:
            // nobody can do more. A module that hangs here would hang at the
            // next call; the pool's deadline answers whoever waits.
            let _ = session.close();
        }
    }
}

/// Runs calls into a module on a thread of their own and waits no longer
/// than `deadline`: a module that hangs keeps the thread, not the caller.
pub(crate) fn with_deadline<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> Result<T, Pkcs11Error> + Send + 'static,
) -> Result<T, Pkcs11Error> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let body = move || {
        // Nobody listens any more after the deadline.
        let _ = sender.send(work());
    };
    let spawned = thread::Builder::new().name("pkcs11-call".to_owned()).spawn(body);
    spawned.map_err(|error| Pkcs11Error::Thread(error.to_string()))?;
    receiver.recv_timeout(deadline).unwrap_or(Err(Pkcs11Error::TimedOut))
}
