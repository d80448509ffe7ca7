//! Why something was refused.

/// One refusal. None says more about a bad signature than that it is bad.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// Bytes are not what they should be.
    #[error("the {what} is malformed: {why}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key that is trusted here stands under the note, but did not sign it.
    #[error("the signature of {name} does not verify; the whole note is refused")]
    BadSignature {
        /// The key's name.
        name: String,
    },
    /// No key that is trusted here signed.
    #[error("no trusted key signed the note; check which keys are configured")]
    Unsigned,
    /// A log signs with keys of several kinds, and did not with all.
    #[error("the log's key {name}+{id:08x} has not signed, and is one that this log always signs with")]
    HalfSigned {
        /// The key's name.
        name: String,
        /// Its id.
        id: u32,
    },
    /// Two keys that are trusted here have one name and one id.
    #[error("two trusted keys are both named {name} with one id; remove one")]
    AmbiguousKey {
        /// Their name.
        name: String,
    },
    /// The checkpoint is of another log.
    #[error("the checkpoint is of log {found}, not of {wanted}")]
    WrongLog {
        /// The origin that was expected.
        wanted: String,
        /// The origin that the checkpoint states.
        found: String,
    },
    /// A Merkle proof does not lead to the root.
    #[error("the {0} proof does not lead to the root")]
    BadProof(&'static str),
    /// The log is not that large.
    #[error("the log has {size} entries, which does not reach {asked}")]
    OutOfRange {
        /// The entries there are.
        size: u64,
        /// What was asked for.
        asked: u64,
    },
    /// A tile could not be had.
    #[error("{tile} cannot be read: {why}")]
    Unreadable {
        /// Its path.
        tile: String,
        /// What the source said.
        why: String,
    },
    /// Not enough witnesses cosigned.
    #[error("the quorum {quorum} is not met by the witnesses that cosigned")]
    NoQuorum {
        /// Its name in the policy.
        quorum: String,
    },
}

impl Error {
    /// Makes a function that says what is wrong with `what`.
    pub(crate) fn malformed(what: &'static str) -> impl Fn(&'static str) -> Error + Copy {
        move |why| Error::Malformed { what, why }
    }
}
