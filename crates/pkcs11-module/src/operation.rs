//! Signing operations: from a mechanism and what it is given to exactly what
//! a key of the service signs.

use aws_lc_rs::digest;
use cryptoki_sys::{
    CK_MECHANISM_TYPE, CK_ULONG, CKM_ECDSA, CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_EDDSA, CKM_RSA_PKCS,
    CKM_RSA_PKCS_PSS, CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE,
    CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID,
};
use firmseal_keys::scheme::SHA256_DIGEST_INFO;
use firmseal_manifest::{KeyAlgorithm, Tbs};

use crate::fault::{Fault, Result};

/// Longest input that is kept, not hashed: what a key is given whole.
const KEPT_MAX: usize = 64 * 1024;

/// Parameters of RSA-PSS, as a caller gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pss {
    /// The hash.
    pub hash: CK_MECHANISM_TYPE,
    /// The mask generation function.
    pub mask: CK_ULONG,
    /// Length of the salt.
    pub salt: CK_ULONG,
}

/// An operation on its way.
pub struct Operation {
    algorithm: KeyAlgorithm,
    mechanism: CK_MECHANISM_TYPE,
    input: Input,
}

enum Input {
    /// A digest, or a message for keys that take it whole.
    Kept(Vec<u8>),
    /// A message that is hashed here.
    Hashed(digest::Context),
}

/// Mechanisms of a kind of key, in the order in which they are listed.
pub fn mechanisms(algorithm: KeyAlgorithm) -> &'static [CK_MECHANISM_TYPE] {
    match algorithm {
        KeyAlgorithm::P256 => &[CKM_ECDSA, CKM_ECDSA_SHA256],
        KeyAlgorithm::P384 => &[CKM_ECDSA, CKM_ECDSA_SHA384],
        KeyAlgorithm::Rsa(_) => {
            &[CKM_RSA_PKCS_PSS, CKM_SHA256_RSA_PKCS_PSS, CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS]
        }
        KeyAlgorithm::Ed25519 => &[CKM_EDDSA],
        KeyAlgorithm::MlDsa(_) | KeyAlgorithm::Lms(_) => &[],
    }
}

impl Operation {
    /// Begins one. A mechanism that the service's keys do not sign with is
    /// refused here, and so is a salt that they do not use.
    pub fn begin(
        algorithm: KeyAlgorithm,
        mechanism: CK_MECHANISM_TYPE,
        pss: Option<Pss>,
    ) -> Result<Operation> {
        if !mechanisms(algorithm).contains(&mechanism) {
            return Err(Fault(CKR_MECHANISM_INVALID));
        }
        let ours = Pss { hash: cryptoki_sys::CKM_SHA256, mask: cryptoki_sys::CKG_MGF1_SHA256, salt: 32 };
        if matches!(mechanism, CKM_RSA_PKCS_PSS | CKM_SHA256_RSA_PKCS_PSS) && pss != Some(ours) {
            return Err(Fault::told(
                CKR_MECHANISM_PARAM_INVALID,
                "RSA-PSS is with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes",
            ));
        }
        let input = match mechanism {
            CKM_ECDSA_SHA256 | CKM_SHA256_RSA_PKCS_PSS | CKM_SHA256_RSA_PKCS => {
                Input::Hashed(digest::Context::new(&digest::SHA256))
            }
            CKM_ECDSA_SHA384 => Input::Hashed(digest::Context::new(&digest::SHA384)),
            _ => Input::Kept(Vec::new()),
        };
        Ok(Operation { algorithm, mechanism, input })
    }

    /// Takes more of the input.
    pub fn update(&mut self, bytes: &[u8]) -> Result {
        match &mut self.input {
            Input::Hashed(context) => context.update(bytes),
            Input::Kept(kept) if kept.len() + bytes.len() <= KEPT_MAX => kept.extend_from_slice(bytes),
            Input::Kept(_) => return Err(Fault(CKR_DATA_LEN_RANGE)),
        }
        Ok(())
    }

    /// Exactly what the key signs.
    pub fn finish(self) -> Result<Tbs> {
        let bytes = match self.input {
            Input::Kept(kept) => kept,
            Input::Hashed(context) => context.finish().as_ref().to_vec(),
        };
        let wrong = |_| Fault(CKR_DATA_LEN_RANGE);
        match self.mechanism {
            CKM_SHA256_RSA_PKCS => return Ok(Tbs::Pkcs1(bytes.as_slice().try_into().map_err(wrong)?)),
            CKM_RSA_PKCS => {
                // Another hash, or what is no hash at all, the keys do not sign.
                let digest = bytes.strip_prefix(&SHA256_DIGEST_INFO).ok_or(Fault(CKR_DATA_INVALID))?;
                return Ok(Tbs::Pkcs1(digest.try_into().map_err(wrong)?));
            }
            _ => {}
        }
        match self.algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::Rsa(_) => {
                Ok(Tbs::Sha256(bytes.as_slice().try_into().map_err(wrong)?))
            }
            KeyAlgorithm::P384 => Ok(Tbs::Sha384(bytes.as_slice().try_into().map_err(wrong)?)),
            _ => Ok(Tbs::Message(bytes)),
        }
    }
}

