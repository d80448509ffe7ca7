//! The module: sessions and what goes on in them. No pointers here.

use std::collections::BTreeMap;
use std::sync::Arc;

use cryptoki_sys::*;
use firmseal_manifest::{KeyAlgorithm, Tbs};

use crate::config::Config;
use crate::fault::{Fault, Result};
use crate::object::{Key, Object, Seen};
use crate::operation::{Operation, Pss, mechanisms, signature_len};
use crate::service::Service;

/// The only slot, and the token in it.
pub const SLOT: CK_SLOT_ID = 0;
/// Sessions at once: a program that forgets to close them ends here.
const SESSIONS_MAX: usize = 1024;

/// A module between `C_Initialize` and `C_Finalize`.
pub struct Module {
    service: Arc<Service>,
    /// As the service told them when somebody first looked.
    objects: Option<Vec<Object>>,
    sessions: BTreeMap<CK_SESSION_HANDLE, Session>,
    next: CK_SESSION_HANDLE,
}

#[derive(Default)]
struct Session {
    flags: CK_FLAGS,
    found: Option<Vec<CK_OBJECT_HANDLE>>,
    signing: Option<Signing>,
}

/// A signature on its way.
struct Signing {
    key: Key,
    operation: Operation,
    /// Whether its input comes in parts.
    parts: bool,
}

/// A signature that is to be asked for, without the module being held up.
pub struct Asking {
    service: Arc<Service>,
    key: Key,
    tbs: Tbs,
}

impl Asking {
    /// Asks the service.
    pub fn signature(self) -> Result<Vec<u8>> {
        self.service.sign(&self.key, &self.tbs)
    }
}

impl Module {
    /// Reads the configuration. The service is asked when somebody looks for
    /// keys.
    pub fn open() -> Result<Module> {
        let service = Arc::new(Service::new(Config::read()?));
        Ok(Module { service, objects: None, sessions: BTreeMap::new(), next: 1 })
    }

    pub fn open_session(&mut self, slot: CK_SLOT_ID, flags: CK_FLAGS) -> Result<CK_SESSION_HANDLE> {
        if slot != SLOT {
            return Err(Fault(CKR_SLOT_ID_INVALID));
        }
        if flags & CKF_SERIAL_SESSION == 0 {
            return Err(Fault(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(Fault(CKR_SESSION_COUNT));
        }
        let handle = self.next;
        self.next += 1;
        self.sessions.insert(handle, Session { flags, ..Session::default() });
        Ok(handle)
    }

    pub fn close_session(&mut self, handle: CK_SESSION_HANDLE) -> Result {
        self.sessions.remove(&handle).map(drop).ok_or(Fault(CKR_SESSION_HANDLE_INVALID))
    }

    pub fn close_all(&mut self) {
        self.sessions.clear();
    }

    /// The flags of a session.
    pub fn flags(&self, handle: CK_SESSION_HANDLE) -> Result<CK_FLAGS> {
        self.sessions.get(&handle).map(|session| session.flags).ok_or(Fault(CKR_SESSION_HANDLE_INVALID))
    }

    fn session(&mut self, handle: CK_SESSION_HANDLE) -> Result<&mut Session> {
        self.sessions.get_mut(&handle).ok_or(Fault(CKR_SESSION_HANDLE_INVALID))
    }

    /// Whom to ask for the objects, if nobody has asked yet.
    pub fn unasked(&mut self, session: CK_SESSION_HANDLE) -> Result<Option<Arc<Service>>> {
        self.session(session)?;
        Ok(self.objects.is_none().then(|| Arc::clone(&self.service)))
    }

    /// Keeps the answer; of two, the first.
    pub fn keep(&mut self, objects: Vec<Object>) {
        self.objects.get_or_insert(objects);
    }

    /// What was told: nobody has a handle before it is.
    fn objects(&self) -> &[Object] {
        self.objects.as_deref().unwrap_or_default()
    }

    pub fn find_begin(
        &mut self,
        session: CK_SESSION_HANDLE,
        template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)],
    ) -> Result {
        if self.session(session)?.found.is_some() {
            return Err(Fault(CKR_OPERATION_ACTIVE));
        }
        let all = self.objects().iter().enumerate();
        // Handles are places in the list, from 1: it does not change.
        let found =
            all.filter(|(_, object)| object.fits(template)).map(|(index, _)| index as CK_OBJECT_HANDLE + 1);
        let found: Vec<_> = found.collect();
        self.session(session)?.found = Some(found);
        Ok(())
    }

