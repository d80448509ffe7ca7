//! Why Vault did not answer as it should, and what may be done about it.

use firmseal_keys::{KeysError, SignError};
use firmseal_keys_remote::NoAnswer;
use firmseal_manifest::KeyError;

/// What went wrong between us and Vault. No text in it is longer than a few
/// lines, and none holds the token.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file of authorities cannot be used.
    #[error("{path}: {why}")]
    Authorities {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The token could not be read.
    #[error(transparent)]
    Secret(#[from] KeysError),
    /// The token is none that can be sent.
    #[error("the vault token has characters that no token has; put it in place again")]
    Token,
    /// No connection, or it broke. Trying later may help.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// The server.
        address: String,
        /// What the network or TLS said; of a certificate too that the
        /// authorities of the URI did not issue.
        why: String,
    },
    /// No answer in time.
    #[error("vault did not answer within the deadline")]
    TimedOut,
    /// The operating system refused a thread.
    #[error("{0}")]
    Thread(String),
    /// Vault refused the token for what was asked.
    #[error("vault refused the token: {0}; see whether it has expired and what its policy allows")]
    Denied(String),
    /// Vault has no such key.
    #[error("vault has no key `{name}` at `{mount}`")]
    NoKey {
        /// The key.
        name: String,
        /// Where it was looked for.
        mount: String,
    },
    /// Nothing answers where the engine should be. That says nothing of keys.
    #[error("vault has no transit engine at `{mount}`: {why}")]
    NoEngine {
        /// Where it was looked for.
        mount: String,
        /// What Vault said.
        why: String,
    },
    /// The key has no such version.
    #[error("the key has versions {present}, and no version {wanted}")]
    NoVersion {
        /// What the URI names.
        wanted: u32,
        /// What is there.
        present: String,
    },
    /// The key is none that can sign here.
    #[error("the key cannot be used: {0}")]
    NotForSigning(&'static str),
    /// The key is of a type or size that is not used here.
    #[error(transparent)]
    UnsupportedKey(#[from] KeyError),
    /// A key of that name and version is there already.
    #[error("vault already holds version {0} of this key; name the next one to rotate")]
    Exists(u32),
    /// A rotation skips versions, or begins with another than the first.
    #[error("the next version of this key is {next}; name that one")]
    OutOfTurn {
        /// The version that would be made.
        next: u32,
    },
    /// Vault made something else than was asked for.
    #[error("vault made a key that {0}; it stays there, unused")]
    NotConfined(&'static str),
    /// Its version cannot be taken away before others are.
    #[error(
        "vault takes the oldest version of a key away first: of this one {oldest} is still there; destroy that \
         before"
    )]
    OlderFirst {
        /// The oldest version that is there.
        oldest: u32,
    },
    /// Vault's policy does not let the token destroy.
    #[error(
        "vault does not let this token destroy the key ({why}): its policy needs `update` on \
         `{path}/config` and `{path}/trim`, and `delete` on `{path}`"
    )]
    MayNotDestroy {
        /// The key's path.
        path: String,
        /// What Vault said.
        why: String,
    },
    /// Vault said yes, and the key is still there.
    #[error("vault has not destroyed the key")]
    StillThere,
    /// Another key stands under the name.
    #[error("the key in vault was replaced by another; open it anew")]
    Replaced,
    /// Vault is sealed, a standby, overloaded or broken. Trying later may
    /// help.
    #[error("vault answered {status}: {why}")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// What Vault said.
        why: String,
    },
    /// Vault said no, and will say so again.
    #[error("vault refused ({status}): {why}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What Vault said.
        why: String,
    },
    /// What came back is not how Vault answers.
    #[error("the answer was not understood: {0}")]
    Answer(&'static str),
    /// What came back is no signature of the key that was asked for.
    #[error("what came back is no signature of this key")]
    BadSignature,
}

impl From<NoAnswer> for VaultError {
    fn from(error: NoAnswer) -> VaultError {
        match error {
            NoAnswer::TimedOut => VaultError::TimedOut,
            NoAnswer::Thread(why) => VaultError::Thread(why),
        }
    }
}

impl From<VaultError> for SignError {
    fn from(error: VaultError) -> SignError {
        match error {
            VaultError::Denied(_) | VaultError::Token | VaultError::Secret(_) => {
                SignError::Denied(error.to_string())
            }
            VaultError::BadSignature => SignError::BadSignature,
            // A page of a proxy in between is not Vault's last word.
            VaultError::Unreachable { .. }
            | VaultError::TimedOut
            | VaultError::Thread(_)
            | VaultError::Busy { .. }
            | VaultError::Answer(_) => SignError::Unavailable(error.to_string()),
            VaultError::Refused { .. } => SignError::Refused(error.to_string()),
            // The engine, the key or its version is gone or withdrawn.
            error => SignError::Unfit(error.to_string()),
        }
    }
}
