//! Logging in: one try per PIN, and never the last one.
//!
//! Tokens count wrong PINs and lock, some for ever. A service that retries
//! turns a typing error into a lost HSM. So a PIN that was refused is
//! remembered for the whole process and never offered again, whichever key
//! of the token wants it; another PIN, which a person put in place, is
//! tried once.

use std::sync::Mutex;

use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::RawAuthPin;
use firmseal_keys::Secret;

use crate::error::Pkcs11Error;
use crate::module::lock;

/// What is known about the PIN of one token.
#[derive(Default)]
pub(crate) struct Login {
    /// The PINs that the token refused.
    refused: Mutex<Vec<Secret>>,
}

impl Login {
    /// Makes sure that this session, and with it every session of the
    /// process on this token, is logged in as the user.
    ///
    /// The lock is held over the attempt: of two sessions that find
    /// themselves logged out, the second sees the first one's login, or its
    /// refusal, and does not spend a try of its own. `info` asks the token
    /// under that lock, so that its flags count the attempt before.
    pub(crate) fn ensure(
        &self,
        session: &Session,
        info: impl Fn() -> Result<TokenInfo, Pkcs11Error>,
        pin: Option<&Secret>,
    ) -> Result<(), Pkcs11Error> {
        let mut refused = lock(&self.refused);
        let info = info()?;
        if !info.login_required() {
            return Ok(());
        }
        match session.get_session_info()?.session_state() {
            SessionState::RoUser | SessionState::RwUser => return Ok(()),
            SessionState::RwSecurityOfficer => {
                return Err(Pkcs11Error::Busy("the security officer is logged in".to_owned()));
            }
            SessionState::RoPublic | SessionState::RwPublic => {}
        }
        if info.user_pin_locked() {
            return Err(Pkcs11Error::PinLocked);
        }
        if info.user_pin_final_try() {
            return Err(Pkcs11Error::FinalTry);
        }
        // A token with a PIN pad asks its holder itself.
        let Some(pin) = pin else {
            if !info.protected_authentication_path() {
                return Err(Pkcs11Error::NoPin);
            }
            return session.login(UserType::User, None).map_err(Pkcs11Error::from);
        };
        if refused.iter().any(|known| known.expose() == pin.expose()) {
            return Err(Pkcs11Error::WrongPin);
        }
        let offered = RawAuthPin::new(Box::new(pin.expose().to_vec()));
        let answer = session.login_with_raw(UserType::User, &offered).map_err(Pkcs11Error::from);
        if answer.as_ref().is_err_and(Pkcs11Error::is_pin) {
            refused.push(pin.clone());
        }
        answer
    }
}