    pub fn find(&mut self, session: CK_SESSION_HANDLE, most: usize) -> Result<Vec<CK_OBJECT_HANDLE>> {
        let found = self.session(session)?.found.as_mut().ok_or(Fault(CKR_OPERATION_NOT_INITIALIZED))?;
        let most = most.min(found.len());
        Ok(found.drain(..most).collect())
    }

    pub fn find_end(&mut self, session: CK_SESSION_HANDLE) -> Result {
        self.session(session)?.found.take().map(drop).ok_or(Fault(CKR_OPERATION_NOT_INITIALIZED))
    }

    fn object(&self, handle: CK_OBJECT_HANDLE, invalid: CK_RV) -> Result<&Object> {
        let index = usize::try_from(handle).ok().and_then(|handle| handle.checked_sub(1));
        index.and_then(|index| self.objects().get(index)).ok_or(Fault(invalid))
    }

    pub fn attribute(
        &mut self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Result<Seen<'_>> {
        self.session(session)?;
        Ok(self.object(object, CKR_OBJECT_HANDLE_INVALID)?.attribute(kind))
    }

    pub fn sign_begin(
        &mut self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        mechanism: CK_MECHANISM_TYPE,
        pss: Option<Pss>,
    ) -> Result {
        if self.session(session)?.signing.is_some() {
            return Err(Fault(CKR_OPERATION_ACTIVE));
        }
        let object = self.object(key, CKR_KEY_HANDLE_INVALID)?;
        let key = object.key.clone().ok_or(Fault(CKR_KEY_FUNCTION_NOT_PERMITTED))?;
        let operation = Operation::begin(key.public.algorithm(), mechanism, pss)?;
        self.session(session)?.signing = Some(Signing { key, operation, parts: false });
        Ok(())
    }

    fn signing(&mut self, session: CK_SESSION_HANDLE) -> Result<&mut Signing> {
        self.session(session)?.signing.as_mut().ok_or(Fault(CKR_OPERATION_NOT_INITIALIZED))
    }

    /// How long the signature will be.
    pub fn signature_len(&mut self, session: CK_SESSION_HANDLE) -> Result<usize> {
        Ok(signature_len(self.signing(session)?.key.public.algorithm()))
    }

    /// Takes a part of the input; an operation that cannot take it is over.
    pub fn sign_part(&mut self, session: CK_SESSION_HANDLE, bytes: &[u8]) -> Result {
        self.signing(session)?.parts = true;
        self.take(session, bytes)
    }

    /// Takes the whole input, and says what is to be asked for. An operation
    /// whose input came in parts is not ended this way (§5.11, C_Sign): the
    /// caller has forgotten it, and would get a signature over more.
    pub fn sign_whole(&mut self, session: CK_SESSION_HANDLE, bytes: &[u8]) -> Result<Asking> {
        if self.signing(session)?.parts {
            self.session(session)?.signing = None;
            return Err(Fault(CKR_OPERATION_ACTIVE));
        }
        self.take(session, bytes)?;
        self.sign_end(session)
    }

    fn take(&mut self, session: CK_SESSION_HANDLE, bytes: &[u8]) -> Result {
        let more = self.signing(session)?.operation.update(bytes);
        if more.is_err() {
            self.session(session)?.signing = None;
        }
        more
    }

    /// Ends the operation, and says what is to be asked for.
    pub fn sign_end(&mut self, session: CK_SESSION_HANDLE) -> Result<Asking> {
        let taken = self.session(session)?.signing.take();
        let Signing { key, operation, .. } = taken.ok_or(Fault(CKR_OPERATION_NOT_INITIALIZED))?;
        Ok(Asking { service: Arc::clone(&self.service), key, tbs: operation.finish()? })
    }
}

/// Every mechanism, whatever keys there are.
pub fn all_mechanisms() -> Vec<CK_MECHANISM_TYPE> {
    let kinds = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Rsa(3072), KeyAlgorithm::Ed25519];
    let mut all: Vec<_> = kinds.into_iter().flat_map(mechanisms).copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}
