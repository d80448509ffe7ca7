//! A sealed bundle as one of its devices reads it.

use zeroize::Zeroizing;

use super::keys::{self, Derivation, KEY};
use super::{AES256_CBC, AES256_WRAP, AGREED_SHA1, AGREED_SHA256, Agreement, Envelope};
use crate::agreement::{Recipient, Secret};
use crate::cms::scheme::algorithm;
use crate::der::OCTET_STRING;
use crate::key_wrap;

impl Envelope<'_> {
    /// What is sealed in it, for this key. `None` if it is sealed for others.
    pub(in crate::rauc) fn open(&self, key: &Secret) -> Option<Vec<u8>> {
        let (AES256_CBC, Some(iv)) = algorithm(self.algorithm).ok()? else { return None };
        let iv = (iv.tag == OCTET_STRING).then(|| iv.value.try_into().ok()).flatten()?;
        let agreed = self.recipients.iter().filter_map(|own| own.agreement.as_ref());
        let content_key = agreed.into_iter().find_map(|agreement| agreement.key(key))?;
        keys::decrypt(&content_key, iv, self.sealed)
    }
}

impl Agreement<'_> {
    /// The content's key, if it is wrapped for this one.
    fn key(&self, secret: &Secret) -> Option<Zeroizing<[u8; KEY]>> {
        let (oid, wrap) = algorithm(self.algorithm).ok()?;
        let derivation = match oid {
            AGREED_SHA1 => Derivation::Sha1,
            AGREED_SHA256 => Derivation::Sha256,
            _ => return None,
        };
        let wrap = wrap?.whole;
        if algorithm(wrap).ok()?.0 != AES256_WRAP {
            return None;
        }
        let shared = secret.agree(&Recipient::from_point(self.point)?)?;
        let key = key_wrap::unwrap(&derivation.key(&shared[..], wrap, self.ukm)[..], self.wrapped)?;
        key.as_slice().try_into().ok().map(Zeroizing::new)
    }
}
