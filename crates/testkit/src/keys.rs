//! Keys from seeds.

use ed25519_dalek::Signer as _;
use firmseal_core::lms::Parameters;
use firmseal_core::mldsa::Set;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};

use crate::lms::Tree;
use crate::rsa;

/// A private key made from one byte.
pub struct TestKey {
    private: Private,
    public: PublicKey,
}

/// A key of one of three types, behind what it does.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

enum Private {
    Ed25519(ed25519_dalek::SigningKey),
    P256(p256::ecdsa::SigningKey),
    Lms(Tree),
    MlDsa(Set, Sign),
    Rsa(rsa::Private),
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

    /// The LMS key of a seed: SHA-256, height 5, width 4.
    pub fn lms(seed: u8) -> TestKey {
        TestKey::tree(5, 3, seed)
    }

    /// The same with SHA-256/192 and width 8: the shortest signatures.
    pub fn lms_192(seed: u8) -> TestKey {
        TestKey::tree(10, 8, seed)
    }

    fn tree(tree: u32, chains: u32, seed: u8) -> TestKey {
        let tree = Tree::new(Parameters::from_codes(tree, chains).unwrap(), seed);
        let public = PublicKey::from_lms(&tree.public()).unwrap();
        TestKey { private: Private::Lms(tree), public }
    }

    /// The ML-DSA key of a seed.
    pub fn ml_dsa(set: Set, seed: u8) -> TestKey {
        match set {
            Set::MlDsa44 => TestKey::lattice::<ml_dsa::MlDsa44>(set, seed),
            Set::MlDsa65 => TestKey::lattice::<ml_dsa::MlDsa65>(set, seed),
            Set::MlDsa87 => TestKey::lattice::<ml_dsa::MlDsa87>(set, seed),
        }
    }

    fn lattice<P: ml_dsa::MlDsaParams + Send + Sync + 'static>(set: Set, seed: u8) -> TestKey {
        let key = ml_dsa::ExpandedSigningKey::<P>::from_seed(&[seed; 32].into());
        let public = PublicKey::from_ml_dsa(set, &key.verifying_key().encode()).unwrap();
        let sign = move |message: &[u8]| key.sign_deterministic(message, b"").unwrap().encode().to_vec();
        TestKey { private: Private::MlDsa(set, Box::new(sign)), public }
    }

    /// One of the stored RSA keys of a size.
    pub fn rsa(bits: u64, place: usize) -> TestKey {
        let private = rsa::Private::stored(bits, place);
        let public = private.public();
        TestKey { private: Private::Rsa(private), public }
    }

    /// The COSE identifier of its algorithm.
    pub fn algorithm(&self) -> i64 {
        match self.private {
            Private::Ed25519(_) => -19,
            Private::P256(_) => -9,
            Private::Lms(_) => -46,
            Private::Rsa(_) => -37,
            Private::MlDsa(Set::MlDsa44, _) => -48,
            Private::MlDsa(Set::MlDsa65, _) => -49,
            Private::MlDsa(Set::MlDsa87, _) => -50,
        }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message; deterministic for all algorithms (RFC 8032,
    /// RFC 6979; ML-DSA without randomness; LMS takes the leaf from the
    /// message, and RSA the salt).
    pub fn sign(&self, tbs: &Tbs) -> Signature {
        let Tbs::Message(message) = tbs else { panic!("test keys sign messages") };
        Signature(match &self.private {
            Private::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Private::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Private::MlDsa(_, sign) => sign(message),
            Private::Rsa(key) => key.sign(message),
            Private::Lms(tree) => tree.sign(u32::from(tbs.fingerprint().0[0]) % 32, message),
        })
    }
}
