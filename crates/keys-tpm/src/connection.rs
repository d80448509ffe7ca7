//! A connection to a TPM, with what is loaded over it. Lives on one thread.
//!
//! Commands that carry or need a secret go through a session that is salted
//! with the storage key: the PIN is never on the wire, only an HMAC under
//! it, and parameters are encrypted (TPM 2.0 Part 1 §19 and §21).

use std::str::FromStr;

use firmseal_keys::Secret;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::constants::{CapabilityType, SessionType};
use tss_esapi::handles::{
    AuthHandle, KeyHandle, ObjectHandle, PersistentTpmHandle, SessionHandle, TpmHandle,
};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Auth, CapabilityData, Digest, HandleList, HashcheckTicket, Nonce, Public, Signature, SignatureScheme,
    SymmetricDefinition,
};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::{Context, TctiNameConf};

use crate::error::TpmError;
use crate::keyfile::Wrapped;
use crate::public::storage_key;
use crate::uri::{PERSISTENT, TpmKeyPlace};

/// A connection.
pub(crate) struct Connection {
    context: Context,
    session: AuthSession,
    /// The key used last. A TPM has room for three; the next one takes the
    /// place of this one.
    held: Option<(TpmKeyPlace, KeyHandle, Public)>,
}

impl Connection {
    pub(crate) fn open(tcti: &str) -> Result<Connection, TpmError> {
        let tcti = TctiNameConf::from_str(tcti).map_err(|_| TpmError::NotATcti)?;
        let mut context = Context::new(tcti)?;
        let parent = storage(&mut context)?;
        let session = context.start_auth_session(
            Some(parent),
            None,
            None,
            SessionType::Hmac,
            SymmetricDefinition::AES_128_CFB,
            HashingAlgorithm::Sha256,
        );
        // The salt is in; the key is not needed any more.
        context.flush_context(parent.into())?;
        let session = session?.ok_or_else(|| TpmError::Lost("no session".to_owned()))?;
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(true)
            .with_encrypt(true)
            .build();
        context.tr_sess_set_attributes(session, attributes, mask)?;
        Ok(Connection { context, session, held: None })
    }

    /// Loads a key and returns its public area, from the TPM itself.
    pub(crate) fn load(
        &mut self,
        place: &TpmKeyPlace,
        pin: &Secret,
    ) -> Result<(KeyHandle, Public), TpmError> {
        if let Some((held, handle, public)) = &self.held
            && held == place
        {
            return Ok((*handle, public.clone()));
        }
        self.let_go()?;
        let handle = match place {
            TpmKeyPlace::Handle(number) => self.at(*number)?.ok_or(TpmError::NoKey(*number))?,
            TpmKeyPlace::File(path) => self.unwrap(&Wrapped::read(path)?)?,
        };
        let (public, _, _) = self.context.execute_without_session(|context| context.read_public(handle))?;
        self.context.tr_set_auth(handle.into(), auth(pin)?)?;
        self.held = Some((place.clone(), handle, public.clone()));
        Ok((handle, public))
    }

    /// Has the TPM look at the PIN of a loaded key without using the key:
    /// TPM2_PolicySecret in a trial session checks it and decides nothing.
    pub(crate) fn check_pin(&mut self, handle: KeyHandle) -> Result<(), TpmError> {
        let trial = self.context.execute_without_session(|context| {
            context.start_auth_session(
                None,
                None,
                None,
                SessionType::Trial,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )
        })?;
        let trial = trial.ok_or_else(|| TpmError::Lost("no session".to_owned()))?;
        let policy = PolicySession::try_from(trial)?;
        let answer = self.context.execute_with_session(Some(self.session), |context| {
            let entity = AuthHandle::from(ObjectHandle::from(handle));
            context.policy_secret(policy, entity, Nonce::default(), Digest::default(), Nonce::default(), None)
        });
        self.context.flush_context(SessionHandle::from(trial).into())?;
        answer.map(drop).map_err(TpmError::from)
    }

