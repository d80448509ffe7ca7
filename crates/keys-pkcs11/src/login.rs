//! Logging in: one try per PIN, and never the last one.
//!
//! Tokens count wrong PINs and lock, some for ever. A service that retries
//! turns a typing error into a lost HSM. So a PIN that was refused is
//! remembered for the whole process and never offered again, whichever key
//! of the token wants it; another PIN, which a person put in place, is
//! tried once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::RawAuthPin;
use firmseal_keys::Secret;

use crate::error::Pkcs11Error;
use crate::module::lock;

/// How long an attempt keeps others waiting. One that has not come back by
/// then is in a driver that hangs, and another may be made: whether the token
/// counts it, its flags say before.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known about the PIN of one token.
#[derive(Default)]
pub(crate) struct Login {
    state: Mutex<State>,
    /// Signalled when an attempt ends.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    /// The PINs that the token refused.
    refused: Vec<Secret>,
    /// The number of the newest attempt.
    newest: u64,
    /// Whether it is still being made.
    is_made: bool,
}

/// An attempt, of which there is one at a time. It ends with this value.
struct Turn<'a> {
    login: &'a Login,
    number: u64,
}

impl<'a> Turn<'a> {
    /// Waits for the attempt before; for a person at a PIN pad as long as it
    /// takes.
    fn take(login: &'a Login, is_person: bool) -> Turn<'a> {
        let mut state = lock(&login.state);
        while state.is_made {
            let before = state.newest;
            state = match is_person {
                true => login.ended.wait(state).unwrap_or_else(PoisonError::into_inner),
                false => {
                    let same = |state: &mut State| state.is_made && state.newest == before;
                    let waited = login.ended.wait_timeout_while(state, PATIENCE, same);
                    let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() {
                        return Turn::begin(login, state);
                    }
                    state
                }
            };
        }
        Turn::begin(login, state)
    }

    fn begin(login: &'a Login, mut state: MutexGuard<'_, State>) -> Turn<'a> {
        state.newest += 1;
        state.is_made = true;
        Turn { login, number: state.newest }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.login.state);
        if state.newest == self.number {
            state.is_made = false;
            self.login.ended.notify_all();
        }
    }
}

impl Login {
    /// Makes sure that this session, and with it every session of the
    /// process on this token, is logged in as the user.
    ///
    /// One at a time: of two sessions that find themselves logged out, the
    /// second sees the first one's login, or its refusal, and does not spend a
    /// try of its own. `info` asks the token within its turn, so that the flags
    /// count the attempt before.
    pub(crate) fn ensure(
        &self,
        session: &Session,
        info: impl Fn() -> Result<TokenInfo, Pkcs11Error>,
        pin: Option<&Secret>,
    ) -> Result<(), Pkcs11Error> {
        let _turn = Turn::take(self, pin.is_none());
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
        if lock(&self.state).refused.iter().any(|known| known.expose() == pin.expose()) {
            return Err(Pkcs11Error::WrongPin);
        }
        let offered = RawAuthPin::new(Box::new(pin.expose().to_vec()));
        let answer = match session.login_with_raw(UserType::User, &offered) {
            // By one that was thought to hang.
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            answer => answer.map_err(Pkcs11Error::from),
        };
        if answer.as_ref().is_err_and(Pkcs11Error::is_pin) {
            lock(&self.state).refused.push(pin.clone());
        }
        answer
    }
}