/// Length of a signature, which callers ask for before they have one.
pub fn signature_len(algorithm: KeyAlgorithm) -> usize {
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::Ed25519 => 64,
        KeyAlgorithm::P384 => 96,
        KeyAlgorithm::Rsa(bits) => usize::from(bits) / 8,
        KeyAlgorithm::MlDsa(_) | KeyAlgorithm::Lms(_) => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn tbs(
        algorithm: KeyAlgorithm,
        mechanism: CK_MECHANISM_TYPE,
        pieces: &[&[u8]],
    ) -> std::result::Result<Tbs, cryptoki_sys::CK_RV> {
        let pss = Pss { hash: cryptoki_sys::CKM_SHA256, mask: cryptoki_sys::CKG_MGF1_SHA256, salt: 32 };
        let mut operation = Operation::begin(algorithm, mechanism, Some(pss)).map_err(|fault| fault.0)?;
        for piece in pieces {
            operation.update(piece).map_err(|fault| fault.0)?;
        }
        operation.finish().map_err(|fault| fault.0)
    }

    #[test]
    fn what_is_hashed_here_is_what_a_caller_would_have_hashed() {
        let digest = digest::digest(&digest::SHA256, b"firmware");
        let given = tbs(KeyAlgorithm::P256, CKM_ECDSA, &[digest.as_ref()]).unwrap();
        assert_eq!(tbs(KeyAlgorithm::P256, CKM_ECDSA_SHA256, &[b"firm", b"", b"ware"]).unwrap(), given);
        assert_eq!(tbs(KeyAlgorithm::Rsa(3072), CKM_SHA256_RSA_PKCS_PSS, &[b"firmware"]).unwrap(), given);
        let Tbs::Sha256(hash) = given else { panic!() };
        for (mechanism, input) in [
            (CKM_SHA256_RSA_PKCS, b"firmware".to_vec()),
            (CKM_RSA_PKCS, [&SHA256_DIGEST_INFO[..], &hash].concat()),
        ] {
            assert_eq!(tbs(KeyAlgorithm::Rsa(3072), mechanism, &[&input]).unwrap(), Tbs::Pkcs1(hash));
        }
        let Tbs::Sha384(_) = tbs(KeyAlgorithm::P384, CKM_ECDSA_SHA384, &[b"x"]).unwrap() else { panic!() };
        assert_eq!(tbs(KeyAlgorithm::Ed25519, CKM_EDDSA, &[b"x"]).unwrap(), Tbs::Message(b"x".to_vec()));
    }

    #[test]
    fn what_the_keys_do_not_sign_is_refused() {
        const SHA1: [u8; 35] = {
            let mut info = [0; 35];
            info[0] = 0x30;
            info[1] = 0x21;
            info
        };
        for (algorithm, mechanism, input, value) in [
            (KeyAlgorithm::P256, CKM_ECDSA, &[0; 31][..], CKR_DATA_LEN_RANGE),
            (KeyAlgorithm::P256, CKM_ECDSA, &[0; 48], CKR_DATA_LEN_RANGE),
            (KeyAlgorithm::P256, CKM_ECDSA, &[], CKR_DATA_LEN_RANGE),
            (KeyAlgorithm::P256, CKM_ECDSA_SHA384, &[0; 32], CKR_MECHANISM_INVALID),
            (KeyAlgorithm::P256, CKM_RSA_PKCS, &[0; 32], CKR_MECHANISM_INVALID),
            // No DigestInfo, one of SHA-1, and one with more behind the digest.
            (KeyAlgorithm::Rsa(3072), CKM_RSA_PKCS, &[0; 32], CKR_DATA_INVALID),
            (KeyAlgorithm::Rsa(3072), CKM_RSA_PKCS, &SHA1, CKR_DATA_INVALID),
            (
                KeyAlgorithm::Rsa(3072),
                CKM_RSA_PKCS,
                &[&SHA256_DIGEST_INFO[..], &[0; 33]].concat(),
                CKR_DATA_LEN_RANGE,
            ),
            (KeyAlgorithm::Ed25519, CKM_EDDSA, &[0; KEPT_MAX + 1], CKR_DATA_LEN_RANGE),
        ] {
            assert_eq!(tbs(algorithm, mechanism, &[input]), Err(value), "{algorithm} {mechanism}");
        }
        let longest = Pss { hash: cryptoki_sys::CKM_SHA256, mask: cryptoki_sys::CKG_MGF1_SHA256, salt: 222 };
        for pss in [None, Some(longest)] {
            let begun = Operation::begin(KeyAlgorithm::Rsa(3072), CKM_RSA_PKCS_PSS, pss);
            assert_eq!(begun.err().map(|fault| fault.0), Some(CKR_MECHANISM_PARAM_INVALID));
        }
    }
}
