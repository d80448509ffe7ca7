//! Modules: PKCS#11 libraries, loaded once per process.
//!
//! A module's state (initialization, login, sessions) belongs to the process
//! and not to whoever loaded it, so everybody shares one [`Module`] per
//! path. Modules are never finalized or unloaded: other code in the process
//! may use them, and their threads may hang.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use crate::error::Pkcs11Error;
use crate::login::Login;
use crate::uri::Pkcs11Uri;

/// A loaded and initialized module.
pub(crate) struct Module {
    pub(crate) context: Pkcs11,
    path: PathBuf,
    /// Login state by token (manufacturer, model, serial, label): what is
    /// known about a PIN must hold for every key of the token.
    logins: Mutex<BTreeMap<[String; 4], Arc<Login>>>,
}

/// One lock per module: a library that hangs while it is loaded stops
/// nobody who wants another.
type Entry = Arc<Mutex<Option<Arc<Module>>>>;
static MODULES: Mutex<BTreeMap<PathBuf, Entry>> = Mutex::new(BTreeMap::new());

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Module {
    /// The module that the URI names.
    pub(crate) fn of(uri: &Pkcs11Uri) -> Result<Arc<Module>, Pkcs11Error> {
        let path = uri.module_path.as_deref().ok_or(Pkcs11Error::NoModulePath)?;
        // Two names of one library are one module: the loader thinks so.
        let path = fs::canonicalize(path).map_err(|error| failed(path, error))?;
        let entry = Arc::clone(lock(&MODULES).entry(path.clone()).or_default());
        let mut entry = lock(&entry);
        if let Some(module) = &*entry {
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(&path).map_err(|error| failed(&path, error))?;
        let module = Module { context, path, logins: Mutex::default() };
        module.initialize()?;
        let module = Arc::new(module);
        *entry = Some(Arc::clone(&module));
        Ok(module)
    }

    /// Initializes the library, or finds that somebody in this process did.
    /// Called again after somebody finalized it.
    pub(crate) fn initialize(&self) -> Result<(), Pkcs11Error> {
        match self.context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
            Err(error) => Err(failed(&self.path, error)),
        }
    }

    /// Whether the library still answers; initializes it anew if it was
    /// finalized under us.
    pub(crate) fn ensure_initialized(&self) -> Result<(), Pkcs11Error> {
        match self.context.get_library_info() {
            Ok(_) => Ok(()),
            Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => self.initialize(),
            Err(error) => Err(error.into()),
        }
    }

    /// The one token that matches the URI.
    pub(crate) fn find_token(&self, uri: &Pkcs11Uri) -> Result<(Slot, TokenInfo), Pkcs11Error> {
        let mut present = self.tokens(uri)?;
        let all: Vec<String> = present.iter().map(|(_, info)| self.token_uri(info).to_string()).collect();
        present.retain(|(_, info)| token_matches(uri, info));
        let candidates = || present.iter().map(|(_, info)| self.token_uri(info).to_string());
        match present.as_slice() {
            [] => Err(Pkcs11Error::NoToken { present: enumerate(all.into_iter()) }),
            [one] => Ok(one.clone()),
            _ => Err(Pkcs11Error::AmbiguousToken { candidates: enumerate(candidates()) }),
        }
    }

    /// All initialized tokens in the slots that the URI allows.
    pub(crate) fn tokens(&self, uri: &Pkcs11Uri) -> Result<Vec<(Slot, TokenInfo)>, Pkcs11Error> {
        let library = self.context.get_library_info()?;
        let version = library.library_version();
        let is_library = is(&uri.library_manufacturer, library.manufacturer_id())
            && is(&uri.library_description, library.library_description())
            && uri.library_version.is_none_or(|wanted| wanted == (version.major(), version.minor()));
        let mut tokens = Vec::new();
        for slot in self.context.get_slots_with_token()? {
            // A token may be pulled out while we look: then it is not there.
            let Ok(info) = self.context.get_token_info(slot) else { continue };
            let Ok(place) = self.context.get_slot_info(slot) else { continue };
            let is_slot = uri.slot_id.is_none_or(|id| id == slot.id())
                && is(&uri.slot_manufacturer, place.manufacturer_id())
                && is(&uri.slot_description, place.slot_description());
            if is_library && is_slot && info.token_initialized() {
                tokens.push((slot, info));
            }
        }
        Ok(tokens)
    }

    /// What is known about the PIN of a token.
    pub(crate) fn login_of(&self, info: &TokenInfo) -> Arc<Login> {
        let token = [info.manufacturer_id(), info.model(), info.serial_number(), info.label()];
        Arc::clone(lock(&self.logins).entry(token.map(str::to_owned)).or_default())
    }

    /// The URI that names this token and no other.
    pub(crate) fn token_uri(&self, info: &TokenInfo) -> Pkcs11Uri {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Pkcs11Uri {
            token: text(info.label()),
            manufacturer: text(info.manufacturer_id()),
            model: text(info.model()),
            serial: text(info.serial_number()),
            ..Pkcs11Uri::default()
        }
    }
}

fn token_matches(uri: &Pkcs11Uri, info: &TokenInfo) -> bool {
    is(&uri.token, info.label())
        && is(&uri.manufacturer, info.manufacturer_id())
        && is(&uri.model, info.model())
        && is(&uri.serial, info.serial_number())
}

fn is(wanted: &Option<String>, found: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| wanted == found)
}

fn failed(path: &Path, error: impl ToString) -> Pkcs11Error {
    Pkcs11Error::Module { path: path.display().to_string(), why: error.to_string() }
}

/// A list for an error message, cut where it stops being useful.
pub(crate) fn enumerate(items: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 8;
    let count = items.len();
    let mut shown: Vec<String> = items.take(SHOWN).collect();
    if shown.is_empty() {
        return "none".to_owned();
    }
    if count > SHOWN {
        shown.push(format!("and {} more", count - SHOWN));
    }
    shown.join(", ")
}
