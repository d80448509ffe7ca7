//! Key agreement: whom a file is encrypted for, and who agrees with them.

use curve25519_dalek::MontgomeryPoint;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::ToSec1Point;
use pkcs8::ObjectIdentifier;
use pkcs8::der::Decode;
use pkcs8::spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");

/// A public key that something is encrypted for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Recipient {
    /// ECDH on P-256 (SP 800-56A).
    P256(Box<p256::PublicKey>),
    /// X25519 (RFC 7748).
    X25519([u8; 32]),
}

impl Recipient {
    /// Reads a SubjectPublicKeyInfo.
    pub(crate) fn from_spki(spki: &[u8]) -> Option<Recipient> {
        let info = SubjectPublicKeyInfoRef::from_der(spki).ok()?;
        let bits = info.subject_public_key.as_bytes()?;
        match info.algorithm.oid {
            EC_PUBLIC_KEY if info.algorithm.parameters_oid().ok()? == SECP256R1 => Self::from_point(bits),
            X25519 if info.algorithm.parameters.is_none() => Some(Recipient::X25519(bits.try_into().ok()?)),
            _ => None,
        }
    }

    /// The P-256 key of an uncompressed point, which lies on the curve.
    pub(crate) fn from_point(point: &[u8]) -> Option<Recipient> {
        let key = (point.len() == 65).then(|| p256::PublicKey::from_sec1_bytes(point).ok()).flatten()?;
        Some(Recipient::P256(Box::new(key)))
    }

    /// The point as it stands in files.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Recipient::P256(key) => key.to_sec1_point(false).as_bytes().to_vec(),
            Recipient::X25519(bytes) => bytes.to_vec(),
        }
    }
}

/// A private key of such an agreement.
pub(crate) enum Secret {
    /// For P-256.
    P256(p256::SecretKey),
    /// For X25519.
    X25519(Zeroizing<[u8; 32]>),
}

impl Secret {
    /// The key of these bytes for agreements with `other`; `None` where they
    /// are no key of its curve.
    pub(crate) fn for_peer(other: &Recipient, bytes: &[u8]) -> Option<Secret> {
        match other {
            Recipient::P256(_) => p256::SecretKey::from_slice(bytes).ok().map(Secret::P256),
            Recipient::X25519(_) => Some(Secret::X25519(Zeroizing::new(bytes.try_into().ok()?))),
        }
    }

    /// Its public half.
    pub(crate) fn public(&self) -> Recipient {
        match self {
            Secret::P256(key) => Recipient::P256(Box::new(key.public_key())),
            Secret::X25519(bytes) => Recipient::X25519(MontgomeryPoint::mul_base_clamped(**bytes).to_bytes()),
        }
    }

    /// What only the two know. `None` for a key of the other curve, and for
    /// points of small order, whose secret everybody knows (RFC 7748 §6.1).
    pub(crate) fn agree(&self, other: &Recipient) -> Option<Zeroizing<[u8; 32]>> {
        let mut out = Zeroizing::new([0; 32]);
        match (self, other) {
            (Secret::P256(key), Recipient::P256(other)) => {
                let point = other.to_projective() * *key.to_nonzero_scalar();
                out.copy_from_slice(point.to_affine().x().as_ref());
            }
            (Secret::X25519(bytes), Recipient::X25519(other)) => {
                *out = MontgomeryPoint(*other).mul_clamped(**bytes).to_bytes();
            }
            _ => return None,
        }
        (*out != [0; 32]).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn x25519(bytes: [u8; 32]) -> Secret {
        Secret::X25519(Zeroizing::new(bytes))
    }

    #[test]
    fn both_sides_agree_and_nobody_else() {
        let p256 = |byte| Secret::P256(p256::SecretKey::from_slice(&[byte; 32]).unwrap());
        for (one, two, three) in
            [(p256(1), p256(2), p256(3)), (x25519([1; 32]), x25519([2; 32]), x25519([3; 32]))]
        {
            let shared = one.agree(&two.public()).unwrap();
            assert_eq!(Some(&*shared), two.agree(&one.public()).as_deref());
            assert_ne!(Some(&*shared), three.agree(&one.public()).as_deref());
        }
        assert!(p256(1).agree(&x25519([1; 32]).public()).is_none());
    }

    #[test]
    fn points_that_are_none_are_refused() {
        assert!(Recipient::from_point(&[4; 65]).is_none(), "not on the curve");
        // 0, 1 and p - 1 have a small order.
        let mut last = [0xff; 32];
        (last[0], last[31]) = (0xec, 0x7f);
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one, last] {
            assert!(x25519([9; 32]).agree(&Recipient::X25519(point)).is_none());
        }
        for spki in [&[][..], &[0x30, 0], b"p256"] {
            assert!(Recipient::from_spki(spki).is_none(), "{spki:x?}");
        }
    }
}
