//! Public areas: what is asked of a TPM, and what it shows.

use firmseal_manifest::{KeyAlgorithm, KeyError, PublicKey, Tbs};
use tss_esapi::attributes::{ObjectAttributes, ObjectAttributesBuilder};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{
    EccPoint, EccScheme, HashScheme, Public, PublicBuilder, PublicEccParametersBuilder, PublicKeyRsa,
    PublicRsaParametersBuilder, RsaExponent, RsaScheme, SignatureScheme, SymmetricDefinitionObject,
};

use crate::error::TpmError;

/// The hash that a key of this algorithm signs.
pub(crate) fn hash(algorithm: KeyAlgorithm) -> HashingAlgorithm {
    match algorithm {
        KeyAlgorithm::P384 => HashingAlgorithm::Sha384,
        _ => HashingAlgorithm::Sha256,
    }
}

/// How a key of this algorithm signs an input; `None` for those that no TPM
/// knows.
pub(crate) fn scheme(algorithm: KeyAlgorithm, tbs: Option<&Tbs>) -> Option<SignatureScheme> {
    let hash_scheme = HashScheme::new(hash(algorithm));
    match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => Some(SignatureScheme::EcDsa { hash_scheme }),
        KeyAlgorithm::Rsa(_) if matches!(tbs, Some(Tbs::Pkcs1(_))) => {
            Some(SignatureScheme::RsaSsa { hash_scheme })
        }
        KeyAlgorithm::Rsa(_) => Some(SignatureScheme::RsaPss { hash_scheme }),
        KeyAlgorithm::Ed25519 | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => None,
    }
}

/// A key that signs and does nothing else, made in this TPM and bound to it.
/// Wrong PINs count (no `noDA`): the TPM locks before one is guessed.
pub(crate) fn signing_key(algorithm: KeyAlgorithm) -> Result<Public, TpmError> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_sign_encrypt(true)
        .build()?;
    let builder = PublicBuilder::new()
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes);
    let hash = HashScheme::new(hash(algorithm));
    // The scheme of an elliptic curve's key is part of it: it signs in no
    // other way. RSA keys sign with either padding, as they are asked.
    Ok(match algorithm {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => {
            let curve = if algorithm == KeyAlgorithm::P256 { EccCurve::NistP256 } else { EccCurve::NistP384 };
            let parameters =
                PublicEccParametersBuilder::new_unrestricted_signing_key(EccScheme::EcDsa(hash), curve)
                    .build()?;
            builder
                .with_public_algorithm(PublicAlgorithm::Ecc)
                .with_ecc_parameters(parameters)
                .with_ecc_unique_identifier(EccPoint::default())
                .build()?
        }
        KeyAlgorithm::Rsa(bits) => {
            let bits = RsaKeyBits::try_from(bits)?;
            let parameters = PublicRsaParametersBuilder::new_unrestricted_signing_key(
                RsaScheme::Null,
                bits,
                RsaExponent::default(),
            )
            .build()?;
            builder
                .with_public_algorithm(PublicAlgorithm::Rsa)
                .with_rsa_parameters(parameters)
                .with_rsa_unique_identifier(PublicKeyRsa::default())
                .build()?
        }
        KeyAlgorithm::Ed25519 | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => {
            return Err(TpmError::NotForSigning("TPMs make p256, p384 and rsa keys"));
        }
    })
}

/// The storage key that wraps keys in files: the template of the TCG's
/// provisioning guidance for P-256, from which a TPM derives the same key
/// each time. `tpm2-openssl` and others use it for such files too.
pub(crate) fn storage_key() -> Result<Public, TpmError> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let parameters = PublicEccParametersBuilder::new_restricted_decryption_key(
        SymmetricDefinitionObject::AES_128_CFB,
        EccCurve::NistP256,
    )
    .build()?;
    Ok(PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default())
        .build()?)
}

/// The public key of a key that can sign for us.
pub(crate) fn public_key(public: &Public) -> Result<PublicKey, TpmError> {
    let attributes = public.object_attributes();
    if !attributes.sign_encrypt() || attributes.restricted() {
        return Err(TpmError::NotForSigning("it signs only what the TPM itself made, or nothing"));
    }
    if !attributes.user_with_auth() {
        return Err(TpmError::NotForSigning("its policy must be satisfied for every use; a PIN does not"));
    }
    match public {
        Public::Rsa { parameters, unique, .. } => {
            // Zero stands for the usual exponent (Part 2 §12.2.3.5).
            let exponent = match parameters.exponent().value() {
                0 => 65_537,
                other => other,
            };
            Ok(PublicKey::from_rsa(unique.value(), &exponent.to_be_bytes())?)
        }
        Public::Ecc { parameters, unique, .. } => {
            let (algorithm, width) = match parameters.ecc_curve() {
                EccCurve::NistP256 => (KeyAlgorithm::P256, 32),
                EccCurve::NistP384 => (KeyAlgorithm::P384, 48),
                _ => return Err(KeyError::Unsupported("another curve".to_owned()).into()),
            };
            let mut point = vec![4];
            for coordinate in [unique.x().value(), unique.y().value()] {
                pad(&mut point, coordinate, width).ok_or(KeyError::Malformed)?;
            }
            Ok(PublicKey::from_point(algorithm, &point)?)
        }
        _ => Err(KeyError::Unsupported("neither ECC nor RSA".to_owned()).into()),
    }
}

/// Appends a number at full width; TPMs leave leading zeros out or not, as
/// they like.
pub(crate) fn pad(out: &mut Vec<u8>, number: &[u8], width: usize) -> Option<()> {
    let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    out.resize(out.len() + width.checked_sub(number.len())?, 0);
    out.extend_from_slice(number);
    Some(())
}

/// What lets the key out of the TPM, if anything does.
pub(crate) fn weakness(attributes: ObjectAttributes) -> Option<&'static str> {
    match attributes {
        a if !a.fixed_tpm() || !a.fixed_parent() => Some("it can be duplicated to another TPM"),
        a if !a.sensitive_data_origin() => Some("it was not made in the TPM"),
        a if a.no_da() => Some("wrong PINs are not counted"),
        a if a.decrypt() => Some("it also decrypts"),
        _ => None,
    }
}
