//! Cosignatures: what a witness signs, and a log with ML-DSA (C2SP
//! tlog-cosignature).

use firmseal_core::Digest;

use crate::error::Error;

/// What an Ed25519 cosigner signs: the time and the whole note text.
pub fn cosignature_message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// What an ML-DSA cosigner signs: that a subtree belongs to a log. A
/// checkpoint is the subtree from 0 to its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subtree<'a> {
    /// Name of the cosigner's key.
    pub cosigner: &'a str,
    /// When, in seconds since 1970; 0 where `start` is not 0.
    pub time: u64,
    /// Origin of the log.
    pub origin: &'a str,
    /// First entry.
    pub start: u64,
    /// The entry after the last.
    pub end: u64,
    /// The subtree's hash.
    pub hash: Digest,
}

impl Subtree<'_> {
    /// The bytes to be signed. Extension lines of a checkpoint are not
    /// among them.
    pub fn message(&self) -> Result<Vec<u8>, Error> {
        let bad = Error::malformed("subtree");
        if self.end < self.start {
            return Err(bad("it ends before it starts"));
        }
        if self.start != 0 && self.time != 0 {
            return Err(bad("it has a time, which only checkpoints have"));
        }
        let mut out = b"subtree/v1\n\0".to_vec();
        let name = |out: &mut Vec<u8>, name: &str| {
            let length = u8::try_from(name.len()).ok().filter(|length| *length > 0);
            let length = length.ok_or(bad("a name has not 1 to 255 bytes"))?;
            out.push(length);
            out.extend_from_slice(name.as_bytes());
            Ok(())
        };
        name(&mut out, self.cosigner)?;
        out.extend_from_slice(&self.time.to_be_bytes());
        name(&mut out, self.origin)?;
        out.extend_from_slice(&self.start.to_be_bytes());
        out.extend_from_slice(&self.end.to_be_bytes());
        out.extend_from_slice(self.hash.as_bytes());
        Ok(out)
    }
}
