//! Why a file was not read or signed.

use std::io;

use firmseal_manifest::KeyAlgorithm;

/// Why a file was not read or signed, for the person who can fix it.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file could not be read.
    #[error("the file could not be read: {0}")]
    Read(#[from] io::Error),
    /// There is no format of this name.
    #[error("there is no format `{name}`; `firmseal inspect --help` lists them")]
    UnknownFormat {
        /// The name, shortened.
        name: String,
    },
    /// No format knows the file.
    #[error("no format recognises this file")]
    Unrecognised,
    /// More than one format claims the file.
    #[error("the file could be {}; a file with two meanings is not signed", formats.join(" or "))]
    Ambiguous {
        /// The formats that claim it.
        formats: Vec<&'static str>,
    },
    /// The file ends before something it promises.
    #[error("{format}: {what} needs {need} bytes, the file has {have}")]
    Truncated {
        /// The format.
        format: &'static str,
        /// What does not fit.
        what: &'static str,
        /// Where it would end.
        need: u64,
        /// Where the file ends.
        have: u64,
    },
    /// The file breaks a rule of its format, or can be read in two ways.
    #[error("{format}: {what}")]
    Malformed {
        /// The format.
        format: &'static str,
        /// The broken rule.
        what: String,
    },
    /// The file is well formed, but of a kind that is not handled.
    #[error("{format}: {what}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What is not handled, and what to do instead.
        what: String,
    },
    /// The content does not have the digest that the file itself states.
    #[error("{format}: the content does not match the file's own digest; it was damaged or altered")]
    DigestMismatch {
        /// The format.
        format: &'static str,
    },
    /// What the file says is not what the signature was asked for.
    #[error(
        "the file says {field} {inside}, the request says {wanted}; rebuild the file or ask for {inside}"
    )]
    Disagrees {
        /// Version, epoch, header size...
        field: &'static str,
        /// What the file says.
        inside: String,
        /// What was asked for.
        wanted: String,
    },
    /// A version or epoch that the format has no room for.
    #[error("{format}: {field} {value} does not fit: {why}")]
    DoesNotFit {
        /// The format.
        format: &'static str,
        /// Version or epoch.
        field: &'static str,
        /// The value.
        value: String,
        /// What would fit.
        why: &'static str,
    },
    /// The format has no signature of this algorithm.
    #[error("{format} has no signature for {algorithm} keys; use {use_instead}")]
    KeyAlgorithm {
        /// The format.
        format: &'static str,
        /// The key's algorithm.
        algorithm: KeyAlgorithm,
        /// What would work.
        use_instead: &'static str,
    },
    /// A parameter is unknown, missing or wrong.
    #[error("parameter `{name}`: {why}")]
    Parameter {
        /// The parameter's name, shortened.
        name: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// What would be signed is what other formats sign inside.
    #[error("the file is {what}: a signature over it would count for something else, so no key signs it")]
    Inner {
        /// What it is.
        what: &'static str,
    },
    /// A certificate of another key than the one that signs.
    #[error("parameter `certificate`: it is for key {certificate}, the signature is by key {key}")]
    OtherCertificate {
        /// The certificate's key.
        certificate: String,
        /// The key that signs.
        key: String,
    },
    /// The signed file would not fit where it is to be installed.
    #[error("the signed image and its trailer take {need} bytes, the slot has {slot}")]
    SlotTooSmall {
        /// Bytes needed.
        need: u64,
        /// Bytes there are.
        slot: u64,
    },
    /// The signature does not have the shape its key gives signatures.
    #[error("not a {algorithm} signature: {why}")]
    SignatureShape {
        /// The key's algorithm.
        algorithm: KeyAlgorithm,
        /// What is wrong.
        why: &'static str,
    },
    /// Not a key that files are decrypted with.
    #[error(
        "not a private key of P-256, X25519 or RSA (PKCS #8 in PEM, without a passphrase), nor a shared AES key \
         (a line of base64)"
    )]
    DecryptionKey,
    /// The file is encrypted for another key, or its content key was altered.
    #[error("the file's content key does not open with this key; it is for another device, or was altered")]
    NotForThisKey,
    /// The source is not the one a plan was made for.
    #[error("the file changed between planning and writing: it had {planned} bytes, now {now}")]
    SourceChanged {
        /// Length when the plan was made.
        planned: u64,
        /// Length now.
        now: u64,
    },
}

impl FormatError {
    pub(crate) fn malformed(format: &'static str, what: impl Into<String>) -> FormatError {
        FormatError::Malformed { format, what: what.into() }
    }

    pub(crate) fn unsupported(format: &'static str, what: impl Into<String>) -> FormatError {
        FormatError::Unsupported { format, what: what.into() }
    }
}
