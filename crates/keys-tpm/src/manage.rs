//! Making keys in a TPM: at a persistent handle, or wrapped in a file.

use firmseal_keys::pool::wait;
use firmseal_keys::tpm_uri::TpmKeyPlace;
use firmseal_keys::{Secret, TpmUri};
use firmseal_manifest::{KeyAlgorithm, PublicKey};

use crate::error::TpmError;
use crate::public::{public_key, signing_key, weakness};
use crate::tpm::{Done, Tpm};

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
