//! Statements: what a person has agreed to, signed with an own key.
//!
//! An approver signs a Statement over the manifest that was assembled, never
//! over a request for one, so an approval cannot be moved to other commands,
//! classes or epochs. Devices count holders, not signatures.

use crate::cbor::Reader;
use crate::cose::Context;
use crate::crypto::Crypto;
use crate::digest::Digest;
use crate::envelope::Sign1;
use crate::key::{KeyId, PublicKey};
use crate::limits::{INTENT_DIGESTS_MAX, Limit, SIGNATURES_MAX};
use crate::refusal::Refusal;
use crate::role::RoleEntry;
use crate::root::Environment;
use crate::{sshsig, webauthn};

/// What is agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum StatementPurpose {
    /// A release may be signed.
    Approval = 0,
    /// An owner's devices may install a release.
    Owner = 1,
    /// A file may be signed in a format of its own; what stands in the place
    /// of the manifest is the fingerprint of the bytes to be signed. No
    /// device takes it for anything.
    Artifact = 2,
    /// A policy may be put in force; its digest stands in the place of the
    /// manifest. No device takes it for anything.
    Policy = 3,
}

impl StatementPurpose {
    /// Whether it is about releases, and stands in envelopes.
    pub(crate) fn is_of_releases(self) -> bool {
        matches!(self, StatementPurpose::Approval | StatementPurpose::Owner)
    }
}

/// A decoded Statement. Nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    /// The encoded Statement.
    pub bytes: &'a [u8],
    /// What is agreed to.
    pub purpose: StatementPurpose,
    /// Test or production.
    pub environment: Environment,
    /// The root lineage under which it is said.
    pub lineage: &'a [u8; 16],
    /// The signing request.
    pub request: &'a [u8; 16],
    /// The manifest.
    pub manifest: Digest,
    /// The manifest of the release before, if there is one.
    pub previous: Option<Digest>,
    /// When it expires, in seconds since 1970.
    pub expiry: u64,
    /// Digest of the artifacts' parsed headers, as the approver read them.
    pub header: Digest,
    /// Digest of the differences from the release before.
    pub difference: Digest,
    /// Digest of the policy.
    pub policy: Digest,
    /// Who asked for the release. The requester's own word does not count.
    pub requester: Digest,
    signers: (Reader<'a>, usize),
}

impl<'a> Statement<'a> {
    /// Reads a Statement.
    pub fn decode(bytes: &'a [u8]) -> Result<Statement<'a>, Refusal> {
        let mut reader = Reader::new(bytes);
        let mut labels = reader.map()?;
        let (mut purpose, mut environment, mut lineage, mut request) = (None, None, None, None);
        let (mut signers, mut previous, mut expiry) = (None, None, None);
        // Manifest, header, difference, policy, requester.
        let mut digests: [Option<Digest>; 5] = [None; 5];
        while let Some(label) = labels.next_int(&mut reader)? {
            let mut digest = |at: usize, reader: &mut Reader<'a>| {
                digests[at] = Some(Digest(*reader.array_of()?));
                Ok::<(), Refusal>(())
            };
            match label {
                1 => {
                    purpose = match reader.uint()? {
                        0 => Some(StatementPurpose::Approval),
                        1 => Some(StatementPurpose::Owner),
                        2 => Some(StatementPurpose::Artifact),
                        3 => Some(StatementPurpose::Policy),
                        _ => return Err(Refusal::Unsupported("a Statement's purpose")),
                    }
                }
                2 => environment = Environment::from_label(reader.uint()?),
                3 => lineage = Some(reader.array_of()?),
                4 => request = Some(reader.array_of()?),
                5 => digest(0, &mut reader)?,
                6 => {
                    let count = reader.array(INTENT_DIGESTS_MAX, Limit::IntentDigestsMax)?;
                    signers = Some((reader.clone(), count));
                    for _ in 0..count {
                        reader.array_of::<32>()?;
                    }
                }
                7 => previous = Some(Digest(*reader.array_of()?)),
                8 => expiry = Some(reader.uint()?),
                9..=12 => digest(label as usize - 8, &mut reader)?,
                _ => return Err(Refusal::Unsupported("a member of a Statement")),
            }
        }
        reader.end()?;
        const INCOMPLETE: Refusal = Refusal::Malformed("an incomplete Statement");
        let [Some(manifest), Some(header), Some(difference), Some(policy), Some(requester)] = digests else {
            return Err(INCOMPLETE);
        };
        Ok(Statement {
            bytes,
            purpose: purpose.ok_or(INCOMPLETE)?,
            environment: environment.ok_or(INCOMPLETE)?,
            lineage: lineage.ok_or(INCOMPLETE)?,
            request: request.ok_or(INCOMPLETE)?,
            manifest,
            previous,
            expiry: expiry.ok_or(INCOMPLETE)?,
            header,
            difference,
            policy,
            requester,
            signers: signers.ok_or(INCOMPLETE)?,
        })
    }

