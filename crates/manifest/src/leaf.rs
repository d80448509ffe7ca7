//! Leaves read back: what somebody else logged.

use firmseal_core::{Digest, KeyId};
use minicbor::{Decoder, decode};

use crate::event::Event;
use crate::intent::{Intent, Purpose};
use crate::lms_entry::LmsEntry;

/// Most digests that stand in one member. Those who read back what somebody
/// else logged bound what they keep of it.
const DIGESTS_MAX: u64 = 256;

/// What a leaf of the log says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Leaf {
    /// A key is going to be used.
    Intent(Intent),
    /// Something happened.
    Event(Event),
    /// An LMS key was made, or a leaf of one taken.
    Lms(LmsEntry),
}

impl Leaf {
    /// Reads a leaf; `None` for what our pipeline does not write.
    pub fn decode(leaf: &[u8]) -> Option<Leaf> {
        let event = || Event::decode(leaf).map(Leaf::Event);
        let lms = || LmsEntry::decode(leaf).map(Leaf::Lms);
        Intent::decode(leaf).map(Leaf::Intent).or_else(event).or_else(lms)
    }

    /// The intent, where it is one.
    pub fn intent(&self) -> Option<&Intent> {
        match self {
            Leaf::Intent(intent) => Some(intent),
            Leaf::Event(_) | Leaf::Lms(_) => None,
        }
    }
}

impl Intent {
    /// Reads a leaf; `None` for anything but what [`Intent::encode`] writes.
    pub fn decode(leaf: &[u8]) -> Option<Intent> {
        read(&mut Decoder::new(leaf)).ok().flatten().filter(|intent| intent.encode() == leaf)
    }
}

fn read(decoder: &mut Decoder<'_>) -> Result<Option<Intent>, decode::Error> {
    let Some(members) = decoder.map()? else { return Ok(None) };
    let mut intent = Intent {
        purpose: Purpose::Root,
        subject: Digest([0; 32]),
        keys: Vec::new(),
        delegation: None,
        statements: Vec::new(),
        requester: Digest([0; 32]),
        policy: Digest([0; 32]),
        context: Vec::new(),
    };
    // What is missing, twice or out of order shows when it is written again.
    for _ in 0..members.min(16) {
        match decoder.u64()? {
            1 => {
                intent.purpose = match decoder.u64()? {
                    0 => Purpose::Root,
                    1 => Purpose::Artifact,
                    2 => Purpose::Release,
                    3 => Purpose::Delegation,
                    4 => Purpose::Revocation,
                    5 => Purpose::Statement,
                    6 => Purpose::Tuf,
                    7 => Purpose::Timestamp,
                    8 => Purpose::Attestation,
                    _ => return Ok(None),
                }
            }
            2 => intent.subject = digest(decoder)?,
            3 => intent.keys = digests(decoder)?.into_iter().map(KeyId).collect(),
            4 => intent.delegation = Some(digest(decoder)?),
            5 => intent.statements = digests(decoder)?,
            6 => intent.requester = digest(decoder)?,
            7 => intent.policy = digest(decoder)?,
            8 => intent.context = digests(decoder)?,
            _ => return Ok(None),
        }
    }
    Ok(Some(intent))
}

fn digest(decoder: &mut Decoder<'_>) -> Result<Digest, decode::Error> {
    Digest::from_slice(decoder.bytes()?).ok_or_else(|| decode::Error::message("not a digest"))
}

fn digests(decoder: &mut Decoder<'_>) -> Result<Vec<Digest>, decode::Error> {
    let count = decoder.array()?.filter(|count| *count <= DIGESTS_MAX);
    let count = count.ok_or_else(|| decode::Error::message("too many digests"))?;
    (0..count).map(|_| digest(decoder)).collect()
}
