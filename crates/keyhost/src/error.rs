//! Why a key host does not sign, and why it is not reached.

use firmseal_fleet::Environment;
use firmseal_keys::{LogError, SignError};
use firmseal_keys_remote::NoAnswer;
use firmseal_manifest::{KeyError, KeyName, Purpose};
use firmseal_outbound::OutboundError;
use firmseal_store::StoreError;

use crate::wire::{Problem, ProblemKind};

/// Why a key host does not sign.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Its own log of uses, at start.
    #[error("the log of uses: {0}")]
    Store(#[from] StoreError),
    /// Two keys have one name.
    #[error("two keys are called `{0}`")]
    Twice(KeyName),
    /// It is not what travels here.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// No key of that name.
    #[error("there is no key `{0}` on this host")]
    NoKey(KeyName),
    /// The key is not for that.
    #[error("key `{key}` does not sign for the purpose {purpose:?} on this host")]
    Purpose {
        /// The key.
        key: KeyName,
        /// What the intent is for.
        purpose: Purpose,
    },
    /// The intent is about something else.
    #[error("the intent does not cover this key and these bytes")]
    NotCovered,
    /// The log was not seen so far, or not lately.
    #[error("no checkpoint of {asked} entries was shown lately; the last one had {seen}")]
    Unseen {
        /// The size that was named.
        asked: u64,
        /// The last that was seen.
        seen: u64,
    },
    /// The proof does not lead from the intent to the log.
    #[error("the intent does not stand in the log where it is said to")]
    NotIncluded,
    /// The use could not be written down.
    #[error("the log of uses: {0}")]
    Uses(#[from] LogError),
    /// The key itself.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl HostError {
    pub(crate) fn problem(&self) -> Problem {
        let size = match self {
            HostError::Unseen { seen, .. } => Some(*seen),
            _ => None,
        };
        let problem = match self {
            HostError::Unseen { .. } => ProblemKind::Unseen,
            // No leaf for an LMS key: asking again brings none.
            HostError::Uses(LogError::Leaf(_)) => ProblemKind::Refused,
            HostError::Uses(_) | HostError::Store(_) => ProblemKind::Unavailable,
            HostError::NoKey(_) => ProblemKind::Unfit,
            HostError::Sign(error) => match error {
                SignError::Unsupported { .. } => ProblemKind::Unsupported,
                SignError::WrongPin => ProblemKind::WrongPin,
                SignError::Unavailable(_) | SignError::Denied(_) => ProblemKind::Unavailable,
                SignError::Unfit(_) => ProblemKind::Unfit,
                SignError::BadSignature => ProblemKind::BadSignature,
                SignError::NotCovered | SignError::NoLeaf(_) | SignError::Refused(_) => ProblemKind::Refused,
            },
            _ => ProblemKind::Refused,
        };
        Problem { problem, why: self.to_string(), size }
    }
}

/// Why a key on a host cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address or the certificates.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// `http://`: anybody in between could have things signed.
    #[error("a key host is reached over https:// only")]
    NotPrivate,
    /// No host at all.
    #[error("no address of a key host is given")]
    NoAddress,
    /// One host, where two were meant.
    #[error("the address {0} stands twice; two hosts have two")]
    Twice(String),
    /// No host answered.
    #[error("no key host answered: {0}")]
    NoAnswer(String),
    /// What one host says is wrong.
    #[error("the key host {address} {fault}")]
    Host {
        /// Its address.
        address: String,
        /// What is wrong.
        fault: HostFault,
    },
    /// Hosts that stand in for each other hold the same keys.
    #[error(
        "the key hosts {one} and {other} hold different keys called `{key}`; put the same key on both, or name \
         them in two [[keyhost]] tables"
    )]
    Different {
        /// The key.
        key: KeyName,
        /// One host.
        one: String,
        /// The other.
        other: String,
    },
    /// The public key.
    #[error("the key cannot be used: {0}")]
    Key(#[from] KeyError),
}

/// What is wrong with a key host that answers.
#[derive(Debug, thiserror::Error)]
pub enum HostFault {
    /// It has no such key.
    #[error("says: {0}")]
    Refused(String),
    /// A test key in production, or the other way round.
    #[error("is for {}, and this place is not", .0.name())]
    Environment(Environment),
    /// It answered with something else.
    #[error("gave an answer that cannot be used: {0}")]
    Answer(String),
    /// The public key.
    #[error("shows a key that cannot be used: {0}")]
    Key(KeyError),
}

impl From<NoAnswer> for ConnectError {
    fn from(error: NoAnswer) -> ConnectError {
        ConnectError::NoAnswer(match error {
            NoAnswer::TimedOut => "not within the deadline".to_owned(),
            NoAnswer::Thread(why) => why,
        })
    }
}