    /// The keys that may sign the release.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> + use<'a> {
        let mut reader = self.signers.0.clone();
        (0..self.signers.1).map_while(move |_| reader.array_of().ok().map(|bytes| KeyId(Digest(*bytes))))
    }
}

/// Names the approvers of a role ([`Root::approvers`](crate::Root::approvers))
/// that have signed a Statement, given as an envelope carries it: `[statement, [+ signature]]`. Whether what they
/// agreed to is what a release became, only [`crate::admit()`] tells.
///
/// A signature by nobody of the role names nobody; one that is by somebody
/// and does not verify refuses the whole.
pub fn approvers<'a>(
    signed: &[u8],
    role: &RoleEntry<'a>,
    mut each: impl FnMut(&'a str, KeyId),
    crypto: &impl Crypto,
) -> Result<(), Refusal> {
    let mut reader = Reader::new(signed);
    let signed = SignedStatement::decode(&mut reader)?;
    reader.end()?;
    signed.agreed(
        role,
        |holder, key| {
            if let Some(name) = role.holder(holder) {
                each(name, *key);
            }
        },
        crypto,
    )
}

/// A Statement and the signatures under it, as an envelope carries them:
/// `[statement, [+ signature]]`.
#[derive(Clone, Debug)]
pub(crate) struct SignedStatement<'a> {
    pub(crate) statement: Statement<'a>,
    signatures: Reader<'a>,
    count: usize,
}

impl<'a> SignedStatement<'a> {
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<SignedStatement<'a>, Refusal> {
        reader.array_exact(2)?;
        let statement = Statement::decode(reader.bytes()?)?;
        let count = reader.array(SIGNATURES_MAX, Limit::SignaturesMax)?;
        let signatures = reader.clone();
        for _ in 0..count {
            Agreement::decode(reader)?;
        }
        Ok(SignedStatement { statement, signatures, count })
    }

    /// Counts the holders of a role that have signed it. A signature that
    /// names a key of the role and fails refuses the whole.
    pub(crate) fn agreed(
        &self,
        role: &RoleEntry<'_>,
        mut count: impl FnMut(usize, &KeyId),
        crypto: &impl Crypto,
    ) -> Result<(), Refusal> {
        let mut reader = self.signatures.clone();
        for _ in 0..self.count {
            let agreement = Agreement::decode(&mut reader)?;
            let named = role.keys().find(|(_, key)| agreement.names(key, crypto));
            let Some((holder, key)) = named else { continue };
            if !agreement.verifies(&key, self.statement.bytes, crypto) {
                return Err(Refusal::BadSignature);
            }
            count(holder, &key.id(crypto));
        }
        Ok(())
    }
}

/// One signature under a Statement, `[form, content]`.
enum Agreement<'a> {
    /// COSE_Sign1 with the Statement's digest as detached payload.
    Cose(Sign1<'a>),
    /// OpenSSH's signature format.
    Ssh(sshsig::Blob<'a>),
    /// A WebAuthn assertion, `[key id, authenticator data, client data,
    /// signature]`.
    WebAuthn { key: &'a [u8; 32], assertion: webauthn::Assertion<'a> },
}

impl<'a> Agreement<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Agreement<'a>, Refusal> {
        reader.array_exact(2)?;
        match reader.uint()? {
            0 => Sign1::decode(reader.bytes()?).map(Agreement::Cose),
            1 => sshsig::Blob::decode(reader.bytes()?).map(Agreement::Ssh),
            2 => {
                reader.array_exact(4)?;
                let key = reader.array_of()?;
                let (authenticator, client) = (reader.bytes()?, reader.bytes()?);
                let assertion = webauthn::Assertion::new(authenticator, client, reader.bytes()?)?;
                Ok(Agreement::WebAuthn { key, assertion })
            }
            _ => Err(Refusal::Unsupported("a form of signature")),
        }
    }

    fn names(&self, key: &PublicKey<'_>, crypto: &impl Crypto) -> bool {
        match self {
            Agreement::Cose(sign1) => sign1.key_id().is_some_and(|hint| key.id(crypto).0.as_bytes() == hint),
            Agreement::Ssh(blob) => blob.is_by(key),
            Agreement::WebAuthn { key: hint, .. } => key.id(crypto).0.as_bytes() == *hint,
        }
    }

    fn verifies(&self, key: &PublicKey<'_>, statement: &[u8], crypto: &impl Crypto) -> bool {
        let digest = crypto.digest(statement);
        match self {
            Agreement::Cose(sign1) => sign1.verifies(key, Context::Statement, &digest, crypto),
            Agreement::Ssh(blob) => blob.verifies(key, &digest, crypto),
            Agreement::WebAuthn { assertion, .. } => assertion.verifies(key, &digest, crypto),
        }
    }
}
