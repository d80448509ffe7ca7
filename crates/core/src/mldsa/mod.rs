//! ML-DSA (FIPS 204), a lattice signature: verification in little stack.
//!
//! A verifier as the standard writes it holds the matrix and four vectors:
//! 50 to 150 kB. This one works row by row. For each row it draws each
//! polynomial of the matrix from the seed and multiplies as it draws, unpacks
//! and transforms one polynomial of the response at a time (again for every
//! row: a transform costs a tenth of a row's SHAKE128), and hashes the row's
//! high bits at once. It holds three polynomials of 1 KiB and never a vector.
//!
//! The form is pure ML-DSA with an empty context, as COSE uses it (RFC 9964).
//! Everything is public, so nothing runs in constant time.

#[cfg(feature = "ml-dsa")]
mod hint;
#[cfg(feature = "ml-dsa")]
mod ring;
#[cfg(feature = "ml-dsa")]
mod verify;

/// A parameter set (FIPS 204 §4, table 1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Set {
    /// Category 2.
    MlDsa44,
    /// Category 3.
    MlDsa65,
    /// Category 5.
    MlDsa87,
}

/// A public key whose length was checked; every value of its bits is a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key<'a> {
    set: Set,
    encoded: &'a [u8],
}

impl Set {
    /// Length of a public key (FIPS 204 §4, table 2).
    pub const fn key_len(self) -> usize {
        32 + 320 * self.rows()
    }

    /// Length of a signature.
    pub const fn signature_len(self) -> usize {
        self.challenge_len() + self.columns() * self.response_len() + self.hints() + self.rows()
    }

    /// k: rows of the matrix.
    pub(crate) const fn rows(self) -> usize {
        match self {
            Set::MlDsa44 => 4,
            Set::MlDsa65 => 6,
            Set::MlDsa87 => 8,
        }
    }

    /// l: its columns.
    const fn columns(self) -> usize {
        match self {
            Set::MlDsa44 => 4,
            Set::MlDsa65 => 5,
            Set::MlDsa87 => 7,
        }
    }

    /// λ/4: bytes of the challenge.
    const fn challenge_len(self) -> usize {
        match self {
            Set::MlDsa44 => 32,
            Set::MlDsa65 => 48,
            Set::MlDsa87 => 64,
        }
    }

    /// ω: coefficients that hints may mark.
    const fn hints(self) -> usize {
        match self {
            Set::MlDsa44 => 80,
            Set::MlDsa65 => 55,
            Set::MlDsa87 => 75,
        }
    }

    /// Bits of a packed coefficient of the response: 1 + the bits of γ1 - 1.
    const fn response_bits(self) -> usize {
        match self {
            Set::MlDsa44 => 18,
            Set::MlDsa65 | Set::MlDsa87 => 20,
        }
    }

    /// Bytes of a packed polynomial of the response.
    const fn response_len(self) -> usize {
        32 * self.response_bits()
    }
}

impl<'a> Key<'a> {
    /// Reads a key. `None` for another length, and where this build has no
    /// ML-DSA: such a key is then of an unknown type, and refused.
    pub fn decode(set: Set, encoded: &'a [u8]) -> Option<Key<'a>> {
        (cfg!(feature = "ml-dsa") && encoded.len() == set.key_len()).then_some(Key { set, encoded })
    }

    /// Its parameter set.
    pub const fn set(&self) -> Set {
        self.set
    }

    /// The key as it is encoded.
    pub fn encoded(&self) -> &'a [u8] {
        self.encoded
    }

    /// Checks a signature with an empty context (FIPS 204, algorithm 3).
    #[cfg(feature = "ml-dsa")]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), crate::crypto::BadSignature> {
        verify::verify(self, message, signature)
    }
}
