//! RSA signatures that come out the same every time (RFC 8017 §8.1): the salt
//! is made from the message.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::PublicKey;
use num_bigint::BigUint;

/// Moduli and private exponents; making them takes too long for a test.
const KEYS: &str = include_str!("../data/rsa.txt");
const EXPONENT: [u8; 3] = [1, 0, 1];

/// A private key.
pub struct Private {
    modulus: BigUint,
    exponent: BigUint,
}

impl Private {
    /// One of the keys of a size, by its place among them.
    pub fn stored(bits: u64, place: usize) -> Private {
        let number = |digits| BigUint::parse_bytes(digits, 16).unwrap();
        let keys = KEYS.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (modulus, exponent) = line.split_once(' ').unwrap();
            Private { modulus: number(modulus.as_bytes()), exponent: number(exponent.as_bytes()) }
        });
        keys.filter(|key| key.modulus.bits() == bits).nth(place).expect("no such key is stored")
    }

    /// A key whose modulus is the prime 2^bits - `less`.
    pub fn below_the_power_of_two(bits: u64, less: u32) -> Private {
        Private::prime((BigUint::from(1u8) << bits) - less)
    }

    /// A key whose modulus is the prime 2^(bits - 1) + `more`.
    pub fn above_the_half(bits: u64, more: u32) -> Private {
        Private::prime((BigUint::from(1u8) << (bits - 1)) + more)
    }

    /// To a prime modulus everybody knows the private exponent.
    fn prime(modulus: BigUint) -> Private {
        let exponent = BigUint::from_bytes_be(&EXPONENT).modinv(&(&modulus - 1u8)).unwrap();
        Private { modulus, exponent }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey::from_rsa(&self.modulus.to_bytes_be(), &EXPONENT).unwrap()
    }

    /// The modulus, big endian.
    pub fn modulus(&self) -> Vec<u8> {
        self.modulus.to_bytes_be()
    }

    /// RSASSA-PSS-SIGN with SHA-256 and a salt of 32 bytes.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let salt = RustCrypto.digest(&[b"salt", message].concat());
        self.raw(&self.encode(message, salt.as_bytes()))
    }

    /// EMSA-PSS-ENCODE (§9.1.1).
    pub fn encode(&self, message: &[u8], salt: &[u8]) -> Vec<u8> {
        let digest = RustCrypto.digest(message);
        let hash = RustCrypto.digest(&[&[0; 8], digest.as_bytes().as_slice(), salt].concat());
        let length = self.modulus.to_bytes_be().len() - 32 - 1;
        let mut block = vec![0; length - salt.len() - 1];
        block.push(1);
        block.extend_from_slice(salt);
        for (counter, chunk) in (0u32..).zip(block.chunks_mut(32)) {
            let mask = RustCrypto.digest(&[hash.as_bytes().as_slice(), &counter.to_be_bytes()].concat());
            chunk.iter_mut().zip(mask.as_bytes()).for_each(|(byte, mask)| *byte ^= mask);
        }
        block[0] &= 0x7f;
        [&block, hash.as_bytes().as_slice(), &[0xbc]].concat()
    }

    /// Whatever encoding to the power of the private exponent.
    pub fn raw(&self, encoded: &[u8]) -> Vec<u8> {
        let signature = BigUint::from_bytes_be(encoded).modpow(&self.exponent, &self.modulus).to_bytes_be();
        let length = self.modulus.to_bytes_be().len();
        [vec![0; length - signature.len()], signature].concat()
    }
}
