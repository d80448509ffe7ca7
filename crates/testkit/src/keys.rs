//! Keys from seeds.

use ed25519_dalek::Signer as _;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};

/// A private key made from one byte.
pub struct TestKey {
    private: Private,
    public: PublicKey,
}

enum Private {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl TestKey {
    /// The Ed25519 key of a seed.
    pub fn ed25519(seed: u8) -> TestKey {
        let private = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::from_ed25519(private.verifying_key().to_bytes()).unwrap();
        TestKey { private: Private::Ed25519(private), public }
    }

    /// The P-256 key of a seed; zero is no key.
    pub fn p256(seed: u8) -> TestKey {
        let private = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
        let point = private.verifying_key().to_sec1_point(false);
        let public = PublicKey::from_point(KeyAlgorithm::P256, point.as_bytes()).unwrap();
        TestKey { private: Private::P256(private), public }
    }

    /// Whether it is an Ed25519 key; P-256 otherwise.
    pub fn is_ed25519(&self) -> bool {
        matches!(self.private, Private::Ed25519(_))
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message; deterministic for both algorithms (RFC 8032,
    /// RFC 6979).
    pub fn sign(&self, tbs: &Tbs) -> Signature {
        let Tbs::Message(message) = tbs else { panic!("test keys sign messages") };
        Signature(match &self.private {
            Private::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
        })
    }
}
