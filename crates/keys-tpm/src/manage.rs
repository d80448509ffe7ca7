//! Making keys in a TPM, at a persistent handle or wrapped in a file;
//! listing and destroying them.

use std::path::Path;

use firmseal_keys::pool::wait;
use firmseal_keys::{FileKey, ListedKey, Secret};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};
use tss_esapi::structures::Public;

use crate::error::TpmError;
use crate::keyfile::Wrapped;
use crate::public::{public_key, signing_key, weakness};
use crate::tpm::{Done, Tpm};
use crate::uri::{TpmKeyPlace, TpmUri};

/// Makes a key that signs and does nothing else, bound to this TPM, under
/// this PIN. It exists nowhere else and cannot be backed up.
pub fn generate(uri: &TpmUri, pin: Secret, algorithm: KeyAlgorithm) -> Result<PublicKey, TpmError> {
    let (template, place) = (signing_key(algorithm)?, uri.place.clone());
    if let TpmKeyPlace::File(path) = &place
        && path.exists()
    {
        let why = "it exists and is not overwritten; choose another name".to_owned();
        return Err(TpmError::File { path: path.clone(), why });
    }
    let tpm = Tpm::of(uri.tcti())?;
    let done = wait(tpm.ask(move |connection| {
        if let TpmKeyPlace::Handle(number) = place
            && connection.is_taken(number)?
        {
            return Err(TpmError::Exists(number));
        }
        let wrapped = connection.create(template.clone(), &pin)?;
        // What the TPM made, not what we asked for.
        let key = public_key(&wrapped.public)?;
        if let Some(weakness) = weakness(wrapped.public.object_attributes()) {
            return Err(TpmError::NotForSigning(weakness));
        }
        match &place {
            TpmKeyPlace::Handle(number) => connection.persist(&wrapped, *number)?,
            TpmKeyPlace::File(path) => wrapped.write(path)?,
        }
        Ok(Done::Key(key, None))
    }))?;
    match done {
        Done::Key(key, _) if key.algorithm() == algorithm => Ok(key),
        _ => Err(TpmError::Replaced),
    }
}

/// Lists what is at the persistent handles of the TPM that the URI names,
/// usable or not. The key in the URI does not matter, and keys in files only
/// their files know of.
pub fn list(uri: &TpmUri) -> Result<Vec<ListedKey<TpmUri, TpmError>>, TpmError> {
    let tpm = Tpm::of(uri.tcti())?;
    let done = wait(tpm.ask(|connection| {
        let mut found = Vec::new();
        for handle in connection.taken()? {
            // What somebody took away while we read is not listed.
            if let Some(public) = connection.public_at(handle)? {
                found.push((handle, public_key(&public), weakness(public.object_attributes())));
            }
        }
        Ok(Done::Found(found))
    }))?;
    let Done::Found(found) = done else { return Err(TpmError::Replaced) };
    let place = |handle| TpmUri { place: TpmKeyPlace::Handle(handle), pin_source: None, ..uri.clone() };
    Ok(found
        .into_iter()
        .map(|(handle, public_key, weakness)| ListedKey { uri: place(handle), public_key, weakness })
        .collect())
}

/// Destroys a key, and looks whether it is gone. Only the one with this
/// public half: another may be at the handle by now. Whether it was there.
///
/// A key at a handle is then nowhere any more. A wrapped one is overwritten
/// with its file; a copy of that file would still open in this TPM, with the
/// PIN.
pub fn destroy(uri: &TpmUri, id: &KeyId) -> Result<bool, TpmError> {
    let (number, id) = match &uri.place {
        TpmKeyPlace::File(path) => return destroy_file(uri, path, id),
        TpmKeyPlace::Handle(number) => (*number, *id),
    };
    let tpm = Tpm::of(uri.tcti())?;
    let done = wait(tpm.ask(move |connection| {
        let is_it = |public: &Public| public_key(public).is_ok_and(|key| key.id() == id);
        if !connection.public_at(number)?.as_ref().is_some_and(is_it) {
            return Ok(Done::Gone(false));
        }
        connection.evict(number)?;
        match connection.public_at(number)?.as_ref().is_some_and(is_it) {
            true => Err(TpmError::Refused("it has not destroyed the key".to_owned())),
            false => Ok(Done::Gone(true)),
        }
    }))?;
    match done {
        Done::Gone(was_there) => Ok(was_there),
        _ => Err(TpmError::Replaced),
    }
}

fn destroy_file(uri: &TpmUri, path: &Path, id: &KeyId) -> Result<bool, TpmError> {
    if !path.try_exists().map_err(|error| file(path, error))? {
        return Ok(false);
    }
    // Cut off after it was overwritten, it is no key any more.
    let is_overwritten =
        std::fs::read(path).map_err(|error| file(path, error))?.iter().all(|byte| *byte == 0);
    if !is_overwritten && public_key(&Wrapped::read(path)?.public)?.id() != *id {
        return Ok(false);
    }
    // It may be loaded still, from when it last signed.
    wait(Tpm::of(uri.tcti())?.ask(|connection| connection.let_go().map(|()| Done::Gone(true))))?;
    FileKey::destroy(path).map_err(|error| file(path, error))
}

fn file(path: &Path, error: impl std::fmt::Display) -> TpmError {
    TpmError::File { path: path.to_owned(), why: error.to_string() }
}