    pub(crate) fn sign(
        &mut self,
        handle: KeyHandle,
        digest: Vec<u8>,
        scheme: SignatureScheme,
    ) -> Result<Signature, TpmError> {
        // No ticket: an unrestricted key signs digests from anywhere.
        let ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: TPM2_ST_HASHCHECK,
            hierarchy: TPM2_RH_NULL,
            digest: Default::default(),
        })?;
        let digest = Digest::try_from(digest)?;
        self.context
            .execute_with_session(Some(self.session), |context| context.sign(handle, digest, scheme, ticket))
            .map_err(TpmError::of_signing)
    }

    /// Makes a key, wrapped.
    pub(crate) fn create(&mut self, public: Public, pin: &Secret) -> Result<Wrapped, TpmError> {
        self.let_go()?;
        let (pin, session) = (auth(pin)?, self.session);
        let parent = storage(&mut self.context)?;
        let made = self.context.execute_with_session(Some(session), |context| {
            context.create(parent, public, Some(pin), None, None, None)
        });
        self.context.flush_context(parent.into())?;
        let made = made?;
        Ok(Wrapped { public: made.out_public, private: made.out_private })
    }

    /// Whether anything is at a handle.
    pub(crate) fn is_taken(&mut self, number: u32) -> Result<bool, TpmError> {
        Ok(self.at(number)?.is_some())
    }

    /// Puts a wrapped key to a persistent handle.
    pub(crate) fn persist(&mut self, wrapped: &Wrapped, number: u32) -> Result<(), TpmError> {
        let handle = self.unwrap(wrapped)?;
        let at = Persistent::Persistent(PersistentTpmHandle::new(number)?);
        let answer = self.context.execute_with_session(Some(self.session), |context| {
            context.evict_control(Provision::Owner, handle.into(), at)
        });
        self.context.flush_context(handle.into())?;
        answer.map(drop).map_err(TpmError::from)
    }

    /// The persistent handles of the owner that something is at.
    pub(crate) fn taken(&mut self) -> Result<Vec<u32>, TpmError> {
        let (mut handles, mut next, last) = (Vec::new(), *PERSISTENT.start(), *PERSISTENT.end());
        loop {
            let (found, more) = self.context.execute_without_session(|context| {
                context.get_capability(CapabilityType::Handles, next, HandleList::MAX_SIZE as u32)
            })?;
            let CapabilityData::Handles(found) = found else {
                return Err(TpmError::Refused("it does not say which handles are taken".to_owned()));
            };
            let found: Vec<u32> = found.into_inner().into_iter().map(u32::from).collect();
            handles.extend(found.iter().copied().filter(|handle| PERSISTENT.contains(handle)));
            match found.last() {
                Some(highest) if more && *highest < last => next = highest + 1,
                _ => return Ok(handles),
            }
        }
    }

    /// The public area of what is at a persistent handle, if anything is. No
    /// PIN is needed to look.
    pub(crate) fn public_at(&mut self, number: u32) -> Result<Option<Public>, TpmError> {
        self.let_go()?;
        let Some(handle) = self.at(number)? else { return Ok(None) };
        let found = self.context.execute_without_session(|context| context.read_public(handle));
        self.context.tr_close(&mut ObjectHandle::from(handle))?;
        Ok(Some(found?.0))
    }

    /// Takes what is at a persistent handle out of the TPM.
    pub(crate) fn evict(&mut self, number: u32) -> Result<(), TpmError> {
        self.let_go()?;
        let handle = self.at(number)?.ok_or(TpmError::NoKey(number))?;
        let at = Persistent::Persistent(PersistentTpmHandle::new(number)?);
        let answer = self.context.execute_with_session(Some(self.session), |context| {
            context.evict_control(Provision::Owner, handle.into(), at)
        });
        if answer.is_err() {
            self.context.tr_close(&mut ObjectHandle::from(handle))?;
        }
        answer.map(drop).map_err(TpmError::from)
    }

    /// What is at a persistent handle.
    fn at(&mut self, number: u32) -> Result<Option<KeyHandle>, TpmError> {
        let handle = TpmHandle::Persistent(PersistentTpmHandle::new(number)?);
        let found = self.context.execute_without_session(|context| context.tr_from_tpm_public(handle));
        match found {
            Ok(found) => Ok(Some(found.into())),
            Err(tss_esapi::Error::Tss2Error(code)) if is_nothing(code) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn unwrap(&mut self, wrapped: &Wrapped) -> Result<KeyHandle, TpmError> {
        let parent = storage(&mut self.context)?;
        let (private, public) = (wrapped.private.clone(), wrapped.public.clone());
        let loaded = self
            .context
            .execute_with_session(Some(self.session), |context| context.load(parent, private, public));
        self.context.flush_context(parent.into())?;
        Ok(loaded?)
    }

    /// Unloads the key that was used last: makes room for another one.
    pub(crate) fn let_go(&mut self) -> Result<(), TpmError> {
        match self.held.take() {
            Some((TpmKeyPlace::File(_), handle, _)) => Ok(self.context.flush_context(handle.into())?),
            Some((TpmKeyPlace::Handle(_), handle, _)) => {
                Ok(self.context.tr_close(&mut ObjectHandle::from(handle))?)
            }
            None => Ok(()),
        }
    }
}

/// TPM_RC_HANDLE: the handle is in order, and nothing is there.
fn is_nothing(code: tss_esapi::constants::response_code::Tss2ResponseCode) -> bool {
    use tss_esapi::constants::response_code::Tss2ResponseCodeKind;
    code.kind() == Some(Tss2ResponseCodeKind::Handle)
}

/// The storage key, derived anew: no TPM needs to have been prepared.
fn storage(context: &mut Context) -> Result<KeyHandle, TpmError> {
    let public = storage_key()?;
    let made = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.create_primary(Hierarchy::Owner, public, None, None, None, None)
    })?;
    Ok(made.key_handle)
}

fn auth(pin: &Secret) -> Result<Auth, TpmError> {
    // SHA-256 names objects here, so their values have at most 32 bytes.
    if pin.expose().len() > 32 {
        return Err(TpmError::PinTooLong);
    }
    Auth::try_from(pin.expose()).map_err(|_| TpmError::PinTooLong)
}
