//! Intents: the log leaf that announces the use of keys.
//!
//! An envelope carries its Intent verbatim. Every field that a device can
//! compute is compared, and the bytes are hashed as the leaf: the log then
//! shows this release and no other (cosign CVE-2022-36056 is what happens
//! otherwise).

use crate::cbor::Reader;
use crate::crypto::Crypto;
use crate::digest::Digest;
use crate::key::KeyId;
use crate::limits::{INTENT_DIGESTS_MAX, Limit};
use crate::refusal::Refusal;

/// The purpose of an Intent to sign a release.
const RELEASE: u64 = 2;

/// A decoded Intent to sign a release.
#[derive(Clone, Debug)]
pub(crate) struct Intent<'a> {
    /// The encoded Intent.
    pub(crate) bytes: &'a [u8],
    /// Digest of the delegations' member of the envelope.
    pub(crate) delegation: Option<Digest>,
    /// Who asked.
    pub(crate) requester: Digest,
    /// The policy that allowed it.
    pub(crate) policy: Digest,
    subject: Digest,
    keys: (Reader<'a>, usize),
    statements: (Reader<'a>, usize),
}

impl<'a> Intent<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Intent<'a>, Refusal> {
        let mut reader = Reader::new(bytes);
        let mut labels = reader.map()?;
        let (mut purpose, mut subject, mut keys, mut delegation) = (None, None, None, None);
        let (mut statements, mut requester, mut policy) = (None, None, None);
        while let Some(label) = labels.next_int(&mut reader)? {
            match label {
                1 => purpose = Some(reader.uint()?),
                2 => subject = Some(digest(&mut reader)?),
                3 => keys = Some(digests(&mut reader)?),
                4 => delegation = Some(digest(&mut reader)?),
                5 => statements = Some(digests(&mut reader)?),
                6 => requester = Some(digest(&mut reader)?),
                7 => policy = Some(digest(&mut reader)?),
                // The leaves of the images' own signings: not the device's
                // business, since they are inside the payload.
                8 => {
                    digests(&mut reader)?;
                }
                _ => return Err(Refusal::Unsupported("a member of an intent")),
            }
        }
        reader.end()?;
        if purpose != Some(RELEASE) {
            return Err(Refusal::IntentMismatch("its purpose"));
        }
        const INCOMPLETE: Refusal = Refusal::Malformed("an incomplete intent");
        Ok(Intent {
            bytes,
            delegation,
            requester: requester.ok_or(INCOMPLETE)?,
            policy: policy.ok_or(INCOMPLETE)?,
            subject: subject.ok_or(INCOMPLETE)?,
            keys: keys.ok_or(INCOMPLETE)?,
            statements: statements.ok_or(INCOMPLETE)?,
        })
    }

    /// Checks that it announces exactly this release.
    pub(crate) fn announces(
        &self,
        manifest: &Digest,
        signed: &[KeyId],
        delegations: Option<&[u8]>,
        crypto: &impl Crypto,
    ) -> Result<(), Refusal> {
        if self.subject != *manifest {
            return Err(Refusal::IntentMismatch("the manifest"));
        }
        if !signed.iter().all(|id| self.keys().any(|own| own == id.0)) {
            return Err(Refusal::IntentMismatch("the keys that signed"));
        }
        if self.delegation != delegations.map(|bytes| crypto.digest(bytes)) {
            return Err(Refusal::IntentMismatch("the delegation"));
        }
        Ok(())
    }

    /// The keys that it announces.
    fn keys(&self) -> impl Iterator<Item = Digest> + use<'a> {
        iterate(&self.keys)
    }

    /// The Statements that it announces, in ascending order.
    pub(crate) fn statements(&self) -> impl Iterator<Item = Digest> + use<'a> {
        iterate(&self.statements)
    }
}

fn digest(reader: &mut Reader<'_>) -> Result<Digest, Refusal> {
    reader.array_of().map(|bytes| Digest(*bytes))
}

fn digests<'a>(reader: &mut Reader<'a>) -> Result<(Reader<'a>, usize), Refusal> {
    let count = reader.array(INTENT_DIGESTS_MAX, Limit::IntentDigestsMax)?;
    let list = reader.clone();
    for _ in 0..count {
        digest(reader)?;
    }
    Ok((list, count))
}

fn iterate<'a>((list, count): &(Reader<'a>, usize)) -> impl Iterator<Item = Digest> + use<'a> {
    let mut reader = list.clone();
    (0..*count).map_while(move |_| digest(&mut reader).ok())
}
