//! A proof to carry: index, siblings and a cosigned checkpoint in one text
//! (C2SP tlog-proof).

use firmseal_core::Digest;

use crate::error::Error;
use crate::merkle::{PROOF_MAX, verify_inclusion};
use crate::note::{NOTE_MAX, Note};
use crate::policy::{Accepted, Policy};
use crate::{base64, lines};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
const EXTRA_MAX: usize = 64 * 1024;
const EXTRA_TEXT_MAX: usize = EXTRA_MAX.div_ceil(3) * 4;
const TEXT_MAX: usize = NOTE_MAX + EXTRA_TEXT_MAX + 8 * 1024;

/// What a `.tlog-proof` file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogProof {
    /// Data for the application. Nothing vouches for it.
    pub extra: Option<Vec<u8>>,
    /// Where the entry stands.
    pub index: u64,
    /// Siblings, from the leaf upward.
    pub hashes: Vec<Digest>,
    /// The checkpoint, with whatever signatures it came with.
    pub checkpoint: Note,
}

impl LogProof {
    /// Reads the text.
    pub fn parse(bytes: &[u8]) -> Result<LogProof, Error> {
        let bad = Error::malformed("log proof");
        if bytes.len() > TEXT_MAX {
            return Err(bad("it is too long"));
        }
        let mut rest = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        if lines::take(&mut rest) != Some(HEADER) {
            return Err(bad("it does not begin with c2sp.org/tlog-proof@v1"));
        }
        let mut line = lines::take(&mut rest).ok_or(bad("it has no index"))?;
        let mut extra = None;
        if let Some(text) = line.strip_prefix("extra ") {
            if text.len() > EXTRA_TEXT_MAX {
                return Err(bad("its extra data is too long"));
            }
            let data = base64::decode(text).filter(|data| data.len() <= EXTRA_MAX);
            extra = Some(data.ok_or(bad("its extra data is too long or not base64"))?);
            line = lines::take(&mut rest).ok_or(bad("it has no index"))?;
        }
        let index = line.strip_prefix("index ").and_then(lines::number);
        let index = index.ok_or(bad("its index is not a plain decimal number"))?;
        let mut hashes = Vec::new();
        loop {
            match lines::take(&mut rest).ok_or(bad("it has no checkpoint"))? {
                "" => break,
                _ if hashes.len() == PROOF_MAX => return Err(bad("it has too many hashes")),
                hash => hashes.push(base64::digest(hash).ok_or(bad("a hash is not 32 bytes in base64"))?),
            }
        }
        Ok(LogProof { extra, index, hashes, checkpoint: Note::parse(rest.as_bytes())? })
    }

    /// Checks that an entry with this leaf hash is in a log that the policy
    /// accepts.
    pub fn verify(&self, leaf: &Digest, policy: &Policy) -> Result<Accepted, Error> {
        let accepted = policy.evaluate(&self.checkpoint)?;
        let checkpoint = &accepted.checkpoint;
        verify_inclusion(leaf, self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok(accepted)
    }
}

impl std::fmt::Display for LogProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64::encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", base64::encode(hash.as_bytes())))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
